"""The page of model families, and what each can do: probed on checkpoints made with their names."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import tiny
from docs_pages import escaped, table
from raw_tensors import Tensor, encode, write_weights
from tokengraft import planning
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import TokengraftError
from tokengraft.families import families
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.layout import Family, RopeFacts
from tokengraft.planning import Ports

ROWS, WIDTH = 384, 8
MANY = 128  # more than the probes have spare rows
OPERATIONS = {
    "add to spare rows": '[[add]]\ntext = "<|probe|>"\n',
    "add and grow": "".join(f'[[add]]\ntext = "<|probe_{n}|>"\n' for n in range(MANY)),
    "rename": '[[rename]]\nfrom = "<|im_end|>"\nto = "<|renamed|>"\n',
    "pad": '[pad]\ntoken = "<|padding|>"\n',
    "stop": '[stop]\ntokens = "auto"\n',
    "context": "[context]\nlength = 1048576\noriginal = 4096\n",
}
TESTED, EXPECTED, PARTLY, REFUSED = "tested", "expected", "partly", "refused"
WORDS = {
    TESTED: "complete small models of this architecture are edited and verified in the tests here",
    EXPECTED: "a checkpoint made here with the family's tensor names and config keys is edited and "
    "verified in the tests; no model of the family was run",
    PARTLY: "planned, but a tensor with a vocabulary axis keeps its rows; the plan has a note about it",
    REFUSED: "refused with a message that says why",
}


def probe_folder(folder: Path, family: Family) -> Path:
    """Write a checkpoint with this family's names: a real tokenizer, and matrices of few columns."""
    model_type = family.model_types[0] if family.model_types else "no_such_model"
    tiny.build(folder, shards=0, base=True)
    config: dict[str, Any] = {
        "model_type": model_type,
        "architectures": ["ProbeForCausalLM"],
        "hidden_size": WIDTH,
        "eos_token_id": 0,
        "tie_word_embeddings": family.tied_default,
        family.vocab_keys[0].removeprefix("/"): ROWS,
        family.length_keys[0].removeprefix("/"): 4096,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_weights(folder, dict(probe_tensors(family)), shards=1)
    return folder


def probe_tensors(family: Family) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that the family's file names, and a norm that it does not."""
    generator = np.random.default_rng(0)
    outputs = () if family.tied_default else family.output_rows
    inputs = family.input_rows or ("*embed_tokens.weight",)
    refused = tuple(pattern for pattern, _ in family.refuse)
    names = dict.fromkeys((*inputs, *outputs, *(family.output_bias if outputs else ()), *refused))
    for pattern in names:
        name = ("" if "head" in pattern else "model.") + pattern.removeprefix("*")
        rows = ROWS + 8 if family.name == "mllama" and "embed" in name else ROWS
        shape = (rows,) if pattern in family.output_bias else (rows, WIDTH)
        values = generator.standard_normal(shape).astype(np.float32)
        yield name, ("BF16", shape, encode(values, "BF16"))
    norm = np.ones(WIDTH, np.float32)
    yield "model.norm.weight", ("BF16", (WIDTH,), encode(norm, "BF16"))


def tested_families() -> frozenset[str]:
    """Families of which this repository has complete models: the small ones, and those of tests."""
    by_type = {t: family.name for family in families().values() for t in family.model_types}
    repo = Path(__file__).resolve().parents[1]
    configs = list(repo.glob("models/*/config.json"))
    with tempfile.TemporaryDirectory() as made:
        built = [tiny.build(Path(made, kind), kind=kind) for kind in ("bpe", "byte-fallback")]
        configs += [folder / "config.json" for folder in built]
        types = [json.loads(path.read_text(encoding="utf-8"))["model_type"] for path in configs]
    return frozenset(by_type[model_type] for model_type in types)


def outcome(checkpoint: Checkpoint, recipe: str) -> tuple[str, str]:
    """What becomes of a recipe: refused and why, partly and what is left alone, or neither."""
    wish, text = parse_recipe("version = 1\n" + recipe)
    ports = Ports(encode=None, digest=lambda _: "0" * 64)
    try:
        made = planning.plan(checkpoint, wish, text=text, tool="probe", ports=ports).plan
    except TokengraftError as error:
        why = (error.detail or error.summary).splitlines()[0].partition(" (")[0]
        return REFUSED, why.removeprefix("context: ")
    kept = [note for note in made.notes if "keeps its rows" in note]
    return (PARTLY, kept[0]) if kept else ("", "")


@functools.cache
def support() -> Mapping[str, tuple[dict[str, str], dict[str, str]]]:
    """For each family the word of each operation, and the reasons of what is refused."""
    tested = tested_families()
    found: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    with tempfile.TemporaryDirectory() as made:
        for name, family in families().items():
            checkpoint = load(probe_folder(Path(made, name), family))
            whys = {title: outcome(checkpoint, recipe) for title, recipe in OPERATIONS.items()}
            word = TESTED if name in tested else EXPECTED
            words = {title: said or word for title, (said, _) in whys.items()}
            reasons = {f"{said}, {title}": why for title, (said, why) in whys.items() if why}
            found[name] = words, reasons
    return found


def support_words() -> str:
    """What the words of the table rest on."""
    return "".join(f"- *{word}*: {said};\n" for word, said in WORDS.items())[:-2] + ".\n"


def support_table(found: Mapping[str, tuple[dict[str, str], dict[str, str]]]) -> str:
    """Families with the same answers stand in one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, (words, _) in found.items():
        rows.setdefault(tuple(words.values()), []).append(name)
    order = sorted(rows.items(), key=lambda row: (row[0].count(REFUSED), row[0].count(EXPECTED)))
    return table(("families", *OPERATIONS), [(", ".join(n), *words) for words, n in order])


def families_page() -> str:
    """The page of all families."""
    found = support()
    parts = [
        "# Model families\n\nOne file each in `src/tokengraft/families/`; ",
        "a model type that none names is `generic`.\n\n",
        support_table(found) + "\n" + support_words(),
    ]
    for name, family in families().items():
        parts.append(f"\n## {name}\n\n{escaped(comment_of(name))}\n\n{facts(family)}")
        parts += [f"- {title}: {escaped(why)}\n" for title, why in found[name][1].items()]
    return "".join(parts)


def comment_of(name: str) -> str:
    """The sentences at the head of a family's file."""
    lines = (files("tokengraft.families") / f"{name}.toml").read_text("utf-8").splitlines()
    at = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("# ") for line in lines[:at])


