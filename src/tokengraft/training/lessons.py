"""What trained rows imitate, computed once: windows in groups, with the teacher's states and the past.

A group is what one backward pass takes. Each holds some windows of as many tokens as it can, so that a
step moves many rows. With several processes every group is dealt out among them, and what they find
is added up: the result is that of one process, in another order of additions.

Shapes: W windows of a group, S places from the token on, N tokens, D width.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.partial_passes import Aligned, Past, aligned, read_behind, taught
from tokengraft.training.states import left_out
from tokengraft.training.windows import Phrase, Windows

Values = NDArray[np.float64]
Ids = NDArray[np.int64]

IN_MEMORY = 1 << 29  # bytes of states and pasts; more lie in a file that is mapped


@dataclass(frozen=True, slots=True)
class Share:
    """One process among several.

    Attributes:
        add: the sum over all processes of an array that each of them has; alone, the array itself.
    """

    rank: int = 0
    world: int = 1
    add: Callable[[Values], Values] = lambda values: values

    def same(self, values: Values) -> Values:
        """The first process's array, in every process: rounding must not lead them apart."""
        if self.world == 1:
            return values
        return self.add(values if self.rank == 0 else np.zeros_like(values))

    def agreed(self, number: float) -> float:
        """The first process's number, in every process."""
        return float(self.same(np.array([float(number)]))[0])


def share_of(state: Any) -> Share:
    """The share of a process that `accelerate launch` started; takes Accelerate's `PartialState`."""
    import torch
    from accelerate.utils import reduce

    def add(values: Values) -> Values:
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(state.device)
        return np.asarray(reduce(tensor, reduction="sum").cpu().numpy())

    return Share(state.process_index, state.num_processes, add)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A group of windows with what is to be imitated behind them.

    Attributes:
        token_W: whose window; `weight_W` one over the windows of that token in the whole group, of
            all processes.
        has_N: tokens with a window in the whole group.
        told_LWSD: a tensor, of each layer that is compared; `exists_WS` the places that count.
        before_WPD: states before the token, as the output matrix reads them; None if nobody asks.
        past: None where the whole window is computed each time.
        without_W: ids that are left out.
    """

    group: Aligned
    token_W: Ids
    weight_W: Values
    has_N: NDArray[np.bool_]
    told_LWSD: Any
    before_WPD: Any
    past: Past | None
    without_W: Ids

    def states(
        self, model: LanguageModel, rows_ND: Any, layers: Sequence[int], last: int | None = None
    ) -> tuple[Sequence[Any], Sequence[Any], Any]:
        """States to imitate and states with these rows, of each layer, and the latter of `last`.

        [P, D] each, at the places that count.
        """
        import torch

        wanted = (*layers, layers[-1] if last is None else last)
        found = read_behind(model, self.group, self.past, rows_ND, wanted)
        exists = torch.from_numpy(self.group.exists_WS).to(found[0].device)
        told = [one[exists].float() for one in self.told_LWSD]
        return told, [one[exists].float() for one in found[:-1]], found[-1][exists]

    def places(self) -> tuple[Ids, Values]:
        """Window of each place that counts, and its share of the window's loss."""
        window_P, _ = np.nonzero(self.group.exists_WS)
        counts = self.group.exists_WS.sum(axis=1)
        return window_P, 1.0 / counts[window_P]


def dealt(windows: Windows, size: int) -> Iterator[Ids]:
    """Numbers of the windows of each group: first windows of all tokens, then second ones."""
    turn = np.zeros(len(windows), np.int64)
    seen: dict[int, int] = {}
    for n, token in enumerate(windows.token_W.tolist()):
        turn[n] = seen.get(token, 0)
        seen[token] = turn[n] + 1
    order = np.lexsort((windows.token_W, turn))
    n_groups = max(1, round(len(order) / size))
    yield from np.array_split(order, n_groups)


def lessons(  # noqa: PLR0913 - what is read, by whom, and where it is kept
    model: LanguageModel,
    windows: Windows,
    phrases: Sequence[Phrase],
    layers: Sequence[int],
    *,
    last: int | None = None,
    size: int,
    share: Share,
    keep: Keep,
    is_shared: bool = True,
    has_before: bool = False,
) -> list[Lesson]:
    """The teacher's passes over all windows.

    Args:
        layers: those that are imitated; `last` is computed too, if it is another one.
        size: windows of a group.
        is_shared: whether passes begin at the token.
        has_before: whether states before the token are kept.
    """
    n = len(phrases)
    made = []
    for chosen in dealt(windows, size):
        token_W = windows.token_W[chosen]
        counts = np.bincount(token_W, minlength=n)
        mine = chosen[share.rank :: share.world]
        # All processes go through as many groups: one without a window has one that counts nothing.
        counted = float(len(mine) > 0)
        mine = mine if len(mine) else chosen[:1]
        selected = np.zeros(len(windows), np.bool_)
        selected[mine] = True
        own = windows.of(selected)
        group = aligned(own, model.n_rows)
        found = taught(model, group, layers, last, has_past=is_shared, has_before=has_before)
        made.append(
            Lesson(
                group=group,
                token_W=own.token_W,
                weight_W=counted / counts[own.token_W],
                has_N=counts > 0,
                told_LWSD=keep(found.told_LWSD),
                before_WPD=None if found.before_WPD is None else keep(found.before_WPD),
                past=_kept(found.past, keep),
                without_W=left_out(phrases, own.token_W),
            )
        )
    return made


def _kept(past: Past | None, keep: Keep) -> Past | None:
    if past is None:
        return None
    return Past(tuple((keep(k), keep(v)) for k, v in past.layers), past.is_there_WP)


class Keep:
    """Keeps tensors in memory up to a limit, and further ones in files that are mapped.

    Args:
        folder: where files go; None keeps all in memory.
    """

    def __init__(self, folder: Path | None, most_bytes: int = IN_MEMORY) -> None:
        self.folder, self.left = folder, most_bytes
        self.number = 0

    def clear(self) -> None:
        """Remove the files; what is mapped stays readable as long as somebody holds it."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __call__(self, tensor: Any) -> Any:
        import torch

        size = tensor.numel() * tensor.element_size()
        self.left -= size
        if self.folder is None or self.left >= 0 or tensor.device.type != "cpu":
            return tensor
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.number}.states"
        self.number += 1
        mapped = torch.from_file(
            str(path), shared=True, size=tensor.numel(), dtype=tensor.dtype
        ).view(tensor.shape)
        mapped.copy_(tensor)
        return mapped
