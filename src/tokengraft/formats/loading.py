"""Read a checkpoint folder into one immutable snapshot."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tokengraft.checkpoint import (
    ByteSource,
    Checkpoint,
    FileEntry,
    FolderProblem,
    JsonText,
    JsonValue,
)
from tokengraft.errors import MalformedFile, UnsupportedFormat
from tokengraft.families import family_of, find_layout
from tokengraft.formats.folders import is_graft_record, read_small, refuse_too_much, walk
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.pointers import refuse_pointer
from tokengraft.formats.safetensors_file import fetch_header, read_header, read_index
from tokengraft.formats.tokenizer_files import read_tokenizer
from tokengraft.formats.vocabularies import VOCABULARIES
from tokengraft.tensors import TensorIndex, TensorRef, WeightsFile

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
# Pickles: reading one runs its author's code, so none is ever read.
PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Where nested configs keep the language model, by how often they are met (formats research, 2.1).
TEXT_CONFIGS = ("text_config", "llm_config", "language_config")
# vocab.json repeats tokenizer.json's vocabulary; it is parsed only where it stands alone.
UNPARSED = frozenset({"vocab.json"})
# Headers that are fetched at the same time; the Hub's own client downloads eight files at once.
AT_ONCE = 8
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a snapshot is assembled from: what was read, or what a plan predicts."""

    root: Path
    files: Mapping[str, FileEntry]
    small_files: Mapping[str, bytes]
    weights: Mapping[str, WeightsFile]
    problems: tuple[FolderProblem, ...]


def load(
    root: Path, *, remote: Mapping[str, ByteSource] | None = None, weights: bool = True
) -> Checkpoint:
    """Read a folder: small files whole, of weights the headers alone.

    Args:
        remote: files of the checkpoint that lie elsewhere and are read by range.
        weights: without them the folder is taken for small files alone, whatever else it holds.
    Raises:
        UnsafePath, LimitExceeded, MalformedFile: the folder cannot be trusted.
        UnsupportedFormat: the weights are pickles, or there is nothing of a model in it.
    """
    files, problems = walk(root, remote)
    if not weights:
        files = {path: entry for path, entry in files.items() if entry.kind != "weights"}
    chosen = {
        path: entry
        for path, entry in files.items()
        if entry.kind == "small" and not is_graft_record(path)
    }
    refuse_too_much(chosen.values())
    small = {path: read_small(entry) for path, entry in chosen.items()}
    for path, data in small.items():
        refuse_pointer(data, path)
    _refuse_what_is_no_checkpoint(root, files, small)
    parts = Parts(root.resolve(), files, small, {}, problems)
    entries = [files[path] for path in _weight_files(parts) if path in files]
    return assemble(Parts(parts.root, files, small, _headers(entries), problems))


def _headers(entries: Sequence[FileEntry]) -> dict[str, WeightsFile]:
    if all(entry.remote is None for entry in entries):
        return {entry.path: _header(entry) for entry in entries}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {file.path: file for file in pool.map(_header, entries)}


def _header(entry: FileEntry) -> WeightsFile:
    if entry.remote is not None:
        return fetch_header(entry.remote, file=entry.path)
    return read_header(entry.real, file=entry.path, size_bytes=entry.size_bytes)


def _commit(root: Path) -> str | None:
    """The commit that a snapshot of the Hugging Face cache is named for."""
    named = root.parent.name == "snapshots" and _COMMIT.fullmatch(root.name)
    return root.name if named else None


def assemble(parts: Parts) -> Checkpoint:
    """Make the snapshot of its parts; reads nothing."""
    json = {
        path: parse_json(data, file=path)
        for path, data in parts.small_files.items()
        if path.endswith(".json") and path not in UNPARSED
    }
    config = _config(json)
    text_config = _text_config(config)
    tokenizer = read_tokenizer(json, parts.small_files)
    tensors, problems = _tensor_index(parts, json)
    language = config[text_config[1:]] if text_config else config
    model_type = language.get("model_type") if isinstance(language, dict) else None
    if not isinstance(model_type, str):
        model_type = config.get("model_type")
    family = family_of(model_type if isinstance(model_type, str) else None)
    layout = None
    if config or tensors is not None:
        layout = find_layout(
            family,
            config=config,
            text_config=text_config,
            tensors=tensors,
            n_tokens=None if tokenizer is None else tokenizer.n_tokens,
        )
    return Checkpoint(
        root=parts.root,
        files=parts.files,
        small_files=parts.small_files,
        json=json,
        tokenizer=tokenizer,
        text_config=text_config,
        tensors=tensors,
        layout=layout,
        family=family,
        problems=(*parts.problems, *problems),
        layout_digest=_digest(parts.small_files, parts.weights),
        small_digest=_digest(parts.small_files, {}),
        commit=_commit(parts.root),
    )


