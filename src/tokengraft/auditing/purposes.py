"""R: names of tokens against what the tokens are for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokengraft.auditing.asking import (
    TOKENIZER_CONFIG,
    object_of,
    trusted_tokenizer,
)
from tokengraft.auditing.ending import ENDS
from tokengraft.auditing.named import content_of
from tokengraft.auditing.rule import Found, listed, place, rule, shown
from tokengraft.auditing.stopping import KNOWN_ENDS
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.template_text import markers, turn_ends
from tokengraft.vocabulary import NAMED_TOKENS, Tokenizer

# A token whose own text says that something ends is never taken for an opening one.
_SAYS_END = re.compile(r"end|eo[sdtm]|stop|return|close|/", re.IGNORECASE)
_SENSES = re.compile(r"(?:\w+_)?(?:image|video|audio|vision|speech)(?:_\w+)?_token")


@rule(
    "R107",
    severity="warning",
    title="eos ends and bos begins",
    bears_on=("inference", "roles", "tools", "thinking", "protocol", "lora"),
)
def names_are_turned_around(checkpoint: Checkpoint) -> Iterator[Found]:
    """The names of tokens say what they do; a chat template shows what they really do.

    What it checks:
        Where the chat template ends turns with a token, the tokenizer's eos is none of the other
        markers that it writes, unless its text speaks of an end; and bos is not <|im_end|>,
        <|eot_id|> or <end_of_turn> (that is a note).

    Why it matters:
        Programs without a generation_config.json stop at the tokenizer's eos: at the opening of a
        turn, which the model may never write. Trainers put it behind every example.

    Example:
        "eos_token": "<|im_start|>", where turns end with <|im_end|>.

    Fix and its safety:
        Name the token that ends turns as `eos_token` in tokenizer_config.json, by hand. No id and
        no row changes.

    Sources:
        transformers 4.57 and 5.23, `eos_token`; huggingface/trl#1412, on names that were overwritten.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    template = tokenizer.template() if tokenizer is not None else None
    if tokenizer is None or template is None:
        return
    eos, bos = tokenizer.named_content("eos"), tokenizer.named_content("bos")
    ends = turn_ends(tokenizer, template)
    opens = eos is not None and eos not in ends and not _SAYS_END.search(eos)
    if eos is not None and ends and opens and eos in markers(tokenizer, template):
        yield Found(
            _place(tokenizer, "eos"),
            f"eos is {shown(eos)}, and the chat template ends turns with {shown(ends[0])}",
            "programs that stop at eos stop at a marker that ends nothing",
        )
    if bos is not None and bos in KNOWN_ENDS:
        yield Found(
            _place(tokenizer, "bos"),
            f"bos is {shown(bos)}, which ends turns",
            "programs that put bos before a text begin it with the end of a turn",
            severity="note",
        )


def _place(tokenizer: Tokenizer, name: str) -> str:
    named = next(n for n in tokenizer.named if n.name == name and n.content is not None)
    return place(named.file, named.pointer)


@rule(
    "R108",
    severity="warning",
    title="names for pictures and sounds are not given to tokens of text",
    bears_on=("inference", "pad", "lora"),
)
def sense_names_text(checkpoint: Checkpoint) -> Iterator[Found]:
    """A processor puts hundreds of copies of one token where a picture or a sound goes.

    What it checks:
        Keys of tokenizer_config.json such as `image_token`, `video_token` or `audio_eos_token`, and those
        in its `extra_special_tokens`, do not name a token that ends turns or texts, nor the tokenizer's
        bos, eos or pad.

    Why it matters:
        Two names were swapped or copied: pictures are filled in with ends of text, or generation
        stops at the token that stands for a picture.

    Example:
        "eos_token": "<|image_pad|>" and "image_token": "<|im_end|>", each in the other's place.

    Fix and its safety:
        Give both names back to their tokens in tokenizer_config.json, by hand. No id and no row
        changes.

    Sources:
        transformers 4.57 and 5.23, tokenization_utils_base.py, model-specific special tokens.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    config = object_of(checkpoint, TOKENIZER_CONFIG)
    if tokenizer is None:
        return
    of_text = {tokenizer.named_content(name): name for name in reversed(NAMED_TOKENS[:3])}
    template = tokenizer.template()
    ends = {*ENDS, *(turn_ends(tokenizer, template) if template is not None else ())}
    told: list[str] = []
    pointers: list[str] = []
    for base in ("", "/extra_special_tokens"):
        names = object_of(checkpoint, TOKENIZER_CONFIG, base) if base else config
        for key, value in names.items():
            text = content_of(value) if _SENSES.fullmatch(key) else None
            if text is not None and (text in ends or text in of_text):
                told.append(f"{key} is {shown(text)}, which {_role(of_text.get(text))}")
                pointers.append(f"{base}/{key}")
    if told:
        yield Found(place(TOKENIZER_CONFIG, pointers[0]), told[0], listed(told) if told[1:] else "")


def _role(name: str | None) -> str:
    return f"is {name} too" if name is not None else "ends turns or texts"
