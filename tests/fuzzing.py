"""Cases for fuzzing: valid files, changed where their format gives them structure, or byte by byte.

A case is made of one seed, so hypothesis keeps and repeats what failed by a single number.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any, Final

Case = Callable[[Random], bytes]

# Values that readers stumble over.
ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 7, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**53 + 1, 2**63, 2**64),
    *(-(2**63), 10**300, 10**310, 1.5, -0.0, 1e308, 1e-320, float("nan"), float("inf")),
    *("", " ", "\0", "\ud800", "a" * 1500, "../x", "/etc/passwd", "CON", "<|im_end|>", "\x1b[31m"),
    *(
        "\u202e",
        "__class__",
        "{{ x }}",
        "1",
        "-1",
        "BPE",
        "U8",
        "keep",
        "default",
        "yarn",
        "é",
        "🤖",
    ),
    *([], {}, [[]], [None], ["a", "b"], {"a": 1}, {"": {}}, [0] * 50, {"content": "x"}),
)
PIECES: Final = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800"),
    *(
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-0",
        b"0" * 400,
        b"\n",
        b"\r\n",
        b"\xef\xbb\xbf",
        b"{{",
        b"}}",
    ),
    *(b"{%", b"%}", b"{#", b"'", b"..", b"../", b"=", b"[[", b"]]", b"#", b"  ", b"\x80", b"\x0a"),
)


def of_bytes(seeds: Sequence[bytes], more: Sequence[bytes] = ()) -> Case:
    """Cut, double, exchange and overwrite parts of a valid file."""
    pieces = (*PIECES, *more)

    def make(random: Random) -> bytes:
        if random.random() < 0.03:
            return random.randbytes(random.randrange(200))
        data = bytearray(random.choice(seeds))
        for _ in range(random.choice((1, 1, 1, 2, 4, 12))):
            _change(random, data, pieces)
        return bytes(data)

    return make


def _change(random: Random, data: bytearray, pieces: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + random.choice((1, 1, 2, 8, 40, 400)))
    match random.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << random.randrange(8)
        case 1:
            del data[at:end]
        case 2:
            data[at:at] = random.choice(pieces)
        case 3:
            data[at:end] = random.choice(pieces)
        case 4:
            data[at:at] = data[at:end] * random.choice((1, 1, 3, 60))
        case 5:
            other = random.randrange(len(data) + 1)
            data[at:at] = data[other : other + (end - at)]
        case _:
            del data[at:]


def of_json(seeds: Sequence[Any]) -> Case:
    """Change values, keys and places in a JSON document; now and then its text."""
    texts = [json.dumps(seed) for seed in seeds]
    raw = of_bytes([text.encode() for text in texts])

    def make(random: Random) -> bytes:
        if random.random() < 0.2:
            return raw(random)
        value = json.loads(random.choice(texts))
        for _ in range(random.choice((1, 1, 1, 2, 5))):
            value = changed(random, value)
        return written(random, value)

    return make


def of_safetensors(seeds: Sequence[bytes]) -> Case:
    """Change the header, the length before it, or the data behind it."""
    raw = of_bytes(seeds)

    def make(random: Random) -> bytes:
        kind = random.random()
        if kind < 0.2:
            return raw(random)
        data = random.choice(seeds)
        length = int.from_bytes(data[:8], "little")
        value, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
        if kind < 0.6:
            for _ in range(random.choice((1, 1, 2))):
                value = changed(random, value)
        elif kind < 0.65:
            rest = bytes(of_bytes([rest or b"\0"])(random))
        else:
            rest = _overwritten(random, rest)
        text = written(random, value) if kind < 0.6 else json.dumps(value).encode()
        size = len(text) if random.random() < 0.95 else random.choice((0, 2**63, len(text) + 1))
        return struct.pack("<Q", size) + text + rest

    return make


def _overwritten(random: Random, data: bytes) -> bytes:
    """Other numbers in the same places."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8)) if found else 0):
        at = random.randrange(len(found)) // 8 * 8
        number = random.choice((0, 1, 2, 5, -1, 2**62, -(2**63), random.randrange(400)))
        found[at : at + 8] = struct.pack("<q", number)[: len(found) - at]
    return bytes(found)


def _odd(random: Random) -> Any:
    return deepcopy(random.choice(ODD))  # a later change must not reach the next case


def changed(random: Random, value: Any) -> Any:
    """Change one place of a value, wherever it lies."""
    where = _places(value)
    if not where:
        return _odd(random)
    holder, key = random.choice(where)
    match random.randrange(6):
        case 0 | 1 | 2:
            holder[key] = _odd(random)
        case 3:
            del holder[key]
        case 4:
            other, there = random.choice(where)
            holder[key] = json.loads(json.dumps(other[there])) if there in _keys(other) else None
        case _ if isinstance(holder, dict):
            holder[str(random.choice(("", "a", "\ud800", "type", "id", key)))] = holder.pop(key)
        case _:
            holder.insert(random.randrange(len(holder) + 1), _odd(random))
    return value


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a value that can be changed: what holds it, and by which key."""
    found: list[tuple[Any, Any]] = []
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict | list):
            for key in list(one) if isinstance(one, dict) else range(len(one)):
                found.append((one, key))
                todo.append(one[key])
    return found


def written(random: Random, value: Any) -> bytes:
    """JSON, in which half a surrogate pair may be raw or an escape."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")
