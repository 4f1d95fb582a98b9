"""Peers that train new rows: PEFT's trainable tokens, and token distillation by its authors' code.

Every one sees each window to fit on `EPOCHS` times, in batches of `BATCH`, and starts at the mean of
the pieces.
Rates are chosen on validation windows, for the first seed of a stratum: three, and more in the
direction in which they still get better.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.rows.cases import Context, Method, Rows
from benchmarks.rows.mapped_peers import NotApplicable
from benchmarks.rows.reading import divergences
from benchmarks.rows.subject import Subject
from benchmarks.rows.whole import nats

from tokengraft.training.windows import Ids, Phrase, Windows

BATCH = 16
EPOCHS = 1  # over the windows to fit on; `--epochs`
RATES = (0.03, 0.1, 0.3)  # of the standard deviation of old rows
_WIDEST = (1e-3, 10.0)
ORIGINALS: dict[str, Path] = {}  # where authors' code lies, by method

Train = Callable[[Context, float], Rows]
Judge = Callable[[Context, Rows], float]


@dataclass
class Swept:
    """A trained method whose rate is chosen on validation windows, once a stratum."""

    train: Train
    judge: Judge
    tried: Train | None = None  # what is trained for the sweep, if that is less than `train`
    rates: dict[tuple[str, ...], float] = field(default_factory=dict)

    def choose(self, context: Context) -> float:
        """Choose the rate for these tokens, unless it is chosen."""
        key = swept_key(context.subject, context.phrases)
        if key not in self.rates:
            spread = float(np.nanstd(context.input_VD[context.known_V]))
            self.rates[key] = spread * best_rate(
                lambda share: self.judge(
                    context, (self.tried or self.train)(context, spread * share)
                )
            )
        return self.rates[key]

    def __call__(self, context: Context) -> Rows:
        return self.train(context, self.choose(context))


def swept_key(subject: Subject, phrases: Sequence[Phrase]) -> tuple[str, ...]:
    """What a rate is chosen for."""
    return (subject.name, *(p.text for p in phrases))


def best_rate(loss: Callable[[float], float]) -> float:
    """The rate with the least loss among `RATES` and, from the better end of them, on by threes."""
    found = {rate: loss(rate) for rate in RATES}
    while True:
        best = min(found, key=lambda rate: found[rate])
        if best == min(found):
            further = best / 10**0.5
        elif best == max(found):
            further = best * 10**0.5
        else:
            return best
        if not _WIDEST[0] <= further <= _WIDEST[1]:
            return best
        found[further] = loss(further)


def reading_loss(context: Context, rows: Rows) -> float:
    """KL behind the token on validation windows, in nats a place."""
    read = rows.tied().input_ND if context.tied else rows.input_ND
    kl = divergences(context.subject.model, context.validation, context.phrases, read)
    return float(np.nan_to_num(kl, nan=np.inf).mean())


def text_loss(context: Context, rows: Rows) -> float:
    """NLL of validation windows with their token, in nats a position."""
    chosen = rows.tied() if context.tied else rows
    model, windows = context.subject.model, context.validation
    ids, lengths = windows.merged(model.n_rows), merged_lengths(windows)
    found = nats(model, ids, lengths, chosen).sum() / (lengths - 1).sum()
    return float(np.nan_to_num(found, nan=np.inf))


def merged_lengths(windows: Windows) -> Ids:
    """Positions that are not padding when the phrase is one id."""
    return np.asarray(windows.length_W - windows.n_pieces_W + 1)


# ── the network with new rows ────────────────────────────────────────────────────────────────────


def extended(context: Context) -> Any:
    """A copy of the model with new rows at its end, the mean of the pieces."""
    import torch

    model = context.subject.model
    network = copy.deepcopy(model.network)
    n_rows = model.n_rows
    network.resize_token_embeddings(n_rows + len(context.phrases), mean_resizing=False)
    with torch.no_grad():
        for module, rows_VD in (
            (network.get_input_embeddings(), context.input_VD),
            (network.get_output_embeddings(), context.output_VD),
        ):
            start = torch.from_numpy(context.pieces_mean(rows_VD))
            module.weight[n_rows:] = start.to(module.weight.dtype)
    return network


def rows_of(context: Context, network: Any) -> Rows:
    """The rows at the end of a network."""
    n_rows = context.subject.model.n_rows
    read, written = (
        module.weight[n_rows:].detach().double().numpy()
        for module in (network.get_input_embeddings(), network.get_output_embeddings())
    )
    return Rows(read, written, both_ND=read if context.tied else None)


# ── PEFT ─────────────────────────────────────────────────────────────────────────────────────────


def trainable_tokens(context: Context, rate: float) -> Rows:
    """Cross-entropy on text with the tokens in it, by `TrainableTokensConfig` of PEFT."""
    import torch
    from peft import TrainableTokensConfig, get_peft_model
    from torch.nn import functional

    torch.manual_seed(context.seed)
    network = extended(context)
    n_rows = context.subject.model.n_rows
    modules = [network.get_input_embeddings()]
    if not context.tied:
        modules.append(network.get_output_embeddings())
    names = [name for name, module in network.named_modules() if any(module is m for m in modules)]
    indices = list(range(n_rows, n_rows + len(context.phrases)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft = get_peft_model(
            network, TrainableTokensConfig(token_indices=indices, target_modules=names)
        )
    optimizer = torch.optim.AdamW(
        [p for p in peft.parameters() if p.requires_grad], lr=rate, weight_decay=0.0
    )
    ids, lengths = context.fit.merged(n_rows), merged_lengths(context.fit)
    for chosen in batches(context):
        longest = int(lengths[chosen].max())
        given = torch.from_numpy(ids[chosen, :longest])
        is_there = torch.arange(longest)[None] < torch.from_numpy(lengths[chosen])[:, None]
        logits = peft(input_ids=given, use_cache=False).logits[:, :-1].float()
        targets = torch.where(is_there, given, -100)[:, 1:]
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return rows_of(context, peft.merge_and_unload())


def batches(context: Context) -> Iterator[Ids]:
    """Every window, in an order of the seed's own; what an epoch has left over makes no batch."""
    rng = np.random.default_rng(context.seed)
    for _ in range(EPOCHS):
        order = rng.permutation(len(context.fit))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            yield order[first : first + BATCH]


