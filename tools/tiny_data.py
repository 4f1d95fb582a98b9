"""Rows of tokens for the two trainings, packed from endless made-up text."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import torch
from transformers import PreTrainedTokenizerBase

import tiny_chat as chat
import tiny_copying as copying
import tiny_files as files

IGNORE = -100
Document = tuple[list[int], list[int]]
Rows = Iterator[tuple[torch.Tensor, torch.Tensor]]
Source = Callable[[PreTrainedTokenizerBase, int], Iterator[list[Document]]]


def pack(documents: Iterator[list[Document]], length: int, batch: int) -> Rows:
    """Pack tokenized documents into rows; each row starts with the start of a document.

    A document that does not fit is cut at the end of the row. The text is endless, so the lost
    tail costs nothing, and every row begins the way a prompt begins.
    """
    ids: list[list[int]] = []
    labels: list[list[int]] = []
    row: list[int] = []
    marks: list[int] = []
    for group in documents:
        for tokens, targets in group:
            row += tokens
            marks += targets
            if len(row) > length:
                ids.append(row[: length + 1])
                labels.append(marks[: length + 1])
                row, marks = [], []
            if len(ids) == batch:
                yield torch.tensor(ids), torch.tensor(labels)
                ids, labels = [], []


def base_documents(tok: PreTrainedTokenizerBase, seed: int) -> Iterator[list[Document]]:
    """Documents of the base text, each closed by the end-of-text token."""
    r = random.Random(seed)
    while True:
        texts = [chat.document(r) for _ in range(256)]
        rows = [[*row, files.ENDOFTEXT] for row in tok(texts)["input_ids"]]
        yield [(list(row), list(row)) for row in rows]


def assistant_labels(ids: list[int], assistant: list[int], newline: int, blank: int) -> list[int]:
    """Labels that keep the tokens the assistant has to write, its turn end included.

    An opening think tag belongs to the prompt (the template writes it), so it is not a target.
    """
    labels = [IGNORE] * len(ids)
    i = 0
    while i < len(ids):
        if ids[i] != files.IM_START:
            i += 1
            continue
        start = ids.index(newline, i) + 1
        end = ids.index(files.IM_END, i)
        if ids[i + 1 : start - 1] == assistant:
            if ids[start] == files.THINK:
                start += 4 if ids[start + 1] == blank else 2
            labels[start : end + 1] = ids[start : end + 1]
        i = end + 1
    return labels


def chat_documents(tok: PreTrainedTokenizerBase, seed: int) -> Iterator[list[Document]]:
    """Rendered dialogues with loss on what the assistant writes."""
    r = random.Random(seed)
    assistant = tok("assistant")["input_ids"]
    newline, blank = tok("\n")["input_ids"][0], tok("\n\n")["input_ids"][0]
    while True:
        made = [copying.dialogue(r) for _ in range(128)]
        texts = [
            tok.apply_chat_template(d["messages"], tools=d["tools"], tokenize=False) for d in made
        ]
        out: list[Document] = []
        for row in tok(texts)["input_ids"]:
            labels = assistant_labels(row, assistant, newline, blank)
            out.append(([*row, files.ENDOFTEXT], [*labels, IGNORE]))
        yield out
