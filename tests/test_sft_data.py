"""Training data: forms, reading, what is in the loss, and the audit; without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sft_jobs import CHAT, RECIPE, WEATHER, conversations, job, write_rows
from tokengraft.data_audits import DataAudit
from tokengraft.errors import (
    ChildFailed,
    ConflictingFiles,
)
from tokengraft.formats.loading import load
from tokengraft.recipes import Supervised
from tokengraft.sandbox.templates import Rendered, TemplateChild
from tokengraft.training.sft_data import Asked, NothingToLearn, audit_data
from tokengraft.training.sft_encoding import Encoded, Encoder
from tokengraft.training.sft_forms import BadRow, Continued, Conversation, example_of
from tokengraft.training.sft_stage import ids_of_new_tokens, length_of, quantization
from tokengraft.training.stages import Job

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello."}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return job(tmp_path_factory.mktemp("sft"))


def asked(folder: Path, source: str = "data.jsonl", **more: Any) -> Asked:
    return Asked(source, folder, **{"length": 512, **more})


def audit(made: Job, folder: Path, source: str = "data.jsonl", **more: Any) -> DataAudit:
    tokens = ids_of_new_tokens(made)
    return audit_data(load(made.staged), tokens, asked(folder, source, **more))


# ── forms ────────────────────────────────────────────────────────────────────────────────────────

CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


@pytest.mark.parametrize(
    ("row", "form", "expected"),
    [
        ({"messages": [USER, ANSWER]}, "messages", Conversation((USER, ANSWER))),
        (
            {"messages": [{**USER, "tool_calls": None}, ANSWER], "tools": json.dumps([WEATHER])},
            "messages",
            Conversation((USER, ANSWER), (WEATHER,)),
        ),
        (
            {"messages": [USER, ANSWER], "tools": [WEATHER["function"]]},
            "messages",
            Conversation((USER, ANSWER), (WEATHER,)),
        ),
        ({"prompt": "a", "completion": "b"}, "prompt-completion", Continued("a", "b")),
        (
            {"prompt": [USER], "completion": [ANSWER]},
            "prompt-completion",
            Conversation((USER, ANSWER), n_given=1),
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "Hi"},
                    {
                        "from": "function_call",
                        "value": '{"name": "f", "arguments": "{\\"x\\": 1}"}',
                    },
                    {"from": "observation", "value": "2"},
                    {"from": "gpt", "value": "Hello."},
                ],
                "system": "Be kind.",
            },
            "sharegpt",
            Conversation(
                (
                    {"role": "system", "content": "Be kind."},
                    USER,
                    {"role": "assistant", "content": "", "tool_calls": [CALL]},
                    {"role": "tool", "content": "2"},
                    ANSWER,
                )
            ),
        ),
        (
            {"instruction": "Add", "input": "1 2", "output": "3"},
            "alpaca",
            Conversation(
                (
                    {"role": "user", "content": "Add\n\n1 2"},
                    {"role": "assistant", "content": "3"},
                )
            ),
        ),
        ({"text": "Once."}, "text", Continued("", "Once.")),
    ],
)
def test_every_form_becomes_one(row: Any, form: str, expected: object) -> None:
    assert (form, expected) == example_of(row)
    assert isinstance(expected, Conversation | Continued)
    again = example_of(expected.as_row())[1]
    assert again == (expected if isinstance(expected, Continued) else replace(expected, n_given=0))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([], "no object"),
        ({"question": "?"}, "no known form"),
        ({"messages": []}, "no messages"),
        ({"messages": [{"content": "x"}]}, "no role"),
        ({"messages": [USER], "tools": "["}, "not JSON"),
        ({"messages": [USER], "tools": [3]}, "list of objects"),
        ({"messages": [USER], "chat_template_kwargs": 3}, "chat_template_kwargs"),
        ({"prompt": "a", "completion": ""}, "completion is empty"),
        ({"prompt": "a", "completion": [ANSWER]}, "not of one kind"),
        ({"prompt": 1, "completion": 2}, "neither texts nor"),
        ({"conversations": []}, "no conversation"),
        ({"conversations": [1]}, "turn is no object"),
        ({"conversations": [{"from": "human"}]}, "`from` and `value`"),
        ({"conversations": [{"from": "function_call", "value": "f("}]}, "call is not JSON"),
        ({"conversations": [{"from": "function_call", "value": "{}"}]}, "has no name"),
        (
            {"conversations": [{"from": "tool_call", "value": '{"name": "f", "arguments": "("}'}]},
            "arguments",
        ),
        ({"instruction": "a", "output": ""}, "output is empty"),
        ({"instruction": "a", "output": 1}, "no text"),
        ({"instruction": "a", "output": "b", "history": ["x"]}, "pairs"),
        ({"text": "  "}, "text is empty"),
    ],
)
def test_a_row_that_says_nothing_says_why(row: Any, why: str) -> None:
    with pytest.raises(BadRow, match=why):
        example_of(row)


# ── what is in the loss ──────────────────────────────────────────────────────────────────────────


def encoded(folder: Path, row: dict[str, Any]) -> tuple[Encoded | BadRow, Encoder]:
    encoder = Encoder(load(folder))
    with encoder:
        return encoder.encode([example_of(row)[1]])[0], encoder


def said_text(made: Job, one: Encoded) -> str:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(made.staged / "tokenizer.json"))
    ids = [i for i, said in zip(one.ids, one.said, strict=True) if said]
    return tokenizer.decode(ids, skip_special_tokens=False)


def test_the_loss_holds_what_the_model_says_and_the_stop_token(made: Job) -> None:
    rows = list(conversations(1))
    one, encoder = encoded(made.staged, rows[0])
    assert isinstance(one, Encoded)
    text = said_text(made, one)
    city = rows[0]["messages"][1]["tool_calls"][0]["function"]["arguments"]["city"]
    arguments = json.dumps({"city": city})
    assert text == (
        f'<tool_start>\n{{"name": "get_weather", "arguments": {arguments}}}\n</tool_end><|im_end|>'
    )
    assert one.stops
    assert one.ids[-2] in encoder.stop_ids  # a line end follows, outside of the loss
    assert not one.said[-1]


def test_a_prompt_of_messages_is_not_in_the_loss_though_the_model_said_it(made: Job) -> None:
    row = {"prompt": [USER, ANSWER, USER], "completion": [{**ANSWER, "content": "Again."}]}
    one, _ = encoded(made.staged, row)
    assert isinstance(one, Encoded)
    assert said_text(made, one) == "Again.<|im_end|>"


def test_a_completion_ends_with_the_stop_token(made: Job) -> None:
    one, encoder = encoded(made.staged, {"prompt": "Hello", "completion": " world"})
    assert isinstance(one, Encoded)
    assert said_text(made, one) == " world<|im_end|>"
    assert one.ids[-1] in encoder.stop_ids


def test_a_conversation_without_an_answer_is_no_example(made: Job) -> None:
    one, _ = encoded(made.staged, {"messages": [USER]})
    assert isinstance(one, BadRow)
    assert "nothing in it is said" in str(one)


def test_what_the_template_refuses_is_told_in_its_words(made: Job, tmp_path: Path) -> None:
    recipe = RECIPE + '[thinking]\nmodules = ["<|a|>"]\n'
    other = job(tmp_path, recipe=recipe)
    message = {**ANSWER, "thoughts": [{"module": "<|b|>", "content": "x"}]}
    one, _ = encoded(other.staged, {"messages": [USER, message]})
    assert isinstance(one, BadRow)
    assert "No module of thought: <|b|>" in str(one)


def test_a_child_that_ends_costs_one_row_and_no_more(
    made: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [Conversation(messages=(USER, ANSWER)) for _ in range(3)]
    render = TemplateChild.render
    seen: list[TemplateChild] = []

    def dies_first(child: TemplateChild, *args: Any, **kwargs: Any) -> Rendered:
        seen.append(child)
        if len(seen) == 1:
            raise ChildFailed("the child ended")
        return render(child, *args, **kwargs)

    monkeypatch.setattr(TemplateChild, "render", dies_first)
    with Encoder(load(made.staged)) as encoder:
        found = encoder.encode(asked)
    assert isinstance(found[0], BadRow)
    assert "the child ended" in str(found[0])
    assert all(isinstance(one, Encoded) for one in found[1:])
    assert seen[0] is not seen[1] is seen[2]


def test_a_template_without_tags_is_refused(made: Job) -> None:
    with Encoder(load(CHAT)) as encoder, pytest.raises(ConflictingFiles, match="does not say"):
        encoder.encode([example_of({"messages": [USER, ANSWER]})[1]])


# ── the audit ────────────────────────────────────────────────────────────────────────────────────


def test_the_audit_counts_tokens_rows_and_reasons(made: Job, tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in conversations(10)]
    lines[3:3] = ["{", json.dumps({"messages": [USER]}), json.dumps({"nothing": 1})]
    (tmp_path / "data.jsonl").write_text("\n".join(lines) + "\n")
    told = audit(made, tmp_path)
    assert (told.rows.read, told.rows.train, told.rows.dropped) == (13, 10, 3)
    assert [4, 5, 6] == [row.line for row in told.dropped]
    assert told.forms == {"messages": 11}
    seen = {token.text: (token.in_loss, token.given, token.rows) for token in told.tokens}
    # The template's instructions show the markers once in every conversation with tools.
    assert seen == {"<tool_start>": (5, 10, 10), "</tool_end>": (5, 10, 10), "<|pad|>": (0, 0, 0)}
    assert told.unseen == ()  # a pad token is never seen, and that is right
    assert sum(one.rows for one in told.lengths) == 10
    assert told.rows.no_stop == 0


def test_a_token_that_the_data_never_show_is_named(made: Job, tmp_path: Path) -> None:
    write_rows(tmp_path / "data.jsonl", iter([{"messages": [USER, ANSWER]}]))
    told = audit(made, tmp_path)
    assert told.unseen == ("<tool_start>", "</tool_end>")
    given = {"messages": [{**USER, "content": "<tool_start> </tool_end>"}, ANSWER]}
    write_rows(tmp_path / "data.jsonl", iter([given]))
    assert audit(made, tmp_path).never_in_loss == ("<tool_start>", "</tool_end>")


def test_long_rows_are_cut_and_long_texts_go_on(made: Job, tmp_path: Path) -> None:
    write_rows(
        tmp_path / "data.jsonl", iter([{"messages": [USER, {**ANSWER, "content": "a " * 60}]}])
    )
    told = audit(made, tmp_path, length=16)
    assert (told.rows.truncated, told.rows.no_stop, told.n_tokens) == (1, 1, 16)
    assert told.notes != ()
    write_rows(
        tmp_path / "data.jsonl", iter([{"messages": [{**USER, "content": "a " * 60}, ANSWER]}])
    )
    with pytest.raises(NothingToLearn) as nothing:
        audit(made, tmp_path, length=16)
    assert "begins behind 16 tokens" in nothing.value.detail
    (tmp_path / "t.txt").write_text("word " * 40)
    told = audit(made, tmp_path, "t.txt", length=16)
    assert (told.rows.train, told.rows.truncated) == (1, 0)
    assert told.rows.parts == -(-told.n_tokens // 16) > 1


def test_rows_are_held_out_by_what_they_hold(made: Job, tmp_path: Path) -> None:
    rows = [{"messages": [{**USER, "content": f"Hi {n}"}, ANSWER]} for n in range(200)]
    write_rows(tmp_path / "data.jsonl", iter(rows))
    work = tmp_path / "work"
    audit_data(load(made.staged), {}, asked(tmp_path, held_out=0.2), write_to=work)
    kept = [json.loads(line) for line in (work / "held_out.jsonl").read_text().splitlines()]
    assert 20 < len(kept) < 60
    write_rows(tmp_path / "data.jsonl", iter(rows[::-1] + rows))  # other order, twice
    audit_data(load(made.staged), {}, asked(tmp_path, held_out=0.2), write_to=work)
    again = [json.loads(line) for line in (work / "held_out.jsonl").read_text().splitlines()]
    assert sorted(map(str, [*kept, *kept])) == sorted(map(str, again))
    told = audit(made, tmp_path, held_out=0.2, seed=1)
    assert told.rows.held_out + told.rows.train == told.rows.read == 400


def test_reading_ends_where_it_was_asked_to(made: Job) -> None:
    told = audit(made, made.recipe_folder, max_rows=5)
    assert (told.rows.read, told.rows.complete) == (5, False)
    told = audit(made, made.recipe_folder, max_trained=7)
    assert (told.rows.train, told.rows.complete) == (7, False)


def test_what_was_read_ahead_is_not_counted(made: Job, tmp_path: Path) -> None:
    rows = [json.dumps(row) for row in conversations(100)]
    rows[3:3], rows[20:20] = ["not JSON"], ["not JSON", '{"question": "?"}']
    (tmp_path / "data.jsonl").write_text("\n".join(rows) + "\n")
    told = audit(made, tmp_path, max_trained=7)
    assert (told.rows.read, told.rows.train, told.rows.dropped) == (8, 7, 1)
    assert told.forms == {"messages": 7}
    assert told.reasons == {"the line is not JSON": 1}
    whole = audit(made, tmp_path)
    assert (whole.rows.read, whole.rows.dropped, whole.forms) == (103, 3, {"messages": 100})
    few = audit(made, tmp_path, max_rows=21)
    assert (few.rows.read, few.rows.train, few.rows.dropped) == (21, 19, 2)


def test_an_audit_needs_no_torch(made: Job) -> None:
    code = (
        "import sys; from pathlib import Path; from tokengraft.formats.loading import load\n"
        "from tokengraft.training.sft_data import Asked, audit_data\n"
        "told = audit_data(load(Path(sys.argv[1])), {}, Asked('data.jsonl', Path(sys.argv[2]), 512),"
        " write_to=Path(sys.argv[3]))\n"
        "assert told.rows.train == 8; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    folders = [str(made.staged), str(made.recipe_folder), str(made.recipe_folder / "ids")]
    subprocess.run([sys.executable, "-c", code, *folders], check=True)


def test_rows_are_never_longer_than_the_model_reads(made: Job) -> None:
    checkpoint = load(made.staged)
    assert length_of(Supervised(), checkpoint) == 512
    assert length_of(Supervised(length=100), checkpoint) == 100
    assert quantization(checkpoint) == ""
