"""Operations on single tokens: add, claim an unused one, rename."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from tokengraft.padding import in_use
from tokengraft.planning.draft import Draft, NewRow, new_row
from tokengraft.planning.library import Library
from tokengraft.planning.wishes import Wish
from tokengraft.planning.words import add_word, word_problem
from tokengraft.plans import PlannedToken
from tokengraft.recipes import Add, Rename
from tokengraft.spelling import bytes_of
from tokengraft.vocabulary import AddedToken, TokenId

MAX_TEXT = 256  # characters; the longest token that a published tokenizer adds has 60


def add_all(draft: Draft, wishes: Sequence[Wish], library: Library | None) -> Draft:
    """Add tokens in the recipe's order, so that the first one gets the next id.

    Many tokens are added in one step: copying the table once for each would be quadratic.
    """
    next_id = draft.n_tokens
    table = dict(draft.added)
    planned = dict(draft.planned)
    taken = {token.content: token_id for token_id, token in table.items()}
    rows: list[NewRow] = []
    for where, add in wishes:
        problem = text_problem(draft, add.text, word=add.use == "word")
        known = taken.get(add.text)
        if problem:
            draft = draft.with_problem(where, problem)
        elif known is not None and not where.startswith("add["):
            continue  # a section names a token that exists, which is what it wants
        elif known is not None and TokenId(known) not in table:
            continue  # a word that is asked for twice, which is a problem already (see `wishes`)
        elif known is not None:
            draft = _refine(draft, where, add, table[TokenId(known)], known)
        elif add.use == "word":
            draft, word = add_word(draft, where, add, token_id=next_id, library=library)
            if word is not None:
                planned[TokenId(word.id)] = word
                taken[add.text] = TokenId(word.id)
                next_id += 1
        elif add.text in draft.tokenizer.vocab:
            draft = _refuse_piece(draft, where, add)
        else:
            draft, token = _new(draft, where, add, next_id)
            if token is None:
                continue
            next_id += add.into == "next"
            token_id = TokenId(token.id)
            table[token_id] = token.added_token()
            planned[token_id] = token
            taken[add.text] = token_id
            rows.append(new_row(token_id, add))
    planned |= draft.planned
    return replace(draft, added=table, planned=planned, new_rows=(*draft.new_rows, *rows))


def _new(draft: Draft, where: str, add: Add, next_id: int) -> tuple[Draft, PlannedToken | None]:
    """An added token under the next id, or under the one that it claims."""
    token: PlannedToken | None = _planned(add, next_id)
    if add.into != "next":
        draft, token = _claim(draft, where, add)
    if token is not None and add.text.isalnum() and not add.single_word:
        draft = draft.with_note(
            f"{add.text!r} is plain text: it will be cut out wherever it stands, inside "
            'longer words too, so old text is read differently. use = "word" leaves longer words '
            f"alone, and a marker such as '<|{add.text}|>' is not met by accident"
        )
    return draft, token


def _planned(add: Add, token_id: int) -> PlannedToken:
    return PlannedToken(
        text=add.text,
        id=token_id,
        action="add",
        use=add.use,
        init=add.init,
        single_word=add.single_word,
        lstrip=add.lstrip,
        rstrip=add.rstrip,
        normalized=add.normalized,
        special=add.is_special,
    )


def _refine(draft: Draft, where: str, add: Add, there: AddedToken, token_id: int) -> Draft:
    """An `[[add]]` of a token that exists asks for nothing, unless it asks for something else."""
    if add.special is not None and add.special != there.special:
        return draft.with_problem(
            f"{where}.special",
            f"{add.text!r} exists as {token_id} with special = {str(there.special).lower()}",
            "flags of existing tokens are left alone; take the line out",
        )
    return draft.with_note(f"{add.text!r} is token {token_id} already; nothing is added for it")


def _refuse_piece(draft: Draft, where: str, add: Add) -> Draft:
    token_id = draft.tokenizer.vocab[add.text]
    return draft.with_problem(
        f"{where}.text",
        f"{add.text!r} is an ordinary piece of the vocabulary already (id {token_id})",
        "an added token of the same text would keep that id and change how old text is read",
    )


def _claim(draft: Draft, where: str, add: Add) -> tuple[Draft, PlannedToken | None]:
    """Put a new token into the id of an existing unused one."""
    assert isinstance(add.into, int)
    token_id = TokenId(add.into)
    there = draft.added.get(token_id)
    reason = ""
    if there is None:
        reason = f"id {token_id} is no added token"
    elif why := in_use(draft.tokenizer, token_id, there.content):
        reason = f"{there.content!r} (id {token_id}) is in use: {why}"
    if reason or there is None:
        return draft.with_problem(f"{where}.into", reason, 'into = "next" takes a fresh id'), None
    token = _planned(add, token_id).model_copy(update={"action": "claim", "was": there.content})
    renamed = {**draft.renamed, there.content: add.text}
    return replace(draft, renamed=renamed), token


def text_problem(draft: Draft, text: str, *, word: bool = False) -> str:
    """Why a text cannot be a token that is read back as it was written; empty if it can."""
    if not text.strip():
        return "the text is empty or only white space"
    if word and (problem := word_problem(text)):
        return problem
    if text != text.strip() and not word:
        return f"{text!r} begins or ends with white space, which neighbouring text would lose"
    if len(text) > MAX_TEXT:
        return f"the text has {len(text)} characters, the limit is {MAX_TEXT}"
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn") for char in text):
        return f"{text!r} holds control, invisible or unassigned characters"
    if unicodedata.normalize("NFC", text) != text:
        return f"{text!r} is not in Unicode normal form C, so equal-looking text would not match"
    if draft.tokenizer.byte_level and not word and decodes_wrongly(text):
        return (
            f"{text!r} would decode to something else: every character lies in the byte alphabet "
            "of byte-level tokenizers, and one of them is not ASCII"
        )
    return ""


def decodes_wrongly(text: str) -> bool:
    """Whether the ByteLevel decoder takes an added token's text for spelled bytes.

    It does if every character belongs to the 256 that spell bytes; with ASCII alone that is
    harmless. Source: tokenizers 0.22.2 and 0.23.3, `ByteLevel::decode_chain`, measured.
    """
    return not text.isascii() and bytes_of(text) is not None


def rename_all(draft: Draft, renames: Sequence[Rename]) -> Draft:
    """Give ids other texts; rows stay as they are."""
    for number, rename in enumerate(renames):
        where, old = f"rename[{number}]", rename.from_
        if _added_id(draft, old) is None:
            what = f"{old!r} is no token"
            if old in draft.tokenizer.vocab:
                what = f"{old!r} is an ordinary piece of the vocabulary"
            draft = draft.with_problem(f"{where}.from", what, _near(draft, rename))
        elif problem := text_problem(draft, rename.to):
            draft = draft.with_problem(f"{where}.to", problem)
        else:
            draft = rename_token(draft, f"{where}.to", old, rename.to)
    return draft


def _added_id(draft: Draft, text: str) -> TokenId | None:
    return next((i for i, token in draft.added.items() if token.content == text), None)


def rename_token(draft: Draft, where: str, old: str, new: str) -> Draft:
    """Give an added token another text, which is one that a token can have."""
    token_id = _added_id(draft, old)
    assert token_id is not None, f"{old!r} is no added token"
    if draft.id_of(new) is not None:
        return draft.with_problem(where, f"{new!r} is a token already")
    token = PlannedToken(text=new, id=token_id, action="rename", was=old)
    draft = draft.with_token(token.model_copy(update=draft.added[token_id].flags))
    return replace(draft, renamed={**draft.renamed, old: new})


def _near(draft: Draft, rename: Rename) -> str:
    import difflib

    texts = [token.content for token in draft.added.values()]
    close = difflib.get_close_matches(rename.from_, texts, n=1)
    return f"did you mean {close[0]!r}?" if close else "only added tokens can be renamed"
