"""T: the steps of tokenizer.json around its model: normalizer, splitting, decoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokengraft.auditing.asking import (
    TOKENIZER,
    TOKENIZER_CONFIG,
    object_of,
    step_types,
    steps_of,
    trusted_tokenizer,
)
from tokengraft.auditing.rule import Found, listed, place, rule, shown
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
_ADDED_KEYS = ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
_MODEL_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), bool),
    **dict.fromkeys(("unk_token", "continuing_subword_prefix", "end_of_word_suffix"), str),
    "dropout": (int, float),
}
_BEHAVIORS = ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous")
# Types of the known keys of steps.
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("add_prefix_space", "trim_offsets", "use_regex", "invert"), bool),
    **dict.fromkeys(("prepend", "content", "replacement"), str),
    **dict.fromkeys(("start", "stop"), int),
    **dict.fromkeys(("pretokenizers", "normalizers", "decoders", "processors"), list),
    **dict.fromkeys(("single", "pair"), list),
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
        if (
            key in value
            and not isinstance(value[key], types)
            and not (key == "pair" and value[key] is None)
        ):
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
        side = "in but not back" if "ByteLevel" in there else "back but not in"
        yield Found(place(TOKENIZER), f"text is spelled in bytes on the way {side}")
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
        side = "put there and not taken back" if first else "taken away and never put there"
        yield Found(place(TOKENIZER), f"a space before each text is {side}")


def _writes_mark(value: dict[str, JsonValue]) -> bool:
    """Whether a step turns spaces into ▁, or ▁ into spaces."""
    pattern = value.get("pattern")
    from_mark = isinstance(pattern, dict) and pattern.get("String") == "▁"
    to_mark = value.get("type") == "Replace" and value.get("content") == "▁"
    return value.get("type") == "Metaspace" or to_mark or from_mark


@rule("T404", severity="note", title="tokenizer.json cuts and pads nothing by itself")
def cuts_or_pads(checkpoint: Checkpoint) -> Iterator[Found]:
    """A limit that was set for one training run can stay in the file.

    What it checks:
        `truncation` and `padding` in tokenizer.json are null.

    Why it matters:
        transformers turns both off. Programs on the plain library do not: long texts lose their end
        without a word, short ones are filled up.

    Example:
        "truncation": {"max_length": 512, ...} in the file of a model with 32,768 positions.

    Fix and its safety:
        Set both to null by hand. Safe: no id changes.

    Sources:
        tokenizers 0.23, tokenizer/serialization.rs; transformers tokenization_utils_fast.py.
    """
    for key in ("truncation", "padding"):
        value = object_of(checkpoint, TOKENIZER, f"/{key}")
        if value:
            length = value.get("max_length") if key == "truncation" else value.get("strategy")
            yield Found(
                place(TOKENIZER, f"/{key}"),
                f"tokenizer.json has {key} built in: {length!r:.60}",
                "programs on the plain tokenizers library do it to every text",
            )


@rule(
    "T405",
    severity="error",
    title="the post-processor writes ids that its tokens have",
    bears_on=("inference", *EVERY_CHANGE),
)
def post_processor_ids(checkpoint: Checkpoint) -> Iterator[Found]:
    """The step that puts bos and eos around a text keeps their ids beside their texts.

    What it checks:
        Each token that the post-processor names is in the table, with the id that stands beside it; and
        each token in its pattern is among those that it declares.

    Why it matters:
        The id is what counts: after a change of the table the wrong row stands before every text.
        An undeclared token stops the file from loading.

    Example:
        "<s>": {"ids": [1]} while <s> is 2 in the table.

    Fix and its safety:
        None here: which of the two is right is not in the file. Ask the publisher.

    Sources:
        tokenizers 0.23, processors/template.rs.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or not tokenizer.vocab:
        return
    for value, pointer in steps_of(checkpoint, "post_processor"):
        told = [
            f"{shown(text)} has {ids} there, {tokenizer.id_of(text)} in the table"
            for text, ids in _emitted(value)
            if ids != tokenizer.id_of(text)
        ]
        if told:
            yield Found(
                place(TOKENIZER, pointer), "the post-processor writes other ids", listed(told)
            )


