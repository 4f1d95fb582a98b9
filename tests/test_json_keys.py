"""Keys of JSON objects get other texts where they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from test_json_text import STYLES, changed, documents, nodes, texts, write
from tokengraft.errors import UsageError
from tokengraft.formats.json_text import (
    Append,
    Extend,
    Rekey,
    Set,
    Unset,
    escape_key,
    pointer_parts,
    splices,
)


def rekeyed(value: Any, pointer: str, key: str) -> Any:
    """Rename one key the plain way: the oracle."""
    *above, last = ("", *pointer_parts(pointer))

    def walk(node: Any, steps: list[str]) -> Any:
        if not steps:
            return {(key if name == last else name): inner for name, inner in node.items()}
        if isinstance(node, list):
            return [walk(n, steps[1:]) if str(i) == steps[0] else n for i, n in enumerate(node)]
        return {n: walk(v, steps[1:]) if n == steps[0] else v for n, v in node.items()}

    return walk(value, above[1:])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), value=documents, style=st.sampled_from(sorted(STYLES)))
def test_a_key_gets_another_text_and_nothing_else_moves(
    data: st.DataObject, value: Any, style: str
) -> None:
    places = [(p, n) for p, n in nodes(value) if isinstance(n, dict) and n]
    assume(places)
    pointer, node = data.draw(st.sampled_from(places))
    key, new = data.draw(st.sampled_from(sorted(node))), data.draw(texts)
    assume(new not in node)
    place = f"{pointer}/{escape_key(key)}"
    after = changed(write(value, style), Rekey(place, new))
    assert after == write(rekeyed(value, place, new), style)


def test_changes_around_a_new_key_are_made_as_well() -> None:
    data = b'{"a": 1, "b": {"c": 2}, "d": 3}'
    after = changed(
        data,
        Set("/b/c", 9),
        Rekey("/b", "<|x|>"),
        Extend("", [("e", [4])]),
        Unset("/a"),
        Rekey("/e", "f"),
        Append("/f", [5]),
        Rekey("/<|x|>", "y"),
    )
    assert after == b'{"y": {"c": 9}, "d": 3, "f": [4, 5]}'


def test_a_key_of_a_new_object_keeps_its_place() -> None:
    made = changed(b'{"a": 0}', Set("/a", {"b": 1, "c": 2}), Rekey("/a/b", "z"))
    assert json.dumps(json.loads(made)) == '{"a": {"z": 1, "c": 2}}'


@pytest.mark.parametrize(
    "change",
    [
        Rekey("", "x"),
        Rekey("/a/0", "x"),
        Rekey("/x", "y"),
        Rekey("/n", "a"),
        Rekey("/o/p", "q"),
    ],
    ids=repr,
)
def test_a_key_that_is_missing_or_taken_is_refused(change: Rekey) -> None:
    data = b'{"a": [1, 2], "n": 1, "o": {"p": 1, "q": 2}}'
    with pytest.raises(UsageError):
        splices(data, [change])
    if change.pointer:
        within = Rekey(f"/v{change.pointer}", change.key)
        with pytest.raises(UsageError):
            splices(b'{"w": 0}', [Set("/v", json.loads(data)), within])