def _refuse_what_is_no_checkpoint(
    root: Path, files: Mapping[str, FileEntry], small: Mapping[str, bytes]
) -> None:
    has_weights = any(entry.kind == "weights" for entry in files.values())
    pickles = [path for path in files if path.endswith(PICKLE_ENDINGS) and "/" not in path]
    weights = [p for p in pickles if "pytorch_model" in p or p.startswith("consolidated")]
    if weights and not has_weights:
        raise UnsupportedFormat(
            "the weights are pickles, which are never read here",
            detail=f"found {', '.join(weights[:4])}: opening a pickle runs code of whoever made it",
            subject=str(root / weights[0]),
            hint="convert it to safetensors in a place you trust: "
            "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(NEW)",
        )
    known = {"config.json", "tokenizer.json", "tokenizer_config.json", *VOCABULARIES}
    if not has_weights and not known & set(small):
        raise UnsupportedFormat(
            f"{root} holds no Hugging Face checkpoint",
            detail="neither config.json nor tokenizer files nor safetensors weights are there",
            subject=str(root),
            hint="give the folder that holds config.json and tokenizer.json",
        )


def _config(json: Mapping[str, JsonText]) -> dict[str, JsonValue]:
    document = json.get("config.json")
    if document is None:
        return {}
    if not isinstance(document.value, dict):
        raise MalformedFile("config.json does not hold a JSON object", subject="config.json")
    return document.value


def _text_config(config: Mapping[str, JsonValue]) -> str:
    for key in TEXT_CONFIGS:
        nested = config.get(key)
        if isinstance(nested, dict) and {"vocab_size", "hidden_size"} & set(nested):
            return f"/{key}"
    return ""


def _weight_files(parts: Parts) -> list[str]:
    """The weight files that a loader would read: one file, or those that the index names."""
    present = [path for path, entry in parts.files.items() if entry.kind == "weights"]
    if SINGLE_FILE in present:
        return [SINGLE_FILE]
    if INDEX_FILE in parts.small_files:
        index = parse_json(parts.small_files[INDEX_FILE], file=INDEX_FILE)
        _, weight_map = read_index(index, file=INDEX_FILE)
        return sorted(set(weight_map.values()))
    shards = [path for path in present if path.startswith("model-")]
    return shards or [path for path in present if not path.startswith("adapter_")]


def _tensor_index(
    parts: Parts, json: Mapping[str, JsonText]
) -> tuple[TensorIndex | None, tuple[FolderProblem, ...]]:
    present = [path for path, entry in parts.files.items() if entry.kind == "weights"]
    index = json.get(INDEX_FILE)
    if not parts.weights and (index is None or not present):
        return None, ()  # small files alone, with or without the index of weights left elsewhere
    tensors: dict[str, TensorRef] = {}
    problems: list[FolderProblem] = []
    for file in parts.weights.values():
        for ref in file.tensors:
            if ref.name in tensors:
                text = f"{ref.name} lies in {tensors[ref.name].file} too"
                problems.append(FolderProblem("conflict", file.path, text))
            tensors[ref.name] = ref
    index_file, total_size = None, None
    missing: tuple[str, ...] = ()
    misplaced: tuple[str, ...] = ()
    if index is not None and SINGLE_FILE in parts.weights:
        text = f"loaders read {SINGLE_FILE} and ignore the index beside it"
        problems.append(FolderProblem("conflict", INDEX_FILE, text))
    elif index is not None:
        index_file = INDEX_FILE
        total_size, weight_map = read_index(index, file=INDEX_FILE)
        missing = tuple(sorted(set(weight_map.values()) - set(parts.weights)))
        misplaced = tuple(_misplaced(weight_map, tensors, missing))
    problems.extend(
        FolderProblem("stray", path, "safetensors weights that no index names")
        for path in present
        if path not in parts.weights and not path.startswith("adapter_")
    )
    found = TensorIndex(
        files=parts.weights,
        tensors=tensors,
        index_file=index_file,
        total_size=total_size,
        missing_files=missing,
        misplaced=misplaced,
    )
    return found, tuple(problems)


def _misplaced(
    weight_map: Mapping[str, str], tensors: Mapping[str, TensorRef], missing: tuple[str, ...]
) -> Iterable[str]:
    for name, file in weight_map.items():
        if file not in missing and (name not in tensors or tensors[name].file != file):
            yield name
    yield from (name for name in tensors if name not in weight_map)


def _digest(small_files: Mapping[str, bytes], weights: Mapping[str, WeightsFile]) -> str:
    """sha256 over small files and tensor headers, by which a plan knows its base."""
    digest = hashlib.sha256()
    for path in sorted(small_files):
        content = hashlib.sha256(small_files[path]).hexdigest()
        digest.update(f"{path}\0{content}\n".encode())
    for path in sorted(weights):
        file = weights[path]
        content = hashlib.sha256(file.header).hexdigest()
        digest.update(f"{path}\0{file.size_bytes}\0{content}\n".encode())
    return digest.hexdigest()
