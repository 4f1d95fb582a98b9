"""Where a text begins and where generation ends, as the files of a folder say; one place for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tokengraft.checkpoint import Checkpoint, JsonValue


def ids_in(value: JsonValue) -> tuple[int, ...]:
    """The id or the list of ids that a value is."""
    return tuple(one for one in (value if isinstance(value, list) else [value]) if type(one) is int)


def opening_of(checkpoint: Checkpoint) -> tuple[int, ...]:
    """The ids before every text of a checkpoint; see `opening_ids`."""
    return opening_ids(checkpoint.value("tokenizer.json", "/post_processor"))


def opening_ids(post_processor: JsonValue) -> tuple[int, ...]:
    """The ids that tokenizer.json puts before every text, such as bos; most put none.

    transformers goes by the same where there is a tokenizer.json: it passes over `add_bos_token` of
    tokenizer_config.json then (5.23, `PreTrainedTokenizerBase._from_pretrained`). A chat template
    writes its own.

    Args:
        post_processor: of tokenizer.json.
    """
    return tuple(_opening(post_processor))


def _opening(step: JsonValue) -> Iterator[int]:
    if not isinstance(step, dict):
        return
    if step.get("type") == "Sequence":
        steps = step.get("processors")
        for one in steps if isinstance(steps, list) else ():
            yield from _opening(one)
    single = step.get("single") if step.get("type") == "TemplateProcessing" else None
    known = step.get("special_tokens")
    for piece in single if isinstance(single, list) else ():
        special = piece.get("SpecialToken") if isinstance(piece, dict) else None
        if not isinstance(special, dict):
            return  # the text itself
        entry = known.get(str(special.get("id"))) if isinstance(known, dict) else None
        ids = entry.get("ids") if isinstance(entry, dict) else None
        yield from (one for one in (ids if isinstance(ids, list) else ()) if type(one) is int)


def stop_ids(
    value: Callable[[str, str], JsonValue], text_config: str
) -> tuple[tuple[int, ...], str, str]:
    """The ids that end generation, and the file and pointer that say so ("" if none does).

    generation_config.json counts where it names any; else config.json, the language model's part
    of it first. Source: transformers 4.57 and 5.23, `GenerationConfig.from_model_config`.

    Args:
        value: what stands in a file at a pointer; None where nothing does.
        text_config: where the language model's part of config.json begins.
    """
    for file, pointer in (
        ("generation_config.json", "/eos_token_id"),
        ("config.json", f"{text_config}/eos_token_id"),
        ("config.json", "/eos_token_id"),
    ):
        if ids := ids_in(value(file, pointer)):
            return ids, file, pointer
    return (), "", ""


def generation_ends(checkpoint: Checkpoint) -> tuple[int, ...]:
    """The ids that end generation; where no file names any, the tokenizer's eos is asked for."""
    ids, _, _ = stop_ids(checkpoint.value, checkpoint.text_config)
    eos = None if checkpoint.tokenizer is None else checkpoint.tokenizer.named_id("eos")
    return ids or (() if eos is None else (eos,))
