"""Read texts with two models, one after the other, and score every token; a process of its own.

Usage: python -P run_long_texts.py ASKED.json ANSWER.json. Imports nothing of tokengraft, so that any
environment with torch and transformers (4.57 or 5) can run it. A text is read in one piece, without
a cache: where frequencies depend on the length, all of it is read with those of its length.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

LOGITS_AT_ONCE = 2**25  # numbers: 128 MiB of float32


def main(asked: str, answer: str) -> None:
    """Write `models`: for each folder its scores by group of texts, or the `error` that ended it.

    The first folder is read against the clock; the others read the texts that it came to.
    """
    wish = json.loads(Path(asked).read_text(encoding="utf-8"))
    limit_memory(wish["memory_bytes"])
    groups = wish["groups"]
    told: list[dict[str, Any]] = []
    for at, folder in enumerate(wish["folders"]):
        try:
            scores = read_all(folder, at, groups, wish["dtype"])
        except Exception as error:  # noqa: BLE001 - whatever a foreign model makes it raise is the answer
            told.append({"error": f"{type(error).__name__}: {error}"})
            break
        if at == 0:
            groups = [
                {**group, "texts": group["texts"][: len(found)], "seconds": float("inf")}
                for group, found in zip(groups, scores, strict=True)
            ]
        told.append({"groups": scores})
    Path(answer).write_text(json.dumps({"models": told}), encoding="utf-8")


def limit_memory(size_bytes: int) -> None:
    """Let what does not fit be an error of this process, and of no other on the machine."""
    with suppress(
        ImportError, ValueError, OSError
    ):  # Windows has no such limit, macOS may refuse it
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard == resource.RLIM_INFINITY or size_bytes < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, hard))


def read_all(
    folder: str, at: int, groups: list[dict[str, Any]], dtype: str
) -> list[list[dict[str, Any]]]:
    """Scores of each group's texts. Shorter texts first: modules remember the longest one they saw."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        trust_remote_code=False,
        local_files_only=True,
        torch_dtype=getattr(torch, dtype),
    ).eval()
    found: list[list[dict[str, Any]]] = [[] for _ in groups]
    order = sorted(range(len(groups)), key=lambda n: max(map(_length, groups[n]["texts"])))
    for number in order:
        group = groups[number]
        if at not in group["models"]:
            continue
        begin = time.monotonic()
        for text in group["texts"]:
            begun = time.monotonic()
            found[number].append(scored(model, text))
            now = time.monotonic()
            is_late = now - begin + (now - begun) > group["seconds"]
            if is_late and len(found[number]) >= group["at_least"]:
                break
    return found


def _length(text: dict[str, Any]) -> int:
    return len(text["ids"])


def scored(model: Any, text: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a foreign model
    """The mean loss in each range of tokens, in nats a token, and whether each was the likeliest one.

    No range begins at 0: the first token of a text is foretold by nothing.
    """
    first = min(begin for begin, _ in text["ranges"])
    last = max(end for _, end in text["ranges"])
    losses, is_likeliest = token_losses(model, text["ids"], first, last)
    means = [
        sum(losses[begin - first : end - first]) / (end - begin) for begin, end in text["ranges"]
    ]
    return {"means": means, "all_likeliest": all(is_likeliest)}


def token_losses(
    model: Any,  # noqa: ANN401 - a foreign model
    ids: list[int],
    first: int,
    end: int,
) -> tuple[list[float], list[bool]]:
    """For the tokens from `first` up to `end`: minus log-probability, and whether none is likelier.

    The layers run once over the whole text. The head, with whatever the model's class does to its
    logits, runs over a few places at a time: a large vocabulary times a long text fits nowhere.
    """
    import torch

    decoder = getattr(model, model.base_model_prefix)
    losses: list[float] = []
    is_likeliest: list[bool] = []
    given = torch.tensor([ids])
    width = int(model.get_output_embeddings().weight.shape[0])
    step = max(LOGITS_AT_ONCE // width, 1)
    with torch.inference_mode():
        seen = decoder(input_ids=given, use_cache=False, return_dict=True)
        hidden = seen.last_hidden_state
        try:
            for begin in range(first, end, step):
                stop = min(begin + step, end)
                part = type(seen)(**{**seen, "last_hidden_state": hidden[:, begin - 1 : stop - 1]})
                decoder.forward = lambda *_, part=part, **__: part
                logits = model(input_ids=given[:, begin - 1 : stop - 1], use_cache=False).logits
                wanted = given[0, begin:stop]
                said = torch.log_softmax(logits[0].float(), dim=-1)
                losses += (-said.gather(1, wanted[:, None])[:, 0]).tolist()
                is_likeliest += (said.argmax(dim=-1) == wanted).tolist()
        finally:
            del decoder.forward  # the class's own again
    return losses, is_likeliest


if __name__ == "__main__":
    main(*sys.argv[1:3])
