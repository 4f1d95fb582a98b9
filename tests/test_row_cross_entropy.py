"""Cross-entropy of new rows in parts, against the plain one over one large matrix."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from test_fitting import small
from tokengraft.errors import UnsupportedFormat
from tokengraft.training import row_cross_entropy
from tokengraft.training.language_model import language_model
from tokengraft.training.row_cross_entropy import text_loss

torch.set_num_threads(1)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", ["llama", "cohere", "granite", "phi", "neox"])
def test_a_loss_in_parts_is_that_over_all_rows(
    name: str, monkeypatch: pytest.MonkeyPatch, *, tied: bool
) -> None:
    model = language_model(small(name))
    monkeypatch.setattr(row_cross_entropy, "_LOGITS_AT_ONCE", model.n_rows * 4)
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(3, model.n_rows, (3, 8)))
    for n, place in enumerate(((0, 2), (0, 4), (1, 5), (2, 7))):
        ids[place] = model.n_rows + n % 3
    weight = torch.from_numpy(rng.uniform(size=(3, 8)))

    def rows() -> tuple[torch.Tensor, torch.Tensor | None]:
        made = np.random.default_rng(1).normal(size=(2, 3, model.width)).astype(np.float32)
        read, written = (torch.from_numpy(part).requires_grad_() for part in made)
        return read, None if tied else written

    read, written = rows()
    loss = text_loss(model, ids, read, written, weight)
    loss.backward()
    other_read, other_written = rows()
    (hidden,) = model.hidden(ids, other_read)
    new = other_read if other_written is None else other_written
    products = hidden @ new.T * model.written.scale
    logits = torch.cat([model.logits(hidden), products], dim=-1)[:, :-1].flatten(0, 1)
    each = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
    shares = weight[:, 1:].flatten().float()
    expected = (each * shares).sum() / shares.sum()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(read.grad, other_read.grad, rtol=1e-3, atol=1e-6)
    if not tied:
        assert torch.allclose(written.grad, other_written.grad, rtol=1e-3, atol=1e-6)


def test_old_rows_get_no_gradient_and_no_matrix_of_all_rows_is_made() -> None:
    model = language_model(small("llama"))
    ids = torch.tensor([[5, 6, model.n_rows, 8, 9]])
    read = torch.zeros((1, model.width), requires_grad=True)
    with torch.profiler.profile(record_shapes=True) as seen:
        text_loss(model, ids, read).backward()
    assert model.embedding.weight.grad is None
    shapes = {
        tuple(shape) for event in seen.events() for shape in event.input_shapes if len(shape) == 2
    }
    assert (model.n_rows, model.width) in shapes  # the head itself
    assert (model.n_rows + 1, model.width) not in shapes


def test_soft_capped_logits_are_refused() -> None:
    model = language_model(small("gemma2"))
    rows = torch.zeros((1, model.width))
    with pytest.raises(UnsupportedFormat, match="soft-capped") as caught:
        text_loss(model, torch.tensor([[5, 6, 7]]), rows)
    assert "leave cross_entropy out" in caught.value.hint
