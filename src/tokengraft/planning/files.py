"""Compare the draft with each file and state what must change there.

A file that lacks tokens which another file declares is brought into step by the same comparison
that writes new tokens, and the plan says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.json_text import escape_key, pointer_parts
from tokengraft.formats.tokenizer_files import FLAGS, effective_ids
from tokengraft.planning.draft import Draft
from tokengraft.planning.growing import growth, runs
from tokengraft.planning.mentions import ELSEWHERE, Renamer, mention_changes
from tokengraft.planning.pieces import piece_edits
from tokengraft.planning.templates import template_edits
from tokengraft.planning.vocabularies import vocabulary_edits
from tokengraft.plans import (
    FileEdit,
    InsertTokens,
    JsonChange,
    PatchJson,
    PlannedToken,
    RemoveKey,
    RenameKey,
    SetKey,
    WriteFile,
)
from tokengraft.vocabulary import AddedToken, Declared, TokenId

# transformers 4 looks each listed token up in the list: beyond some thousand that is felt
# (0.8 s to load 10,000), and the flag in the tables says the same.
MAX_LISTED = 2_000
SHOWN = 8  # tokens named one by one in a sentence
LISTS = (
    ("tokenizer_config.json", "/additional_special_tokens"),
    ("tokenizer_config.json", "/extra_special_tokens"),
    ("special_tokens_map.json", "/additional_special_tokens"),
)


@dataclass(frozen=True, slots=True)
class FileEdits:
    """What the files need: edits, sentences on what was out of step, tokens that were missing."""

    edits: tuple[FileEdit, ...]
    reconciled: tuple[str, ...]
    missing: Mapping[TokenId, AddedToken]
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def file_edits(draft: Draft) -> FileEdits:
    """State every change of every file, in a fixed order."""
    changes: dict[str, list[JsonChange]] = {}
    reconciled = list(draft.reconciled)
    grown = growth(draft)
    missing: dict[TokenId, AddedToken] = dict(grown.entered)
    problems: list[tuple[str, str]] = list(grown.problems)
    for declared in draft.tokenizer.declared:
        lacking = _lacking(draft, declared)
        old = {i: t for i, t in lacking.items() if i in draft.tokenizer.added}
        if old:
            missing |= old
            reconciled.append(_out_of_step(draft, declared, old))
        stale = _stale_entries(draft, declared)
        if stale:
            reconciled.append(
                f"{declared.file} has {len(stale)} entries that the other files contradict: "
                "they are put right first"
            )
        drifted = [t.content for i, t in declared.tokens if _has_drifted(draft, declared, i, t)]
        if drifted:
            reconciled.append(
                f"{declared.file} gives {', '.join(drifted[:SHOWN])} other flags than the file "
                "that loaders believe: they are put right first"
            )
        found = [
            *stale,
            *_renamed_entries(draft, declared),
            *_insertions(declared, lacking),
        ]
        if found:
            changes.setdefault(declared.file, []).extend(found)
        problems.extend(_id_problems(draft, grown.vocab, declared, lacking))
    vocabularies, templates = vocabulary_edits(draft), template_edits(draft)
    for file, change in (
        *vocabularies.changes,
        *grown.changes,
        *mention_changes(draft),
        *_list_changes(draft),
        *_setting_changes(draft),
        *templates.changes,
    ):
        changes.setdefault(file, []).append(change)
    written = {**draft.written, **vocabularies.written, **templates.written}
    problems += [*vocabularies.problems, *templates.problems]
    edits: list[FileEdit] = [
        PatchJson(path=file, changes=tuple(found)) for file, found in sorted(changes.items())
    ]
    pieces = piece_edits(draft)
    edits.extend([*pieces.edits, *grown.appended])
    edits.extend(WriteFile(path=path, text=text) for path, text in sorted(written.items()))
    problems.extend(pieces.problems)
    notes = (*grown.notes, *pieces.notes, *templates.notes)
    return FileEdits(tuple(edits), tuple(reconciled), missing, tuple(problems), notes)


def _setting_changes(draft: Draft) -> Iterator[tuple[str, JsonChange]]:
    """Keys that get a value, and keys that go. A list of special tokens gets the new ones too."""
    renamer = Renamer.of(draft)
    for (file, pointer), value in draft.settings.items():
        has_new_texts = (file, pointer) in ELSEWHERE  # written from the table as it shall be
        whole = value if has_new_texts else renamer.value(value, pointer_parts(pointer))
        if (file, pointer) in LISTS and isinstance(whole, list):
            whole = [*whole, *_listable(draft, whole)]
        yield file, SetKey(pointer=pointer, value=whole)
    for file, pointer in draft.removed:
        yield file, RemoveKey(pointer=pointer)


def _lacking(draft: Draft, declared: Declared) -> dict[TokenId, AddedToken]:
    there = declared.by_id()
    names = declared.by_content()
    return {
        token_id: token
        for token_id, token in sorted(draft.added.items())
        if token.content not in names
        and (token_id not in there or not declared.complete)
        and draft.renamed_from(token_id) not in names
    }


def _out_of_step(draft: Draft, declared: Declared, old: Mapping[TokenId, AddedToken]) -> str:
    others = [d for d in draft.tokenizer.declared if d.file != declared.file]
    fuller = max(others, key=lambda d: len(d.tokens))
    texts = ", ".join(token.content for token in list(old.values())[:SHOWN])
    if len(old) > SHOWN:
        texts += f" and {len(old) - SHOWN} more"
    return (
        f"{declared.file} declares {len(declared.tokens)} added tokens, {fuller.file} "
        f"{len(fuller.tokens)}: {texts} ({_range(old)}) are written into {declared.file} first"
    )


def _range(ids: Iterable[TokenId]) -> str:
    found = sorted(ids)
    return f"id {found[0]}" if len(found) == 1 else f"ids {found[0]} to {found[-1]}"


def _renamed_entries(draft: Draft, declared: Declared) -> Iterator[JsonChange]:
    """Entries whose text or flags are not what they shall be: renamed, claimed, or out of step."""
    if not declared.complete:
        yield from _renamed_keys(draft, declared)
        return
    for position, (token_id, old) in enumerate(declared.tokens):
        new = draft.added.get(token_id)
        if new is None or new == old:
            continue
        entry = (
            f"{declared.pointer}/{position}"
            if declared.file == "tokenizer.json"
            else f"{declared.pointer}/{token_id}"
        )
        if new.content != old.content:
            yield SetKey(pointer=f"{entry}/content", value=new.content)
        for flag in FLAGS:
            if getattr(new, flag) != getattr(old, flag):
                yield SetKey(pointer=f"{entry}/{flag}", value=getattr(new, flag))


def _has_drifted(draft: Draft, declared: Declared, token_id: TokenId, token: AddedToken) -> bool:
    """Whether a file gives a token other flags than tokenizer_config.json, which loaders follow."""
    table = draft.tokenizer.added.get(token_id)
    return declared.complete and table is not None and table != token


def _stale_entries(draft: Draft, declared: Declared) -> list[JsonChange]:
    """Entries of added_tokens.json that no loader believes beside a full table, put right."""
    stale: list[JsonChange] = []
    if declared.complete or all(other is declared for other in draft.tokenizer.declared):
        return stale
    for token_id, token in declared.tokens:
        pointer = f"/{escape_key(token.content)}"
        right = draft.tokenizer.id_of(token.content)
        if right is None:
            stale.append(RemoveKey(pointer=pointer))
        elif right != token_id:
            stale.append(SetKey(pointer=pointer, value=int(right)))
    return stale


def _renamed_keys(draft: Draft, declared: Declared) -> Iterator[JsonChange]:
    for _, old in declared.tokens:
        if old.content in draft.renamed and draft.tokenizer.id_of(old.content) is not None:
            pointer = f"/{escape_key(old.content)}"
            yield RenameKey(pointer=pointer, key=draft.renamed[old.content])


def _insertions(declared: Declared, lacking: Mapping[TokenId, AddedToken]) -> Iterator[JsonChange]:
    form = {
        "tokenizer.json": "added_tokens",
        "tokenizer_config.json": "added_tokens_decoder",
        "added_tokens.json": "token_to_id",
    }[declared.file]
    for first, count in runs(lacking):
        yield InsertTokens.model_validate(
            {"pointer": declared.pointer, "form": form, "first_id": first, "count": count}
        )


def _id_problems(
    draft: Draft,
    vocab: Mapping[str, TokenId],
    declared: Declared,
    lacking: Mapping[TokenId, AddedToken],
) -> Iterator[tuple[str, str]]:
    """Whether libraries, which count on in file order, will give the ids that we mean."""
    if declared.file != "tokenizer.json":
        return
    after = tuple((i, draft.added[i]) for i, _ in declared.tokens) + tuple(lacking.items())
    loaded = effective_ids(vocab, Declared("tokenizer.json", "/added_tokens", after))
    for token_id, token in after:
        if loaded.get(token.content) != token_id:
            text = (
                f"{token.content!r} would be declared {token_id} and loaded as "
                f"{loaded.get(token.content)}: libraries give ids in file order, without holes"
            )
            yield "tokenizer.json#/added_tokens", text
            return


def _list_changes(draft: Draft) -> Iterator[tuple[str, JsonChange]]:
    """New special tokens in the lists that name them all."""
    for file, pointer in LISTS:
        listed = draft.checkpoint.value(file, pointer)
        is_anew = (file, pointer) in draft.settings or (file, pointer) in draft.removed
        if isinstance(listed, list) and not is_anew:
            for first, count in runs(_listable(draft, listed).values()):
                yield file, InsertTokens(pointer=pointer, form="text", first_id=first, count=count)


def _listable(draft: Draft, listed: Sequence[JsonValue]) -> dict[str, int]:
    """New tokens that belong into a list of special tokens, none if the list grew too long."""
    new = {
        token.text: token.id
        for token in draft.planned.values()
        if token.action == "add" and token.special and token.use != "pad" and _is_plain(token)
    }
    return new if len(listed) + len(new) <= MAX_LISTED else {}


def _is_plain(token: PlannedToken) -> bool:
    """Whether a listed text says all of a token.

    transformers 5 makes a token of each listed text with default flags, over the one in its tables
    (5.23, `additional_special_tokens`); left out of the list, `special` in the tables says the same.
    """
    return not (token.single_word or token.lstrip or token.rstrip or token.normalized)


def missing_tokens(draft: Draft, found: FileEdits) -> Iterator[PlannedToken]:
    """Table entries for the tokens that are only brought into step."""
    for token_id, token in found.missing.items():
        if token_id not in draft.planned:
            kept = PlannedToken(text=token.content, id=token_id, action="keep")
            yield kept.model_copy(update=token.flags)
