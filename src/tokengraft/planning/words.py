"""`use = "word"`: one id where the old pieces of a text stand whole, and nothing else changed.

A word is an entry of the model's vocabulary without a merge. `ignore_merges` makes it one id where
the pre-tokenizer hands it to the model whole; where it would be handed over whole and does not stand
whole, or the other way round, the pre-tokenizer gets cuts of its own (see `guards`). Merges could
not do it: their intermediate pieces fire inside other words.

*Whole* means: no letter, digit or combining mark follows and, where the word begins with one, none
stands before it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from tokengraft.planning.draft import Draft, Word, new_row
from tokengraft.planning.guards import guards
from tokengraft.planning.library import Library
from tokengraft.plans import PlannedToken
from tokengraft.recipes import Add
from tokengraft.spelling import SPACE
from tokengraft.vocabulary import TokenId

CONFIG = "tokenizer_config.json"
MAX_WORDS = 200  # each is looked for by a regular expression, in every text
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
PLAIN_CLASS = "PreTrainedTokenizerFast"
# Classes that take the whole tokenizer.json in both majors of transformers, and those that transformers
# 5 builds anew from vocabulary and merges, with the tokens that they name where no file does.
WHOLE_CLASSES = (PLAIN_CLASS, "TokenizersBackend")
END = "<|endoftext|>"
CLASSES = {
    "CodeGenTokenizer": {"unk": END, "bos": END, "eos": END},
    "GPT2Tokenizer": {"unk": END, "bos": END, "eos": END},
    "GPTNeoXTokenizer": {"unk": END, "bos": END, "eos": END},
    "LlamaTokenizer": {"unk": "<unk>", "bos": "<s>", "eos": "</s>"},
    "Qwen2Tokenizer": {"unk": END, "eos": END, "pad": END},
}


def add_word(
    draft: Draft, where: str, add: Add, *, token_id: int, library: Library | None
) -> tuple[Draft, PlannedToken | None]:
    """Enter a word under an id; None and a problem (or a note) if it cannot or need not be."""
    problem = _request_problem(draft, add)
    if problem:
        return draft.with_problem(f"{where}.use", problem), None
    assert library is not None, "a tokenizer.json is there, so the library can be asked"
    found = _word(draft, where, add.text, library)
    if isinstance(found, str):
        return draft.with_problem(f"{where}.text", found), None
    if len(found.pieces) == 1:
        note = f"{add.text!r} is one id already ({found.pieces[0]}); nothing is added for it"
        return draft.with_note(note), None
    token = PlannedToken(
        text=add.text,
        id=token_id,
        action="add",
        use="word",
        init=add.init,
        piece=found.piece,
    )
    row = replace(new_row(TokenId(token_id), add), pieces=found.pieces)
    draft = draft.with_vocabulary((token,)).with_row(row)
    return replace(draft, words=(*draft.words, found)), token


def word_problem(text: str) -> str:
    """Why a text cannot be a word; empty if it can (what holds for every token is checked apart)."""
    body = text.removeprefix(" ")
    if body != body.strip() or not body:
        return f"{text!r} begins or ends with white space; one leading space is all a word may have"
    if SPACE in text:
        return f"{text!r} holds {SPACE!r}, which stands for a space in many vocabularies"
    if unicodedata.category(body[0])[0] == "M":
        return f"{text!r} begins with a combining mark"
    return ""


def _request_problem(draft: Draft, add: Add) -> str:
    kind = draft.tokenizer.kind
    flags = [flag for flag in FLAGS if getattr(add, flag)] + ["special"] * (add.special is True)
    if flags:
        return f"a word is a piece of the model's own vocabulary and cannot be {', '.join(flags)}"
    if add.into != "next":
        return "a word takes a new id: those of existing tokens belong to added tokens"
    if draft.checkpoint.value("tokenizer.json", "/model") is None:
        return "the folder has no tokenizer.json, and other files cannot say what makes it one id"
    if kind == "Unigram":
        return (
            "Unigram cuts a text by the best sum of scores: the new piece would win inside others"
        )
    if kind != "BPE":
        return f"{kind} takes the longest piece that fits, so longer words would be cut otherwise"
    if draft.checkpoint.value("tokenizer.json", "/model/dropout"):
        return "its BPE has dropout: the same text has no old pieces that could be replaced"
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if draft.checkpoint.value("tokenizer.json", f"/model/{key}"):
            return f"its BPE marks where words go on ({key}), which this version does not do"
    return "" if len(draft.words) < MAX_WORDS else f"more than {MAX_WORDS} words: use [[extend]]"


def _word(draft: Draft, where: str, text: str, library: Library) -> Word | str:
    before, after = library.normalize(["x", f"x{text}"])
    normal = after.removeprefix(before)
    if not normal or normal == after:
        return f"{text!r} does not survive the normalizer, which makes {after!r} of x{text}"
    parts = library.cut([normal])[0]
    if len(parts) != 1:
        return (
            f"{text!r} is cut into {len(parts)} parts ({', '.join(map(repr, parts))}) before the "
            "model sees it, so no piece of its vocabulary can stand for all of it"
        )
    if parts[0] in {**draft.tokenizer.vocab, **draft.vocab}:
        ids = library.model_ids(parts)[0]
        if len(ids) > 1:
            return f"{text!r} is in the vocabulary, and merges never make it: there is no id to add"
        return Word(where, text, normal, parts[0], _ids(ids))
    ids = library.model_ids(parts)[0]
    unknown = draft.checkpoint.value("tokenizer.json", "/model/unk_token")
    if isinstance(unknown, str) and draft.tokenizer.vocab.get(unknown) in ids:
        return f"{text!r} holds letters that the vocabulary has no pieces for"
    return Word(where, text, normal, parts[0], _ids(ids))


def _ids(ids: Sequence[int]) -> tuple[TokenId, ...]:
    return tuple(map(TokenId, ids))


def settle_words(draft: Draft, library: Library | None) -> Draft:
    """Set what makes words of the draft one id where they stand whole, and only there."""
    if not draft.words:
        return draft
    assert library is not None
    found, problems = guards(draft, library)
    for where, what in problems:
        draft = draft.with_problem(where, what)
    if draft.checkpoint.value("tokenizer.json", "/model/ignore_merges") is not True:
        draft = draft.with_setting("tokenizer.json", "/model/ignore_merges", value=True)
    if found is not None:
        draft = draft.with_setting("tokenizer.json", "/pre_tokenizer", found)
    return _with_class(draft).with_note(_promise(draft.words))


def _promise(words: Sequence[Word]) -> str:
    names = ", ".join(repr(word.text) for word in words[:8])
    more = f" and {len(words) - 8} more" if len(words) > 8 else ""  # noqa: PLR2004 - as above
    return (
        f"{names}{more}: one id wherever the old pieces stand whole, that is, where no letter, digit "
        "or mark stands beside them (a leading space is the word's own left side); inside longer "
        "words nothing changes. Programs that do not read the pre-tokenizer and ignore_merges of "
        "tokenizer.json (llama.cpp, slow tokenizers) keep making the old pieces"
    )


def _with_class(draft: Draft) -> Draft:
    """Name a class that takes the whole of tokenizer.json.

    transformers 5 builds other classes anew from vocabulary and merges, and drops the rest.
    Source: transformers 5.23.0, `convert_to_native_format`.
    """
    named = draft.tokenizer.tokenizer_class
    family = (named or "").removesuffix("Fast")
    if named in WHOLE_CLASSES:
        return draft
    if family not in CLASSES:
        return draft.with_problem(
            f"{CONFIG}#/tokenizer_class",
            f"transformers 5 builds {named or 'a class that no file names'} anew and would drop what "
            "makes words one id; what the class does beyond tokenizer.json is not known here",
            f'"tokenizer_class": "{PLAIN_CLASS}" takes tokenizer.json as it is',
        )
    if family == "LlamaTokenizer" and not _adds_bos(draft):
        return draft.with_problem(
            f"{CONFIG}#/tokenizer_class",
            "LlamaTokenizer adds bos and eos in code, and tokenizer.json's post-processor does not "
            "do the same, so another class would encode otherwise",
        )
    draft = draft.with_setting(CONFIG, "/tokenizer_class", PLAIN_CLASS)
    if draft.checkpoint.value(CONFIG, "/model_input_names") is None:
        names = ["input_ids", "attention_mask"]
        draft = draft.with_setting(CONFIG, "/model_input_names", list(names))
    config = draft.checkpoint.value(CONFIG)
    for name, text in CLASSES[family].items():
        key = f"{name}_token"
        if isinstance(config, dict) and key not in config and draft.id_of(text) is not None:
            draft = draft.with_setting(CONFIG, f"/{key}", text)
    return draft.with_note(
        f"tokenizer_class becomes {PLAIN_CLASS}: transformers 5 builds {named} anew from vocabulary "
        "and merges, and would drop what makes words one id. What the class named by itself is "
        "written into the file"
    )


def _adds_bos(draft: Draft) -> bool:
    """Whether the post-processor of tokenizer.json adds what LlamaTokenizer's settings ask for."""
    config = draft.checkpoint.value(CONFIG)
    wanted = isinstance(config, dict) and config.get("add_bos_token", True) is True
    if not isinstance(config, dict) or config.get("add_eos_token", False) is True:
        return False
    single = draft.checkpoint.value("tokenizer.json", "/post_processor/single")
    steps = single if isinstance(single, list) else []
    added = [s["SpecialToken"] for s in steps if isinstance(s, dict) and "SpecialToken" in s]
    bos = draft.tokenizer.named_content("bos")
    return [a.get("id") for a in added if isinstance(a, dict)] == ([bos] if wanted else [])
