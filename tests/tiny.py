"""Real checkpoints of a few kilobytes, built from literals.

What the code under test does for a living is done here by hand, so that the two can disagree: the
byte alphabet here, safetensors and bfloat16 in `raw_tensors`. The results are complete models of a real architecture:
transformers loads them as Qwen3 or Llama.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from raw_tensors import Tensor, encode, row_bytes, tensor_bytes, write_weights

__all__ = ["DROP", "QWEN_LIKE", "Added", "Tiny", "build", "row_bytes", "tensor_bytes"]

Json = dict[str, Any]

D, HEADS, KV_HEADS, HEAD_DIM, INNER = 8, 2, 1, 4, 16
DROP: Final = object()  # as a value in `files`: leave this key out
WORDS = (" the", " and", " of", " a", "in", "er", "on", "hello", " world", " тест", "def", "\n\n")
PIECES = ("▁the", "▁and", "▁of", "▁a", "in", "er", "hello", "▁world", "▁тест")
# Qwen2's own, because transformers 5 rebuilds it in code and must come to the same ids.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATE = r"""{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if message.reasoning_content %}
        {{- '<think>\n' + message.reasoning_content + '\n</think>\n\n' }}
    {%- endif %}
    {{- message.content }}
    {%- for call in message.tool_calls or [] %}
        {{- '\n<tool_call>\n' + (call | tojson) + '\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}"""


@dataclass(frozen=True, slots=True)
class Added:
    """An added token: five of Hugging Face's six fields and its text."""

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False


QWEN_LIKE = (
    *(Added(text, special=True) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
    *(Added(text) for text in ("<tool_call>", "</tool_call>", "<think>", "</think>")),
)


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """What a tiny checkpoint is to be; each field has the meaning it has in `build`.

    Attributes:
        kind: `bpe` is byte-level BPE as Qwen's (model_type qwen3); `byte-fallback` is BPE with `▁`
            and byte tokens as Llama 2's (model_type llama). Both have about 300 tokens.
        tied: no `lm_head.weight`, and `tie_word_embeddings` is true.
        dtype: of every tensor but the last norm, which is F32 always.
        shards: 0 writes no weights; 2 writes an index too, input rows in the first shard, output
            rows in the last.
        n_rows: rows of both matrices; by default the tokens rounded up to 64, so some are spare.
        added: added tokens in the order of their ids; a text alone is special if it starts `<|`.
        out_of_step: tokenizer.json lacks the last two, as Qwen3's base models ship.
        base: `<|endoftext|>` is eos, pad and the only stop token, as in a base model; otherwise eos
            is `<|im_end|>`, and both stop. A name whose token is not in `added` is null.
        template: where the chat template lies; True is tokenizer_config.json, False is nowhere.
        merges: how tokenizer.json writes them.
        legacy: also special_tokens_map.json and added_tokens.json.
        layers: transformer layers.
        indent, newline, final_newline, ascii_only: how JSON is laid out.
        files: top-level keys that replace the default ones, file by file. The value `DROP` removes
            a key, None instead of a mapping leaves the file out, an unknown file is written.
        seed: of the weights.
    """

    kind: Literal["bpe", "byte-fallback"] = "bpe"
    tied: bool = False
    dtype: Literal["BF16", "F16", "F32"] = "BF16"
    shards: Literal[0, 1, 2] = 1
    n_rows: int | None = None
    added: Sequence[Added | str] = QWEN_LIKE
    out_of_step: bool = False
    base: bool = False
    template: Literal["config", "jinja", "both"] | bool = True
    merges: Literal["pairs", "strings"] = "strings"
    legacy: bool = False
    layers: int = 1
    indent: int | str | None = 2
    newline: str = "\n"
    final_newline: bool = True
    ascii_only: bool = False
    files: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    seed: int = 0

    def build(self, folder: Path) -> Path:
        """Write the checkpoint and return its folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in self._documents().items():
            text = json.dumps(document, indent=self.indent, ensure_ascii=self.ascii_only)
            text = (text + "\n" * self.final_newline).replace("\n", self.newline)
            (folder / name).write_bytes(text.encode())
        if self.kind == "bpe":
            lines = ["#version: 0.2", *(" ".join(pair) for pair in self._pairs()), ""]
            (folder / "merges.txt").write_bytes(self.newline.join(lines).encode())
        if self.template in ("jinja", "both"):
            (folder / "chat_template.jinja").write_bytes(TEMPLATE.encode())
        if self.shards:
            write_weights(folder, self._tensors(), shards=self.shards)
        return folder

    def vocab(self) -> dict[str, int]:
        """The model's own tokens, without the added ones."""
        first = list(_byte_alphabet()) if self.kind == "bpe" else _fallback_tokens()
        merged = ["".join(pair) for pair in self._pairs()]
        return {token: at for at, token in enumerate(dict.fromkeys([*first, *merged]))}

    def table(self) -> dict[int, Added]:
        """Added tokens by id: they follow the vocabulary without a gap."""
        start = len(self.vocab())
        tokens = [
            Added(t, special=t.startswith("<|")) if isinstance(t, str) else t for t in self.added
        ]
        return dict(enumerate(tokens, start))

    def n_tokens(self) -> int:
        return len(self.vocab()) + len(self.added)

    def rows(self) -> int:
        return -(-self.n_tokens() // 64) * 64 if self.n_rows is None else self.n_rows

    def _pairs(self) -> list[tuple[str, str]]:
        if self.kind == "bpe":
            alphabet = list(_byte_alphabet())
            return _merges(["".join(alphabet[byte] for byte in w.encode()) for w in WORDS])
        return _merges(list(PIECES))

    def _documents(self) -> dict[str, Json]:
        documents = {
            "tokenizer.json": self._tokenizer(),
            "tokenizer_config.json": self._tokenizer_config(),
            "config.json": self._config(),
            "generation_config.json": self._generation_config(),
        }
        if self.kind == "bpe":
            documents["vocab.json"] = dict(self.vocab())
        if self.legacy:
            documents["added_tokens.json"] = {t.content: at for at, t in self.table().items()}
            documents["special_tokens_map.json"] = self._special_tokens_map()
        for name, changes in self.files.items():
            if changes is None:
                documents.pop(name, None)
                continue
            merged = {**documents.get(name, {}), **changes}
            documents[name] = {key: value for key, value in merged.items() if value is not DROP}
        return documents

    def _names(self) -> dict[str, str | None]:
        """Texts of the named tokens."""
        contents = {token.content for token in self.table().values()}
        eos = "<|endoftext|>" if self.base else "<|im_end|>"
        wanted = {"bos": None, "eos": eos, "pad": "<|endoftext|>", "unk": None}
        return {name: text if text in contents else None for name, text in wanted.items()}

    def _id(self, content: str | None) -> int | None:
        return next((at for at, t in self.table().items() if t.content == content), None)

    def _tokenizer(self) -> Json:
        table = list(self.table().items())
        shown = table[:-2] if self.out_of_step else table
        pairs = self._pairs()
        written = (
            [list(p) for p in pairs] if self.merges == "pairs" else [" ".join(p) for p in pairs]
        )
        fallback = self.kind == "byte-fallback"
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": token_id, **asdict(token)} for token_id, token in shown],
            **(_FALLBACK_STEPS if fallback else _BYTE_LEVEL_STEPS),
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": "<unk>" if fallback else None,
                "continuing_subword_prefix": None if fallback else "",
                "end_of_word_suffix": None if fallback else "",
                "fuse_unk": fallback,
                "byte_fallback": fallback,
                "ignore_merges": False,
                "vocab": self.vocab(),
                "merges": written,
            },
        }

    def _tokenizer_config(self) -> Json:
        names = self._names()
        fallback = self.kind == "byte-fallback"
        config: Json = {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {str(at): asdict(t) for at, t in self.table().items()},
            "additional_special_tokens": self._more_special(),
            "bos_token": names["bos"],
            "clean_up_tokenization_spaces": False,
            "eos_token": names["eos"],
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": 256,
            "pad_token": names["pad"],
            "split_special_tokens": False,
            "tokenizer_class": "PreTrainedTokenizerFast" if fallback else "Qwen2Tokenizer",
            "unk_token": "<unk>" if fallback else None,
        }
        if self.template in (True, "config", "both"):
            config["chat_template"] = TEMPLATE
        return config

    def _more_special(self) -> list[str]:
        special = [token.content for token in self.table().values() if token.special]
        return [content for content in special if content != "<|endoftext|>"]

    def _special_tokens_map(self) -> Json:
        by_content = {token.content: token for token in self.table().values()}
        named: Json = {"additional_special_tokens": self._more_special()}
        for name, content in self._names().items():
            if content is not None:
                fields = asdict(by_content[content])
                named[f"{name}_token"] = {k: v for k, v in fields.items() if k != "special"}
        return named

    def _config(self) -> Json:
        qwen = self.kind == "bpe"
        names = self._names()
        return {
            "architectures": ["Qwen3ForCausalLM" if qwen else "LlamaForCausalLM"],
            "attention_bias": False,
            "bos_token_id": self._id("<|endoftext|>"),
            "eos_token_id": self._id(names["eos"]),
            "head_dim": HEAD_DIM,
            "hidden_act": "silu",
            "hidden_size": D,
            "intermediate_size": INNER,
            "max_position_embeddings": 256,
            "model_type": "qwen3" if qwen else "llama",
            "num_attention_heads": HEADS,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": KV_HEADS,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 10000.0,
            "tie_word_embeddings": self.tied,
            "torch_dtype": {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[self.dtype],
            "transformers_version": "4.51.0",
            "use_cache": True,
            "vocab_size": self.rows(),
        }

    def _generation_config(self) -> Json:
        end, turn = self._id("<|endoftext|>"), self._id("<|im_end|>")
        config: Json = {"bos_token_id": end, "do_sample": False}
        if self.base:
            return {**config, "eos_token_id": end, "max_new_tokens": 2048}
        stops = [token_id for token_id in (turn, end) if token_id is not None]
        return {**config, "eos_token_id": stops, "pad_token_id": end}

    def _tensors(self) -> dict[str, Tensor]:
        """All weights; spare rows are a hundred times smaller, as rows that never trained are."""
        rng = np.random.default_rng(self.seed)
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.rows(), D)}
        for layer in range(self.layers):
            shapes |= {f"model.layers.{layer}.{k}.weight": s for k, s in self._layer().items()}
        shapes["model.norm.weight"] = (D,)
        if not self.tied:
            shapes["lm_head.weight"] = (self.rows(), D)
        tensors: dict[str, Tensor] = {}
        for name, shape in shapes.items():
            values = rng.normal(0.0, 0.2, shape).astype(np.float32)
            if shape[0] == self.rows():
                values[self.n_tokens() :] *= 0.01
            dtype = "F32" if name == "model.norm.weight" else self.dtype
            tensors[name] = (dtype, shape, encode(values, dtype))
        return tensors

    def _layer(self) -> dict[str, tuple[int, ...]]:
        q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
        shapes: dict[str, tuple[int, ...]] = {
            "self_attn.q_proj": (q, D),
            "self_attn.k_proj": (kv, D),
            "self_attn.v_proj": (kv, D),
            "self_attn.o_proj": (D, q),
            "mlp.gate_proj": (INNER, D),
            "mlp.up_proj": (INNER, D),
            "mlp.down_proj": (D, INNER),
            "input_layernorm": (D,),
            "post_attention_layernorm": (D,),
        }
        if self.kind == "bpe":
            shapes |= {"self_attn.q_norm": (HEAD_DIM,), "self_attn.k_norm": (HEAD_DIM,)}
        return shapes


def build(folder: Path, **fields: Any) -> Path:  # typed by the fields of Tiny
    """Write the checkpoint that the fields of `Tiny` describe, and return its folder."""
    return Tiny(**fields).build(folder)


_BYTE_LEVEL: Json = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": False,
    "use_regex": False,
}
_BYTE_LEVEL_STEPS: Json = {
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": QWEN_SPLIT},
                "behavior": "Isolated",
                "invert": False,
            },
            _BYTE_LEVEL,
        ],
    },
    "post_processor": _BYTE_LEVEL,
    "decoder": _BYTE_LEVEL,
}
_FALLBACK_STEPS: Json = {
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    },
    "pre_tokenizer": None,
    "post_processor": None,
    "decoder": {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    },
}


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of the 256 bytes, in the order of the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in plain)
    spelled = {byte: chr(byte) for byte in plain}
    spelled |= {byte: chr(256 + at) for at, byte in enumerate(others)}
    return {spelled[byte]: byte for byte in range(256)}


def _fallback_tokens() -> list[str]:
    letters = sorted({letter for piece in PIECES for letter in piece} | set("abcdefghijklmnop"))
    return ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]


def _merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Build each word up from the left, one merge a letter."""
    pairs: dict[tuple[str, str], None] = {}
    for word in words:
        for at in range(1, len(word)):
            pairs[word[:at], word[at]] = None
    return list(pairs)
