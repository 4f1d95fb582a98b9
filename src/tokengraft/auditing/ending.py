"""R: stop lists that lost a member, and ids that mean something else."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import (
    CONFIG,
    GENERATION,
    TOKENIZER_CONFIG,
    config_levels,
    ids_at,
    knows_every_token,
    n_rows_of,
    object_of,
    stop_ids_of,
    text_of,
    trusted_tokenizer,
)
from tokengraft.auditing.rule import Found, listed, place, rule, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.template_text import markers, turn_ends
from tokengraft.vocabulary import NAMED_TOKENS

# Texts by which llama.cpp knows an end (llama-vocab.cpp), those of other meanings left out.
ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "</s>")
_TURNS = ENDS[:3]
# What transformers fills in where tokenizer_config.json lacks the key.
_DEFAULTS = {
    "Qwen2Tokenizer": {"eos": "<|endoftext|>", "pad": "<|endoftext|>", "unk": "<|endoftext|>"},
    "GPT2Tokenizer": dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>"),
    "LlamaTokenizer": {"bos": "<s>", "eos": "</s>", "unk": "<unk>"},
}


@rule("R302", severity="note", title="the stop list has every end that the model knows")
def stop_list_is_short(checkpoint: Checkpoint) -> Iterator[Found]:
    """A chat model ends turns with one token and documents with another; both end its answer.

    What it checks:
        Where generation_config.json stops at the end of a turn, it also stops at the end of a document
        (<|endoftext|>, <|end_of_text|>), if the tokenizer has that token and pads or begins texts
        with it. Base models, which R301 speaks of, are left alone.

    Why it matters:
        A tool that writes one eos over the list leaves answers that end as a document does running
        on. llama.cpp knows both by their text, and behaves differently from the rest.

    Example:
        "eos_token_id": [151645, 151643] became 151645.

    Fix and its safety:
        Safe by hand: add the id to the list of generation_config.json.

    Sources:
        lighteval#1279, transformers#38330: a list of eos replaced by one id.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    stops, file, pointer = stop_ids_of(checkpoint)
    if tokenizer is None or file != GENERATION:
        return
    texts = {text_of(tokenizer, token_id) for token_id in stops}
    if not texts & set(_TURNS):
        return
    used = {tokenizer.named_content(name) for name in ("pad", "bos")}
    left = [text for text in ENDS[3:5] if text in used and text not in texts]
    if left:
        yield Found(
            place(file, pointer),
            f"generation stops at {listed(map(str, stops))} and not at {shown(left[0])} "
            f"({tokenizer.id_of(left[0])})",
            "an answer that ends as a document does goes on",
        )


@rule(
    "R303",
    severity="warning",
    title="generation_config.json says where generation stops",
    bears_on=("inference", "lora"),
)
def no_stop_in_generation_config(checkpoint: Checkpoint) -> Iterator[Found]:
    """Once a generation_config.json is there, the ids of config.json are no longer asked.

    What it checks:
        Where config.json names `eos_token_id`, generation_config.json, if it is there and names other
        ids, names that one too.

    Why it matters:
        transformers' generate then knows no end and writes to the length limit, although config.json
        has one.

    Example:
        {"bos_token_id": 1, "do_sample": false} beside "eos_token_id": 2 in config.json.

    Fix and its safety:
        Write the ids of config.json into generation_config.json, by hand. Safe: no row changes.

    Sources:
        transformers 4.57 and 5.23, generation/configuration_utils.py and modeling_utils.py.
    """
    generation = object_of(checkpoint, GENERATION)
    named = any(f"{name}_token_id" in generation for name in ("bos", "pad", "decoder_start"))
    eos = [
        i
        for at, _ in config_levels(checkpoint)
        for i in ids_at(checkpoint, CONFIG, f"{at}/eos_token_id")
    ]
    if named and eos and not ids_at(checkpoint, GENERATION, "/eos_token_id"):
        yield Found(
            place(GENERATION, "/eos_token_id"),
            f"generation_config.json names no stop id, config.json has {listed(map(str, eos))}",
        )


