"""What a model brings along runs in children that cannot take the parent with them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tokengraft.checkpoint import JsonValue
from tokengraft.errors import ChildFailed, MalformedFile
from tokengraft.sandbox.process import Child, Limits, visible
from tokengraft.sandbox.tokenizers import TokenizerChild, chunks, digest_of_ids, digest_of_table

SMALL = Limits(memory_bytes=2**30, cpu_seconds=10, clock_seconds=20.0)
posix = pytest.mark.skipif(sys.platform == "win32", reason="the limits are those of POSIX")


# ── the process ──────────────────────────────────────────────────────────────────────────────────

ODD = """
import os, signal, sys, time

class PanicException(BaseException):
    pass

def panic():
    sys.stderr.write("thread panicked at \\x1b[31msrc/lib.rs\\n")
    sys.stderr.flush()
    raise PanicException("index out of bounds")

def loop():
    while True:
        pass

def die(name):
    os.kill(os.getpid(), getattr(signal, name))

def flood():
    sys.stderr.write("x" * 10**7 + "\\nthe end\\n")
    sys.stderr.flush()
    os._exit(3)

def noise():
    print("to stdout")
    os.write(1, b"and deeper\\n")
    return "quiet"

def imported():
    return sorted(name for name in sys.modules if name.startswith("tokengraft"))

def refuse(text):
    raise ValueError(text)

