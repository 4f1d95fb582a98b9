"""`[protocol]`: the two markers around every turn get other texts, or other tokens, everywhere.

`rename` keeps ids and rows. `add` takes new ids whose rows start as copies; templates write the new
markers, the old ones still end a turn, and where a marker bears a name (eos, bos) the name follows
it: templates write it by that name, training takes the end of a turn from it, and llama.cpp stops at
it and at texts that it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.template_markers import pattern
from tokengraft.formats.template_text import special_texts
from tokengraft.formats.turns import turns
from tokengraft.planning.draft import Draft
from tokengraft.planning.responses import CONFIG, KEY, read_both
from tokengraft.planning.tokens import rename_token, text_problem
from tokengraft.planning.wishes import Wish
from tokengraft.recipes import Add, Protocol
from tokengraft.vocabulary import TokenId

FLAGS = ("special", "lstrip", "rstrip", "single_word", "normalized")
NAMES = ("bos", "eos")
# Texts at which llama.cpp ends generation, whatever the files say.
# Source: llama.cpp, src/llama-vocab.cpp, end-of-generation tokens by name.
LLAMA_CPP_ENDS = frozenset(
    {
        *(
            "<|eot_id|>",
            "<|im_end|>",
            "<|end|>",
            "<|return|>",
            "<|call|>",
            "<|flush|>",
            "<|calls|>",
        ),
        *("<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]"),
        *("[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>"),
    }
)


class Marker(NamedTuple):
    """A marker of the base, and the text that takes its place."""

    where: str
    old: str
    new: str


def set_protocol(draft: Draft, protocol: Protocol) -> Draft:
    """Rename the markers of the base's chat template, or have templates write others."""
    draft, markers = _markers(draft, protocol)
    match protocol.mode:
        case "rename":
            for marker in markers:
                draft = rename_token(draft, marker.where, marker.old, marker.new)
        case "add":
            draft = replace(draft, markers={**draft.markers, **{m.old: m.new for m in markers}})
        case _:
            assert_never(protocol.mode)
    return _noted(draft, protocol, markers)


def _markers(draft: Draft, protocol: Protocol) -> tuple[Draft, list[Marker]]:
    """The markers that change; whatever stands in the way becomes a problem."""
    template = draft.tokenizer.template()
    if template is None:
        what = "there is no chat template, so no markers"
        hint = "put a chat_template.jinja into the folder, or give tokens other texts by [[rename]]"
        return draft.with_problem("protocol", what, hint), []
    if protocol.turn_start == protocol.turn_end:
        return draft, []  # a contradiction, whatever the template says (see `wishes`)
    found = turns(draft.tokenizer, template)
    wanted = (
        ("turn_start", found.start, protocol.turn_start, found.why_no_start),
        ("turn_end", found.end, protocol.turn_end, found.why_no_end),
    )
    markers = []
    for key, old, new, why_not in wanted:
        where = f"protocol.{key}"
        if old is None:
            hint = "[[rename]] gives each marker another text"
            draft = draft.with_problem(where, f"in {template.file}, {why_not}", hint)
        elif old != new:
            what, hint = _problem(draft, protocol, old, new)
            draft = draft.with_problem(where, what, hint) if what else draft
            markers += [] if what else [Marker(where, old, new)]
    return draft, markers


def _problem(draft: Draft, protocol: Protocol, old: str, new: str) -> tuple[str, str]:
    """Why a text cannot take the place of a marker, and what to do; empty if it can."""
    if problem := text_problem(draft, new):
        return problem, ""
    if old in draft.renamed:
        return f"[[rename]] gives {old!r} another text already", "keep one of the two"
    if draft.id_of(new) is None:
        return "", ""
    if protocol.mode == "rename":
        return f"{new!r} is a token already", 'mode = "add" has templates write it'
    if any(new in template.text for template in draft.tokenizer.templates):
        return f"chat templates write {new!r} for something else", "choose another text"
    return "", ""


def _noted(draft: Draft, protocol: Protocol, markers: list[Marker]) -> Draft:
    """Say which markers were found, and who will not know the new ones."""
    for marker in markers:
        token_id = draft.tokenizer.id_of(marker.old)
        is_end = marker.where.endswith("end")
        ends = f"{marker.old!r} (id {token_id}) ends a turn now"
        opens = f"{marker.old!r} (id {token_id}) opens a turn now"
        draft = draft.with_note(ends if is_end else opens)
        there = draft.id_of(marker.new)
        if protocol.mode == "add" and there is not None:
            draft = draft.with_note(f"{marker.new!r} is token {there} already and keeps its row")
        if not is_end and marker.new in LLAMA_CPP_ENDS:
            draft = draft.with_note(f"llama.cpp ends generation at any token called {marker.new!r}")
        is_eos = draft.tokenizer.named_content("eos") == marker.old
        if is_end and not is_eos and marker.new not in LLAMA_CPP_ENDS:
            draft = draft.with_note(
                f"{marker.new!r} is not the tokenizer's eos token: llama.cpp, which knows ends of "
                "turns as eos or by texts of its own, will not stop at it by itself"
            )
    return draft


