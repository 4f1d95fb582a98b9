"""The plan as people read it: what is put into step, token by token, file by file, and the cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from tokengraft.plans import (
    Keep,
    Mean,
    Mix,
    Plan,
    PlannedFile,
    PlannedToken,
    RemapRows,
    RowSource,
    Stored,
    Taken,
)
from tokengraft.reporting import escape, text_audit
from tokengraft.reporting.catalogue import Words
from tokengraft.reporting.screen import Cell, Page
from tokengraft.reporting.text_extensions import extensions, hidden_count, shown_tokens
from tokengraft.reporting.text_keys import keys
from tokengraft.reporting.text_renumbering import removed_words, renumbering
from tokengraft.reporting.text_updates import updates

# A terminal is no place for more; `--json` has all of them.
FILES_SHOWN: Final = 40
PARENTS_SHOWN: Final = 8
ACTIONS: Final = {
    "add": ("+", "green"),
    "rename": ("~", "yellow"),
    "claim": ("~", "yellow"),
    "keep": ("=", "dim"),
    "remove": ("-", "red"),
}
FILE_SIGNS: Final = {"write": ("~", "yellow"), "copy": ("=", "dim"), "drop": ("-", "red")}


def plan(page: Page, value: Plan, texts: Mapping[int, str]) -> None:
    """A plan; `texts` are what old ids stand for, as far as it is known."""
    say = page.say
    if not value.changes_anything:
        page.banner(say("nothing to change"), "green")
        _notes(page, value)
        return
    page.banner(say("PLAN: {sum}", sum=summary(say, value)), "")
    if value.reconciled:
        page.heading(say("Put into step first, because the files disagree"))
        for line in value.reconciled:
            page.item("~", say.translated(line), "yellow")
    extensions(page, value)
    renumbering(page, value)
    _tokens(page, value, texts)
    _matrices(page, value)
    updates(page, value)
    keys(page, value)
    _files(page, value)
    _costs(page, value)
    _notes(page, value)
    if value.predicted:
        page.heading(say("What an audit of the result will find"))
        text_audit.findings(page, value.predicted)


def summary(say: Words, value: Plan) -> str:
    """The one-line sum."""
    if not value.changes_anything:
        return say("nothing to change")
    totals = value.totals
    parts = [part for part in (removed_words(say, value),) if part]
    parts += [_added(say, value)] if _n_added(value) else []
    claimed = sum(token.action == "claim" for token in value.tokens)
    if claimed:
        tokens = say.count(claimed, "token")
        parts.append(say("{tokens} put into unused ids", tokens=tokens))
    renamed = sum(token.action == "rename" for token in value.tokens)
    if renamed:
        parts.append(say("{tokens} renamed", tokens=say.count(renamed, "token")))
    if totals.rows_written and not totals.tensors_patched:
        parts.append(say("{rows} for weights that are elsewhere", rows=_rows(say, value)))
    elif totals.tensors_patched:
        parts.append(
            say(
                "{tensors} patched ({rows})",
                tensors=say.count(totals.tensors_patched, "tensor"),
                rows=_rows(say, value),
            )
        )
    new = sum(edit.of is not None for edit in value.row_edits().values())
    if new:
        parts.append(say("{tensors} added", tensors=say.count(new, "tensor")))
    patched = len(value.file_edits())
    if patched:
        parts.append(say("{files} edited", files=say.count(patched, "file")))
    if totals.tensors_untouched:
        parts.append(
            say("{tensors} untouched", tensors=say.count(totals.tensors_untouched, "tensor"))
        )
    parts.append(say("{size} written", size=say.size(totals.bytes_written)))
    return ", ".join(parts)


def _rows(say: Words, value: Plan) -> str:
    return say.count(value.totals.rows_written, "row")


def _n_added(value: Plan) -> int:
    if value.tokens or value.renumbering is not None:
        return sum(token.action == "add" for token in value.tokens)
    return value.ids.after.n_tokens - value.ids.before.n_tokens if value.ids else 0


def _added(say: Words, value: Plan) -> str:
    tokens = say.count(_n_added(value), "token")
    edits = value.row_edits().values()
    if not edits:
        return say("{tokens} added", tokens=tokens)
    if any(edit.n_rows_after > edit.n_rows_before for edit in edits):
        return say("{tokens} added, the matrices grow", tokens=tokens)
    return say("{tokens} added into spare rows", tokens=tokens)


def _tokens(page: Page, value: Plan, texts: Mapping[int, str]) -> None:
    say = page.say
    shown = shown_tokens(value)
    hidden = hidden_count(value, shown) if value.tokens else _n_added(value)
    if not value.tokens and not hidden:
        return
    page.heading(say("Tokens"))
    heads = ("", say("id"), say("token"), say("use"), say("init"), say("takes"), "")
    page.table(heads, (_token_row(say, token) for token in shown), right=frozenset({1}))
    if any(token.rows and token.use != "extend" for token in shown):
        page.heading(say("Rows"))
        for token in (token for token in shown if token.use != "extend"):
            for line in row_lines(page, token, texts):
                page.line(line, indent=2)
        _reasons(page, shown)
    if hidden:
        page.line(
            say(
                "... and {tokens} more: --json or the sidecar has all of them",
                tokens=say.count(hidden, "token"),
            ),
            "dim",
            indent=2,
        )


def _token_row(say: Words, token: PlannedToken) -> tuple[str | Cell, ...]:
    sign, style = ACTIONS[token.action]
    was = f"<- {escape.quoted(token.was)}" if token.was is not None else ""
    takes = taken_words(say, token.takes)
    text = escape.quoted(token.text)
    use = say.translated(token.use)
    return Cell(sign, style), str(token.id), text, use, token.init, takes, was


def _reasons(page: Page, tokens: Sequence[PlannedToken]) -> None:
    """Why `auto` took what it took, and what the column of what tokens take means."""
    say = page.say
    reasons = Counter((token.init, token.why) for token in tokens if token.why)
    for (init, why), number in reasons.items():
        count = say.count(number, "token")
        page.line(
            say(
                "auto: {init} for {tokens} ({why})",
                init=init,
                tokens=count,
                why=say.translated(why),
            ),
            indent=2,
        )
    if any(token.takes for token in tokens):
        page.line(
            say("takes: from the probability of old tokens, when it is written, before training"),
            "dim",
            indent=2,
        )


def row_lines(page: Page, token: PlannedToken, texts: Mapping[int, str]) -> list[str]:
    """Where the rows of a token come from; tensors with the same source share a line."""
    say = page.say
    by_source: dict[RowSource, list[str]] = {}
    for row in token.rows:
        by_source.setdefault(row.source, []).append(row.tensor)
    arrow = page.screen.sign("←", "<-")
    where = [
        f" ({', '.join(tensors)})" if len(by_source) > 1 else "" for tensors in by_source.values()
    ]
    return [
        say(
            "row {id} {arrow} {source}",
            id=token.id,
            arrow=arrow,
            source=source_words(say, source, texts),
        )
        + place
        for source, place in zip(by_source, where, strict=True)
    ]


def taken_words(say: Words, taken: Taken | None) -> str:
    """What a token takes from old ones when it is written, in a word or two."""
    if taken is None:
        return ""
    match taken.kind:
        case "bounded":
            return say("at most {share}%", share=say.decimal(f"{100 * (taken.at_most or 0):.2g}"))
        case "parents":
            return say("at most a parent's")
        case "unknown":
            return say("unknown")
        case _:
            assert_never(taken.kind)


def source_words(say: Words, source: RowSource, texts: Mapping[int, str]) -> str:
    """A row source in words, with the texts of its parents where they are known."""
    match source:
        case Keep():
            return say("row {id} as it is", id=source.first)
        case Mean():
            last = source.first + source.count - 1
            if source.without:
                return say(
                    "mean of rows {first} to {last}, without {rows}",
                    first=source.first,
                    last=last,
                    rows=say.count(len(source.without), "row"),
                )
            return say("mean of rows {first} to {last}", first=source.first, last=last)
        case Stored():
            return say("value {index} of the sidecar", index=source.index)
        case Mix():
            return _mix_words(say, source, texts)
        case _:
            assert_never(source)


def _mix_words(say: Words, source: Mix, texts: Mapping[int, str]) -> str:
    parents = source.parents
    if not parents:
        return say("zeros")
    names = [_parent(say, token_id, texts) for token_id, _ in parents[:PARENTS_SHOWN]]
    if len(parents) > PARENTS_SHOWN:
        names.append("...")
    if len(parents) == 1 and parents[0][1] == 1.0:
        return say("copy of {parent}", parent=names[0])
    weights = {weight for _, weight in parents}
    rows = say.count(len(parents), "old row")
    listed = ", ".join(names)
    even = len(weights) == 1 and abs(sum(weight for _, weight in parents) - 1) < 1e-6  # noqa: PLR2004
    if even:
        return say("mean of {rows} ({parents})", rows=rows, parents=listed)
    return say("weighted sum of {rows} ({parents})", rows=rows, parents=listed)


def _parent(say: Words, token_id: int, texts: Mapping[int, str]) -> str:
    text = texts.get(token_id)
    return say("row {id}", id=token_id) if text is None else escape.quoted(text)


def _matrices(page: Page, value: Plan) -> None:
    edits = tuple(value.row_edits().values())
    if not edits:
        return
    page.heading(page.say("Matrices"))
    page.table((), (_matrix(page, edit) for edit in edits))


def _matrix(page: Page, edit: RemapRows) -> tuple[Cell, str, str]:
    say = page.say
    before, after = say.number(edit.n_rows_before), say.number(edit.n_rows_after)
    if edit.of is not None:
        size = say("{rows} rows, new: made of {tensor}", rows=after, tensor=edit.of)
        return Cell("+", "green"), edit.tensor, size
    if edit.n_rows_before == edit.n_rows_after:
        size = say("{rows} rows, as before", rows=before)
    else:
        arrow = page.screen.sign("→", "->")
        size = say("{before} {arrow} {after} rows", before=before, arrow=arrow, after=after)
    return Cell("~", "yellow"), edit.tensor, size


def _files(page: Page, value: Plan) -> None:
    say = page.say
    if not value.files:
        return
    page.heading(say("Files"))
    named = [file for file in value.files if file.action != "copy"]
    page.table((), (_file(page, file) for file in named[:FILES_SHOWN]), right=frozenset({3}))
    if len(named) > FILES_SHOWN:
        page.line(
            say("... and {files} more", files=say.count(len(named) - FILES_SHOWN, "file")),
            "dim",
            indent=2,
        )
    copied = [file for file in value.files if file.action == "copy"]
    if copied:
        size = say.size(sum(file.size_bytes for file in copied))
        page.line(
            "= "
            + say("{files} unchanged, {size}", files=say.count(len(copied), "file"), size=size),
            "dim",
            indent=2,
        )


def _file(page: Page, file: PlannedFile) -> tuple[Cell, str, str, str]:
    sign, style = FILE_SIGNS[file.action]
    words = {"write": "edited", "copy": "unchanged", "drop": "left out"}[file.action]
    return Cell(sign, style), file.path, page.say(words), page.say.size(file.size_bytes)


def _costs(page: Page, value: Plan) -> None:
    say = page.say
    totals, copied = value.totals, value.totals.bytes_copied
    page.heading(say("What each way of copying writes"))
    page.table(
        (),
        (
            (
                "--copy reflink",
                say.size(totals.bytes_written + copied.reflink),
                say("shares unchanged blocks where the file system can"),
            ),
            (
                "--copy copy",
                say.size(totals.bytes_written + copied.copy_),
                say("a folder of its own"),
            ),
            (
                "--copy link",
                say.size(totals.bytes_written + copied.link),
                say("unchanged files are the same files as the base's: never edit them in place"),
            ),
        ),
        right=frozenset({1}),
    )


def _notes(page: Page, value: Plan) -> None:
    if not value.notes:
        return
    page.heading(page.say("Notes"))
    for note in value.notes:
        page.item("-", page.say.translated(note))
