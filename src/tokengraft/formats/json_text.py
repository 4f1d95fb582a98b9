"""JSON files, parsed strictly, and changed without moving a byte that nobody named.

A change is translated into splices of the original bytes. The places are found by scanning: the
values that lie between are skipped at the speed of the C decoder, and what comes after the last
place that a change needs is not looked at. What is written anew follows the file: its indentation,
separators, newlines and escapes.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tokengraft.checkpoint import JsonText, JsonValue
from tokengraft.errors import LimitExceeded, MalformedFile, UsageError
from tokengraft.formats.json_limits import MAX_VALUES, refuse_flood, refuse_long_numbers
from tokengraft.formats.json_places import INDEX, Container, Text, order_of
from tokengraft.formats.json_sift import Sift, sift

MAX_SIZE_BYTES = 256 * 2**20
MAX_DEPTH = 64

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Set:
    """Replace the value at a pointer, or add the key.

    A new key goes to its sorted place where the keys of the object are sorted (as numbers, where
    all are digits), else to the end.
    """

    pointer: str
    value: JsonValue


@dataclass(frozen=True, slots=True)
class Unset:
    """Remove a key or an element, with its comma and its line."""

    pointer: str


@dataclass(frozen=True, slots=True)
class Append:
    """Add elements at the end of an array."""

    pointer: str
    values: Sequence[JsonValue]


@dataclass(frozen=True, slots=True)
class Extend:
    """Add keys at the end of an object, in the order given."""

    pointer: str
    items: Sequence[tuple[str, JsonValue]]


@dataclass(frozen=True, slots=True)
class Rekey:
    """Give a member of an object another key; its place and its value stay."""

    pointer: str
    key: str


Change = Set | Unset | Append | Extend | Rekey | Sift


@dataclass(frozen=True, slots=True)
class Splice:
    """Put `new` in the place of the bytes from `begin` to `end` of the original."""

    begin: int
    end: int
    new: bytes


class _Repeating(dict[str, JsonValue]):
    """An object whose text has a key twice; never leaves `parse_json`."""

    key: str = ""


def parse_json(data: bytes, *, file: str, max_values: int = MAX_VALUES) -> JsonText:
    """Parse a JSON file, refusing what two parsers could read in two ways.

    Args:
        data: UTF-8 without a byte order mark.
        file: the name to put into errors.
        max_values: how many values it may hold, counted by commas and brackets.
    Raises:
        MalformedFile: not JSON, a key twice, NaN or an overflowing number, half a surrogate pair.
        LimitExceeded: more than 256 MiB or too many values, or nested deeper than 64 levels.
    """
    if len(data) > MAX_SIZE_BYTES:
        raise LimitExceeded(
            "the JSON file is too large",
            detail=f"{len(data)} bytes, at most {MAX_SIZE_BYTES} are read",
            subject=file,
        )
    refuse_flood(data, file, max_values)
    refuse_long_numbers(data, file)
    repeating: list[_Repeating] = []

    def members(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        repeated = _Repeating(value)
        repeated.key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        repeating.append(repeated)
        return repeated

    value = _load(data, file, members)
    _check_depth(value, file)
    if repeating:
        raise _repetition(value, file)
    if _SURROGATE.search(data):
        _check_surrogates(value, file)
    return JsonText(data, value)


def _load(
    data: bytes, file: str, members: Callable[[list[tuple[str, JsonValue]]], dict[str, JsonValue]]
) -> JsonValue:
    def number(text: str) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError(f"the number {text[:40]} is too large")
        return value

    def constant(text: str) -> float:
        raise ValueError(f"{text} is not JSON")

    try:
        if data.startswith(b"\xef\xbb\xbf"):
            raise ValueError("it begins with a byte order mark")  # noqa: TRY301 - one way out
        value: JsonValue = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=members,
            parse_float=number,
            parse_constant=constant,
        )
    except RecursionError:
        raise _too_deep(file) from None
    except UnicodeDecodeError as error:
        raise MalformedFile(
            "not valid JSON",
            detail=f"byte {error.start} begins no character of UTF-8",
            subject=file,
        ) from None
    except ValueError as error:
        raise MalformedFile("not valid JSON", detail=str(error), subject=file) from None
    return value


def _too_deep(file: str) -> LimitExceeded:
    return LimitExceeded(
        "the JSON is nested too deeply", detail=f"at most {MAX_DEPTH} levels", subject=file
    )


def _check_depth(value: JsonValue, file: str) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep(file)


def _nodes(value: JsonValue, pointer: str = "") -> Iterator[tuple[str, JsonValue]]:
    yield pointer, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _nodes(inner, f"{pointer}/{escape_key(key)}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _nodes(inner, f"{pointer}/{index}")


def _repetition(value: JsonValue, file: str) -> MalformedFile:
    pointer, key = next((p, node.key) for p, node in _nodes(value) if isinstance(node, _Repeating))
    return MalformedFile(
        "an object has the same key twice",
        detail=f"the key {json.dumps(key)[:200]}; parsers differ in which value they take",
        subject=f"{file}#{pointer}".encode("utf-8", "backslashreplace").decode(),
    )


def _check_surrogates(value: JsonValue, file: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        pass
    else:
        return
    for pointer, node in _nodes(value):
        texts = node if isinstance(node, dict) else [node]
        if any(isinstance(text, str) and not _is_unicode(text) for text in texts):
            raise MalformedFile(
                "a string has half a surrogate pair",
                detail="an escape from \\ud800 to \\udfff stands alone, which is no character",
                subject=f"{file}#{pointer}",
            )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escape_key(key: str) -> str:
    """Write a key as one step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def pointer_parts(pointer: str) -> tuple[str, ...]:
    """Read a JSON pointer (RFC 6901) as its keys and indices."""
    if (pointer and not pointer.startswith("/")) or re.search("~(?![01])", pointer):
        raise UsageError("not a JSON pointer", detail="see RFC 6901", subject=pointer)
    return tuple(p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/")[1:])


def splices(document: JsonText | bytes, changes: Iterable[Change]) -> tuple[Splice, ...]:
    """Translate changes into replacements of bytes, touching nothing that is not named.

    Changes are made one after another: a pointer means what it means after the changes before it.
    Setting a value that is there already gives no splice.

    Args:
        document: what `parse_json` has accepted (or its bytes); it is not validated again.
        changes: what to do.
    Returns:
        Splices of the original that do not overlap, in ascending order.
    Raises:
        UsageError: a pointer leads nowhere, a key is there already, a value is not JSON.
    """
    text = Text(document.data if isinstance(document, JsonText) else document)
    for change in changes:
        _make(text, change)
    raw = sorted(text.splices(text.root, None), key=lambda splice: splice[:2])
    return tuple(Splice(begin, end, text.encode(new)) for begin, end, new in raw)


def apply_splices(data: bytes, splices: Iterable[Splice]) -> bytes:
    """Replace bytes; the splices ascend and do not overlap, as `splices` makes them."""
    pieces: list[bytes] = []
    done = 0
    for splice in splices:
        assert done <= splice.begin <= splice.end <= len(data), "splices overlap"
        pieces += (data[done : splice.begin], splice.new)
        done = splice.end
    return b"".join((*pieces, data[done:]))


def _misfit(change: Change) -> UsageError:
    return UsageError(
        f"cannot {type(change).__name__.lower()} this in the file",
        detail="the key or index is missing, is there already, or the value is of another kind",
        subject=change.pointer,
    )


def _make(text: Text, change: Change) -> None:
    parts = pointer_parts(change.pointer)
    into = parts[:-1] if isinstance(change, Set | Unset | Rekey) else parts
    member, done = text.root, 0
    while done < len(into) and not member.is_new:
        container = text.enter(member)
        found = container.find(into[done]) if container else None
        if found is None:
            raise _misfit(change)
        member, done = found, done + 1
    container = None if member.is_new else text.enter(member)
    if member.is_new or (isinstance(change, Set) and not parts):
        member.replace(_changed(member.value, parts[done:], change))
    elif container is None or not (parts or isinstance(change, Append | Extend | Sift)):
        raise _misfit(change)
    elif isinstance(change, Sift):
        sift(container, change.visit)
    elif text.is_empty(member):
        value: JsonValue = {} if container.is_object else []
        member.replace(_changed(value, parts[done:], change))
    else:
        _make_inside(container, parts[-1] if parts else "", change)


def _make_inside(container: Container, part: str, change: Change) -> None:
    if isinstance(change, Append) and not container.is_object:
        for value in change.values:
            container.insert(None, value, at_end=True)
        return
    if isinstance(change, Extend) and container.is_object:
        for key, value in change.items:
            if container.find(key):
                raise _misfit(change)
            container.insert(key, value, at_end=True)
        return
    found = container.find(part) if isinstance(change, Set | Unset | Rekey) else None
    if isinstance(change, Set) and found:
        found.replace(change.value)
    elif isinstance(change, Set) and container.is_object:
        container.insert(part, change.value, at_end=False)
    elif isinstance(change, Unset) and found:
        container.remove(found)
    elif (
        isinstance(change, Rekey) and found and container.is_object and _is_free(container, change)
    ):
        container.rekey(found, change.key)
    else:
        raise _misfit(change)


def _is_free(container: Container, change: Rekey) -> bool:
    return container.find(change.key) is None


def _changed(value: JsonValue, parts: Sequence[str], change: Change) -> JsonValue:
    """Make a change inside a value that is not in the original."""
    match change, value:
        case Set(), _ if not parts:
            return change.value
        case Append(), list() if not parts:
            return [*value, *change.values]
        case Extend(), dict() if not parts:
            if len({*value, *(key for key, _ in change.items)}) == len(value) + len(change.items):
                return {**value, **dict(change.items)}
        case _, dict() if parts:
            return _changed_object(value, parts, change)
        case _, list() if parts and INDEX.fullmatch(parts[0]) and int(parts[0]) < len(value):
            at = int(parts[0])
            removed = isinstance(change, Unset) and len(parts) == 1
            middle = [] if removed else [_changed(value[at], parts[1:], change)]
            return [*value[:at], *middle, *value[at + 1 :]]
        case _:
            pass
    raise _misfit(change)


def _changed_object(
    value: dict[str, JsonValue], parts: Sequence[str], change: Change
) -> dict[str, JsonValue]:
    key, rest = parts[0], parts[1:]
    if key in value:
        if isinstance(change, Unset) and not rest:
            return {name: inner for name, inner in value.items() if name != key}
        if isinstance(change, Rekey) and not rest:
            if change.key in value:
                raise _misfit(change)
            return {change.key if name == key else name: v for name, v in value.items()}
        return value | {key: _changed(value[key], rest, change)}
    if not isinstance(change, Set) or rest:
        raise _misfit(change)
    items = list(value.items())
    items.insert(_place(list(value), key), (key, change.value))
    return dict(items)


def _place(keys: Sequence[str], key: str) -> int:
    order = order_of(keys)
    if order is None or (order is int and not INDEX.fullmatch(key)):
        return len(keys)
    return bisect_left(keys, order(key), key=order)
