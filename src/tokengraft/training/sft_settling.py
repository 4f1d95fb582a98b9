"""Output rows of a finished training, solved: what many small steps come near is reached at once.

Where rows alone were trained, and the two matrices are apart, no state moves any more when output rows
do. What the data ask of these rows is then a convex problem (`output_rows.solve`), one token at a time,
held to the rows that were trained. Text that the model writes itself stands for all that the data do
not show, where no new token is due. Examples that were held out say whether the few places at which a
token is due weigh more than others, and whether the solved rows are taken.

Shapes: C states in the loss, D width, N new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.training import output_rows
from tokengraft.training.continuing import continued
from tokengraft.training.language_model import LanguageModel, Written, text_config, written_of
from tokengraft.training.sft_model import ADAPTER

Values = NDArray[np.float64]
Ids = NDArray[np.int64]

STRENGTH = 1.0  # of the pull back to the trained rows
TEXTS, TEXT_LENGTH = 128, 128  # that the model writes, and ids of each
BEGUN = 8  # ids of a prompt that such a text begins with
# Of the weight of all states; without it the role of examples/ costs text 0.04 bits a byte.
TEXT_SHARE = 0.1
MISSED = 2  # a token that is missed counts as so many that are said in vain
WEIGHTS = (1.0, float(MISSED))  # of a state in which a token is due, beside all other states
MOST_NUMBERS = 1 << 26  # of all states together: 512 MB
MOST_TOKENS = 64  # each is a problem of its own; rows of many words are better fitted
_ASKED = 1e-4  # the data are answers, not odds: nothing is asked to be likelier than this lets it
_NEVER = 1e-6  # the probability of a new token in text of the model's own
_SWEEPS = 2  # new tokens take their share from each other too
_APART = 1e-2  # of logits, absolute
_IGNORED = -100


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """Where the model says something; `due_CN` holds nothing but False for text of its own.

    Attributes:
        hidden_CD: as the output matrix reads it.
        log_norm_C: log of the normaliser over old rows.
        logits_CN: of the new tokens, as the model gives them.
        due_CN: whether a new token comes next.
        own_C: the logit of what comes next where that is an old token, else minus infinity.
        best_C: the largest logit of an old token.
    """

    hidden_CD: Values
    log_norm_C: Values
    logits_CN: Values
    due_CN: NDArray[np.bool_]
    own_C: Values
    best_C: Values


def settle(
    trainer: Any,
    network: Any,
    ids: tuple[int, ...],
    seed: int,
    *,
    opening: tuple[int, ...] = (),
    ends: tuple[int, ...] = (),
) -> str:
    """Solve the trained output rows of a model with its adapter, in place.

    Args:
        trainer: whose data are read, and by whose collator.
        ids: of the new tokens, in the order of the rows.
        opening, ends: before every text, and what ends generation, as `boundaries` has them.
    Returns:
        What was done, a sentence; empty where this is no model or training for it.
    """
    layer = getattr(network.get_output_embeddings(), "token_adapter", None)
    is_whole = str(trainer.accelerator.distributed_type.value) not in ("FSDP", "DEEPSPEED")
    written = written_of(network.get_base_model())
    if layer is None or not is_whole or written.limit is not None or len(ids) > MOST_TOKENS:
        return ""
    parameter = layer.trainable_tokens_delta[ADAPTER]
    network.eval()  # for states and text alike: nothing drops out, and keys are kept
    trained_ND: Values = parameter.detach().double().cpu().numpy()
    states = gather(trainer, network, ids, trainer.train_dataset, seed)
    if not np.allclose(
        written.logits(states.hidden_CD @ trained_ND.T), states.logits_CN, atol=_APART, rtol=_APART
    ):
        return ""  # the model does more with its rows than is known here
    held_out = trainer.eval_dataset
    judged = states if held_out is None else gather(trainer, network, ids, held_out, seed)
    begun = beginnings(trainer, opening, seed) or [_beginning(network, opening, ends)] * TEXTS
    text = own_text(network, written, ids, seed, begun, ends)
    rows_ND = solved(written, states, text, trained_ND, judged)
    before, after = (loss(written, judged, rows) for rows in (trained_ND, rows_ND))
    if after >= before:
        return ""
    parameter.data.copy_(parameter.new_tensor(rows_ND))
    where = "the same rows" if held_out is None else "held-out rows"
    return (
        f"output rows were solved once more on {len(states.own_C):,} states: {where} cost "
        f"{after:.4f} nats a token, {before:.4f} before"
    )


def gather(trainer: Any, network: Any, ids: tuple[int, ...], data: Any, seed: int) -> States:
    """States of examples in an order drawn by the seed, until there is no room for more."""
    import torch
    from torch.utils.data import DataLoader

    head = network.get_output_embeddings()
    order = np.random.default_rng(seed).permutation(len(data))
    batches = DataLoader(
        data.select(order),
        batch_size=trainer.args.per_device_eval_batch_size,
        collate_fn=trainer.data_collator,
    )
    parts: list[tuple[Any, ...]] = []
    kept: list[Any] = []

    def only_said(_: Any, given: tuple[Any, ...]) -> Any:
        hidden_CD = given[0][:, :-1][kept[0]]
        kept.append(hidden_CD)
        return (hidden_CD, *given[1:])

    room = MOST_NUMBERS // int(head.weight.shape[1])
    hook = head.register_forward_pre_hook(only_said)
    try:
        with torch.inference_mode():
            for batch in batches:
                if room <= 0:
                    break
                moved = {
                    name: value.to(network.device) if hasattr(value, "to") else value
                    for name, value in batch.items()
                }  # packs bring numbers along
                labels_BT = moved.pop("labels")[:, 1:]
                kept[:] = [labels_BT != _IGNORED]
                logits_CV = network(**moved, use_cache=False).logits.float()
                parts.append(_part(logits_CV, kept[1], labels_BT[kept[0]], ids))
                room -= len(logits_CV)
    finally:
        hook.remove()
    return States(*(np.concatenate([part[n] for part in parts]) for n in range(6)))


def _part(logits_CV: Any, hidden_CD: Any, next_C: Any, ids: tuple[int, ...]) -> tuple[Any, ...]:
    import torch

    new_N = torch.tensor(ids, device=logits_CV.device)
    logits_CN = logits_CV[:, new_N]
    logits_CV[:, new_N] = -torch.inf
    values = (
        hidden_CD.double(),
        torch.logsumexp(logits_CV, dim=-1).double(),
        logits_CN.double(),
        next_C[:, None] == new_N[None],
        logits_CV.gather(1, next_C[:, None])[:, 0].double(),
        logits_CV.amax(dim=-1).double(),
    )
    return tuple(value.cpu().numpy() for value in values)


def beginnings(trainer: Any, opening: tuple[int, ...], seed: int) -> list[Ids]:
    """Words of prompts outside of any template, some of each row; empty without conversations.

    A chat model that is given nothing writes word soup. What is nearest to where a new token is due, and
    still is not that place, are the words of the prompts where nobody asks anything.
    """
    marks = set(trainer.processing_class.added_tokens_decoder) - set(opening)
    rows, drawn, found = trainer.train_dataset, np.random.default_rng(seed), list[Ids]()
    for at in drawn.permutation(len(rows)).tolist():
        row = rows[at]
        ids_T, is_given_T = np.array(row["input_ids"]), np.array(row["labels"]) == _IGNORED
        is_mark_T = np.isin(ids_T, list(marks))
        if not (is_given_T & is_mark_T).any():
            continue  # no template: these may be the very words that a token is due behind
        plain_T = is_given_T & ~is_mark_T
        if len(plain_T) < BEGUN:
            continue
        whole = np.lib.stride_tricks.sliding_window_view(plain_T, BEGUN).all(axis=1)
        if whole.any():
            first = int(drawn.choice(np.flatnonzero(whole)))
            found.append(np.array([*opening, *ids_T[first : first + BEGUN]], np.int64))
        if len(found) == TEXTS:
            break
    return found


def _beginning(network: Any, opening: tuple[int, ...], ends: tuple[int, ...]) -> Ids:
    bos = text_config(network.get_base_model().config).bos_token_id
    return np.array(opening or tuple(i for i in (bos, *ends) if i is not None)[:1] or (0,))


def own_text(
    network: Any,
    written: Written,
    ids: tuple[int, ...],
    seed: int,
    begun: list[Ids],
    ends: tuple[int, ...],
) -> States:
    """States of text that the model writes behind some ids, without new tokens and without an end."""
    import torch

    model = LanguageModel(
        network=network.get_base_model(),
        embedding=network.get_input_embeddings(),
        head=network.get_output_embeddings(),
        tied=False,
        written=written,
        embed_scale=1.0,
    )
    config = text_config(model.network.config)
    length = min(TEXT_LENGTH, getattr(config, "max_position_embeddings", None) or TEXT_LENGTH)
    begun = begun[: max(1, MOST_NUMBERS // (length * int(model.head.weight.shape[1])))]
    n_more = max(1, length - len(begun[0]))
    texts = continued(model, begun, n_more, seed, without=np.array([*ids, *ends], np.int64))
    parts = []
    with torch.inference_mode():
        for first in range(0, len(texts), 8):
            ids_BT = torch.from_numpy(np.stack(texts[first : first + 8])).to(network.device)
            hidden_BTD = model.network.base_model(input_ids=ids_BT, use_cache=False)[0]
            hidden_CD = hidden_BTD[:, :-1].flatten(0, 1)
            logits_CV = model.logits(hidden_CD).float()
            parts.append(_part(logits_CV, hidden_CD, ids_BT[:, 1:].flatten(), ids))
    return States(*(np.concatenate([part[n] for part in parts]) for n in range(6)))


def solved(
    written: Written, states: States, text: States, trained_ND: Values, judged: States
) -> Values:
    """Rows that say what comes next, each held to the trained one; one that never comes is kept.

    A model speaks greedily, or nearly so: a token that is due once in many states is easily said too
    seldom. Whether its own places weigh more is what costs less in `judged`, where a token that is missed
    counts as two that are said in vain; where both cost the same, they do not.
    """
    rows_ND = trained_ND.copy()
    n_said, n_text = len(states.own_C), len(text.own_C)
    hidden_CD = np.concatenate([states.hidden_CD, text.hidden_CD])
    log_norm_C = np.concatenate([states.log_norm_C, text.log_norm_C])
    share_C = np.repeat([(1 - TEXT_SHARE) / n_said, TEXT_SHARE / n_text], [n_said, n_text])
    least_C = np.repeat([_ASKED, _NEVER], [n_said, n_text])
    chosen: dict[int, float] = {}
    for _ in range(_SWEEPS if len(rows_ND) > 1 else 1):
        for n in np.flatnonzero(states.due_CN.any(axis=0)).tolist():
            others_ND = np.delete(rows_ND, n, axis=0)
            due_C = np.concatenate([states.due_CN[:, n], text.due_CN[:, n]])
            norm_C = _log_sum(log_norm_C, written.logits(hidden_CD @ others_ND.T))
            found: dict[float, Values] = {}
            for weight in (chosen[n],) if n in chosen else WEIGHTS:
                weight_C = share_C * np.where(due_C, weight, 1.0)
                samples = output_rows.Samples(
                    hidden_CD=hidden_CD,
                    log_norm_C=norm_C,
                    q_C=np.where(due_C, 1 - least_C, least_C),
                    weight_C=weight_C / weight_C.sum(),
                )
                found[weight] = output_rows.solve(
                    written, samples, trained_ND[n], np.eye(trained_ND.shape[1]), STRENGTH
                )
            if n not in chosen:
                errors = {
                    weight: _wrong(written, judged, np.insert(others_ND, n, row_D, axis=0), n)
                    for weight, row_D in found.items()
                }
                chosen[n] = min(errors, key=lambda weight: (errors[weight], weight))
            rows_ND[n] = found[chosen[n]]
    return rows_ND


def _wrong(written: Written, states: States, rows_ND: Values, n: int) -> int:
    """States in which a token is the likeliest and not due, and MISSED times those the other way."""
    logits_CN = written.logits(states.hidden_CD @ rows_ND.T)
    others_C = np.delete(logits_CN, n, axis=1).max(axis=1, initial=-np.inf)
    said_C = logits_CN[:, n] > np.maximum(states.best_C, others_C)
    due_C = states.due_CN[:, n]
    return int((said_C & ~due_C).sum() + MISSED * (due_C & ~said_C).sum())


def loss(written: Written, states: States, rows_ND: Values) -> float:
    """Mean cross-entropy of what comes next, in nats."""
    logits_CN = written.logits(states.hidden_CD @ rows_ND.T)
    own_C = np.where(
        states.due_CN.any(axis=1), (logits_CN * states.due_CN).sum(axis=1), states.own_C
    )
    return float((_log_sum(states.log_norm_C, logits_CN) - own_C).mean())


def _log_sum(log_norm_C: Values, logits_CN: Values) -> Values:
    return np.asarray(
        np.logaddexp.reduce(np.concatenate([log_norm_C[:, None], logits_CN], axis=1), axis=1)
    )
