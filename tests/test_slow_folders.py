"""Folders without tokenizer.json: read, encoded and edited as their slow tokenizer would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oracles.asking import ask
from tiny import DROP, Tiny
from tokengraft.flow import making, proving
from tokengraft.flow.ports import encode_port
from tokengraft.formats.loading import load

TEXTS = ["hello world, the тест", " the  and\n\n", "def in er on", "<|im_start|>the<|im_end|>"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "un", "##able"]
ADD = 'version = 1\n[[add]]\ntext = "<|x|>"\nuse = "role"\nmeaning = "the world"\n'


def qwen(folder: Path, *, crlf: bool = False, **config: Any) -> Path:
    Tiny(files={"tokenizer.json": None, "tokenizer_config.json": config}).build(folder)
    if crlf:
        path = folder / "merges.txt"
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    return folder


class Words(Tiny):
    """BERT's kind: a vocabulary of lines."""

    def vocab(self) -> dict[str, int]:
        return {text: at for at, text in enumerate(WORDS)}


def bert(folder: Path) -> Path:
    named = {"unk_token": "[UNK]", "pad_token": "[PAD]", "eos_token": None}
    config = {"tokenizer_class": "BertTokenizer", "added_tokens_decoder": DROP, **named}
    config |= {"additional_special_tokens": DROP}
    files = {"tokenizer.json": None, "tokenizer_config.json": config}
    Words(kind="byte-fallback", added=(), template=False, files=files).build(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


def loaded(python: Path, folder: Path, home: Path, texts: list[str]) -> dict[str, Any]:
    job = {"folder": str(folder), "texts": texts, "tokens": ["<|x|>"]}
    answer = ask(python, "ask_tokenizers.py", [job], home=home)[0]["auto"]
    assert "error" not in answer, answer
    return answer  # type: ignore[no-any-return]


@pytest.mark.parametrize("crlf", [False, True])
def test_a_slow_qwen_is_encoded_as_its_fast_twin(crlf: bool, tmp_path: Path) -> None:
    fast = encode_port(load(Tiny().build(tmp_path / "fast")))
    slow = encode_port(load(qwen(tmp_path / "slow", crlf=crlf)))
    assert fast is not None
    assert slow is not None
    assert slow(TEXTS) == fast(TEXTS)


def test_a_slow_gpt2_is_encoded_with_its_own_pattern(tmp_path: Path) -> None:
    folder = qwen(tmp_path / "src", tokenizer_class="GPT2Tokenizer")
    encode = encode_port(load(folder))
    assert encode is not None
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert encode([" the and"]) == [[vocab["Ġthe"], vocab["Ġand"]]]


@pytest.mark.oracle4
@pytest.mark.oracle5
def test_tokens_are_added_to_slow_folders_and_old_text_stays(
    tmp_path: Path, tf4: Path, tf5: Path
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(ADD, encoding="utf-8")
    cases = {"qwen": (qwen, TEXTS, 294), "bert": (bert, ["The cats sat", "unable cat"], 11)}
    for name, (make, texts, token_id) in cases.items():
        folder = make(tmp_path / name)
        planned = making.make_plan(str(folder), recipe)
        assert [(token.text, token.id) for token in planned.plan.tokens] == [("<|x|>", token_id)]
        assert planned.plan.tokens[0].init == "meaning-mean"
        out = tmp_path / f"{name}-out"
        making.apply_planned(planned, out=out)
        for python, major in ((tf4, "four"), (tf5, "five")):
            before = loaded(python, folder, tmp_path / f"{name}-{major}-before", texts)
            after = loaded(python, out, tmp_path / f"{name}-{major}", [*texts, "<|x|>"])
            assert after["ids"] == {"<|x|>": token_id}
            assert after["texts"] == [*before["texts"], [token_id]]
            assert after["names"] == before["names"]
        assert proving.verify(out, against=str(folder)).passed