# ── token distillation ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Tokenizer:
    """What the authors' loop asks a tokenizer for."""

    pad_token_id: int
    size: int

    def __len__(self) -> int:
        return self.size


def distillation(*, third: bool, with_text: bool) -> Train:
    """Dobler et al. (2505.20133) by their own `train_embeddings`, in float32.

    Args:
        third: whether states after a third of the layers are compared, instead of the last.
        with_text: whether cross-entropy is added at the size of the first loss (their alpha NTP).
    """

    def train(context: Context, rate: float) -> Rows:
        loop = _their_loop()
        model = context.subject.model
        network = extended(context)
        torch = importlib.import_module("torch")
        phrases = {torch.tensor(p.pieces): model.n_rows + n for n, p in enumerate(context.phrases)}
        fit = context.fit
        texts = [
            torch.from_numpy(ids[:length])
            for ids, length in zip(fit.ids_WT, fit.length_W, strict=True)
        ]
        tokenizer = _Tokenizer(_unused(context), model.n_rows + len(context.phrases))
        losses = ["MSE-on-hiddens", *(["CE-auto-weighted"] if with_text else [])]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            network = loop.train_embeddings(
                network,
                [texts],
                phrases,
                tokenizer,
                epochs=EPOCHS,
                batch_size=BATCH,
                learning_rate=rate,
                loss_methods=losses,
                seed=context.seed,
                target_layer=max(1, round(model.n_layers / 3)) if third else -1,
                mixed_precision=False,
                learn_output_with_ce=not context.tied,
            )
        return rows_of(context, network.eval())

    return train


def _their_loop() -> Any:
    """Their module, without the package around it, which asks for what is needed for corpora alone.

    Raises:
        NotApplicable: their code is not here.
    """
    folder = ORIGINALS.get("token-distillation")
    if folder is None:
        raise NotApplicable("its authors' code was not given")
    name = "their_token_distillation"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return importlib.import_module(f"{name}.train_loop")


def _unused(context: Context) -> int:
    """An old id that stands in no window: their loop knows padding by its id."""
    stands = np.zeros(context.subject.model.n_rows, np.bool_)
    for row, length in zip(context.fit.ids_WT, context.fit.length_W, strict=True):
        stands[row[:length]] = True
    for phrase in context.phrases:
        stands[list(phrase.pieces)] = True
    free: list[int] = np.flatnonzero(~stands).tolist()
    if not free:
        raise NotApplicable("every id stands in its text, and its authors' code pads with one")
    return free[0]


def _swept(train: Train, judge: Judge) -> Method:
    return Swept(train, judge)


TRAINED: Mapping[str, Method] = {
    "peft": _swept(trainable_tokens, text_loss),
    "td-last": _swept(distillation(third=False, with_text=False), reading_loss),
    "td-third": _swept(distillation(third=True, with_text=False), reading_loss),
    "td-last+ntp": _swept(distillation(third=False, with_text=True), reading_loss),
    "td-third+ntp": _swept(distillation(third=True, with_text=True), reading_loss),
}
