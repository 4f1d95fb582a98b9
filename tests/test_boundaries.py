"""Where texts begin and generation ends: as the files say, and as the libraries that read them do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

import tiny
from tokengraft.boundaries import generation_ends, opening_ids, stop_ids
from tokengraft.formats.loading import load
from tokengraft.training.sft_encoding import Encoded, Encoder
from tokengraft.training.sft_forms import Continued

Json = dict[str, Any]
EOS = "<|endoftext|>"
SPECIAL = {"SpecialToken": {"id": "<s>", "type_id": 0}}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [SPECIAL, {"Sequence": {"id": "A", "type_id": 0}}, SPECIAL],
    "pair": [],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}},
}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (TEMPLATE, (3,)),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, TEMPLATE]}, (3,)),
        ({"type": "ByteLevel"}, ()),
        ({**TEMPLATE, "special_tokens": {}}, ()),
        (None, ()),
    ],
)
def test_texts_open_with_what_the_post_processor_puts_there(
    step: Json | None, expected: tuple[int, ...], tmp_path: Path
) -> None:
    base = tiny.build(tmp_path / "a", files={"tokenizer.json": {"post_processor": step}})
    found = load(base).value("tokenizer.json", "/post_processor")
    assert opening_ids(found) == expected


def _begun(folder: Path) -> Path:
    """A checkpoint whose tokenizer.json puts a token before every text; its config says that it does not."""
    base = tiny.build(folder, files={"tokenizer_config.json": {"add_bos_token": False}})
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    bos = tokenizer.token_to_id(EOS)
    tokenizer.post_processor = TemplateProcessing(single=f"{EOS} $A", special_tokens=[(EOS, bos)])
    tokenizer.save(str(base / "tokenizer.json"))
    return base


def test_an_opening_is_what_the_library_puts_before_a_text(tmp_path: Path) -> None:
    base = _begun(tmp_path / "a")
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    plain = tokenizer.encode("hello", add_special_tokens=False).ids
    opening = opening_ids(load(base).value("tokenizer.json", "/post_processor"))
    assert tokenizer.encode("hello").ids == [*opening, *plain]
    assert opening == (tokenizer.token_to_id(EOS),)


def test_trained_texts_begin_as_texts_are_read(tmp_path: Path) -> None:
    base = _begun(tmp_path / "a")
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    with Encoder(load(base)) as encoder:
        asked, alone = encoder.encode([Continued("hello", " world"), Continued("", "hello")])
    assert isinstance(asked, Encoded)
    assert isinstance(alone, Encoded)
    given = asked.said.index(True)
    assert list(asked.ids[:given]) == tokenizer.encode("hello").ids
    assert (alone.ids[0], alone.said[0], alone.said[1]) == (tokenizer.token_to_id(EOS), False, True)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (289, 287)),
        ({"generation_config.json": {"eos_token_id": 262}}, (262,)),
        ({"generation_config.json": None, "config.json": {"eos_token_id": 264}}, (264,)),
        (
            {
                "generation_config.json": {"eos_token_id": tiny.DROP},
                "config.json": {"eos_token_id": [1, 2]},
            },
            (1, 2),
        ),
    ],
)
def test_generation_ends_where_transformers_ends_it(
    files: Json, expected: tuple[int, ...], tmp_path: Path
) -> None:
    checkpoint = load(tiny.build(tmp_path / "a", files=files))
    assert stop_ids(checkpoint.value, checkpoint.text_config)[0] == expected
    assert generation_ends(checkpoint) == expected


def test_without_a_stop_list_the_eos_of_the_tokenizer_ends_generation(tmp_path: Path) -> None:
    gone = {"generation_config.json": None, "config.json": None}
    checkpoint = load(tiny.build(tmp_path / "a", files=gone, shards=0))
    assert checkpoint.tokenizer is not None
    assert stop_ids(checkpoint.value, checkpoint.text_config) == ((), "", "")
    assert generation_ends(checkpoint) == (checkpoint.tokenizer.named_id("eos"),)
