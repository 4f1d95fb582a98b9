"""T: the steps of tokenizer.json around its model: normalizer, splitting, decoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokengraft.auditing.asking import (
    TOKENIZER,
    TOKENIZER_CONFIG,
    object_of,
    step_types,
    steps_of,
)
from tokengraft.auditing.rule import Found, listed, place, rule
from tokengraft.auditing.tokens import EVERY_CHANGE
from tokengraft.checkpoint import Checkpoint, JsonValue

_STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
# Keys that a step cannot be read without (tokenizers 0.22 and 0.23, serde), by its type.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "Sequence": (),
    "ByteLevel": ("add_prefix_space", "trim_offsets"),
    "Split": ("pattern", "behavior", "invert"),
    "Replace": ("pattern", "content"),
    "Prepend": ("prepend",),
    "Strip": (),
    "Metaspace": ("replacement",),
    "TemplateProcessing": ("single", "pair", "special_tokens"),
    "RobertaProcessing": ("sep", "cls", "trim_offsets", "add_prefix_space"),
    "BertProcessing": ("sep", "cls"),
    **dict.fromkeys(("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"), ()),
    **dict.fromkeys(("BertNormalizer", "Precompiled", "ByteFallback", "Fuse", "WordPiece"), ()),
    **dict.fromkeys(("CTC", "BPEDecoder", "Whitespace", "WhitespaceSplit", "Punctuation"), ()),
    **dict.fromkeys(("Digits", "CharDelimiterSplit", "BertPreTokenizer", "UnicodeScripts"), ()),
    **dict.fromkeys(("FixedLength", "RandomChunkSplit"), ()),
}
# Steps that the library knows under other headings than the one where they are found.
_ELSEWHERE: Mapping[str, frozenset[str]] = {
    "normalizer": frozenset({"Split", "TemplateProcessing", "Fuse", "ByteFallback", "Metaspace"}),
    "pre_tokenizer": frozenset({"NFC", "Replace", "Prepend", "TemplateProcessing", "Fuse"}),
    "post_processor": frozenset({"NFC", "Replace", "Prepend", "Split", "Fuse", "Metaspace"}),
    "decoder": frozenset({"NFC", "Prepend", "Split", "TemplateProcessing"}),
}
_MODELS = frozenset({"BPE", "Unigram", "WordLevel"})
_KINDS = _MODELS | {"WordPiece"}  # the name of a decoder too
_ADDED_KEYS = ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
_MODEL_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), bool),
    **dict.fromkeys(("unk_token", "continuing_subword_prefix", "end_of_word_suffix"), str),
    "dropout": (int, float),
}
_PARTS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("/truncation", "/padding"), dict),
    "/model/type": str,
    "/model/merges": list,
}
_BEHAVIORS = ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous")
# Types of the known keys of steps.
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("add_prefix_space", "trim_offsets", "use_regex", "invert"), bool),
    **dict.fromkeys(("prepend", "content", "replacement"), str),
    **dict.fromkeys(("start", "stop"), int),
    **dict.fromkeys(("pretokenizers", "normalizers", "decoders", "processors"), list),
    **dict.fromkeys(("single", "pair", "sep", "cls"), list),
    "special_tokens": dict,
    "pattern": dict,
}
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@rule(
    "T401",
    severity="error",
    title="the tokenizers library can read tokenizer.json",
    bears_on=("inference", *EVERY_CHANGE),
)
def steps_are_broken(checkpoint: Checkpoint) -> Iterator[Found]:
    """The library reads tokenizer.json strictly: one key amiss, and nothing loads.

    What it checks:
        The version is "1.0". Each step of normalizer, pre_tokenizer, post_processor and decoder has a
        type, the keys that its type needs, and values of the right kind. Steps of unknown types
        are left alone: newer versions may know them.

    Why it matters:
        Every program stops with "data did not match any variant of untagged enum".

    Example:
        A Split without "behavior".

    Fix and its safety:
        None here: take tokenizer.json from its publisher again.

    Sources:
        tokenizers 0.22 and 0.23, serde of the step types; measured.
    """
    if TOKENIZER not in checkpoint.json:
        return
    version = checkpoint.value(TOKENIZER, "/version")
    if version != "1.0":
        yield Found(place(TOKENIZER, "/version"), f"the version is {version!r}, not '1.0'")
    told = list(_broken_table(checkpoint))
    if told:
        yield Found(place(TOKENIZER), f"tokenizer.json cannot be read: {told[0]}", listed(told))
    for step in _STEPS:
        top = checkpoint.value(TOKENIZER, f"/{step}")
        if top is not None and not isinstance(top, dict):
            yield Found(place(TOKENIZER, f"/{step}"), f"the {step} is no object")
        for value, pointer in steps_of(checkpoint, step):
            told = list(_broken(step, value))
            if told:
                yield Found(
                    place(TOKENIZER, pointer),
                    f"a step of the {step} cannot be read: {told[0]}",
                    listed(told) if len(told) > 1 else "",
                )


def _broken_table(checkpoint: Checkpoint) -> Iterator[str]:
    """What is wrong with the entries of `added_tokens` and with the settings of the model."""
    entries = checkpoint.value(TOKENIZER, "/added_tokens")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        lost = [key for key in _ADDED_KEYS if isinstance(entry, dict) and key not in entry]
        if lost:
            yield f"added_tokens/{number} has no {lost[0]}"
    model = object_of(checkpoint, TOKENIZER, "/model")
    for pointer, types in _PARTS.items():
        value = checkpoint.value(TOKENIZER, pointer)
        known = pointer != "/model/type" or value in _KINDS or "type" not in model
        if not known or (value is not None and not isinstance(value, types)):
            yield f"{pointer[1:]} is {value!r:.40}"
    for key, types in _MODEL_TYPES.items():
        value = model.get(key)
        if value is not None and (
            not isinstance(value, types) or (key == "dropout" and value is True)
        ):
            yield f"{key} is {value!r:.40}"
    if model.get("type", "BPE") == "BPE" and "vocab" in model and "merges" not in model:
        yield "the model has no merges"
    for key in ("byte_fallback", "fuse_unk", "ignore_merges"):
        if key in model and model[key] is None:
            yield f"{key} is null"


def _broken(step: str, value: dict[str, JsonValue]) -> Iterator[str]:
    kind = value.get("type")
    if not isinstance(kind, str):
        yield "it has no type"
        return
    needed = _NEEDED.get(kind)
    if kind in _ELSEWHERE[step] | _MODELS:
        yield f"{kind} is no {step}"
        return
    if needed is None:
        return
    yield from (f"{kind} has no {key}" for key in needed if key not in value)
    for key, types in _TYPES.items():
        if key in value and not _fits(key, value[key], types):
            yield f"{key} of {kind} is {value[key]!r:.40}"
    if kind == "Split" and "behavior" in value and value["behavior"] not in _BEHAVIORS:
        yield f"behavior of Split is {value['behavior']!r:.40}"
    pattern = value.get("pattern")
    if isinstance(pattern, dict) and not (
        len(pattern) == 1 and isinstance(pattern.get("Regex", pattern.get("String")), str)
    ):
        yield f"the pattern of {kind} names neither a Regex nor a String"
    inner = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}
    inner |= {"decoder": "decoders", "post_processor": "processors"}
    if kind == "Sequence" and not isinstance(value.get(inner[step]), list):
        yield f"Sequence has no {inner[step]}"


def _fits(key: str, value: JsonValue, types: type | tuple[type, ...]) -> bool:
    if key in ("sep", "cls"):  # [text, id]
        return isinstance(value, list) and [type(part) for part in value] == [str, int]
    return isinstance(value, types) or (key == "pair" and value is None)


@rule(
    "T402",
    severity="warning",
    title="transformers 4 and 5 split text alike",
    bears_on=("inference", "lora"),
)
def class_builds_other_steps(checkpoint: Checkpoint) -> Iterator[Found]:
    """Transformers 5 builds the steps of some classes in code, and ignores those of the file.

    What it checks:
        Where the class is Qwen2Tokenizer, the normalizer of tokenizer.json is NFC and text is split
        by Qwen2's pattern and then into bytes, no prefix or cleaning is added, and `ignore_merges`
        is off: what transformers 5 builds for that class.

    Why it matters:
        transformers 4 and servers on the plain library follow the file, transformers 5 its own code:
        the same text becomes other ids.

    Example:
        The normalizer was set to null in tokenizer.json; the class stayed Qwen2Tokenizer.

    Fix and its safety:
        If the file is right, set "tokenizer_class" to "PreTrainedTokenizerFast" and give
        "model_input_names" beside it, by hand. If it is not, take it from the publisher again.

    Sources:
        transformers 5.23, models/qwen2/tokenization_qwen2.py; measured with both.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or TOKENIZER not in checkpoint.json:
        return
    if tokenizer.tokenizer_class not in ("Qwen2Tokenizer", "Qwen2TokenizerFast"):
        return
    told = list(_not_qwen(checkpoint))
    if told:
        yield Found(
            place(TOKENIZER),
            f"{tokenizer.tokenizer_class} of transformers 5 does not split text as this file says",
            listed(told),
        )


