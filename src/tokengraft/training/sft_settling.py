"""Output rows of a finished training, solved: what many small steps come near is reached at once.

Where rows alone were trained, and the two matrices are apart, no state moves any more when output rows
do. What the data ask of these rows is then a convex problem (`output_rows.solve`), one token at a time,
held to the rows that were trained. Text that the model writes itself stands for all that the data do
not show, where no new token is due. Examples that were held out say whether the solved rows are taken.

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
TEXTS, TEXT_LENGTH = 48, 160  # that the model writes, and ids of each
TEXT_SHARE = 0.05  # of the weight of all states; without it the role of examples/ costs text 0.04 bits a byte
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
    """

    hidden_CD: Values
    log_norm_C: Values
    logits_CN: Values
    due_CN: NDArray[np.bool_]
    own_C: Values


def settle(trainer: Any, network: Any, ids: tuple[int, ...], seed: int) -> str:
    """Solve the trained output rows of a model with its adapter, in place.

    Args:
        trainer: whose data are read, and by whose collator.
        ids: of the new tokens, in the order of the rows.
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
    text = own_text(network, written, ids, seed)
    rows_ND = solved(written, states, text, trained_ND)
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
    return States(*(np.concatenate([part[n] for part in parts]) for n in range(5)))


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
    )
    return tuple(value.cpu().numpy() for value in values)


def own_text(network: Any, written: Written, ids: tuple[int, ...], seed: int) -> States:
    """States of text that the model writes, without new tokens and without an end."""
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
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    begin = next((i for i in (config.bos_token_id, *ends) if i is not None), 0)
    length = min(TEXT_LENGTH, getattr(config, "max_position_embeddings", None) or TEXT_LENGTH)
    without = np.array([*ids, *(i for i in ends if i is not None)], np.int64)
    texts = continued(
        model, [np.array([begin], np.int64)] * TEXTS, length - 1, seed, without=without
    )
    parts = []
    with torch.inference_mode():
        for first in range(0, TEXTS, 8):
            ids_BT = torch.from_numpy(np.stack(texts[first : first + 8])).to(network.device)
            hidden_BTD = model.network.base_model(input_ids=ids_BT, use_cache=False)[0]
            hidden_CD = hidden_BTD[:, :-1].flatten(0, 1)
            logits_CV = model.logits(hidden_CD).float()
            parts.append(_part(logits_CV, hidden_CD, ids_BT[:, 1:].flatten(), ids))
    return States(*(np.concatenate([part[n] for part in parts]) for n in range(5)))


def solved(written: Written, states: States, text: States, trained_ND: Values) -> Values:
    """Rows that say what comes next, each held to the trained one; one that never comes is kept."""
    rows_ND = trained_ND.copy()
    n_said, n_text = len(states.own_C), len(text.own_C)
    hidden_CD = np.concatenate([states.hidden_CD, text.hidden_CD])
    log_norm_C = np.concatenate([states.log_norm_C, text.log_norm_C])
    shares = ((1 - TEXT_SHARE) / n_said, TEXT_SHARE / n_text)
    least_C = np.repeat([_ASKED, _NEVER], [n_said, n_text])
    for _ in range(_SWEEPS if len(rows_ND) > 1 else 1):
        for n in np.flatnonzero(states.due_CN.any(axis=0)).tolist():
            others_ND = np.delete(rows_ND, n, axis=0)
            due_C = np.concatenate([states.due_CN[:, n], text.due_CN[:, n]])
            samples = output_rows.Samples(
                hidden_CD=hidden_CD,
                log_norm_C=_log_sum(log_norm_C, written.logits(hidden_CD @ others_ND.T)),
                q_C=np.where(due_C, 1 - least_C, least_C),
                weight_C=np.repeat(shares, [n_said, n_text]),
            )
            rows_ND[n] = output_rows.solve(
                written, samples, trained_ND[n], np.eye(trained_ND.shape[1]), STRENGTH
            )
    return rows_ND


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
