"""What rows are worth as a start: a short training of the new rows alone, the same from every start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from benchmarks.rows.cases import Rows
from benchmarks.rows.strata import Stratum
from benchmarks.rows.subject import FIT, Subject
from benchmarks.rows.whole import merged_texts, padded

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.windows import Ids

STEPS, BATCH, LENGTH = 50, 8, 64  # texts of so many pieces, from the beginnings of documents
RATE = 0.05  # of Adam, in standard deviations of old rows a step


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Texts to train on, in order: [STEPS, BATCH, T] and their lengths."""

    ids_KBT: Ids
    length_KB: Ids


def course(subject: Subject, stratum: Stratum) -> Course:
    """Texts of fit documents that hold a new token, as far as there are; the same for every method."""
    all_texts = len(subject.parts[FIT])
    _, merged, _, _ = merged_texts(subject, stratum.phrases, FIT, LENGTH, all_texts)
    n_rows = subject.model.n_rows
    merged.sort(key=lambda ids: -int((ids >= n_rows).sum()))
    chosen = np.random.default_rng(3).permutation(min(len(merged), STEPS * BATCH))
    order = np.resize(chosen, STEPS * BATCH)
    ids, lengths = padded([merged[n] for n in order])
    return Course(ids.reshape(STEPS, BATCH, -1), lengths.reshape(STEPS, BATCH))


def probed(model: LanguageModel, told: Course, rows: Rows, *, tied: bool) -> Rows:
    """The rows after `STEPS` steps of cross-entropy on text, old rows and all else frozen."""
    import torch
    from torch.nn import functional

    spread = float(model.input_VD().std())
    read = torch.from_numpy(rows.input_ND.astype(np.float32)).requires_grad_()
    written = read if tied else torch.from_numpy(rows.output_ND.astype(np.float32)).requires_grad_()
    groups = [{"params": [read], "lr": RATE * spread}]
    if not tied:
        groups.append({"params": [written], "lr": RATE * float(model.output_VD().std())})
    optimizer = torch.optim.Adam(groups)
    for ids, lengths in zip(told.ids_KBT, told.length_KB, strict=True):
        longest = int(lengths.max())
        given = torch.from_numpy(ids[:, :longest])
        (states,) = model.hidden(given, read)
        new = (states @ written.T) * model.written.scale
        if model.written.limit is not None:
            new = model.written.limit * torch.tanh(new / model.written.limit)
        logits = torch.cat([model.logits(states), new], dim=-1)[:, :-1].float()
        is_there = torch.arange(longest)[None] < torch.from_numpy(lengths)[:, None]
        targets = torch.where(is_there, given, -100)[:, 1:]
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = [rows_ND.detach().double().numpy() for rows_ND in (read, written)]
    return Rows(after[0], after[1])
