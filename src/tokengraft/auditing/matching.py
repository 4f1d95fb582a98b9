"""T: how added tokens are found in text, and how they look to people and programs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from tokengraft.auditing.asking import trusted_tokenizer
from tokengraft.auditing.rule import Found, counted, listed, place, rule, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.template_text import markers, own_templates
from tokengraft.spelling import BYTE_LETTERS
from tokengraft.vocabulary import AddedToken, Tokenizer

# Texts that servers look for by name in what a model writes (vLLM and SGLang parsers).
PARSED = ("think", "tool_call", "tool_response", "reasoning", "answer", "tool_calls")


def added_of(checkpoint: Checkpoint) -> dict[int, AddedToken]:
    """The one table of added tokens, empty where files contradict each other."""
    tokenizer = trusted_tokenizer(checkpoint)
    return {} if tokenizer is None else {int(at): token for at, token in tokenizer.added.items()}


def _where(checkpoint: Checkpoint) -> str:
    tokenizer = checkpoint.tokenizer
    assert tokenizer is not None
    table = tokenizer.declared[0]
    return place(table.file, table.pointer)


def _one(checkpoint: Checkpoint, told: list[str], summary: str) -> Iterator[Found]:
    """One finding for all tokens that a rule means, if there are any."""
    if told:
        yield Found(_where(checkpoint), summary, listed(told, limit=20))


def _number(told: list[str]) -> str:
    return counted(len(told), "added token")


def _first(told: list[str]) -> str:
    return listed(told, limit=3)


@rule("T301", severity="warning", title="every added token can be found in text")
def token_is_unreachable(checkpoint: Checkpoint) -> Iterator[Found]:
    """Tokens that are matched in the raw text are cut out first; what is left of others is broken.

    What it checks:
        No added token that is matched after normalising ("normalized": true) contains another one
        that is matched before.

    Why it matters:
        The shorter token always wins, so the longer one never comes up and its row is dead.

    Example:
        <|a|> with "normalized": false and <|a|>b with "normalized": true: the second never matches.

    Fix and its safety:
        Set "normalized": false for it in both files, by hand. No id changes; texts that contain it
        become other ids, as was meant.

    Sources:
        tokenizers 0.23, added_vocabulary.rs, `extract_and_normalize`; measured.
    """
    added = added_of(checkpoint)
    raw = {token.content for token in added.values() if not token.normalized and token.content}
    late = [token.content for token in added.values() if token.normalized and token.content]
    told = [shown(text) for text in late if any(one in text and one != text for one in raw)]
    yield from _one(checkpoint, told, f"{_number(told)} can never match: {_first(told)}")


@rule("T302", severity="warning", title="no added token is an ordinary word")
def token_shadows_words(checkpoint: Checkpoint) -> Iterator[Found]:
    """Added tokens are cut out of text wherever their letters stand, inside longer words too.

    What it checks:
        No added token consists of letters and digits alone, unless "single_word" is true.

    Why it matters:
        "dog" as an added token makes three pieces of "hotdogs", and loses the space before "dog".
        Texts that the model knew well become something it never saw.

    Example:
        {"content": "agent", "single_word": false}

    Fix and its safety:
        For a word of the language use `[[add]]` with `use = "word"`, which leaves longer words alone;
        or spell the marker as no text would: <|agent|>. Both need the row to be trained.

    Sources:
        tokenizers 0.23, added_vocabulary.rs; measured: "hotdogs".
    """
    told = [
        f"{shown(token.content)} ({at})"
        for at, token in added_of(checkpoint).items()
        if token.content.isalnum() and not token.single_word
    ]
    claim = "is an ordinary word" if len(told) == 1 else "are ordinary words"
    yield from _one(checkpoint, told, f"{_number(told)} {claim}: {_first(told)}")


@rule("T303", severity="warning", title="every added token survives decoding")
def token_decodes_wrongly(checkpoint: Checkpoint) -> Iterator[Found]:
    """Byte-level decoders read letters like é as bytes, in added tokens too.

    What it checks:
        In a byte-level tokenizer no added token consists of letters of the byte alphabet alone and
        has one outside ASCII among them.

    Why it matters:
        Such a token is encoded well and decoded to something else: programs that look for its text
        in the answer do not find it.

    Example:
        <café> is decoded as <caf\ufffd>.

    Fix and its safety:
        `[[rename]]` to an ASCII text: same id, same rows. Safe; programs that write the old text
        must be told.

    Sources:
        tokenizers 0.22 and 0.23, decoders/byte_level; measured.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or not tokenizer.byte_level:
        return
    alphabet = {*BYTE_LETTERS, " "}
    told = [
        f"{shown(token.content)} ({at})"
        for at, token in added_of(checkpoint).items()
        if not token.content.isascii() and set(token.content) <= alphabet
    ]
    claim = "is decoded to another text" if len(told) == 1 else "are decoded to other texts"
    yield from _one(checkpoint, told, f"{_number(told)} {claim}: {_first(told)}")


