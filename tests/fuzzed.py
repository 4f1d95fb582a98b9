"""The readers that are fuzzed: what each is given, and what must hold of what it accepts."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors

import fuzzing
import spm
from fuzzing import Case
from tiny import Tiny
from tokengraft import auditing
from tokengraft.documents import Document
from tokengraft.errors import ChildFailed, MalformedFile, TokengraftError
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.loading import Parts, assemble, load
from tokengraft.formats.safetensors_file import parse_header, read_index
from tokengraft.formats.sentencepiece_file import read_sentencepiece
from tokengraft.formats.tokenizer_files import read_tokenizer
from tokengraft.reporting.catalogue import ENGLISH
from tokengraft.reporting.screen import Screen
from tokengraft.reporting.text import view
from tokengraft.sandbox.sentencepiece import SentencepieceChild
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.vocabulary import Tokenizer

RECIPE = """version = 1
[[add]]
text = "<|new|>"
use = "role"
init = "copy"
like = "<|im_start|>"
[[add]]
text = "<|far|>"
init = "mean"
[[rename]]
from = "<think>"
to = "<muse>"
[pad]
token = "<|pad|>"
[context]
length = 512
method = "linear"
"""


class Shown:
    """Writes every tenth value as JSON and for people."""

    def __init__(self) -> None:
        self._seen = 0

    def __call__(self, value: Document) -> None:
        self._seen += 1
        if self._seen % SHOWN_EVERY == 1:
            value.to_json().encode()
            view(value, SCREEN)


@dataclass
class Reader:
    """A format under test.

    Attributes:
        make: one case.
        read: read it as the program does; what it raises must be an error of ours.
        counts: what came of the cases, by name.
    """

    make: Case
    read: Callable[[bytes], object]
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def run(self, data: bytes) -> None:
        """Read a case.

        Raises:
            AssertionError: what was accepted is not what the libraries see.
            Exception: whatever is no error of ours, which is a bug.
        """
        try:
            self.read(data)
        except TokengraftError as error:
            self.add("cases refused" if error.summary else "cases refused without a word")
        else:
            self.add("cases read")


PIECES = [
    ("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁a", -1.0, 1), ("b", -2.0, 1), ("ab", -3.0, 1)
]  # fmt: skip
SHOWN_EVERY = 10  # a page takes longer than reading what is on it
SCREEN = Screen(width=100, colour=False, unicode=True, words=ENGLISH)


# ── weights ──────────────────────────────────────────────────────────────────────────────────────


def header(base: Path) -> Reader:
    file = (base / "model.safetensors").read_bytes()
    small = _safetensors({"b": ("F32", [2, 2], 16), "a": ("BF16", [4], 8), "e": ("U8", [0, 3], 0)})
    reader = Reader(fuzzing.of_safetensors([small, small, small, file]), bool)

    def read(data: bytes) -> None:
        length = int.from_bytes(data[:8], "little")
        library = _library_accepts(data)
        try:
            weights = parse_header(data[: 8 + length], file="m", size_bytes=len(data))
        except TokengraftError:
            if library:
                reader.add("refused though the library reads it")
            raise
        assert library, data
        shapes = {name: (t["shape"], len(t["data"])) for name, t in safetensors.deserialize(data)}
        assert shapes == {t.name: (list(t.shape), t.size_bytes) for t in weights.tensors}

    reader.read = read
    return reader


def _library_accepts(data: bytes) -> bool:
    try:
        safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return False
    return True


def _safetensors(tensors: dict[str, tuple[str, list[int], int]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(at))


def index(folder: Path) -> Reader:
    place = Tiny(shards=2).build(folder / "sharded")
    value = json.loads((place / "model.safetensors.index.json").read_bytes())

    def read(data: bytes) -> None:
        _, found = read_index(parse_json(data, file="i"), file="i")
        for shard in found.values():
            assert Path(shard).name == shard
            assert (place / shard).resolve().parent == place.resolve()

    return Reader(fuzzing.of_json([value]), read)


# ── tokenizers ───────────────────────────────────────────────────────────────────────────────────


class _Libraries:
    """A child that is started again after each death."""

    def __init__(self, stack: ExitStack, start: Callable[[], Any]) -> None:
        self._stack, self._start = stack, start
        self._child: Any = None

    def child(self) -> Any:
        if self._child is None:
            self._child = self._stack.enter_context(self._start())
        return self._child

    def forget(self) -> None:
        if self._child is not None:
            self._child.__exit__()
            self._child = None


def tokenizer_json(base: Path, stack: ExitStack) -> Reader:
    seeds = [
        json.loads((base / "tokenizer.json").read_bytes()),
        *(_short(kind) for kind in ("BPE", "WordLevel", "Unigram", "WordPiece")),
    ]
    library = _Libraries(stack, TokenizerChild)
    reader = Reader(fuzzing.of_json([*seeds[1:], *seeds]), bool)

    def read(data: bytes) -> None:
        table: dict[int, str] | None = None
        try:
            library.child().load(data)
            table = library.child().id_table()
        except MalformedFile:
            pass  # not UTF-8, which we say before the library is asked
        except ChildFailed as error:
            if "refused" not in error.summary:
                reader.add("cases on which the library aborts")
                library.forget()
        try:
            found = read_tokenizer({"tokenizer.json": parse_json(data, file="t")}, {})
        except TokengraftError:
            if table is not None:
                reader.add("refused though the library reads it")
            raise
        assert found is not None
        if table is None:
            reader.add("refused by the library alone, and so by plan")
        elif not found.conflicts:
            assert _ids(found) == _seen(table, found, library.child())
            reader.add("id tables equal to the library's")

    reader.read = read
    return reader


def _ids(found: Tokenizer) -> dict[str, int]:
    added = {text: token_id for text, token_id in found.added_ids.items() if text}
    return {**{text: int(i) for text, i in found.vocab.items()}, **added}


def _seen(table: dict[int, str], found: Tokenizer, child: Any) -> dict[str, int]:
    """The library's ids of the texts that we know, and of those that it knows beside them."""
    texts = sorted({*_ids(found), *table.values()})
    ids = child.token_to_id(texts)
    return {
        text: token_id for text, token_id in zip(texts, ids, strict=True) if token_id is not None
    }


