"""`[[extend]]` on published vocabularies, with real text; and what no vocabulary can use."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from grown import Grown, checks, extend, failing, grow
from oracles.whole_words import taken_apart
from parity import base_of

N = 150
CORPUS_BYTES, HELD_OUT_BYTES = 150_000, 60_000


def russian(data: Path) -> tuple[str, str]:
    """A corpus, and what follows it in the same novel."""
    path = data / "text" / "russian" / "CrimeAndPunishment.txt"
    text = path.read_bytes()[: CORPUS_BYTES + HELD_OUT_BYTES].decode("utf-8", "ignore")
    at = text.index("\n", len(text) * CORPUS_BYTES // (CORPUS_BYTES + HELD_OUT_BYTES))
    return text[:at], text[at:]


def bytes_a_token(found: Grown, text: str) -> tuple[float, float]:
    size = len(text.encode())
    return size / len(found.was(text)), size / len(found.encoded(text))


@pytest.mark.parametrize(("name", "least"), [("qwen2.5", 1.02), ("minimind", 1.2)])
def test_text_takes_fewer_ids_and_every_piece_comes_up(
    name: str, least: float, data: Path, tmp_path: Path
) -> None:
    extends(name, N, least, data, tmp_path)


def extends(name: str, n_tokens: int, least: float, data: Path, home: Path) -> None:
    """Extend a published vocabulary, and compare with it on the corpus and on what follows it."""
    corpus, held_out = russian(data)
    base = base_of(name, data, home / "base")
    found = grow(base, home / "home", extend("c.txt", n_tokens), {"c.txt": corpus})
    (extension,) = found.plan.extensions
    before, after = len(found.was(corpus)), len(found.encoded(corpus))
    assert (extension.ids_before, extension.ids_after) == (before, after)
    assert extension.count == n_tokens
    for text in (corpus, held_out):
        was, now = bytes_a_token(found, text)
        assert now > least * was, f"{was:.3f} bytes a token before, {now:.3f} after"
        assert taken_apart(found.encoded(text), found.old_pieces) == found.was(text)
    said = checks(found)
    assert failing(said) == []
    assert f"all {n_tokens} new pieces of the vocabulary come up" in said["new-pieces"][1]


def test_pieces_that_only_the_corpus_has_are_left_out(tmp_path: Path) -> None:
    """A run of white space is cut before its last line break, wherever that is not far behind."""
    base = tiny.build(tmp_path / "base")
    # As frequent as anything here, and part of a longer run each time.
    runs = "".join(f"x \n\t{space}\n" for space in "\u3000\u2003\u00a0\u2009") * 40
    corpora = {"c.txt": "a\t\nb" * 300 + runs + " word word" * 30}
    found = grow(base, tmp_path, extend("c.txt", 7), corpora)
    learned = [t.text for t in found.plan.tokens if t.piece is not None]
    assert len(learned) == 7
    assert {"\t\n", " word"} <= set(learned)
    assert not {"\n\t", " \n\t"} & set(learned)
    assert failing(checks(found)) == []