def _not_qwen(checkpoint: Checkpoint) -> Iterator[str]:
    if step_types(checkpoint, "normalizer") - {"Sequence"} != {"NFC"}:
        yield "the normalizer is not NFC alone"
    splits = [v for v, _ in steps_of(checkpoint, "pre_tokenizer") if v.get("type") == "Split"]
    levels = [v for v, _ in steps_of(checkpoint, "pre_tokenizer") if v.get("type") == "ByteLevel"]
    wanted = {"pattern": {"Regex": _QWEN}, "behavior": "Isolated", "invert": False}
    if len(splits) != 1 or any(splits[0].get(key) != value for key, value in wanted.items()):
        yield "text is not split by Qwen2's pattern"
    if len(levels) != 1 or levels[0].get("use_regex") is not False:
        yield "the pieces are not turned into bytes as Qwen2 does"
    elif levels[0].get("add_prefix_space") is not bool(
        checkpoint.value(TOKENIZER_CONFIG, "/add_prefix_space")
    ):
        yield "add_prefix_space differs from tokenizer_config.json"
    if checkpoint.value(TOKENIZER, "/model/ignore_merges") is True:
        yield "ignore_merges is on"


@rule(
    "T403",
    severity="warning",
    title="what is spelled in another alphabet is spelled back",
    bears_on=("inference", "lora"),
)
def one_sided_spelling(checkpoint: Checkpoint) -> Iterator[Found]:
    """Text is spelled in bytes, or with ▁ for spaces, on the way in, and back on the way out.

    What it checks:
        In a BPE tokenizer.json, ByteLevel is among the steps of splitting or normalizing exactly where
        it is among those of decoding; and ▁ is written by some step exactly where a step of decoding
        takes it back.

    Why it matters:
        One side alone gives answers like "Ġthe", or feeds the model letters that it never saw.

    Example:
        The decoder ByteLevel was dropped.

    Fix and its safety:
        None here: take tokenizer.json from its publisher again.

    Sources:
        tokenizers 0.23, pre_tokenizers/byte_level.rs, decoders and pre_tokenizers/metaspace.rs.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or tokenizer.kind != "BPE" or TOKENIZER not in checkpoint.json:
        return
    there = step_types(checkpoint, "pre_tokenizer") | step_types(checkpoint, "normalizer")
    back = step_types(checkpoint, "decoder")
    if ("ByteLevel" in there) != ("ByteLevel" in back):
        half = "in but not back" if "ByteLevel" in there else "back but not in"
        yield Found(place(TOKENIZER), f"text is spelled in bytes on the way {half}")
    marks = [
        any(_writes_mark(value) for step in steps for value, _ in steps_of(checkpoint, step))
        for steps in (("normalizer", "pre_tokenizer"), ("decoder",))
    ]
    if marks[0] != marks[1]:
        side = "in but not back" if marks[0] else "back but not in"
        yield Found(place(TOKENIZER), f"spaces are spelled as ▁ on the way {side}")
    spaces = [v for v, _ in steps_of(checkpoint, "normalizer") if v.get("content") == "▁"]
    first = [v for v, _ in steps_of(checkpoint, "normalizer") if v.get("type") == "Prepend"]
    stripped = [v for v, _ in steps_of(checkpoint, "decoder") if v.get("type") == "Strip"]
    if spaces and bool(first) != bool(stripped):
        fate = "put there and not taken back" if first else "taken away and never put there"
        yield Found(place(TOKENIZER), f"a space before each text is {fate}")


def _writes_mark(value: dict[str, JsonValue]) -> bool:
    """Whether a step turns spaces into ▁, or ▁ into spaces."""
    pattern = value.get("pattern")
    from_mark = isinstance(pattern, dict) and pattern.get("String") == "▁"
    to_mark = value.get("type") == "Replace" and value.get("content") == "▁"
    return value.get("type") == "Metaspace" or to_mark or from_mark
