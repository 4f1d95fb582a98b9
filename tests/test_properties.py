"""What holds for every recipe and every checkpoint, told by hypothesis."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import grafts
from examples_drawn import drawn
from raw_tensors import row_bytes, tensor_bytes, write_weights
from tiny import QWEN_LIKE, Added, Tiny
from tokengraft.documents import Document
from tokengraft.errors import RecipeError
from tokengraft.flow import making, proving
from tokengraft.formats.json_text import apply_splices, parse_json
from tokengraft.formats.patching import patched
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.plans import PatchJson, Plan, SetKey
from tokengraft.results import Receipt

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
often = settings(
    max_examples=drawn(24),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
seldom = settings(often, max_examples=drawn(8))

# ── what recipes and checkpoints there are ───────────────────────────────────────────────────────

NAMES = st.text("abcxyz_-019мысл思考🤖", min_size=1, max_size=8)
TEXTS = st.one_of(
    NAMES.map(lambda name: f"<|{name}|>"),
    NAMES.map(lambda name: f"</{name}>"),
    NAMES.map(lambda name: f"[{name} ж]"),
)
ADDS = st.fixed_dictionaries(
    {"text": TEXTS, "init": st.sampled_from(("mean", "zero", "copy"))},
    optional={
        "use": st.sampled_from(("role", "tool", "thinking", "marker")),
        "special": st.booleans(),
        "lstrip": st.booleans(),
        "rstrip": st.booleans(),
        "single_word": st.booleans(),
        "normalized": st.booleans(),
    },
)
ADD_LISTS = st.lists(ADDS, max_size=6, unique_by=lambda add: add["text"])
RECIPES = st.fixed_dictionaries(
    {"add": ADD_LISTS},
    optional={
        "pad": st.sampled_from(({"token": "auto"}, {"token": "<|my_pad|>"})),
        "stop": st.sampled_from(({"tokens": "auto"}, {"tokens": "keep"})),
        "context": st.sampled_from(({"length": 512}, {"length": 1000, "method": "linear"})),
        "rename": st.sampled_from(
            ([{"from": "<|im_end|>", "to": "<|конец|>"}], [{"from": "<think>", "to": "<muse>"}])
        ),
    },
)
SHAPES = st.builds(
    Tiny,
    kind=st.sampled_from(("bpe", "byte-fallback")),
    tied=st.booleans(),
    dtype=st.sampled_from(("BF16", "F16", "F32")),
    shards=st.sampled_from((1, 2)),
    legacy=st.booleans(),
    template=st.sampled_from(("config", "jinja", "both", False)),
    out_of_step=st.booleans(),
    base=st.booleans(),
    n_rows=st.sampled_from((None, 307, 384)),
    indent=st.sampled_from((2, None, "\t")),
    newline=st.sampled_from(("\n", "\r\n")),
    ascii_only=st.booleans(),
)


def as_toml(recipe: dict[str, Any]) -> str:
    """Write a recipe by hand; JSON's scalars are TOML's."""

    def lines(keys: dict[str, Any]) -> Iterator[str]:
        for key, value in keys.items():
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}"

    text = ["version = 1"]
    for section, value in recipe.items():
        for entry in value if isinstance(value, list) else [value]:
            text.append(f"[[{section}]]" if isinstance(value, list) else f"[{section}]")
            text.extend(lines(entry))
            if entry.get("init") == "copy":
                text.append('like = "<|im_start|>"')
    return "\n".join(text) + "\n"


@contextmanager
def planned(shape: Tiny, recipe: dict[str, Any] | str) -> Iterator[tuple[Path, making.Planned]]:
    """A checkpoint in a folder of its own, and the plan for it."""
    with tempfile.TemporaryDirectory(prefix="tokengraft-") as name:
        base = shape.build(Path(name, "base"))
        path = Path(name, "recipe.toml")
        path.write_text(recipe if isinstance(recipe, str) else as_toml(recipe), encoding="utf-8")
        try:
            made = making.make_plan(str(base), path)
        except RecipeError:
            # Two renames or texts that exist: refusals have tests of their own.
            assume(condition=False)
            raise
        yield base, made


# ── the properties ───────────────────────────────────────────────────────────────────────────────


@often
@given(shape=SHAPES.filter(lambda s: not s.out_of_step and not s.base))
def test_an_empty_recipe_changes_nothing_where_files_are_in_step(shape: Tiny) -> None:
    with planned(shape, "version = 1\n") as (_, made):
        assert made.plan.edits == ()
        assert made.plan.totals.rows_written == made.plan.totals.bytes_written == 0


@often
@given(shape=SHAPES, recipe=RECIPES)
def test_a_plan_is_the_same_to_the_byte_each_time_and_wherever_it_is_made(
    shape: Tiny, recipe: dict[str, Any]
) -> None:
    with planned(shape, recipe) as (_, one), planned(shape, recipe) as (_, two):
        assert one.text == two.text
        assert one.sidecar == two.sidecar


@often
@given(shape=SHAPES, recipe=RECIPES)
def test_every_document_survives_json(shape: Tiny, recipe: dict[str, Any]) -> None:
    def again(document: Document) -> None:
        assert document == type(document).from_dict(json.loads(document.to_json()))

    with planned(shape, recipe) as (base, made):
        assert made.plan == Plan.from_dict(parse_json(made.text, file="plan.json").value)
        assert made.recipe == parse_recipe(made.plan.recipe)[0]
        again(making.audit(str(base)))
        out, texts = base.parent / "out", base.parent / "texts.txt"
        texts.write_text("hello\n", encoding="utf-8")
        receipt = making.apply_planned(made, out=out).receipt
        again(receipt)
        again(proving.verify(out, texts=[texts]))
        assert receipt == Receipt.from_dict(
            json.loads((out / "tokengraft" / "receipt.json").read_bytes())
        )


@often
@given(shape=SHAPES, recipe=RECIPES)
def test_only_what_a_plan_names_changes_and_undo_gives_it_back(
    shape: Tiny, recipe: dict[str, Any]
) -> None:
    with planned(shape, recipe) as (base, made):
        out = base.parent / "out"
        making.apply_planned(made, out=out)
        before, after = tensor_bytes(base), tensor_bytes(out)
        edited = set(made.plan.row_edits())
        assert {name for name in before if before[name] != after[name]} <= edited
        for name in edited:
            old, new = row_bytes(base, name), row_bytes(out, name)
            assert old[: shape.n_tokens()] == new[: min(len(old), shape.n_tokens())]
        files = {file.path for file in made.plan.files if file.action == "copy"}
        one, other = grafts.tree(base), grafts.tree(out)
        assert {path: one[path] for path in files} == {path: other[path] for path in files}
        making.undo(out, target=base.parent / "back")
        assert one == grafts.tree(base.parent / "back")


SPECIAL_BITS = {  # quiet, signalling and negative NaN with payloads, infinities, minus zero, denormal
    "BF16": ("<u2", (0x7FC1, 0x7F81, 0xFFAB, 0x7F80, 0xFF80, 0x8000, 0x0001)),
    "F16": ("<u2", (0x7E01, 0x7C01, 0xFDAB, 0x7C00, 0xFC00, 0x8000, 0x0001)),
    "F32": ("<u4", (0x7FC00001, 0x7F800001, 0xFFABCDEF, 0x7F800000, 0xFF800000, 1 << 31, 1)),
}


@seldom
@given(shape=SHAPES, seed=st.integers(0, 2**32), count=st.integers(1, 90))
def test_kept_rows_keep_their_bits_nan_included(shape: Tiny, seed: int, count: int) -> None:
    recipe = {"add": [{"text": f"<|t{n}|>", "init": "mean"} for n in range(count)]}
    with planned(shape, recipe) as (base, _):
        kind, values = SPECIAL_BITS[shape.dtype]
        tensors = tensor_bytes(base)
        random = np.random.default_rng(seed)
        for name in [name for name in (EMBED, HEAD) if name in tensors]:
            dtype, size, payload = tensors[name]
            bits = np.frombuffer(payload, kind).copy()
            where = random.integers(0, bits.size, 400)
            bits[where] = random.choice(np.array(values, kind), 400)
            tensors[name] = (dtype, size, bits.tobytes())
        write_weights(base, tensors, shards=shape.shards)
        made = making.make_plan(str(base), base.parent / "recipe.toml")
        out = base.parent / "out"
        making.apply_planned(made, out=out)
        for name, edit in made.plan.row_edits().items():
            old, new = row_bytes(base, name), row_bytes(out, name)
            row = 0
            for source in edit.rows:
                if source.kind == "keep":
                    kept = old[source.first : source.first + source.count]
                    assert kept == new[row : row + source.count]
                row += source.n_rows


WORDS = ("hello", " world", "тест", "思考", "é", "e\u0301", "ﬁ", "İ", "🤖", "0", "#", "▁", "<0x0A>")
SPACES = ("\n\n", "\r\n", "  ", "\t", "\u200b", "\u00a0", "\ufeff")
MARKUP = ("<|im_start|>", "<think>", "<|", "|>", "</")
PIECES = st.sampled_from((*WORDS, *SPACES, *MARKUP))


@often
@given(shape=SHAPES, adds=ADD_LISTS, texts=st.lists(st.lists(PIECES).map("".join), max_size=30))
def test_text_without_new_contents_is_read_and_written_as_before(
    shape: Tiny, adds: list[dict[str, Any]], texts: list[str]
) -> None:
    with planned(shape, {"add": adds}) as (base, made):
        out = base.parent / "out"
        making.apply_planned(made, out=out)
        # The base as all its files mean it: tokens that tokenizer.json lacks are put into step.
        old = Tokenizer.from_file(str(base / "tokenizer.json"))
        old.add_tokens([_added(token) for token in QWEN_LIKE[-2:] if shape.out_of_step])
        new = Tokenizer.from_file(str(out / "tokenizer.json"))
        contents = [add["text"] for add in adds]
        for text in texts:
            if any(content in normalize("NFC", text) for content in contents):
                continue
            ids = old.encode(text).ids
            assert ids == new.encode(text).ids
            assert old.decode(ids) == new.decode(ids)
        for token in made.plan.tokens:
            assert new.token_to_id(token.text) == token.id


def _added(token: Added) -> Any:
    from tokenizers import AddedToken

    return AddedToken(token.content, normalized=token.normalized, special=token.special)


@often
@given(shape=SHAPES, recipe=RECIPES)
def test_the_audit_of_the_result_finds_what_the_plan_predicted(
    shape: Tiny, recipe: dict[str, Any]
) -> None:
    with planned(shape, recipe) as (base, made):
        making.apply_planned(made, out=base.parent / "out")
        assert made.plan.predicted == making.audit(str(base.parent / "out")).findings


@often
@given(shape=SHAPES, data=st.data())
def test_writing_a_value_that_is_there_keeps_every_byte(shape: Tiny, data: Any) -> None:
    with planned(shape, "version = 1\n") as (base, _):
        path = data.draw(st.sampled_from(sorted(p.name for p in base.glob("*.json"))))
        raw = (base / path).read_bytes()
        value = parse_json(raw, file=path).value
        assert isinstance(value, dict)
        keys = [key for key in sorted(value) if not isinstance(value[key], dict | list)]
        changes = tuple(
            SetKey(pointer="/" + key.replace("~", "~0").replace("/", "~1"), value=value[key])
            for key in data.draw(st.permutations(keys))[:5]
        )
        assert raw == apply_splices(raw, patched(raw, PatchJson(path=path, changes=changes), ()))


STEPS: dict[str, str] = {
    "stop": '[stop]\ntokens = "auto"\n',
    "context": "[context]\nlength = 512\n",
    "rename a": '[[rename]]\nfrom = "<think>"\nto = "<muse>"\n',
    "rename b": '[[rename]]\nfrom = "<tool_call>"\nto = "<call>"\n',
    "pad": '[pad]\ntoken = "<|idle|>"\n',
}


@seldom
@given(
    shape=SHAPES,
    names=st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=3, unique=True),
)
def test_steps_on_different_existing_tokens_give_the_same_in_any_order(
    shape: Tiny, names: list[str]
) -> None:
    found = []
    # The one token that the chat template does not write, since no other can be padding.
    n_rows = None if shape.n_rows is None else shape.n_rows + 1
    idle = Added("<|idle|>", special=True)
    shape = replace(shape, added=(*shape.added, idle), n_rows=n_rows)
    for order in itertools.islice(itertools.permutations(names), 3):
        with planned(shape, "version = 1\n") as (base, _):
            at = base
            for number, name in enumerate(order):
                at = _one_step(at, base.parent / f"step{number}", STEPS[name])
            found.append(model_of(at))
    assert all(found[0] == other for other in found[1:])


def _one_step(base: Path, out: Path, step: str) -> Path:
    recipe = out.with_suffix(".toml")
    recipe.write_text(f'version = 1\n[stop]\ntokens = "keep"\n{step}', encoding="utf-8")
    if "[stop]" in step:
        recipe.write_text(f"version = 1\n{step}", encoding="utf-8")
    making.apply(recipe, base=str(base), out=out)
    return out


def model_of(folder: Path) -> dict[str, Any]:
    """A folder without its records; JSON as values, since new keys stand in the order of steps."""
    read: dict[str, Callable[[bytes], Any]] = {".json": json.loads}
    return {
        path: read.get(Path(path).suffix, bytes)(data)
        for path, data in grafts.tree(folder).items()
        if not path.startswith("tokengraft/") and path != "MANIFEST.sha256"
    }


@often
@given(adds=ADD_LISTS, shape=SHAPES)
def test_new_ids_follow_the_order_of_the_recipe_and_nothing_else(
    adds: list[dict[str, Any]], shape: Tiny
) -> None:
    with planned(shape, {"add": adds}) as (_, made):
        new = [(t.text, t.id) for t in made.plan.tokens if t.action == "add"]
        first = shape.n_tokens()
        assert new == [(add["text"], first + at) for at, add in enumerate(adds)]