def marker_wishes(draft: Draft) -> Iterator[Wish]:
    """The tokens that templates write instead of others: they start as copies of those."""
    for old, new in draft.markers.items():
        yield Wish("protocol", _as_copy(draft, Add(text=new), old))


def as_copies(draft: Draft, wishes: tuple[Wish, ...]) -> tuple[Wish, ...]:
    """All wishes of a recipe; an `[[add]]` of a new marker says more about it."""
    olds = {new: old for old, new in draft.markers.items()}
    known = {wish.add.text for wish in wishes}
    return (
        *(
            wish._replace(add=_as_copy(draft, wish.add, olds[wish.add.text]))
            if wish.add.text in olds
            else wish
            for wish in wishes
        ),
        *(wish for wish in marker_wishes(draft) if wish.add.text not in known),
    )


def _as_copy(draft: Draft, add: Add, old: str) -> Add:
    """What a recipe does not say of a new marker is as it is with the old one."""
    token_id = draft.tokenizer.id_of(old)
    there = None if token_id is None else draft.tokenizer.added.get(token_id)
    assert there is not None, "a marker is an added token"
    given = add.model_fields_set
    flags = {flag: getattr(there, flag) for flag in FLAGS if flag not in given}
    starts = given & {"like", "sequence"} or ("init" in given and add.init != "copy")
    return add.model_copy(update=flags if starts else {**flags, "like": old})


def set_layouts(draft: Draft, adds: Sequence[Add]) -> Draft:
    """Have templates write a new token where they write the beginning of a turn that it stands for.

    A `sequence` that does not begin with a special token is a start for the row and nothing else.
    """
    special = special_texts(draft.tokenizer)[1]
    first = pattern(draft.tokenizer.added_ids)
    layouts: dict[str, str] = {}
    for number, add in enumerate(adds):
        begins = None if add.sequence is None else first.match(add.sequence)
        if add.sequence is None or begins is None:
            continue
        if begins.group() not in special or begins.group() == add.sequence:
            continue
        token_id = draft.id_of(add.text)
        if token_id is None or token_id not in draft.planned:
            continue
        if add.sequence in layouts:
            what = f"{layouts[add.sequence]!r} stands for the same sequence"
            draft = draft.with_problem(f"add[{number}].sequence", what, "keep one of the two")
        layouts.setdefault(add.sequence, add.text)
    return read_both(replace(draft, layouts=layouts), _swaps(draft, layouts)) if layouts else draft


def _swaps(draft: Draft, layouts: Mapping[str, str]) -> dict[str, str]:
    """What responses hold where a sequence stood, under the names that its tokens have now.

    White space behind the end of a turn belongs to the template, not to what is read.
    """
    special = special_texts(draft.tokenizer)[1]
    swaps = {}
    for sequence, token in layouts.items():
        text = sequence.strip() if sequence.strip() in special else sequence
        for old, new in {**draft.renamed, **draft.markers}.items():
            text = text.replace(old, new)
        swaps[text] = token
    return swaps


def follow_markers(draft: Draft) -> Draft:
    """Give a name that an old marker bears to the new one, and let both end generation by text."""
    for name in NAMES:
        old = draft.tokenizer.named_content(name)
        if old is not None and old in draft.markers:
            draft = _follow(draft, name, old, draft.markers[old])
    for old, new in draft.markers.items():
        listed = draft.value("generation_config.json", "/stop_strings")
        if isinstance(listed, list) and old in listed and new not in listed:
            draft = draft.with_setting("generation_config.json", "/stop_strings", [*listed, new])
    if (CONFIG, KEY) in draft.settings:
        return draft  # it was written anew, with the new markers
    return read_both(draft, draft.markers)


def _follow(draft: Draft, name: str, old: str, new: str) -> Draft:
    old_id, new_id = draft.tokenizer.id_of(old), draft.id_of(new)
    if new_id is None:
        return draft  # it could not be added, and that is a problem already
    for named in draft.tokenizer.named:
        if named.name == name and named.content == old:
            value = draft.checkpoint.value(named.file, named.pointer)
            pointer = f"{named.pointer}/content" if isinstance(value, dict) else named.pointer
            draft = draft.with_setting(named.file, pointer, new)
    places = [
        ("config.json", prefix) for prefix in dict.fromkeys(("", draft.checkpoint.text_config))
    ]
    if name != "eos":  # generation_config.json's eos is the stop list, which keeps its members
        places.append(("generation_config.json", ""))
    for file, prefix in places:
        pointer = f"{prefix}/{name}_token_id"
        value = _followed(draft.value(file, pointer), old_id, new_id)
        if value != draft.value(file, pointer):
            draft = draft.with_setting(file, pointer, value)
    return draft


def _followed(value: JsonValue, old_id: TokenId | None, new_id: TokenId) -> JsonValue:
    """An id, or a list of them, after the name moved: a list keeps what it has."""
    if isinstance(value, list) and old_id in value and new_id not in value:
        return [*value, int(new_id)]
    return int(new_id) if value == old_id and not isinstance(value, bool | list) else value
