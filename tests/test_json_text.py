"""JSON is parsed strictly and changed locally."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tokengraft.checkpoint import JsonText
from tokengraft.errors import LimitExceeded, MalformedFile, UsageError
from tokengraft.formats.json_text import (
    Append,
    Change,
    Extend,
    Set,
    Splice,
    Unset,
    apply_splices,
    escape_key,
    parse_json,
    pointer_parts,
    splices,
)

STYLES: dict[str, dict[str, Any]] = {
    "indent 0": {"indent": 0},
    "indent 1": {"indent": 1},
    "indent 2": {"indent": 2},
    "indent 4": {"indent": 4},
    "tabs": {"indent": "\t"},
    "one line": {},
    "compact": {"separators": (",", ":")},
    "compact colon": {"indent": 2, "separators": (",", ":")},
}
MODEL = {
    "added_tokens": [{"id": 7, "content": "<s>"}, {"id": 8, "content": "</s>"}],
    "empty": {},
    "none": [],
    "eos_token_id": 7,
    "zeta": {"a": 1, "c": [1, 2], "d": {"x": None}},
}


def write(value: Any, style: str, *, ascii_only: bool = False, crlf: bool = False) -> bytes:
    text = json.dumps(value, ensure_ascii=ascii_only, **STYLES[style]) + "\n"
    return (text.replace("\n", "\r\n") if crlf else text).encode()


def changed(data: bytes, *changes: Change) -> bytes:
    return apply_splices(data, splices(data, changes))


def with_change(value: Any, change: Change) -> Any:
    """Make one change the plain way: the oracle."""
    value = copy.deepcopy(value)
    holder = {"": value}
    parts = pointer_parts(change.pointer)
    node: Any = holder
    steps = ("", *parts)
    for part in steps[:-1]:
        node = node[int(part)] if isinstance(node, list) else node[part]
    last: Any = int(steps[-1]) if isinstance(node, list) else steps[-1]
    match change:
        case Set():
            node[last] = change.value
        case Unset():
            del node[last]
        case Append():
            node[last].extend(change.values)
        case Extend():
            node[last].update(change.items)
    return holder[""]


texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('é"\\/~Ж😀\n\x7f{}[],: '), max_size=6
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
scalars = scalars.filter(lambda value: value not in (float("inf"), float("-inf")))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
documents = st.lists(values, max_size=5) | st.dictionaries(texts, values, max_size=5) | values


def nodes(value: Any, pointer: str = "") -> list[tuple[str, Any]]:
    found = [(pointer, value)]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += nodes(inner, f"{pointer}/{escape_key(key)}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += nodes(inner, f"{pointer}/{index}")
    return found


@st.composite
def changes(draw: st.DrawFn, value: Any) -> Change:
    places = nodes(value)
    pointer, node = draw(st.sampled_from(places))
    kind = draw(st.sampled_from(["set", "unset", "grow"]))
    if kind == "unset" and pointer:
        return Unset(pointer)
    if kind == "grow" and isinstance(node, list):
        return Append(pointer, draw(st.lists(values, max_size=3)))
    if kind == "grow" and isinstance(node, dict):
        items = draw(st.dictionaries(texts, values, max_size=3))
        if draw(st.booleans()) and items:
            key, inner = items.popitem()
            return Set(f"{pointer}/{escape_key(key)}", inner)
        return Extend(pointer, [item for item in items.items() if item[0] not in node])
    return Set(pointer, draw(values))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), value=documents, style=st.sampled_from(sorted(STYLES)))
def test_changed_bytes_parse_to_the_changed_value(
    data: st.DataObject, value: Any, style: str
) -> None:
    ascii_only, crlf = data.draw(st.booleans()), data.draw(st.booleans())
    before = write(value, style, ascii_only=ascii_only, crlf=crlf)
    made: list[Change] = []
    expected = value
    for _ in range(data.draw(st.integers(0, 5))):
        change = data.draw(changes(expected))
        made.append(change)
        expected = with_change(expected, change)
    document = parse_json(before, file="x.json")
    found = splices(document, made)
    after = apply_splices(before, found)
    assert expected == parse_json(after, file="x.json").value
    assert json.dumps(expected, sort_keys=True) == json.dumps(json.loads(after), sort_keys=True)
    ends = [0, *(place for splice in found for place in (splice.begin, splice.end)), len(before)]
    assert sorted(ends) == ends
    assert splices(document, ()) == ()
    if crlf:
        assert after.count(b"\n") == after.count(b"\r\n")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), value=documents, style=st.sampled_from(sorted(set(STYLES) - {"one line"})))
def test_one_change_gives_the_bytes_that_the_same_writer_would_give(
    data: st.DataObject, value: Any, style: str
) -> None:
    """In a file that one `json.dumps` has written, a change is what that writer writes."""
    # The separators of a compact file show where the root is an object.
    assume(value not in ([], {}) and isinstance(value, dict if "compact" in style else dict | list))
    change = data.draw(changes(value))
    assume(not (isinstance(change, Set) and change.pointer == ""))
    before = write(value, style)
    after = changed(before, change)
    value_after = json.loads(after)
    assume(value_after not in ([], {}))
    assert write(value_after, style).decode() == after.decode()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), value=documents, style=st.sampled_from(sorted(STYLES)))
def test_setting_what_is_there_changes_nothing(data: st.DataObject, value: Any, style: str) -> None:
    pointer, node = data.draw(st.sampled_from(nodes(value)))
    assert splices(write(value, style), [Set(pointer, node)]) == ()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("crlf", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        Set("/eos_token_id", 9),
        Set("/zeta/b", 2),
        Unset("/zeta/c/0"),
        Unset("/added_tokens/1"),
        Append("/added_tokens", [{"id": 9, "content": "Ж"}]),
        Append("/none", [1]),
        Extend("/empty", [("a", 1)]),
        Extend("/zeta/d", [("a", {"b": []})]),
    ],
    ids=repr,
)
def test_a_change_moves_no_other_byte(style: str, crlf: bool, change: Change) -> None:
    before = write(MODEL, style, crlf=crlf)
    (splice,) = splices(before, [change])
    after = apply_splices(before, [splice])
    assert before[: splice.begin] == after[: splice.begin]
    assert before[splice.end :] == after[len(after) - len(before) + splice.end :]
    assert with_change(MODEL, change) == json.loads(after)
    assert len(splice.new) < 80
    assert splice.end - splice.begin < 90


def test_a_number_becomes_an_array_with_an_element_a_line() -> None:
    before = b'{\n  "architectures": [\n    "X"\n  ],\n  "eos_token_id": 7\n}\n'
    assert (
        b'{\n  "architectures": [\n    "X"\n  ],\n'
        b'  "eos_token_id": [\n    151645,\n    151643\n  ]\n}\n'
    ) == changed(before, Set("/eos_token_id", [151645, 151643]))


def test_an_array_stays_on_one_line_where_its_siblings_do() -> None:
    before = b'{\n  "architectures": ["X"],\n  "eos_token_id": 7\n}'
    after = b'{\n  "architectures": ["X"],\n  "eos_token_id": [1, 2]\n}'
    assert after == changed(before, Set("/eos_token_id", [1, 2]))


def test_a_key_is_inserted_at_its_sorted_place() -> None:
    before = b'{"a": 1, "c": 2}'
    assert b'{"a": 1, "b": 3, "c": 2}' == changed(before, Set("/b", 3))
    assert b'{"_": 3, "a": 1, "c": 2}' == changed(before, Set("/_", 3))
    assert b'{"a": 1, "c": 2, "d": 3}' == changed(before, Set("/d", 3))


def test_digit_keys_are_sorted_as_numbers() -> None:
    before = b'{"9": 0, "10": 0, "100": 0}'
    assert b'{"9": 0, "10": 0, "11": 1, "100": 0}' == changed(before, Set("/11", 1))
    assert b'{"9": 0, "10": 0, "100": 0, "x": 1}' == changed(before, Set("/x", 1))


def test_unsorted_keys_keep_their_order_and_new_ones_come_last() -> None:
    assert b'{"c": 2, "a": 1, "b": 3}' == changed(b'{"c": 2, "a": 1}', Set("/b", 3))


def test_later_changes_see_what_earlier_ones_made() -> None:
    before = b'{"list": [1], "x": {}}'
    after = changed(
        before,
        Append("/list", [{"id": 2}]),
        Set("/list/1/id", 3),
        Unset("/list/0"),
        Set("/x/y", [1]),
        Append("/x/y", [2]),
        Set("/list/0/name", "n"),
    )
    assert {"list": [{"id": 3, "name": "n"}], "x": {"y": [1, 2]}} == json.loads(after)


def test_removing_all_and_adding_again_leaves_one_set_of_commas() -> None:
    before = b'{\n  "a": [\n    1,\n    2\n  ]\n}'
    changes: list[Change] = [Unset("/a/0"), Unset("/a/0"), Append("/a", [3])]
    assert b'{\n  "a": [\n    3\n  ]\n}' == changed(before, *changes)
    assert b'{\n  "a": []\n}' == changed(before, *changes[:2])


def test_an_escaped_file_gets_escapes_and_a_raw_one_does_not() -> None:
    assert rb'{"a": "\u0436", "b": "\u00e9\ud83d\ude00"}' == changed(
        rb'{"a": "\u0436"}', Set("/b", "é😀")
    )
    assert '{"a": "x", "b": "é"}'.encode() == changed(b'{"a": "x"}', Set("/b", "é"))
    assert '{"a": "ж", "b": "é"}'.encode() == changed('{"a": "ж"}'.encode(), Set("/b", "é"))
    assert rb'{"a": "\\u0436", "b": "' + "é".encode() + b'"}' == changed(
        rb'{"a": "\\u0436"}', Set("/b", "é")
    )


def test_keys_are_found_however_they_are_spelled() -> None:
    before = r'{"\u00e9": 1, "Ж": 2, "a/b": 3, "m~n": 4, "": 5}'.encode()
    after = changed(
        before, Set("/é", 0), Set("/Ж", 0), Set("/a~1b", 0), Set("/m~0n", 0), Set("/", 0)
    )
    assert r'{"\u00e9": 0, "Ж": 0, "a/b": 0, "m~n": 0, "": 0}'.encode() == after


def test_what_comes_after_the_last_place_is_not_scanned() -> None:
    before = b'{"a": [1, 2], "model": {"broken'
    assert b'{"a": [1, 2, 3], "model": {"broken' == changed(before, Append("/a", [3]))


@pytest.mark.parametrize(
    "change",
    [
        Set("/x/y", 1),
        Set("/a/2", 1),
        Set("/a/-", 1),
        Set("/a/01", 1),
        Set("a", 1),
        Set("/~2", 1),
        Set("/n/x", 1),
        Unset(""),
        Unset("/x"),
        Unset("/a/9"),
        Append("/x", [1]),
        Append("", [1]),
        Append("/n", [1]),
        Extend("/a", [("x", 1)]),
        Extend("", [("n", 1)]),
        Extend("", [("m", 1), ("m", 2)]),
        Set("/n", float("nan")),
        Set("/n", "\ud800"),
    ],
    ids=repr,
)
def test_a_change_that_does_not_fit_is_refused(change: Change) -> None:
    with pytest.raises(UsageError):
        splices(b'{"a": [1, 2], "n": 1}', [change])


def test_overlapping_splices_are_a_bug() -> None:
    with pytest.raises(AssertionError):
        apply_splices(b"abc", [Splice(0, 2, b""), Splice(1, 2, b"")])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": NaN}', "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "too large"),
        (b"[-1e999]", "too large"),
        (b'["\xff"]', "utf-8"),
        (b'["\xed\xa0\x80"]', "utf-8"),
        (b"[1,]", "value"),
        (b"", "value"),
        (b"{} {}", "Extra data"),
        (b'["\n"]', "control"),
        (b"[" + b"9" * 309 + b"]", "too large"),
    ],
)
def test_what_is_not_json_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(MalformedFile) as caught:
        parse_json(data, file="config.json")
    assert words.lower() in caught.value.detail.lower()
    assert "config.json" == caught.value.subject


def test_a_repeated_key_is_refused_with_its_place() -> None:
    with pytest.raises(MalformedFile) as caught:
        parse_json(b'{"a": [0, {"x/y": {"k": 1, "l": 2, "k": 3}}]}', file="f.json")
    assert "f.json#/a/1/x~1y" == caught.value.subject
    assert '"k"' in caught.value.detail


def test_a_repeated_key_inside_a_repeated_object_is_refused() -> None:
    with pytest.raises(MalformedFile):
        parse_json(b'{"a": {"k": 1, "k": 2}, "a": 1}', file="f.json")


@pytest.mark.parametrize("text", [r'{"a": {"\ud800": 1}}', r'{"a": ["\uDC00"]}', r'"\ud800\ud800"'])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(MalformedFile) as caught:
        parse_json(text.encode(), file="f.json")
    assert "surrogate" in caught.value.summary


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert "😀" == parse_json(rb'"\ud83d\ude00"', file="f").value
    assert r"\ud800" == parse_json(rb'"\\ud800"', file="f").value


def test_sixty_four_levels_are_read_and_no_more() -> None:
    assert isinstance(parse_json(b"[" * 64 + b"]" * 64, file="f"), JsonText)
    for depth in (65, 900, 200_000):
        with pytest.raises(LimitExceeded):
            parse_json(b"[" * depth + b"]" * depth, file="f")


def test_a_hundred_thousand_tokens_are_appended_quickly() -> None:
    tokens: list[Any] = [
        {"id": n, "content": f"<|{n}|>", "single_word": False, "special": True}
        for n in range(100_000)
    ]
    before = json.dumps({"added_tokens": tokens[:3]}, indent=2).encode()
    began = time.process_time()
    after = changed(before, Append("/added_tokens", tokens[3:]))
    seconds = time.process_time() - began
    assert json.dumps({"added_tokens": tokens}, indent=2).encode() == after
    assert seconds < 3  # 0.5 s on the machine it was written on


def test_real_tokenizers_keep_every_byte_but_the_new_ones(data: Path) -> None:
    files = sorted(data.glob("tokenizers/*/tokenizer*.json"))
    assert len(files) > 10
    for file in files:
        before = file.read_bytes()
        if len(before) > 4_000_000:
            continue  # the same layouts, only slower
        document = parse_json(before, file=file.name)
        assert isinstance(document.value, dict)
        items = list(document.value.items())[:100]
        assert () == splices(document, [Set(f"/{escape_key(k)}", v) for k, v in items])
        (splice,) = splices(document, [Set("/zzz_new", [1])])
        after = apply_splices(before, [splice])
        assert {**document.value, "zzz_new": [1]} == parse_json(after, file="f").value
        assert before == apply_splices(after, splices(after, [Unset("/zzz_new")]))
