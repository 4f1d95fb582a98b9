"""Verdicts for goals that change settings: context, pad; and for training an adapter: lora."""

from __future__ import annotations

import json
import re

from tokengraft.auditing.asking import n_rows_of
from tokengraft.auditing.deep.answers import lora_rows
from tokengraft.auditing.rule import counted, shown
from tokengraft.auditing.verdict import MENDING, Case, blocked, told
from tokengraft.auditing.verdict_tokens import TEACHING
from tokengraft.checkpoint import JsonValue
from tokengraft.families import trained_length
from tokengraft.findings import Verdict
from tokengraft.padding import unused_pads
from tokengraft.positions import Stretch, config_of, kind_of, stretch, usual
from tokengraft.vocabulary import Tokenizer

_GENERATION = re.compile(r"\{%-?\s*generation\b")
MANY = 8  # numbers of a list that a verdict still shows
_NEW_PAD = "<|pad|>"


def context(case: Case) -> Verdict:
    """Whether the model can be given longer texts, and by which keys."""
    if case.blocking:
        return blocked(case)
    family = case.checkpoint.family
    found = config_of(case.checkpoint)
    length = None if found is None else found.length
    if found is None or length is None:
        reasons = ["config.json, where the context length stands, is not here or names none."]
        return case.answer("unknown", reasons, case.command("show"))
    if family.name == "generic":
        why = "no family file describes this model, so it is not known how it counts positions"
        reasons = [f"The context is {length:,} positions; {why}."]
        return case.answer("unknown", reasons, case.command("show"))
    if not family.rope:
        why = f"{family.name} models keep positions in a way that no setting can stretch"
        reasons = [f"The context is {length:,} positions; {why}."]
        return case.answer("do-not", reasons, case.command("show"))
    wrong = tuple(f for f in case.mendable if f.rule[0] == "C")
    if wrong:
        following = case.command("audit", "--write-recipe", "recipe.toml")
        return case.answer("safe-change", told(wrong), following)
    wish = usual(case.checkpoint)
    if wish is None:
        kind = kind_of(found.in_force())
        reasons = [
            (
                f"The context is {length:,} positions, and they are scaled already: {kind}. A recipe "
                "with another length states that anew, from the length that was trained."
            )
        ]
        return case.answer("leave-as-is", reasons, case.command("show"))
    return _stretched(case, stretch(case.checkpoint, wish))


def _stretched(case: Case, found: Stretch) -> Verdict:
    if found.problems:
        reasons = [f"The context cannot be lengthened by a recipe: {found.problems[0].what}."]
        return case.answer("do-not", reasons, case.command("show"))
    assert found.config is not None
    base, target = found.original[0], found.wish.length
    trained, source = trained_length(case.checkpoint.family, found.config.length)
    if trained:
        known = f"{base:,} positions were trained ({source}). Up to there, change nothing."
    else:
        known = (
            f"config.json names {base:,} positions; how many were trained is unknown. Up to there, "
            "change nothing."
        )
    keys = [f"{file}#{key} = {_shown(value)}" for (file, key), value in found.settings.items()]
    reasons = [
        known,
        f"For {target:,} positions a plan sets: {'; '.join(keys)}. No weight changes.",
        (
            "This stretch is always on: short texts get a little worse too. That the model is good at "
            "the new length is not proved by these keys."
        ),
    ]
    if case.checkpoint.tokenizer is None:
        reasons.append("A plan wants the tokenizer's files beside config.json; they are not here.")
        return case.answer("safe-change", reasons, case.command("show"))
    return case.answer("safe-change", reasons, case.with_preset("context"))


def _shown(value: JsonValue) -> str:
    """A setting as JSON; lists of factors by their lengths."""
    if isinstance(value, dict):
        value = {
            key: f"{len(inner)} numbers" if isinstance(inner, list) and len(inner) > MANY else inner
            for key, inner in value.items()
        }
    return json.dumps(value)


def pad(case: Case) -> Verdict:
    """Whether the model needs another pad token, and which one it would be."""
    if case.blocking:
        return blocked(case)
    tokenizer = case.checkpoint.tokenizer
    if tokenizer is None:
        reasons = ["There are no tokenizer files here, so which token pads is unknown."]
        return case.answer("unknown", reasons, case.command("show"))
    wrong = tuple(f for f in case.findings if f.rule in ("R102", "R103", "R201", "R202", "R203"))
    wrong = tuple(f for f in wrong if f.fix is not None and f.fix.operation == "pad")
    text = tokenizer.named_content("pad")
    if wrong and case.facts.n_tokens is None:
        reasons = [
            *told(wrong),
            "Which token could pad is unknown: no file at hand lists tokens.",
        ]
        return case.answer("unknown", reasons, case.command("show"))
    if wrong:
        return case.answer("safe-change", [*told(wrong), _choice(case)], case.with_preset("pad"))
    if text is None:
        reasons = [
            "The files name no pad token, and the tokenizer's class may have one of its own: unknown."
        ]
        return case.answer("unknown", reasons, case.command("show"))
    return _kept_pad(case, tokenizer, text)