@rule(
    "R304",
    severity="warning",
    title="generation stops at ends only",
    bears_on=("inference", "lora"),
)
def stops_in_the_middle(checkpoint: Checkpoint) -> Iterator[Found]:
    """A stop id that means something else cuts answers where it comes up.

    What it checks:
        Each stop id that is not the tokenizer's eos is an added token, and not one that the chat
        template writes within a turn. Lists without any end are left to R102 and R301.

    Why it matters:
        An ordinary piece among the stop ids ends answers in the middle of a sentence; an opening
        marker ends them before a tool call. Often it is an id that was off by one.

    Example:
        "eos_token_id": [151645, 151642], where 151642 is a piece of Thai.

    Fix and its safety:
        Correct the list by hand. Safe: no row changes.

    Sources:
        transformers 4.57 and 5.23, `EosTokenCriteria`.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    stops, file, pointer = stop_ids_of(checkpoint)
    if tokenizer is None or not knows_every_token(tokenizer) or not tokenizer.added:
        return
    template = tokenizer.template()
    inner = set(markers(tokenizer, template)) if template is not None else set()
    inner -= {*ENDS, *(turn_ends(tokenizer, template) if template is not None else ())}
    texts, told = tokenizer.table(), []
    eos = tokenizer.named_content("eos")
    if not {texts.get(token_id) for token_id in stops} & {eos, *ENDS}:
        return  # R102 and R301 say that no end is among them
    for token_id in stops:
        text = texts.get(token_id)
        if text is None or text == eos or text in ENDS:
            continue
        if token_id not in tokenizer.added:
            told.append(f"{token_id} is the piece {shown(text)}")
        elif text in inner:
            told.append(f"{token_id} is {shown(text)}, which the chat template writes within turns")
    if told:
        yield Found(
            place(file, pointer), f"generation stops in the middle: {told[0]}", listed(told)
        )


@rule(
    "R204",
    severity="warning",
    title="every id that the configs name is a token",
    bears_on=("inference", "pad", "lora"),
)
def named_id_without_token(checkpoint: Checkpoint) -> Iterator[Found]:
    """An id between the last token and the last row has a row, and no text.

    What it checks:
        bos, eos, pad and the other named ids of config.json and generation_config.json are ids of
        tokens. Ids without a row are left to R203.

    Why it matters:
        vLLM refuses such ids in some requests; nothing the model writes can ever be that stop id.

    Example:
        "eos_token_id": 151700 on Qwen3, whose last token is 151668.

    Fix and its safety:
        Correct the id by hand; `[stop]` and `[pad]` write the right ones for eos and pad.

    Sources:
        vLLM 0.33 renderers/base.py; hiyouga/LLaMA-Factory#7328.
    """
    tokenizer, n_rows = trusted_tokenizer(checkpoint), n_rows_of(checkpoint)
    if tokenizer is None or not knows_every_token(tokenizer):
        return
    known = {*tokenizer.vocab.values(), *tokenizer.added}
    places = [(CONFIG, at) for at, _ in config_levels(checkpoint)] + [(GENERATION, "")]
    for file, base in places:
        for name in NAMED_TOKENS:
            for token_id in ids_at(checkpoint, file, f"{base}/{name}_token_id"):
                if token_id >= 0 and token_id not in known and token_id < (n_rows or token_id + 1):
                    yield Found(
                        place(file, f"{base}/{name}_token_id"),
                        f"{name} is {token_id}, which is no token",
                        f"the tokenizer has {tokenizer.n_tokens:,} tokens",
                    )


@rule(
    "R205",
    severity="warning",
    title="padding is not a token of the chat template",
    bears_on=("roles", "tools", "thinking", "lora"),
)
def pad_is_used(checkpoint: Checkpoint) -> Iterator[Found]:
    """The pad token is left out of attention and loss wherever it stands.

    What it checks:
        The tokenizer's pad is not a text that the chat template writes. Where pad is also eos, R201
        speaks.

    Why it matters:
        The template's marker is masked like padding: the model learns nothing about it, and PyTorch
        gives its input row no gradient.

    Example:
        "pad_token": "<|im_start|>".

    Fix and its safety:
        `[pad]` with the text of an unused token names that one in every file. Safe: no row changes.

    Sources:
        torch.nn.Embedding, `padding_idx`; transformers modeling files pass config.pad_token_id.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    template = tokenizer.template() if tokenizer is not None else None
    if tokenizer is None or template is None:
        return
    pad = tokenizer.named_content("pad")
    if (
        pad is not None
        and pad != tokenizer.named_content("eos")
        and pad in markers(tokenizer, template)
    ):
        yield Found(
            place(TOKENIZER_CONFIG, "/pad_token"),
            f"padding is {shown(pad)}, which the chat template writes",
        )