def _emitted(value: dict[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    """Texts that a post-processor puts in, with the ids it has for them."""
    for key in ("sep", "cls"):
        pair = value.get(key)
        if isinstance(pair, list) and len(pair) == 2:  # noqa: PLR2004  [text, id]
            yield str(pair[0]), pair[1]
    declared = value.get("special_tokens")
    known = declared if isinstance(declared, dict) else {}
    for entry in known.values():
        if isinstance(entry, dict):
            texts, ids = entry.get("tokens"), entry.get("ids")
            if isinstance(texts, list) and isinstance(ids, list):
                yield from zip(map(str, texts), ids, strict=False)
    for part in (value.get("single"), value.get("pair")):
        for piece in part if isinstance(part, list) else ():
            special = piece.get("SpecialToken") if isinstance(piece, dict) else None
            if isinstance(special, dict) and special.get("id") not in known:
                yield str(special.get("id")), "no id"


@rule("T406", severity="note", title="add_bos_token and add_eos_token do what they say")
def flags_without_effect(checkpoint: Checkpoint) -> Iterator[Found]:
    """What stands around a text is decided by tokenizer.json; two flags of another file look as if.

    What it checks:
        Where `add_bos_token` or `add_eos_token` of tokenizer_config.json is true, the post-processor
        of tokenizer.json writes that token; where it is false, it does not.

    Why it matters:
        Most classes never read these flags, Llama's reads them in transformers 4 alone: whether a text
        begins with bos then depends on the program.

    Example:
        "add_bos_token": true on Qwen3, whose post-processor adds nothing.

    Fix and its safety:
        Set the flag to what happens, by hand. Safe: nothing else changes.

    Sources:
        transformers 4.57 tokenization_llama_fast.py, 5.23 drops both keys; SGLang re-adds them.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or TOKENIZER not in checkpoint.json or not tokenizer.vocab:
        return
    written = {
        text for value, _ in steps_of(checkpoint, "post_processor") for text, _ in _emitted(value)
    }
    for name in ("bos", "eos"):
        flag = checkpoint.value(TOKENIZER_CONFIG, f"/add_{name}_token")
        text = tokenizer.named_content(name)
        if isinstance(flag, bool) and flag != (text in written) and (text is not None or flag):
            yield Found(
                place(TOKENIZER_CONFIG, f"/add_{name}_token"),
                f"add_{name}_token is {str(flag).lower()}, and tokenizer.json "
                f"{'does not write' if flag else 'writes'} {name}",
            )


@rule(
    "T407",
    severity="warning",
    title="control tokens are read as control tokens",
    bears_on=("inference", "lora"),
)
def special_tokens_are_split(checkpoint: Checkpoint) -> Iterator[Found]:
    """One switch makes transformers cut special tokens into ordinary pieces.

    What it checks:
        `split_special_tokens` in tokenizer_config.json is not true.

    Why it matters:
        A chat template writes its markers as text. With the switch on they are cut into letters, and
        the model sees no turn at all. transformers 5 and other programs ignore it or obey it.

    Example:
        "split_special_tokens": true, meant to protect against forged markers.

    Fix and its safety:
        Set it to false by hand; encode what users write apart from the frame instead. Safe.

    Sources:
        transformers 4.57, tokenization_utils_fast.py, `encode_special_tokens`.
    """
    if checkpoint.value(TOKENIZER_CONFIG, "/split_special_tokens") is True:
        yield Found(
            place(TOKENIZER_CONFIG, "/split_special_tokens"),
            "special tokens are cut into ordinary pieces when a text is read",
        )
