"""Operations on named tokens: a pad token that is not eos, and a complete list of stop ids."""

from __future__ import annotations

import json
from dataclasses import replace

from tokengraft import boundaries
from tokengraft.checkpoint import JsonValue
from tokengraft.formats.chat_template import turn_end
from tokengraft.formats.template_text import MARKER
from tokengraft.padding import unused_pads
from tokengraft.planning.draft import Draft, NewRow
from tokengraft.planning.tokens import text_problem
from tokengraft.plans import PlannedToken
from tokengraft.recipes import Pad, Stop
from tokengraft.vocabulary import TokenId

NEW_PAD = "<|pad|>"
# What carries content or a role shall be learned, and padding is not.
LEARNED = ("role", "tool", "thinking")


def set_pad(draft: Draft, pad: Pad) -> Draft:
    """Choose a pad token that is not eos and name it in every file."""
    chosen = pad.token
    if chosen == "auto":
        draft, chosen = _automatic(draft)
    elif unfit := _unfit(draft, chosen):
        return draft.with_problem("pad.token", unfit, 'token = "auto" takes another one')
    token_id = draft.id_of(chosen)
    if token_id is None:
        if problem := text_problem(draft, chosen):
            return draft.with_problem("pad.token", problem)
        token_id = TokenId(draft.n_tokens)
        draft = draft.with_token(
            PlannedToken(
                text=chosen, id=token_id, action="add", use="pad", init="mean", special=True
            )
        ).with_row(NewRow(token_id, chosen, "mean", use="pad"))
    return _name_pad(draft, token_id)


def _automatic(draft: Draft) -> tuple[Draft, str]:
    """The present pad token if it is fit, else an existing unused token, else a new one."""
    named = draft.tokenizer.named_content("pad")
    present = None if named is None else draft.renamed.get(named, named)
    if present is not None and draft.id_of(present) is not None and not _unfit(draft, present):
        return draft, present
    pads = unused_pads(draft.checkpoint)
    existing = next((text for token_id, text in pads if token_id not in draft.planned), None)
    if existing is None:
        return draft, _new_text(draft)
    note = (
        f"padding will be {existing!r} (id {draft.id_of(existing)}): it exists, and no "
        "file and no chat template uses it"
    )
    return draft.with_note(note), existing


def _new_text(draft: Draft) -> str:
    """A text for a new pad token: one that is no token yet, or that the recipe adds."""
    texts = (NEW_PAD, *(f"<|pad_{number}|>" for number in range(2, 100)))
    added = {token.text for token in draft.planned.values() if token.action == "add"}
    return next(t for t in texts if draft.id_of(t) is None or (t in added and not _unfit(draft, t)))


def _unfit(draft: Draft, text: str) -> str:
    """Why a text cannot be the pad token, "" if it can."""
    never = "a model trained with it as padding never stops"
    if text in _eos_texts(draft):
        return f"{text!r} is an eos token: {never}"
    end = turn_end(draft.tokenizer)
    if end is not None and text in (draft.renamed.get(end, end), draft.written_as(end)):
        return f"{text!r} ends the turns of the chat template: {never}"
    token_id = draft.id_of(text)
    if token_id is None:
        return ""
    if token_id not in draft.added and not MARKER.fullmatch(text):
        return f"{text!r} is an ordinary piece of the vocabulary, which text is made of"
    planned = draft.planned.get(token_id)
    if planned is not None and planned.use in LEARNED:
        return f"{text!r} is to be learned, and a pad token is not: training leaves it out"
    if planned is None and not _has_row(draft, token_id):
        return f"{text!r} has the id {token_id}, and there is no row for it"
    writer = _writer(draft, text, token_id)
    return f"the chat template in {writer} writes {text!r}, so it is no padding" if writer else ""


def _writer(draft: Draft, text: str, token_id: TokenId) -> str:
    """The file of a chat template that writes a token, "" if none does."""
    texts = {text, draft.renamed_from(token_id) or text}
    texts |= {old for old, new in draft.markers.items() if new == text}
    for template in draft.tokenizer.templates:
        if any(said in draft.template_text(template) for said in texts):
            return template.file
    return ""