def _short(kind: str) -> dict[str, Any]:
    """A tokenizer of a few tokens."""
    words = ["[UNK]", "a", "b", "c", "ab", "abc"]
    vocab: Any = {word: at for at, word in enumerate(words)}
    models: dict[str, dict[str, Any]] = {
        "BPE": {"type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["ab", "c"]]},
        "WordLevel": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"},
        "Unigram": {"type": "Unigram", "unk_id": 0, "vocab": [[w, -float(i)] for i, w in enumerate(words)]},
        "WordPiece": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": vocab},
    }  # fmt: skip
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    contents = [("<s>", 6), ("</s>", 7), ("abc", 5)]
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": c, **flags, "special": True} for c, i in contents],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": models[kind],
    }


def sentencepiece(stack: ExitStack) -> Reader:
    library = _Libraries(stack, SentencepieceChild)
    reader = Reader(fuzzing.of_bytes([spm.written(PIECES), spm.trained("unigram")]), bool)

    def read(data: bytes) -> None:
        pieces: list[str] | None = None
        try:
            library.child().load(data)
            pieces = library.child().pieces()
        except ChildFailed as error:
            if "refused" not in error.summary:
                reader.add("cases on which the library aborts")
                library.forget()
        try:
            model = read_sentencepiece(data, file="m")
        except TokengraftError:
            if pieces is not None:
                reader.add("refused though the library reads it")
            raise
        if pieces is None:
            reader.add("refused by the library alone")
        else:
            assert pieces == [piece.text for piece in model.pieces]
            reader.add("pieces equal to the library's")

    reader.read = read
    return reader


# ── files of a folder, judged as a whole ─────────────────────────────────────────────────────────


def _parts(base: Path) -> Parts:
    checkpoint = load(base)
    assert checkpoint.tensors is not None
    return Parts(
        root=checkpoint.root,
        files=checkpoint.files,
        small_files=checkpoint.small_files,
        weights=checkpoint.tensors.files,
        problems=(),
    )


def _judge(parts: Parts, show: Shown, **changed: bytes) -> None:
    small = {**parts.small_files, **changed}
    checkpoint = assemble(dataclasses.replace(parts, small_files=small))
    found = auditing.audit(checkpoint, goal=None, source="fuzzed")
    show(found)


def assembled(base: Path, names: Sequence[str]) -> Reader:
    parts = _parts(base)
    show = Shown()
    cases = {n: fuzzing.of_json([json.loads(parts.small_files[n])]) for n in names}

    def make(random: Any) -> bytes:
        name = random.choice(names)
        return name.encode() + b"\0" + cases[name](random)

    def read(data: bytes) -> None:
        name, _, text = data.partition(b"\0")
        _judge(parts, show, **{name.decode(): text})

    return Reader(make, read)


def chat_template(base: Path) -> Reader:
    parts = _parts(base)
    show = Shown()
    config = json.loads(parts.small_files["tokenizer_config.json"])
    seeds = [config["chat_template"].encode()]
    more = (
        *(b"{% if x %}", b"{% endif %}", b"{% for m in messages %}", b"{% endfor %}", b"'", b"(", b")"),
        *(b"{{ messages[0].content }}", b"<|im_end|>", b"loop.first", b"|", b"-%}", b"{%- set a = 'b' %}"),
        *(b"{% generation %}", b"{% endgeneration %}", b"__class__", b"{% macro a() %}", b"{% raw %}"),
    )  # fmt: skip
    make = fuzzing.of_bytes(seeds, more)

    def read(data: bytes) -> None:
        # The text of a .jinja file is what a template is at its rawest.
        _judge(parts, show, **{"chat_template.jinja": data})

    return Reader(make, read)