def _kept_pad(case: Case, tokenizer: Tokenizer, text: str) -> Verdict:
    """The answer where a pad token is named and no rule speaks against it."""
    n_rows, token_id = n_rows_of(case.checkpoint), tokenizer.id_of(text)
    if token_id is None:
        reasons = [f"Padding is {shown(text)}; whether it is a token was not at hand."]
        return case.answer("unknown", reasons, case.command("show"))
    row = (
        "; whether it has an embedding row is unknown"
        if n_rows is None
        else ", and it has an embedding row"
    )
    reasons = [f"Padding is {shown(text)} ({token_id}). It is not the eos token{row}."]
    return case.answer("leave-as-is", reasons, case.command("show"))


def _choice(case: Case) -> str:
    """The token that a plan takes for padding, and why."""
    found = next(unused_pads(case.checkpoint), None)
    if found is not None:
        token_id, text = found
        return (
            f"A plan takes {shown(text)} ({token_id}): it exists, no file gives it a name and the "
            "chat template does not write it. Nothing is added and no row changes; only training "
            "in batches ever meets it."
        )
    next_id = case.facts.n_tokens
    return (
        f"No existing token is free for it, so a plan adds {_NEW_PAD} as id {next_id}. Padding is "
        "left out of attention and loss, so its row needs no training."
    )


def lora(case: Case) -> Verdict:
    """Whether the checkpoint is ready for training a low-rank adapter on it."""
    if case.blocking:
        return blocked(case)
    facts, tokenizer = case.facts, case.checkpoint.tokenizer
    known = lora_rows(case)
    if known is not None:
        return known
    unstopped = tuple(f for f in case.findings if f.rule == "R301")
    if unstopped and tokenizer is not None and facts.turn_end is not None:
        matrices = "the input matrix" if facts.tied else "both matrices"
        reasons = [
            *told(unstopped),
            (
                f"So nothing shows that the row of {shown(facts.turn_end)} "
                f"({tokenizer.id_of(facts.turn_end)}) was ever trained: base models ship chat markers "
                "unused. The rows were not read."
            ),
            (
                "A LoRA adapter changes layers and no embedding row. Trained alone, it teaches chats "
                f"that cannot end; the rows of the chat markers in {matrices} have to be trained with it."
            ),
            *told(tuple(f for f in case.mendable if f not in unstopped)),
            *_training(case),
        ]
        return case.answer("needs-training", reasons, _recipe_command(case))
    if case.mendable:
        reasons = [*told(case.mendable), MENDING, *_training(case)]
        return case.answer("safe-change", reasons, _recipe_command(case))
    if case.unread:
        reasons = [
            "A LoRA adapter changes layers and no embedding row, so every token must have its row first.",
            f"Whether it has is unknown: {' and '.join(case.unread)}.",
            *_training(case),
        ]
        return case.answer("unknown", reasons, case.command("show"))
    spare = "" if facts.n_rows is None else f" ({facts.n_rows:,} rows)"
    reasons = [
        (
            f"A LoRA adapter changes layers and no embedding row{spare}. With the "
            f"{counted(facts.n_tokens or 0, 'token')} that are there, nothing must change first."
        ),
        *TEACHING[:1],
        "An adapter alone leaves such a row as it starts: train the rows of new tokens with it.",
        *_training(case),
    ]
    return case.answer("leave-as-is", reasons, case.command("show"))


def _training(case: Case) -> list[str]:
    """What trainers and servers do with rows and masks, where it bites."""
    facts, tokenizer = case.facts, case.checkpoint.tokenizer
    told = []
    if facts.spare_rows:
        matrices = "embed_tokens" if facts.tied else "embed_tokens and lm_head"
        told.append(
            "Rows of new tokens inside the spare rows leave vocab_size as it is, and then PEFT saves no "
            f"rows by itself (save_embedding_layers = auto): name their ids in trainable_token_indices "
            f"for {matrices}, and merge them before serving, since no server loads such adapters."
        )
    template = tokenizer.template() if tokenizer is not None else None
    if template is not None and not _GENERATION.search(template.text):
        told.append(
            "The chat template has no {% generation %} tags, as most published ones: a trainer that asks "
            "for assistant-only loss gets an empty mask from it. Add the tags, or find the answers by markers."
        )
    return told


def _recipe_command(case: Case) -> str:
    return case.command("audit", "--goal", case.goal, "--write-recipe", "recipe.toml")
