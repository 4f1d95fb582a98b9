"""T: whether text is cut into words as it was when the vocabulary was learned."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokengraft.auditing.asking import (
    TOKENIZER,
    TOKENIZER_CONFIG,
    object_of,
    steps_of,
    trusted_tokenizer,
)
from tokengraft.auditing.rule import Found, counted, listed, place, rule
from tokengraft.checkpoint import Checkpoint, JsonValue

# A space in GPT-2's byte alphabet, before a letter of a word; and one behind a letter.
_BEGINS_WORD = re.compile("Ġ[A-Za-z]+")
_CROSSES = re.compile("[A-Za-z]Ġ+[A-Za-z]")
FEWEST_WORDS = 100  # pieces; fewer do not show that no piece ever crossed a border


@rule(
    "T408",
    severity="warning",
    title="both files say alike whether a space goes before a text",
    bears_on=("inference", "lora"),
)
def prefix_space_differs(checkpoint: Checkpoint) -> Iterator[Found]:
    """Byte-level tokenizers may put a space before each text, so that its first word is like others.

    What it checks:
        Where the pre-tokenizer of tokenizer.json is ByteLevel alone, its `add_prefix_space` is that
        of tokenizer_config.json; a missing key there means false. Qwen2's class is T402's.

    Why it matters:
        transformers 4 takes the flag of tokenizer_config.json and changes the step; transformers 5
        and servers on the plain library follow the file. The first word becomes another id.

    Example:
        "add_prefix_space": true in tokenizer.json, and tokenizer_config.json without the key.

    Fix and its safety:
        Write the flag of tokenizer.json into tokenizer_config.json, if that file is the one the model
        was trained with, by hand. No row changes.

    Sources:
        transformers 4.57, tokenization_utils_fast.py, `__init__`, the end of it; measured.
    """
    step = object_of(checkpoint, TOKENIZER, "/pre_tokenizer")
    config = object_of(checkpoint, TOKENIZER_CONFIG)
    here, there = step.get("add_prefix_space"), config.get("add_prefix_space", False)
    if step.get("type") != "ByteLevel" or not config or not isinstance(here, bool):
        return
    if isinstance(there, bool) and here != there:
        yield Found(
            place(TOKENIZER, "/pre_tokenizer/add_prefix_space"),
            f"add_prefix_space is {str(here).lower()} in tokenizer.json, {str(there).lower()} in "
            f"tokenizer_config.json{'' if 'add_prefix_space' in config else ', which lacks the key'}",
            "transformers 4 follows tokenizer_config.json, all others tokenizer.json",
        )


@rule(
    "T409",
    severity="warning",
    title="each step stands under the heading that it was written for",
    bears_on=("inference", "lora"),
)
def step_under_another_heading(checkpoint: Checkpoint) -> Iterator[Found]:
    """ByteLevel is the name of four steps; as a normalizer it does not cut text into words.

    What it checks:
        A ByteLevel among the normalizers has none of the keys `add_prefix_space`, `trim_offsets` and
        `use_regex`, which only its namesakes under other headings have.

    Why it matters:
        The file loads without a message. Text is spelled in bytes and never cut, so that merges join
        what the model always saw apart.

    Example:
        The normalizer of tokenizer.json is {"type": "ByteLevel", "use_regex": true}, and the
        pre_tokenizer is null.

    Fix and its safety:
        None here: take tokenizer.json from its publisher again.

    Sources:
        tokenizers 0.23, normalizers/byte_level.rs and pre_tokenizers/byte_level.rs; measured.
    """
    foreign = ("add_prefix_space", "trim_offsets", "use_regex")
    for value, pointer in steps_of(checkpoint, "normalizer"):
        told = [key for key in foreign if key in value]
        if value.get("type") == "ByteLevel" and told:
            yield Found(
                place(TOKENIZER, pointer),
                "a ByteLevel that was written to cut text stands among the normalizers",
                f"no normalizer reads {listed(told)}",
            )


@rule(
    "T410",
    severity="warning",
    title="text is cut into words where the vocabulary was learned from words",
    bears_on=("inference", "lora"),
)
def text_is_not_cut(checkpoint: Checkpoint) -> Iterator[Found]:
    """A vocabulary shows how texts were cut when it was learned: no piece crosses such a border.

    What it checks:
        Where a byte-level BPE has at least 100 pieces that begin a word and none that goes on into
        the next one, some step of its pre_tokenizer cuts texts: a ByteLevel with `use_regex`, a
        Split, or another step than ByteLevel.

    Why it matters:
        Without the cut, merges join what the model always saw apart: spaces, digits, marks and the
        ends of words. The file loads without a message, and common words keep their ids.

    Example:
        "use_regex": false in a pre_tokenizer that is ByteLevel alone.

    Fix and its safety:
        None here: take tokenizer.json from its publisher again.

    Sources:
        tokenizers 0.23, pre_tokenizers/byte_level.rs, `use_regex`; measured.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or tokenizer.kind != "BPE" or not tokenizer.byte_level:
        return
    if TOKENIZER not in checkpoint.json or any(map(_cuts, _pre_tokenizers(checkpoint))):
        return
    words = sum(1 for text in tokenizer.vocab if _BEGINS_WORD.fullmatch(text))
    if words >= FEWEST_WORDS and not any(map(_CROSSES.search, tokenizer.vocab)):
        yield Found(
            place(TOKENIZER, "/pre_tokenizer"),
            f"no step cuts text into words, and {counted(words, 'piece')} begin a word while none "
            "crosses into the next",
            "merges then join what the model always saw apart",
        )


def _pre_tokenizers(checkpoint: Checkpoint) -> Iterator[dict[str, JsonValue]]:
    for value, _ in steps_of(checkpoint, "pre_tokenizer"):
        if value.get("type") != "Sequence":
            yield value


def _cuts(step: dict[str, JsonValue]) -> bool:
    """Whether a step cuts texts; steps that nobody knows are taken to."""
    return step.get("type") != "ByteLevel" or step.get("use_regex") is not False