def _eos_texts(draft: Draft) -> set[str]:
    """The texts of eos, as the tokenizer's files and config.json name it.

    The stop list of generation_config.json does not count: Qwen3 pads with one of its members, and
    its turns end with another.
    """
    texts = set()
    for named in draft.tokenizer.named:
        if named.name != "eos" or named.file == "generation_config.json":
            continue
        if named.content is not None:
            texts |= {
                draft.renamed.get(named.content, named.content),
                draft.written_as(named.content),
            }
        elif named.token_id is not None and TokenId(named.token_id) in draft.added:
            texts.add(draft.added[TokenId(named.token_id)].content)
    return texts


def _has_row(draft: Draft, token_id: TokenId) -> bool:
    layout = draft.checkpoint.layout
    return layout is None or layout.n_rows == 0 or token_id < layout.n_rows


def _name_pad(draft: Draft, token_id: TokenId) -> Draft:
    """Write the pad token's text and id wherever a reader looks for it."""
    text = draft.added[token_id].content if token_id in draft.added else None
    if text is None:
        text = next(t for t, i in draft.tokenizer.vocab.items() if i == token_id)
    files = draft.checkpoint.json
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if file in files and _content(draft.value(file, "/pad_token")) != text:
            draft = draft.with_setting(file, "/pad_token", text)
    places = [("config.json", "/pad_token_id"), ("generation_config.json", "/pad_token_id")]
    nested = draft.checkpoint.text_config
    if nested and draft.checkpoint.config("/pad_token_id") is not None:
        places.append(("config.json", f"{nested}/pad_token_id"))
    for file, pointer in places:
        if file in files and draft.value(file, pointer) != token_id:
            draft = draft.with_setting(file, pointer, int(token_id))
    if draft.checkpoint.value("tokenizer.json", "/padding") is not None:
        for pointer, value in (("/padding/pad_id", int(token_id)), ("/padding/pad_token", text)):
            if draft.value("tokenizer.json", pointer) != value:
                draft = draft.with_setting("tokenizer.json", pointer, value)
    return draft


def _content(value: JsonValue) -> JsonValue:
    return value.get("content") if isinstance(value, dict) else value


def set_stop(draft: Draft, stop: Stop) -> Draft:
    """Make the stop list hold the turn end and the tokenizer's eos, keeping what it has."""
    if stop.tokens == "keep":
        return _kept(draft)
    present = stop_ids(draft)
    wanted = [turn_end(draft.tokenizer), draft.tokenizer.named_content("eos")]
    texts = [text for text in wanted if text is not None]
    # So does a token that stands for the end of a turn together with the line break behind it.
    # A marker that another one is written for still ends a turn: the model may not have let it go.
    texts = [*(draft.renamed.get(t, t) for t in texts), *(draft.written_as(t) for t in texts)]
    texts += [draft.layouts[s] for s in draft.layouts if s.strip() in wanted]
    ids = [draft.id_of(text) for text in texts]
    missing = [int(i) for i in dict.fromkeys(ids) if i is not None and i not in present]
    if not missing or not (present or draft.checkpoint.json):
        return draft
    if "generation_config.json" in draft.checkpoint.json:
        return draft.with_setting("generation_config.json", "/eos_token_id", [*present, *missing])
    if "config.json" not in draft.checkpoint.json:
        return draft
    return _write_generation_config(draft, [*present, *missing])


def _kept(draft: Draft) -> Draft:
    """Leave the list alone, and say where a new turn end is not in it."""
    end = turn_end(draft.tokenizer)
    new = None if end is None else draft.markers.get(end)
    if new is None or draft.id_of(new) in stop_ids(draft):
        return draft
    return draft.with_note(
        f"[stop] leaves the stop list alone, so generation does not end at {new!r}"
    )


def stop_ids(draft: Draft) -> list[int]:
    """The ids that end generation now."""
    return list(boundaries.stop_ids(draft.value, draft.checkpoint.text_config)[0])


def _write_generation_config(draft: Draft, stop: list[int]) -> Draft:
    """Make the file that the folder lacks, from what config.json says."""
    value: dict[str, JsonValue] = {}
    for key in ("bos_token_id", "pad_token_id"):
        found = draft.value("config.json", f"/{key}")
        if isinstance(found, int):
            value[key] = found
    value["eos_token_id"] = list(stop)
    text = json.dumps(dict(sorted(value.items())), indent=2) + "\n"
    draft = draft.with_note(
        "generation_config.json is made anew: only there can several ids end generation"
    )
    return replace(draft, written={**draft.written, "generation_config.json": text})