@rule("T304", severity="warning", title="no added token has characters that cannot be seen")
def token_is_invisible(checkpoint: Checkpoint) -> Iterator[Found]:
    r"""A character that nobody sees makes two tokens look alike, or turns a line around.

    What it checks:
        No added token contains control characters (tab and line breaks aside), marks that change the
        direction of writing, or characters of no width.

    Why it matters:
        Nobody can type such a token or tell it from another one; in logs and terminals it can hide
        or reorder what is written.

    Example:
        "<|im_end|>\u200b" beside <|im_end|>.

    Fix and its safety:
        `[[rename]]` gives the id another text. Safe for rows.

    Sources:
        Unicode Technical Report 36, "Security Considerations"; CVE-2021-42574.
    """
    told = [
        f"{shown(token.content)} ({at})"
        for at, token in added_of(checkpoint).items()
        if any(
            unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in "\t\n\r"
            for char in token.content
        )
    ]
    verb = "has" if len(told) == 1 else "have"
    yield from _one(
        checkpoint, told, f"{_number(told)} {verb} characters nobody sees: {_first(told)}"
    )


@rule("T305", severity="note", title="no two added tokens look alike")
def tokens_look_alike(checkpoint: Checkpoint) -> Iterator[Found]:
    """Two tokens that a reader takes for one are mixed up sooner or later.

    What it checks:
        No two added tokens become the same text when case and Unicode's compatibility forms are
        folded. Tokens of white space alone are left out.

    Why it matters:
        A prompt written by hand meets the wrong one, and the model reads a row it was not taught.

    Example:
        <|Think|> and <|think|>.

    Fix and its safety:
        Display only: if one of the two is unused, `[[rename]]` it.

    Sources:
        Unicode Standard Annex 15, NFKC; Unicode Technical Standard 39, confusables.
    """
    seen: dict[str, list[str]] = {}
    for token in added_of(checkpoint).values():
        folded = unicodedata.normalize("NFKC", token.content).casefold()
        if folded.strip():
            seen.setdefault(folded, []).append(token.content)
    told = [
        " and ".join(map(shown, dict.fromkeys(texts)))
        for texts in seen.values()
        if len(set(texts)) > 1
    ]
    if told:
        yield Found(
            _where(checkpoint),
            f"{counted(len(told), 'group')} of added tokens look alike: {listed(told, limit=2)}",
            listed(told),
            safety="display-only",
        )


@rule(
    "T306",
    severity="warning",
    title="markers of thoughts and tool calls stay in the decoded text",
    bears_on=("tools", "thinking"),
)
def content_is_hidden(checkpoint: Checkpoint) -> Iterator[Found]:
    """Special tokens are left out of decoded text; what a parser shall read must not be special.

    What it checks:
        <think>, <tool_call> and the other markers that servers look for in text, and their closing
        partners, are not special.

    Why it matters:
        Servers decode with special tokens left out. The parser then finds no call and no thought,
        and the user reads both as plain answer.

    Example:
        {"content": "<tool_call>", "special": true}

    Fix and its safety:
        Set "special": false in tokenizer.json and tokenizer_config.json, and take it out of
        `additional_special_tokens`, by hand. No id and no row changes.

    Sources:
        vLLM 0.33, tool_parsers and reasoning; vllm#25281, huggingface/trl#2897.
    """
    names = {f"<{slash}{name}>" for name in PARSED for slash in ("", "/")}
    told = [
        f"{shown(token.content)} ({at})"
        for at, token in added_of(checkpoint).items()
        if token.special and token.content in names
    ]
    claim = "is special and is hidden" if len(told) == 1 else "are special and are hidden"
    yield from _one(checkpoint, told, f"{_number(told)} {claim}: {_first(told)}")