OPS = {
    "panic": panic, "loop": loop, "die": die, "flood": flood, "noise": noise,
    "imported": imported, "refuse": refuse, "sleep": lambda: time.sleep(60), "echo": lambda value: value,
    "environ": lambda: dict(os.environ), "exit": lambda: sys.exit(4),
    "write": lambda path: open(path, "w").write("x" * 10**6),
    "allocate": lambda: len(bytearray(2 * 2**30)),
}
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    (tmp_path / "odd_child.py").write_text(ODD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with Child("odd_child", title="the odd child", limits=SMALL) as child:
        yield child


def odd_child(*, cpu_seconds: int = 10, clock_seconds: float = 20.0) -> Child:
    limits = Limits(2**30, cpu_seconds=cpu_seconds, clock_seconds=clock_seconds)
    return Child("odd_child", title="the odd child", limits=limits)


def test_any_text_crosses_the_border_unharmed(odd: Child) -> None:
    value: JsonValue = [
        "é\n\r\0\u2028😀",
        {"ключ": [1, 2.5, None, True]},
        "x" * 3_000_000,
        "\ud800",
    ]
    assert value == odd.ask("echo", value=value)


def test_what_a_library_prints_is_not_an_answer(odd: Child) -> None:
    assert "quiet" == odd.ask("noise")
    assert 1 == odd.ask("echo", value=1)


def test_the_child_knows_no_secret_and_none_of_our_package(
    odd: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    with odd_child() as child:
        environ = child.ask("environ")
        imported = child.ask("imported")
    assert isinstance(environ, dict)
    assert not {"HF_TOKEN", "HOME", "PATH", "HF_HOME"} & environ.keys()
    assert ["tokengraft", "tokengraft.sandbox", "tokengraft.sandbox.serving"] == imported


def test_an_error_is_told_and_the_child_lives_on(odd: Child) -> None:
    with pytest.raises(ChildFailed) as caught:
        odd.ask("refuse", text="bad \x1b[31m file")
    assert "the odd child refused this file" == caught.value.summary
    assert caught.value.detail.startswith("ValueError: bad \\x1b[31m file")
    assert 1 == odd.ask("echo", value=1)


def test_a_panic_ends_the_child_and_is_told_with_its_last_words(odd: Child) -> None:
    with pytest.raises(ChildFailed) as caught:
        odd.ask("panic")
    assert "the odd child aborted on this file" == caught.value.summary
    assert [
        "PanicException: index out of bounds",
        "thread panicked at \\x1b[31msrc/lib.rs",
    ] == caught.value.detail.splitlines()
    with pytest.raises(ChildFailed) as caught:
        odd.ask("echo", value=1)
    assert "ended after an earlier failure" in caught.value.summary


@posix
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGABRT"])
def test_a_death_by_signal_is_named(odd: Child, name: str) -> None:
    with pytest.raises(ChildFailed, match=name):
        odd.ask("die", name=name)


def test_an_exit_is_a_failure(odd: Child) -> None:
    with pytest.raises(ChildFailed):
        odd.ask("exit")


def test_a_flood_of_errors_is_kept_short(odd: Child) -> None:
    with pytest.raises(ChildFailed, match="exit code 3") as caught:
        odd.ask("flood")
    assert caught.value.detail.endswith("the end")
    assert len(caught.value.detail) < 2000


def test_a_sleeper_is_ended_by_the_clock(odd: Child) -> None:
    with odd_child(clock_seconds=0.5) as child:
        began = time.monotonic()
        with pytest.raises(ChildFailed, match=r"longer than its 0\.5 seconds"):
            child.ask("sleep")
        assert time.monotonic() - began < 5


@posix
def test_a_loop_is_ended_by_the_processor_time_of_one_question(odd: Child) -> None:
    with odd_child(cpu_seconds=1) as child:
        assert 1 == child.ask("echo", value=1)
        with pytest.raises(ChildFailed, match="1 seconds of processor time"):
            child.ask("loop")


@posix
def test_memory_and_files_are_limited(odd: Child, tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="1024 MiB of memory"):
        odd.ask("allocate")
    with pytest.raises(ChildFailed):
        odd.ask("write", path=str(tmp_path / "new"))
    assert not (tmp_path / "new").exists() or (tmp_path / "new").stat().st_size == 0


def test_an_unknown_module_is_a_failure_and_not_a_hang() -> None:
    with (
        Child("tokengraft.sandbox.nothing", title="it", limits=SMALL) as child,
        pytest.raises(ChildFailed, match="refused"),
    ):
        child.ask("echo")


def test_no_child_outlives_its_block(odd: Child) -> None:
    with odd_child() as child:
        process = child._process
    assert process is not None
    assert process.poll() is not None


def test_what_terminals_obey_becomes_visible() -> None:
    assert "a\\x1b[0m\\u202e\\u200b\\x85 é ж" == visible("a\x1b[0m\u202e\u200b\x85 é ж")


# ── tokenizers ───────────────────────────────────────────────────────────────────────────────────


def tokenizer_json(**changes: Any) -> bytes:
    vocab = {char: index for index, char in enumerate("abcdefgh ")} | {"ab": 9, "cd": 10}
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    value = {
        "version": "1.0",
        "truncation": {
            "direction": "Right",
            "max_length": 2,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": None,
        "added_tokens": [{"id": 11, "content": "<|end|>", "special": True, **token}],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["c", "d"]]},
    }
    return json.dumps(value | changes).encode()


@pytest.fixture
def tokenizer() -> Iterator[TokenizerChild]:
    with TokenizerChild(SMALL) as child:
        yield child


def test_texts_become_ids_and_texts_again(tokenizer: TokenizerChild) -> None:
    assert 12 == tokenizer.load(tokenizer_json())
    # max_length of the file is 2: what a text encodes to is not cut.
    assert [[9, 10, 4, 11], []] == tokenizer.encode(["abcde<|end|>", ""])
    assert [(9, 0, 2), (11, 2, 9)] == tokenizer.encode_offsets("ab<|end|>")
    assert ["abcd<|end|>"] == tokenizer.decode([[9, 10, 11]], skip_special=False)
    assert ["abcd"] == tokenizer.decode([[9, 10, 11]], skip_special=True)
    assert [11, 9, None] == tokenizer.token_to_id(["<|end|>", "ab", "xyz"])


def test_digests_stand_for_ids_and_for_the_table(tokenizer: TokenizerChild) -> None:
    tokenizer.load(tokenizer_json())
    assert [digest_of_ids([9, 10]), digest_of_ids([])] == tokenizer.encode_digest(["abcd", ""])
    table = tokenizer.id_table()
    assert {9: "ab", 10: "cd", 11: "<|end|>"} == {i: table[i] for i in range(9, 12)}
    assert digest_of_table(table.items()) == tokenizer.table_digest()
    assert digest_of_table([(1, "a"), (0, "b")]) == digest_of_table([(0, "b"), (1, "a")])
    assert digest_of_table([(1, "a"), (0, "b")]) != digest_of_table([(1, "b"), (0, "a")])


def test_a_tokenizer_is_loaded_from_a_path_too(tokenizer: TokenizerChild, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_json())
    assert 12 == tokenizer.load(tmp_path / "tokenizer.json")


def test_a_batch_of_any_size_comes_back_in_order(tokenizer: TokenizerChild) -> None:
    tokenizer.load(tokenizer_json())
    texts = ["ab" * (n % 7) for n in range(50_000)] + ["cd" * 600_000, "e"]
    assert [[9] * (n % 7) for n in range(50_000)] == tokenizer.encode(texts)[:50_000]
    assert [[10] * 600_000, [4]] == tokenizer.encode(texts[-2:])


def test_chunks_lose_nothing() -> None:
    items = ["x" * size for size in (0, 2**20, 1, 2**20 + 5, 3)] + [""] * 45_000
    cut = list(chunks(items))
    assert items == [item for chunk in cut for item in chunk]
    assert max(len(chunk) for chunk in cut) == 20_000
    assert [] == list(chunks([]))


@pytest.mark.parametrize(
    "source",
    [b"", b"{}", b"[" * 100_000, tokenizer_json(model={"type": "None"})],
    ids=["empty", "no model", "deep", "unknown model"],
)
def test_what_the_library_refuses_is_a_failure(tokenizer: TokenizerChild, source: bytes) -> None:
    with pytest.raises(ChildFailed):
        tokenizer.load(source)


def test_a_tokenizer_that_is_not_text_is_malformed(tokenizer: TokenizerChild) -> None:
    with pytest.raises(MalformedFile):
        tokenizer.load(b"\xff\xfe")


PANICS: dict[str, dict[str, Any]] = {
    "a merge longer than its vocabulary": {
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "a"]]}
    },
    "pieces of no length": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "a prefix longer than the token": {
        "model": {
            "type": "BPE",
            "vocab": {"a": 0, "b": 1, "ab": 2},
            "merges": [["a", "b"]],
            "continuing_subword_prefix": "######",
        }
    },
}


