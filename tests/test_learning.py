"""Continued BPE on numbers: what is learned, what is kept, and that the library merges alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tokengraft.planning.learning import Join, Words, kept, learn, merged, merged_by
from tokengraft.planning.letters import Letters

Units = list[tuple[tuple[int, ...], int]]
LETTERS = "abcdefgh"
TEXTS = dict(enumerate(LETTERS))

units_of = st.lists(
    st.tuples(st.lists(st.integers(0, 5), min_size=2, max_size=7).map(tuple), st.integers(1, 9)),
    min_size=1,
    max_size=12,
    unique_by=lambda unit: unit[0],
)


def units(*words: str) -> Units:
    """Units of single letters, each once; `ab*3` stands three times."""
    found = []
    for word in words:
        text, _, times = word.partition("*")
        found.append((tuple(LETTERS.index(c) for c in text), int(times or 1)))
    return found


def learned(of: Units, *, limit: int = 99, least: int = 1) -> list[Join]:
    return learn(Words.of(of), dict(TEXTS), str.__add__, first_id=100, limit=limit, least=least)


def naive(of: Units, *, limit: int, least: int) -> list[Join]:
    """The same, with every pair counted again after every merge."""
    parts = {ids: list(ids) for ids, _ in of}
    texts, joins, skipped = dict(TEXTS), list[Join](), set[tuple[int, int]]()
    while len(joins) < limit:
        pairs: Counter[tuple[int, int]] = Counter()
        for ids, times in of:
            for pair in pairwise(parts[ids]):
                pairs[pair] += times
        left = {pair: n for pair, n in pairs.items() if n >= least and pair not in skipped}
        if not left:
            break
        pair = min(left, key=lambda p: (-left[p], p))
        text = texts[pair[0]] + texts[pair[1]]
        if text in {join.text for join in joins}:
            skipped.add(pair)
            continue
        join = Join(100 + len(joins), *pair, text)
        joins.append(join)
        texts[join.id] = text
        parts = {ids: merged(part, pair, join.id) for ids, part in parts.items()}
    return joins


def test_the_most_frequent_pair_is_merged_first_and_merges_build_on_each_other() -> None:
    found = learned(units("abc*5", "ab*2", "cd*3"))
    assert found == [
        Join(100, 0, 1, "ab"),
        Join(101, 100, 2, "abc"),
        Join(102, 2, 3, "cd"),
    ]


def test_of_equally_frequent_pairs_the_one_of_smaller_ids_comes_first() -> None:
    assert [join.text for join in learned(units("cd", "ab", "bc"))] == ["ab", "bc", "cd"]


def test_a_pair_that_stands_too_seldom_is_not_merged() -> None:
    assert [join.text for join in learned(units("ab*8", "cd*7"), least=8)] == ["ab"]


def test_no_more_is_learned_than_is_asked_for() -> None:
    assert len(learned(units("abcdefgh*9"), limit=3)) == 3


def test_a_text_is_learned_once_whatever_its_parts() -> None:
    texts = [join.text for join in learned(units("abc*9", "ab*1", "bc*30", "dbc*4"))]
    assert len(texts) == len(set(texts))


def test_what_must_not_be_joined_stays_apart() -> None:
    found = learn(
        Words.of(units("abc*5")),
        dict(TEXTS),
        lambda left, right: None if left == "a" else left + right,
        first_id=100,
        limit=9,
        least=1,
    )
    assert [join.text for join in found] == ["bc"]


def test_a_run_of_one_letter_is_merged_from_the_left() -> None:
    assert merged([0, 0, 0, 1], (0, 0), 100) == [100, 0, 1]


def test_a_leaf_that_stands_too_seldom_goes_and_its_parts_are_counted_again() -> None:
    of = units("abc*3", "ab*9", "cd*9")
    found = learned(of)
    stay, uses = kept(of, found, wanted=9, least=5)
    assert [join.text for join in stay] == ["ab", "cd"]
    assert (uses[stay[0].id], uses[2]) == (12, 3)  # "ab" stands in "abc" again, beside a "c"


def test_a_step_that_never_stands_alone_is_kept_for_what_is_made_of_it() -> None:
    of = units("abc*9")
    stay, uses = kept(of, learned(of), wanted=9, least=8)
    assert [(join.text, uses[join.id]) for join in stay] == [("ab", 0), ("abc", 9)]


def test_of_a_surplus_the_least_used_leaves_go() -> None:
    of = units("ab*9", "cd*8", "ef*7")
    stay, _ = kept(of, learned(of), wanted=2, least=1)
    assert [join.text for join in stay] == ["ab", "cd"]


@settings(max_examples=300, deadline=None)
@given(of=units_of, limit=st.integers(1, 12), least=st.integers(1, 4))
def test_learning_with_a_queue_is_learning_with_counting_again(
    of: Units, limit: int, least: int
) -> None:
    assert naive(of, limit=limit, least=least) == learned(of, limit=limit, least=least)


@settings(max_examples=300, deadline=None)
@given(of=units_of, wanted=st.integers(0, 9), least=st.integers(1, 6))
def test_what_is_kept_is_whole_and_pays(of: Units, wanted: int, least: int) -> None:
    found = learned(of)
    stay, uses = kept(of, found, wanted=wanted, least=least)
    ids = {join.id for join in stay}
    parts = {part for join in stay for part in (join.left, join.right)}
    assert len(stay) <= wanted
    assert {part for part in parts if part >= 100} <= ids  # nothing is made of what went
    assert all(uses[join.id] >= least for join in stay if join.id not in parts)
    assert uses == counted(of, stay)


@settings(max_examples=300, deadline=None)
@given(of=units_of, wanted=st.integers(0, 9), others=units_of)
def test_merges_only_join_ids_and_every_piece_makes_itself(
    of: Units, wanted: int, others: Units
) -> None:
    stay, _ = kept(of, learned(of), wanted=wanted, least=1)
    by_pair = {(join.left, join.right): join for join in stay}
    made = {join.id: join for join in stay}
    for ids, _ in others:  # text that was not learned from, too
        assert expanded(merged_by(ids, by_pair), made) == list(ids)
    for join in stay:
        assert merged_by(expanded([join.id], made), by_pair) == [join.id]


def expanded(ids: Sequence[int], made: dict[int, Join]) -> list[int]:
    """Ids with every new one taken apart."""
    found: list[int] = []
    for token_id in ids:
        join = made.get(token_id)
        found += [token_id] if join is None else expanded([join.left, join.right], made)
    return found


def counted(of: Units, stay: Sequence[Join]) -> Counter[int]:
    by_pair = {(join.left, join.right): join for join in stay}
    uses: Counter[int] = Counter()
    for ids, times in of:
        for token_id in merged_by(ids, by_pair):
            uses[token_id] += times
    return uses


# ── letters that are spelled in bytes ────────────────────────────────────────────────────────────

BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"a": 300}
BE = (0xD0, 0xB1)  # б


def test_a_letter_of_bytes_becomes_one_id_if_it_saves_enough() -> None:
    letters = Letters.of(BYTES)
    of: Units = [((300, *BE, *BE), 4), ((*BE, 0xC3, 0xA9), 1)]
    found = letters.found_in(of, first_id=400, limit=9, least=8)
    assert dict(found.texts) == {400: "б"}  # é would save one id
    read, saved = found.read(of)
    assert (dict(read), saved) == ({(300, 400, 400): 4}, 9)


def test_letters_that_save_most_come_first_and_are_limited() -> None:
    of: Units = [((0xE4, 0xB8, 0xAD, *BE), 5)]
    found = Letters.of(BYTES).found_in(of, first_id=400, limit=1, least=1)
    assert dict(found.texts) == {400: "中"}


def test_bytes_that_are_no_letter_or_a_control_stay_bytes() -> None:
    of: Units = [((0xD0, 0xD0, 0xB1, 0x0A, 0xE2, 0x80, 0x8B), 9)]  # half, б, newline, U+200B
    found = Letters.of(BYTES).found_in(of, first_id=400, limit=9, least=1)
    assert dict(found.texts) == {400: "б"}


def test_without_byte_pieces_units_are_left_as_they_are() -> None:
    of = units("ab*2")
    assert Letters.of({"a": 0, "b": 1}).read(of) == (tuple(of), 0)