@rule("R104", severity="note", title="config.json and generation_config.json name the same ids")
def configs_differ(checkpoint: Checkpoint) -> Iterator[Found]:
    """Bos and pad stand in two configs, and each is read by some programs.

    What it checks:
        bos, eos and pad, where both files name them, are the same ids (for eos, one of the list). Names
        that the tokenizer has too are R102's.

    Why it matters:
        transformers' generate reads the one, llama.cpp's converter and some trainers the other.

    Example:
        config.json: "pad_token_id": 0; generation_config.json: "pad_token_id": 151643.

    Fix and its safety:
        Make config.json say the same, by hand. Safe: no row changes.

    Sources:
        transformers 4.57, `GenerationConfig.from_model_config`; llama.cpp gguf-py/gguf/vocab.py.
    """
    tokenizer = checkpoint.tokenizer
    for name in ("bos", "eos", "pad"):
        if tokenizer is not None and tokenizer.named_id(name) is not None:
            continue  # R102 compares both with the tokenizer
        here = ids_at(checkpoint, GENERATION, f"/{name}_token_id")
        for base, _ in config_levels(checkpoint):
            there = ids_at(checkpoint, CONFIG, f"{base}/{name}_token_id")
            if here and there and not set(there) <= set(here) and min(*here, *there) >= 0:
                yield Found(
                    place(CONFIG, f"{base}/{name}_token_id"),
                    f"{name} is {listed(map(str, there))} in config.json, "
                    f"{listed(map(str, here))} in generation_config.json",
                )


@rule("R105", severity="note", title="files, not classes, name the tokens")
def class_names_tokens(checkpoint: Checkpoint) -> Iterator[Found]:
    """Where a file is silent, the tokenizer's class fills in a name of its own.

    What it checks:
        Where tokenizer_config.json has the full table of added tokens, it also has the keys for which
        its class (Qwen2Tokenizer, GPT2Tokenizer, LlamaTokenizer) would fill in a text; null is fine.

    Why it matters:
        Other classes and other programs fill in nothing, so eos or pad depends on who loads it.

    Example:
        Qwen3 without the key "eos_token": transformers takes <|endoftext|>.

    Fix and its safety:
        Write the key by hand, null if there shall be none. Safe: no row changes.

    Sources:
        transformers 4.57 and 5.23, `__init__` of the classes named.
    """
    config = object_of(checkpoint, TOKENIZER_CONFIG)
    kind = str(config.get("tokenizer_class")).removesuffix("Fast")
    if "added_tokens_decoder" not in config:
        return
    known = object_of(checkpoint, "special_tokens_map.json")
    for name, text in _DEFAULTS.get(kind, {}).items():
        if f"{name}_token" not in config and f"{name}_token" not in known:
            yield Found(
                place(TOKENIZER_CONFIG, f"/{name}_token"),
                f"no file names {name}, so {kind} takes {shown(text)}",
            )


@rule("R106", severity="note", title="both tokenizer files name the same unknown token")
def unknown_differs(checkpoint: Checkpoint) -> Iterator[Found]:
    """What becomes of a letter that no piece covers is said in two places.

    What it checks:
        Where both `unk_token` of tokenizer_config.json and `model.unk_token` of tokenizer.json are
        texts, they are the same; a byte-level vocabulary needs none, so bos or eos in its place passes.

    Why it matters:
        The model of tokenizer.json writes its own unknown token; programs that count unknown tokens
        look for the other one.

    Example:
        "<unk>" in tokenizer.json and "<pad>" in tokenizer_config.json.

    Fix and its safety:
        Correct tokenizer_config.json by hand. Safe: no id changes.

    Sources:
        tokenizers 0.23, models/bpe/model.rs; transformers tokenization_utils_base.py.
    """
    tokenizer = checkpoint.tokenizer
    model = checkpoint.value("tokenizer.json", "/model/unk_token")
    if tokenizer is None:
        return
    config, said = object_of(checkpoint, TOKENIZER_CONFIG), tokenizer.named_content("unk")
    silent = isinstance(model, str) and "unk_token" in config and said is None
    odd = model is None and tokenizer.byte_level and said is not None
    ends = {tokenizer.named_content(name) for name in ("bos", "eos", "pad")}
    ends |= set(ENDS)
    if (
        (isinstance(model, str) and said is not None and model != said)
        or silent
        or (odd and said not in ends)
    ):
        yield Found(
            place(TOKENIZER_CONFIG, "/unk_token"),
            f"unk is {shown(str(model))} in tokenizer.json, tokenizer_config.json names none"
            if said is None
            else f"unk is {shown(said)} in tokenizer_config.json, tokenizer.json names none"
            if model is None
            else f"unk is {shown(said)} in tokenizer_config.json, {shown(str(model))} in tokenizer.json",
        )
