"""R: what ends generation."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import TOKENIZER_CONFIG, stop_ids_of, text_of, trusted_tokenizer
from tokengraft.auditing.rule import Found, listed, place, rule, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.findings import Fix
from tokengraft.formats.template_text import markers, turn_ends

# A turn can end with one of these behind another special token; then the text alone decides.
KNOWN_ENDS = frozenset({"<|im_end|>", "<|eot_id|>", "<end_of_turn>"})
STOP_AUTO = Fix(operation="stop", settings={"tokens": "auto"})


@rule(
    "R301",
    severity="error",
    title="the token that ends a chat turn ends generation",
    bears_on=("inference", "roles", "tools", "thinking", "protocol", "lora"),
)
def turn_end_does_not_stop(checkpoint: Checkpoint) -> Iterator[Found]:
    """The chat template closes each turn with a token; generation must stop there.

    What it checks:
        The token with which the chat template ends a turn of the assistant is among the stop ids:
        `eos_token_id` of generation_config.json or, where that names none, of config.json. The
        turn end is read from the template's text; where that is not plain, or neither file names a
        stop id, the rule says nothing.

    Why it matters:
        The model writes its turn end and the program goes on: it answers itself, plays the user,
        and stops only at the length limit.

    Example:
        Qwen3-30B-A3B-Base: the template ends turns with <|im_end|> (151645), generation stops at
        151643 alone.

    Fix and its safety:
        Safe: `[stop] tokens = "auto"`, which is the default of every recipe, adds the id to the
        list and takes none away.

    Sources:
        QwenLM/Qwen3#1064 and #1422, huggingface/open-r1#663.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    template = tokenizer.template() if tokenizer is not None else None
    stops, file, pointer = stop_ids_of(checkpoint)
    if tokenizer is None or template is None or not stops:
        return
    ends = turn_ends(tokenizer, template)
    ids = [token_id for text in ends if (token_id := tokenizer.id_of(text)) is not None]
    known = {text_of(tokenizer, token_id) for token_id in stops} & KNOWN_ENDS
    if ids and not set(ids) & set(stops) and not known & set(markers(tokenizer, template)):
        yield Found(
            place(file, pointer),
            f"the chat template ends turns with {shown(ends[0])} ({ids[0]}), "
            f"generation stops at {listed(map(str, stops))} only",
            "a chat goes on past the end of its turn until it meets the length limit",
            fix=STOP_AUTO,
            safety="safe",
        )


@rule(
    "R305",
    severity="warning",
    title="a tokenizer with a chat template names an eos token",
    bears_on=("inference", "roles", "tools", "thinking", "protocol", "lora"),
)
def no_eos(checkpoint: Checkpoint) -> Iterator[Found]:
    """A chat has an end; programs ask the tokenizer for it first.

    What it checks:
        Where a chat template ends turns with a token, a file of the tokenizer names an eos token.

    Why it matters:
        Trainers put eos behind each example and servers stop at it. Without one, some programs
        stop with an error and others go on to the length limit.

    Example:
        A tokenizer_config.json without the key `eos_token`, whose template writes <|im_end|>.

    Fix and its safety:
        Name the token that ends turns as `eos_token` in tokenizer_config.json, by hand. No id and
        no row changes.

    Sources:
        transformers 4.57 and 5.23, `Trainer` and `generate`; vLLM 0.33, the stop set.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    template = tokenizer.template() if tokenizer is not None else None
    if tokenizer is None or template is None or tokenizer.named_content("eos") is not None:
        return
    ends = turn_ends(tokenizer, template)
    if ends:
        yield Found(
            place(TOKENIZER_CONFIG, "/eos_token"),
            f"no eos token is named, and the chat template ends turns with {shown(ends[0])}",
            "programs that ask the tokenizer where a text ends get no answer",
        )
