"""Questions that several rules ask of a checkpoint. None has an answer that was not read."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.boundaries import ids_in, stop_ids
from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.families import context_of
from tokengraft.families.configs import read_claims
from tokengraft.vocabulary import Tokenizer

CONFIG = "config.json"
GENERATION = "generation_config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENS_MAP = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"


def object_of(checkpoint: Checkpoint, file: str, pointer: str = "") -> dict[str, JsonValue]:
    """A JSON object, empty where there is none."""
    value = checkpoint.value(file, pointer)
    return value if isinstance(value, dict) else {}


def trusted_tokenizer(checkpoint: Checkpoint) -> Tokenizer | None:
    """The tokenizer, unless its files contradict each other on ids.

    What a rule would say of such a table is a consequence of T102 or T104, which say so already.
    """
    tokenizer = checkpoint.tokenizer
    return None if tokenizer is None or tokenizer.conflicts else tokenizer


def n_rows_of(checkpoint: Checkpoint) -> int | None:
    """Rows of the input matrix, or what the config says; None where neither is at hand."""
    layout = checkpoint.layout
    if layout is None or not layout.n_rows:
        return None
    if layout.n_rows_from == "config" and vocab_size_of(checkpoint)[0] is None:
        return None  # then the layout repeats what the tokenizer counts
    return layout.n_rows


def vocab_size_of(checkpoint: Checkpoint) -> tuple[int | None, str]:
    """The number of rows that config.json names, with its pointer."""
    claims = read_claims(checkpoint.family, object_of(checkpoint, CONFIG), checkpoint.text_config)
    return claims.n_rows, claims.n_rows_pointer


def n_tokens_of(checkpoint: Checkpoint) -> int | None:
    """What the tokenizer counts; None without a tokenizer or where its files name no id."""
    tokenizer = checkpoint.tokenizer
    return tokenizer.n_tokens or None if tokenizer is not None else None


def knows_every_token(tokenizer: Tokenizer) -> bool:
    """Whether the model's own vocabulary was at hand, and not the added tokens alone."""
    return bool(tokenizer.vocab)


def context_length_of(checkpoint: Checkpoint) -> tuple[int | None, str]:
    """The context length of config.json, with its pointer."""
    config = object_of(checkpoint, CONFIG)
    length, pointer = context_of(checkpoint.family, config, checkpoint.text_config)
    return length, pointer or ""


def ids_at(checkpoint: Checkpoint, file: str, pointer: str) -> tuple[int, ...]:
    """The id or the list of ids at a place."""
    return ids_in(checkpoint.value(file, pointer))


def stop_ids_of(checkpoint: Checkpoint) -> tuple[tuple[int, ...], str, str]:
    """The ids that end generation, and the file and pointer that say so; see `stop_ids`."""
    return stop_ids(checkpoint.value, checkpoint.text_config)


def named_ids(checkpoint: Checkpoint, name: str) -> Iterator[tuple[int, str, str]]:
    """Ids that config.json and generation_config.json give a name, each with file and pointer."""
    tokenizer = checkpoint.tokenizer
    for named in tokenizer.named if tokenizer is not None else ():
        if named.name == name and named.token_id is not None:
            yield named.token_id, named.file, named.pointer


def text_of(tokenizer: Tokenizer, token_id: int) -> str | None:
    """The text of an added token by its id."""
    return next((t.content for i, t in tokenizer.added.items() if i == token_id), None)


def rope_scaling_of(checkpoint: Checkpoint) -> tuple[dict[str, JsonValue], str]:
    """The RoPE scaling in force, in the older spelling if it is there, with its pointer."""
    for base in dict.fromkeys((checkpoint.text_config, "")):
        for key in ("/rope_scaling", "/rope_parameters"):
            found = object_of(checkpoint, CONFIG, base + key)
            if found:
                return found, base + key
    return {}, ""


def rope_type_of(scaling: dict[str, JsonValue]) -> str:
    """The kind of scaling, older names put into today's: `su` is longrope, mrope scales nothing."""
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    return {"su": "longrope", "mrope": "default"}.get(str(kind), str(kind))


def steps_of(checkpoint: Checkpoint, step: str) -> Iterator[tuple[dict[str, JsonValue], str]]:
    """A step of tokenizer.json (`normalizer` ...) and all that are nested in it, with pointers."""
    todo = [(checkpoint.value(TOKENIZER, f"/{step}"), f"/{step}")]
    while todo:
        value, pointer = todo.pop(0)
        if isinstance(value, dict):
            yield value, pointer
            for key in ("normalizers", "pretokenizers", "decoders", "processors"):
                inner = value.get(key)
                if isinstance(inner, list):
                    todo += [(one, f"{pointer}/{key}/{at}") for at, one in enumerate(inner)]


def step_types(checkpoint: Checkpoint, step: str) -> set[str]:
    """The types of a step and of all that are nested in it."""
    return {str(value.get("type")) for value, _ in steps_of(checkpoint, step)}


def config_levels(checkpoint: Checkpoint) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """The language model's part of config.json, then the top level, each with its pointer."""
    for base in dict.fromkeys((checkpoint.text_config, "")):
        yield base, object_of(checkpoint, CONFIG, base)
