"""The repeat test: does the model write a token when the text before it asks for it again?

A token whose row was never trained is not repeated, whatever the prompt; that is how such tokens
are found. Not every model repeats at all, so common old tokens take the same test.
Source: Land and Bartolo 2024, "Fishing for Magikarp" (prompts of our own, the highest probability
over them, 0.1 as the border).

Shapes: N new tokens, D width, V old rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.states import states_at
from tokengraft.training.subject import Subject
from tokengraft.trainings import Repeats

Values = NDArray[np.float64]
Ids = NDArray[np.int64]

BORDER = 0.1
OLD_TOKENS = 24
_TIMES = 12  # how often a token stands in the prompt that only repeats
_EXAMPLES = ("time", "house", "water", "friend", "day")


def repeats(subject: Subject, read_ND: Values, written_ND: Values) -> list[Repeats]:
    """Test every new token, and common old ones beside them."""
    model = subject.model
    n = len(read_ND)
    new = np.arange(n) + model.n_rows
    old = _common(subject)
    highest = _highest(subject, np.concatenate([new, old]), read_ND, written_ND)
    of_old = highest[n:]
    share = float((of_old > BORDER).mean()) if len(of_old) else 0.0
    return [
        Repeats(passed=bool(p > BORDER), highest=round(float(p), 6), old_tokens=round(share, 4))
        for p in highest[:n]
    ]


def _common(subject: Subject) -> Ids:
    """Old tokens that are whole words of at least three letters, spread over the vocabulary."""
    words = subject.words
    ids = [
        i
        for i in np.flatnonzero(words.begins_V).tolist()
        if len(words.bytes_V[i]) > 3 and words.text([i]).strip().isalpha()  # noqa: PLR2004
    ]
    if len(ids) > OLD_TOKENS:
        ids = [ids[int(n)] for n in np.linspace(0, len(ids) - 1, OLD_TOKENS)]
    return np.array(ids, np.int64)


def _highest(subject: Subject, ids_K: Ids, read_ND: Values, written_ND: Values) -> Values:
    """The highest probability of each id, new ones in the softmax, over all prompts."""
    highest = np.zeros(len(ids_K))
    for prompt in _prompts(subject):
        lengths = len(prompt[0]) + len(prompt[1])
        rows = np.array([[*prompt[0], *_with(prompt[1], i)] for i in ids_K], np.int64)
        at = np.full((len(ids_K), 1), rows.shape[1] - 1, np.int64)
        assert rows.shape[1] == lengths
        (hidden,) = states_at(subject.model, rows, at, read_ND)
        highest = np.maximum(highest, _chances(subject, hidden[:, 0], ids_K, written_ND))
    return highest


_HERE = -1  # the place of the token in a prompt


def _with(prompt: list[int], token: int) -> list[int]:
    return [token if i == _HERE else i for i in prompt]


def _prompts(subject: Subject) -> list[tuple[list[int], list[int]]]:
    """Two prompts, each a head and a part with places for the token; it is due behind them."""
    head = [] if subject.bos is None else [subject.bos]
    encode = subject.tokenizer.encode
    line: list[int] = []
    for word in _EXAMPLES:
        line += encode(f"repeat: {word}, {word}\n", add_special_tokens=False).ids
    ask = encode("repeat:", add_special_tokens=False).ids
    comma = encode("x,", add_special_tokens=False).ids[-1:]
    return [
        (head, [*line, *ask, _HERE, *comma]),
        (head, [_HERE] * _TIMES),
    ]


def _chances(
    subject: Subject, hidden_KD: NDArray[np.float32], ids_K: Ids, written_ND: Values
) -> Values:
    import torch

    model = subject.model
    with torch.inference_mode():
        old = model.logits(torch.from_numpy(hidden_KD)).double().numpy()
    new = model.written.logits(hidden_KD.astype(np.float64) @ written_ND.T)
    logits = np.concatenate([old, new], axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=1, keepdims=True)
    return np.asarray(chances[np.arange(len(ids_K)), ids_K])