def facts(family: Family) -> str:
    """What a family's file says, as a list."""

    def code(values: tuple[str, ...]) -> str:
        return ", ".join(f"`{value}`" for value in values)

    lines = []
    if family.model_types:
        lines.append(f"model types: {code(family.model_types)}")
    rows = {"input": family.input_rows, "output": family.output_rows, "bias": family.output_bias}
    lines += [f"{part}: {code(names)}" for part, names in rows.items() if names]
    lines += [f"not edited: `{name}`, because {escaped(why)}" for name, why in family.refuse]
    lines.append(f"config: rows {code(family.vocab_keys)}, length {code(family.length_keys)}")
    lines.append(f"tied unless the config says otherwise: {'yes' if family.tied_default else 'no'}")
    if family.second_matrix:
        pairs = ", ".join(f"`{new}` beside `{there}`" for there, new in family.second_matrix)
        lines.append(f"second matrix (`[rows] untie`): {pairs}")
    if family.second_matrix_caution:
        lines.append(escaped(family.second_matrix_caution))
    lines.append(f"rotary positions: {'yes' if family.rope else 'no'}")
    if family.trained_length:
        pairs = ", ".join(f"{said:,} → {trained:,}" for said, trained in family.trained_length)
        lines.append(
            f"trained length (config → trained): {pairs}; {escaped(family.trained_length_source)}"
        )
    lines += rope_lines(family.rope_facts)
    return "".join(f"- {line}\n" for line in (*lines, *map(escaped, family.notes)))


def rope_lines(rope: RopeFacts) -> Iterator[str]:
    """What a family's file says of rotary positions beyond that it has them."""
    for model_type, known in rope.methods.items():
        read = ", ".join(f"`{method}`" for method in known) or "none"
        yield f"scaling that the classes of `{model_type}` read: {read}"
    if rope.full_attention_only:
        listed = ", ".join(f"`{one}`" for one in sorted(rope.full_attention_only))
        yield f"scaled in layers with full attention alone: {listed}"
    if rope.trained_scaling:
        pairs = ", ".join(f"{kind} at {length:,}" for kind, length in rope.trained_scaling)
        yield f"trained with scaling: {pairs}"