@rule("T307", severity="note", title="markers around turns are special")
def marker_is_plain(checkpoint: Checkpoint) -> Iterator[Found]:
    """Markers around turns belong to the frame of a chat, not to what is said.

    What it checks:
        eos and pad of the tokenizer, and the tokens <|im_start|>, <|im_end|>, <|eot_id|>,
        <start_of_turn> and <end_of_turn>, are special in the table of added tokens.

    Why it matters:
        Programs on the plain tokenizers library show them in the answer, and the switch that keeps
        users from typing control tokens does not cover them.

    Example:
        {"content": "<|im_end|>", "special": false}

    Fix and its safety:
        Set "special": true in both files, by hand. No id and no row changes.

    Sources:
        tokenizers 0.23, `encode_special_tokens`; llama.cpp, unsloth#5080.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None:
        return
    names = {"<|im_start|>", "<|im_end|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>"}
    names |= {text for name in ("eos", "pad") if (text := tokenizer.named_content(name))}
    told = [
        f"{shown(token.content)} ({at})"
        for at, token in tokenizer.added.items()
        if not token.special and token.content in names
    ]
    claim = "frames turns and is" if len(told) == 1 else "frame turns and are"
    yield from _one(checkpoint, told, f"{_number(told)} {claim} not special: {_first(told)}")


@rule("T308", severity="note", title="llama.cpp shows the tokens that shall be seen")
def gguf_hides_token(checkpoint: Checkpoint) -> Iterator[Found]:
    """llama.cpp's converter tells control tokens by their spelling, whatever the flag says.

    What it checks:
        No token that the chat template writes is spelled <|like this|> and yet not special.

    Why it matters:
        In a GGUF file it becomes a control token and is left out of the answer, so that a parser of
        the text misses it.

    Example:
        <|tool_start|> with "special": false.

    Fix and its safety:
        Display only: for a marker that shall be seen, a spelling such as <tool_start> keeps its
        meaning in both worlds.

    Sources:
        llama.cpp conversion/base.py, `does_token_look_special`; ggml-org/llama.cpp#15842.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None:
        return
    written = _written(tokenizer)
    told = [
        f"{shown(token.content)} ({at})"
        for at, token in tokenizer.added.items()
        if not token.special
        and token.content in written
        and token.content.startswith(("<|", "<｜"))
        and token.content not in (tokenizer.named_content("eos"), "<|im_start|>", "<|im_end|>")
    ]
    verb = "is" if len(told) == 1 else "are"
    summary = f"{_number(told)} {verb} shown here and hidden by llama.cpp: {_first(told)}"
    for found in _one(checkpoint, told, summary):
        yield Found(found.subject, found.summary, found.detail, safety="display-only")


def _written(tokenizer: Tokenizer) -> set[str]:
    return {text for t in own_templates(tokenizer).values() for text in markers(tokenizer, t)}


@rule("T309", severity="note", title="markers that come in pairs are both there")
def half_a_pair(checkpoint: Checkpoint) -> Iterator[Found]:
    """Servers look for an opening and a closing text; one alone is a span without end.

    What it checks:
        Of <think>, <tool_call>, <tool_response> and the like, either both the opening and the
        closing one are added tokens, or neither.

    Why it matters:
        The half that is no token is cut into pieces: the model was hardly trained to write it so, and
        parsers that look for its id do not start.

    Example:
        <think> is a token and </think> is not.

    Fix and its safety:
        `[[add]]` the other half. Safe for ids and rows; its row has to be trained.

    Sources:
        vLLM 0.33, reasoning/basic_parsers.py: both ids must exist.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or not tokenizer.vocab:
        return
    written = _written(tokenizer)
    told = []
    for name in PARSED:
        pair = (f"<{name}>", f"</{name}>")
        there = [text for text in pair if tokenizer.id_of(text) is not None]
        other = pair[1] if there == [pair[0]] else pair[0]
        if len(there) == 1 and other not in written:  # J101 tells what the template writes
            told.append(f"{there[0]} without {other}")
    claim = "is half of a pair" if len(told) == 1 else "are halves of pairs"
    yield from _one(checkpoint, told, f"{_number(told)} {claim}: {_first(told)}")
