"""Reading folders: what a loader would see, what is odd about it, and what is refused."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import models

from tiny import Tiny, build
from tokengraft.errors import MalformedFile, UnsafePath, UnsupportedFormat
from tokengraft.formats.chat_template import literals, turn_end
from tokengraft.formats.loading import load
from tokengraft.formats.tokenizer_files import effective_ids
from tokengraft.vocabulary import AddedToken, Declared, TokenId


def test_a_folder_in_step_has_no_conflicts_and_the_ids_of_both_files(tmp_path: Path) -> None:
    tokenizer = load(build(tmp_path / "src", legacy=True)).tokenizer
    assert tokenizer is not None
    assert tokenizer.conflicts == ()
    assert {i: t.content for i, t in tokenizer.added.items()} == {
        i: t.content for i, t in Tiny().table().items()
    }
    assert tokenizer.n_tokens == Tiny().n_tokens()


def test_a_folder_of_links_into_the_cache_is_read_through_them(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, path in enumerate(sorted(build(tmp_path / "src").iterdir())):
        blob = repository / "blobs" / f"blob{number}"
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    checkpoint = load(snapshot)
    assert checkpoint.problems == ()
    assert checkpoint.files["config.json"].real.parent.name == "blobs"
    assert checkpoint.layout_digest == load(tmp_path / "src").layout_digest


def test_a_link_out_of_the_folder_is_reported_and_not_read(tmp_path: Path) -> None:
    folder = build(tmp_path / "src")
    (folder / "added_tokens.json").symlink_to("/etc/hostname")
    checkpoint = load(folder)
    assert [(p.kind, p.subject) for p in checkpoint.problems] == [
        ("unsafe-path", "added_tokens.json")
    ]
    assert "added_tokens.json" not in checkpoint.files


def test_a_pipe_in_the_folder_is_reported_and_not_opened(tmp_path: Path) -> None:
    folder = build(tmp_path / "src")
    os.mkfifo(folder / "config.jsonl")
    assert [p.kind for p in load(folder).problems] == ["unsafe-path"]


def test_names_that_differ_by_case_alone_are_reported(tmp_path: Path) -> None:
    folder = build(tmp_path / "src")
    (folder / "CONFIG.json").write_bytes(b"{}")
    assert [p.kind for p in load(folder).problems] == ["unsafe-path"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UnsafePath):
        load(tmp_path / "nothing")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="no Hugging Face checkpoint"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"[]"),
        ("config.json", b'{"a": 1, "a": 2}'),
        ("config.json", b"\xef\xbb\xbf{}"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b'{"model": {"vocab": {"a": -1}}}'),
        ("tokenizer.json", b'{"model": {"vocab": {"a": 1.5}}}'),
        ("tokenizer.json", b'{"model": {"vocab": {}}, "added_tokens": [{"id": 1}]}'),
        ("tokenizer.json", b'{"model": {"vocab": {}}, "added_tokens": {"a": 1}}'),
        ("tokenizer.json", b'{"model": {"vocab": {}}, "added_tokens": null}'),
        ("tokenizer.json", b'{"model": {"vocab": [["a"], 3]}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"x": {"content": "a"}}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"1": {"content": 3}}}'),
        (
            "tokenizer_config.json",
            b'{"added_tokens_decoder": {"1": {"content": "a", "special": 1}}}',
        ),
        ("added_tokens.json", b'{"a": "b"}'),
        ("chat_template.jinja", b"\xff\xfe"),
        ("generation_config.json", b'{"eos_token_id": ["x"]}'),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    tmp_path: Path, file: str, content: bytes
) -> None:
    folder = build(tmp_path / "src")
    (folder / file).write_bytes(content)
    with pytest.raises(MalformedFile) as caught:
        load(folder)
    assert file in caught.value.subject + caught.value.summary


def test_weights_that_no_index_names_are_reported(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", shards=2)
    shard = folder / "model-00001-of-00002.safetensors"
    (folder / "old.safetensors").write_bytes(shard.read_bytes())
    assert [(p.kind, p.subject) for p in load(folder).problems] == [("stray", "old.safetensors")]


def test_one_file_wins_over_an_index_beside_it(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", shards=2)
    single = build(tmp_path / "single", shards=1) / "model.safetensors"
    (folder / "model.safetensors").write_bytes(single.read_bytes())
    checkpoint = load(folder)
    assert "conflict" in {p.kind for p in checkpoint.problems}
    assert checkpoint.tensors is not None
    assert list(checkpoint.tensors.files) == ["model.safetensors"]


def test_ids_are_those_that_the_library_gives_whatever_the_file_says() -> None:
    """Differential: random tables of added tokens, loaded by the `tokenizers` library itself."""
    import json

    rng = random.Random(7)
    base = json.loads(Library(models.WordLevel({"a": 0, "b": 1, "c": 2}, "a")).to_str())
    for _ in range(300):
        size = rng.choice((0, 1, 3))
        vocab = {text: number for number, text in enumerate("abc"[:size] or "a")}
        pool = ["a", "b", "<x>", "<y>", "<z>", "", "<w>"]
        tokens = tuple(
            (TokenId(rng.randrange(12)), AddedToken(rng.choice(pool), special=True))
            for _ in range(rng.randrange(6))
        )
        base["model"]["vocab"] = vocab
        base["added_tokens"] = [
            {
                "id": int(i),
                "content": t.content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for i, t in tokens
        ]
        library = Library.from_str(json.dumps(base))
        ours = effective_ids(
            {text: TokenId(i) for text, i in vocab.items()},
            Declared("tokenizer.json", "/added_tokens", tokens),
        )
        theirs = {t.content: i for i, t in library.get_added_tokens_decoder().items()}
        assert ours == theirs, base["added_tokens"]


def test_declared_ids_that_libraries_would_not_give_are_a_conflict(tmp_path: Path) -> None:
    folder = build(tmp_path / "src")
    path = folder / "tokenizer.json"
    last = Tiny().n_tokens() - 1
    path.write_bytes(path.read_bytes().replace(f'"id": {last}'.encode(), b'"id": 400'))
    conflicts = load(folder).tokenizer.conflicts  # type: ignore[union-attr]
    assert any("libraries load it as" in conflict.text for conflict in conflicts)


def test_the_turn_end_is_read_from_the_template(tmp_path: Path) -> None:
    tokenizer = load(build(tmp_path / "src")).tokenizer
    assert tokenizer is not None
    assert turn_end(tokenizer) == "<|im_end|>"


def test_without_a_template_there_is_no_turn_end(tmp_path: Path) -> None:
    tokenizer = load(build(tmp_path / "src", template=False)).tokenizer
    assert tokenizer is not None
    assert turn_end(tokenizer) is None


def test_comments_of_a_template_are_not_written_by_it() -> None:
    assert "<|old|>" not in "".join(literals("{# <|old|> #}a{{ '<|new|>' }}"))


def test_a_template_that_is_none_has_no_literals() -> None:
    assert literals("{% if %}{{{") == ()


@pytest.mark.parametrize(
    "name", ["qwen3-30b-a3b-base", "qwen3-30b-a3b", "qwen2.5", "minimind", "gpt2", "phi-2"]
)
def test_real_tokenizers_load_as_the_library_loads_them(data: Path, name: str) -> None:
    folder = data / "tokenizers" / name
    tokenizer = load(folder).tokenizer
    assert tokenizer is not None
    assert tokenizer.conflicts == ()
    library = Library.from_file(str(folder / "tokenizer.json"))
    theirs = {i: text for text, i in library.get_vocab(with_added_tokens=True).items()}
    ours = tokenizer.table()
    assert {i: text for i, text in ours.items() if i in theirs} == theirs


def test_qwen3_base_is_read_as_out_of_step(data: Path) -> None:
    tokenizer = load(data / "tokenizers" / "qwen3-30b-a3b-base").tokenizer
    assert tokenizer is not None
    assert [(d.file, len(d.tokens)) for d in tokenizer.declared] == [
        ("tokenizer.json", 22),
        ("tokenizer_config.json", 26),
    ]
    assert tokenizer.n_tokens == 151_669


def test_a_published_folder_whose_ids_jump_is_a_conflict(data: Path) -> None:
    tokenizer = load(data / "edge" / "ort-added-tokens").tokenizer
    assert tokenizer is not None
    assert tokenizer.conflicts


def test_a_published_folder_with_crlf_merges_is_read(data: Path) -> None:
    tokenizer = load(data / "edge" / "qwen2-boundless-crlf").tokenizer
    assert tokenizer is not None
    assert (tokenizer.kind, tokenizer.n_tokens, tokenizer.conflicts) == ("BPE", 151_646, ())
