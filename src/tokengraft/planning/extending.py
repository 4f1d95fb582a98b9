"""`[[extend]]`: more pieces for the model's own vocabulary, by continuing its BPE on a corpus.

What is promised: replace each new id by the old ids that it was made from, and the old encoding is
there again, of every text. So old ids keep their meaning, decoding is unchanged, and a text in which
no new merge finds its two parts is encoded as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tokengraft.extensions import Extension
from tokengraft.planning.draft import Draft, NewRow
from tokengraft.planning.learning import Join, Pair, Words, kept, learn, merged_by
from tokengraft.planning.letters import Letters
from tokengraft.planning.library import CountCorpus, Counted, Library, Unit
from tokengraft.planning.reaching import encoder, readable_of, unreached, without
from tokengraft.plans import PlannedToken
from tokengraft.recipes import Extend
from tokengraft.spelling import SPACE, begins_a_letter, bytes_of, is_whole, readable
from tokengraft.vocabulary import TokenId

# An id takes four bytes wherever ids are kept. A piece that saves less than 32 bytes of the corpus,
# which is to say that it stands there less than eight times, is not worth a row: what is learned
# from so few places does not carry over (docs/explanation/extending-a-vocabulary.md has figures).
ID_BYTES = 4
LEAST_SAVED_BYTES = 32
LEAST_USES = LEAST_SAVED_BYTES // ID_BYTES
LEARNED_FOR_ONE = 1.25  # so many merges are learned for each that is kept: the best of them stay
MAX_PIECE = 64  # letters of a piece; Qwen3's longest has 128, all of them spaces
SHOWN = 6


@dataclass(frozen=True, slots=True)
class Pieces:
    """What continuing must know of the vocabulary, and what it has come to so far.

    Attributes:
        known: texts that are tokens, so that no piece may have them.
        texts: the piece of each id, new ones included.
        long_numbers: whether pieces hold more than one digit.
        joins: the merges kept so far, by their pair.
        old_ids: the old ids that each new one was made from.
    """

    byte_level: bool
    known: frozenset[str]
    texts: Mapping[int, str]
    long_numbers: bool
    letters: Letters
    joins: Mapping[Pair, Join]
    old_ids: Mapping[int, tuple[int, ...]]

    def joined(self, left: str, right: str) -> str | None:
        """The piece that two make, None if there must be no such piece."""
        text = left + right
        if len(text) > MAX_PIECE or text in self.known:
            return None
        if self.byte_level:
            data = bytes_of(text)
            fits = data is not None and (is_whole(data) or begins_a_letter(data))
            return text if fits else None
        if (
            SPACE in text[1:]
            or " " in text
            or (not self.long_numbers and sum(map(str.isdigit, text)) > 1)
        ):
            return None
        return text


@dataclass(frozen=True, slots=True)
class Learned:
    """What one corpus came to: its letters and merges, with ids that follow one another."""

    letters: Mapping[int, str]
    joins: tuple[Join, ...]
    steps: int
    rejected: tuple[str, ...]
    n_ids: int

    @property
    def count(self) -> int:
        return len(self.letters) + len(self.joins)


@dataclass(frozen=True, slots=True)
class Learning:
    """What one corpus is asked for, and whom to ask whether a piece comes up."""

    counted: Counted
    library: Library
    first_id: int
    wanted: int


def extend_all(
    draft: Draft, wished: Sequence[Extend], *, library: Library | None, count: CountCorpus
) -> Draft:
    """Learn the pieces of every `[[extend]]`, each on what those before it have left."""
    if not wished:
        return draft
    if why_not := cannot_extend(draft):
        instead = "[[add]] adds tokens that are matched literally"
        return draft.with_problem("extend", why_not, instead)
    assert library is not None, "a tokenizer.json is there, so the library can be asked"
    if draft.tokenizer.byte_level and len(library.cut(["a b"])[0]) == 1:
        return draft.with_problem(
            "extend", "its pre-tokenizer does not cut words, so pieces would run across them"
        )
    pieces = _pieces(draft)
    for number, extend in enumerate(wished):
        counted = count(extend.corpus, not draft.tokenizer.byte_level)
        if counted.problem:
            draft = draft.with_problem(f"extend[{number}].corpus", counted.problem)
            continue
        learning = Learning(counted, library, first_id=draft.n_tokens, wanted=extend.tokens)
        pieces, learned = _learned(pieces, learning)
        if learned.count < extend.tokens:
            draft = _too_few(draft, number, extend.tokens, learned.count)
        draft = _with_pieces(draft, pieces, extend, counted, learned)
    return draft


def cannot_extend(draft: Draft) -> str:
    """Why a vocabulary cannot grow by merges that only join old ids; empty if it can."""
    kind = draft.tokenizer.kind
    if draft.checkpoint.value("tokenizer.json", "/model") is None:
        return "the folder has no tokenizer.json, whose merges would be continued"
    if kind == "Unigram":
        return (
            "Unigram cuts a text by the best sum of scores: a new piece, whatever its score, changes "
            "how old text around it is cut, and there is no order of merges to put it behind"
        )
    if kind != "BPE":
        return f"{kind} takes the longest piece that fits, so a new piece changes longer words too"
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        value = draft.checkpoint.value("tokenizer.json", f"/model/{key}")
        if value:
            return f"its BPE has {key} = {value!r}, which this version does not continue"
    return ""


def _too_few(draft: Draft, number: int, wanted: int, found: int) -> Draft:
    return draft.with_problem(
        f"extend[{number}].tokens",
        f"the corpus gives {found:,} pieces that each stand at least {LEAST_USES} times in it, "
        f"{wanted:,} are asked for",
        f"tokens = {found}, or a larger corpus" if found else "a larger corpus",
    )


def _pieces(draft: Draft) -> Pieces:
    vocab = draft.tokenizer.vocab
    contents = (token.content for token in draft.added.values())
    return Pieces(
        byte_level=draft.tokenizer.byte_level,
        known=frozenset({*vocab, *contents, *draft.vocab}),
        texts={int(token_id): text for text, token_id in vocab.items()},
        long_numbers=any(len(text) > 1 and text.isdigit() for text in vocab),
        letters=Letters.of(vocab),
        joins={},
        old_ids={},
    )


def _learned(pieces: Pieces, learning: Learning) -> tuple[Pieces, Learned]:
    """Learn letters, then merges, and keep those that pay and come up; at most `wanted` together."""
    counted, first_id, wanted = learning.counted, learning.first_id, learning.wanted
    letters = pieces.letters.found_in(
        counted.units, first_id=first_id, limit=wanted, least=LEAST_USES
    )
    read, saved = letters.read(counted.units)
    new = {i: text for i, text in letters.texts.items() if i >= first_id}
    old = {token_id: spelling for spelling, token_id in letters.ids.items()}
    first_join, wanted = first_id + len(new), wanted - len(new)
    units = _merged(read, pieces.joins)
    known = replace(
        pieces,
        known=pieces.known.union(new.values()),
        texts={**pieces.texts, **new},
        letters=letters,
    )
    learned, stay, uses = _that_come_up(
        known, units, replace(learning, first_id=first_join, wanted=wanted)
    )
    joins = _renumbered(stay, first_join)
    staying = {join.id for join in stay}
    told = Learned(
        letters=new,
        joins=joins,
        steps=sum(not uses[join.id] for join in stay),
        rejected=tuple(join.text for join in learned if join.id not in staying),
        n_ids=counted.n_ids - saved - _size(read) + sum(uses.values()),
    )
    grown = replace(
        pieces,
        known=pieces.known.union(new.values(), (join.text for join in joins)),
        texts={**pieces.texts, **new, **{join.id: join.text for join in joins}},
        letters=letters,
        joins={**pieces.joins, **{(join.left, join.right): join for join in joins}},
        old_ids=_expanded({**pieces.old_ids, **old}, joins),
    )
    return grown, told


def _that_come_up(
    pieces: Pieces, units: Sequence[Unit], learning: Learning
) -> tuple[list[Join], list[Join], Counter[int]]:
    """Learn merges whose pieces come up in texts; learn again without those that left too few.

    Returns:
        The merges that were learned, those that are kept, and how often every id stands.
    """
    banned: set[str] = set()
    while True:
        learned = learn(
            Words.of(units),
            dict(pieces.texts),
            replace(pieces, known=pieces.known | banned).joined,
            first_id=learning.first_id,
            limit=int(learning.wanted * LEARNED_FOR_ONE),
            least=LEAST_USES,
        )
        sound, met = learned, len(banned)
        stay, uses = kept(units, sound, wanted=learning.wanted, least=LEAST_USES)
        while missed := _unreached(pieces, stay, learning.library):
            banned |= {join.text for join in stay if join.id in missed}
            sound = without(sound, missed)
            stay, uses = kept(units, sound, wanted=learning.wanted, least=LEAST_USES)
        if len(stay) >= learning.wanted or len(banned) == met:
            return learned, stay, uses


def _unreached(pieces: Pieces, joins: Sequence[Join], library: Library) -> set[int]:
    """The new pieces that no text has, though the corpus does (see `reaching`)."""
    by_pair = {**pieces.joins, **{(join.left, join.right): join for join in joins}}
    asked = readable_of(joins, byte_level=pieces.byte_level)
    return set(unreached(asked, encoder(library, pieces.letters, by_pair)))


def _merged(units: Sequence[Unit], joins: Mapping[Pair, Join]) -> list[Unit]:
    if not joins:
        return list(units)
    found: Counter[tuple[int, ...]] = Counter()
    for ids, times in units:
        found[tuple(merged_by(ids, joins))] += times
    return list(found.items())


def _size(units: Sequence[Unit]) -> int:
    return sum(len(ids) * times for ids, times in units)


def _renumbered(joins: Sequence[Join], first_id: int) -> tuple[Join, ...]:
    """Give the kept merges ids without holes, in their order."""
    ids = {join.id: first_id + at for at, join in enumerate(joins)}
    return tuple(
        Join(ids[j.id], ids.get(j.left, j.left), ids.get(j.right, j.right), j.text) for j in joins
    )


def _expanded(
    known: Mapping[int, tuple[int, ...]], joins: Sequence[Join]
) -> dict[int, tuple[int, ...]]:
    found = dict(known)
    for join in joins:
        found[join.id] = tuple(
            i for part in (join.left, join.right) for i in found.get(part, (part,))
        )
    return found


def _with_pieces(
    draft: Draft, pieces: Pieces, extend: Extend, counted: Counted, learned: Learned
) -> Draft:
    extension = Extension(
        corpus=extend.corpus,
        sha256=counted.sha256,
        size_bytes=counted.size_bytes,
        first_id=draft.n_tokens,
        count=learned.count,
        steps=learned.steps,
        rejected=len(learned.rejected),
        examples=tuple(readable(t, pieces.byte_level) for t in learned.rejected[:SHOWN]),
        least_uses=LEAST_USES,
        ids_before=counted.n_ids,
        ids_after=learned.n_ids,
    )
    tokens = tuple(_tokens(pieces, learned))
    rows = tuple(
        NewRow(
            token_id=TokenId(token.id),
            text=token.text,
            init="auto",
            use="extend",
            pieces=tuple(map(TokenId, pieces.old_ids[token.id])),
        )
        for token in tokens
    )
    return replace(
        draft.with_vocabulary(tokens),
        new_rows=(*draft.new_rows, *rows),
        extensions=(*draft.extensions, extension),
    )


def _tokens(pieces: Pieces, learned: Learned) -> Iterator[PlannedToken]:
    cuts = {join.id: len(pieces.texts[join.left]) for join in learned.joins}
    texts = {**learned.letters, **{join.id: join.text for join in learned.joins}}
    for token_id, text in texts.items():
        yield PlannedToken(
            text=readable(text, pieces.byte_level),
            id=token_id,
            action="add",
            use="extend",
            init="auto",
            piece=text,
            cut=cuts.get(token_id, 0),
        )