@pytest.mark.parametrize("name", PANICS)
def test_a_file_on_which_the_library_aborts_is_a_failure(
    tokenizer: TokenizerChild, name: str
) -> None:
    source = tokenizer_json(**PANICS[name])
    with pytest.raises(ChildFailed) as caught:  # noqa: PT012 - some abort at once, some later
        tokenizer.load(source)
        tokenizer.encode(["abab"])
    assert caught.value.detail


@posix
def test_a_tokenizer_that_needs_too_much_memory_is_a_failure() -> None:
    vocab = {f"t{n}": n for n in range(200_000)}
    source = tokenizer_json(model={"type": "WordLevel", "vocab": vocab, "unk_token": "t0"})
    limits = Limits(memory_bytes=60 * 2**20, cpu_seconds=10, clock_seconds=20.0)
    with TokenizerChild(limits) as child, pytest.raises(ChildFailed):
        child.load(source)


def test_a_real_tokenizer_is_loaded_and_round_trips(data: Path) -> None:
    texts = ["Hello, world!", "Привет, мир!<|im_end|>", "  \n\t ", "<think>x</think>"]
    with TokenizerChild() as child:
        assert 151_669 == child.load(data / "tokenizers" / "qwen3-30b-a3b" / "tokenizer.json")
        assert texts == child.decode(child.encode(texts), skip_special=False)
        assert 151_669 == len(child.id_table())
