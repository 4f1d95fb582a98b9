"""What stands in the way of renumbering before any token is looked at."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.checkpoint import Checkpoint
from tokengraft.documents import Problem
from tokengraft.errors import RefusedError, UnsupportedFormat
from tokengraft.formats.folders import is_graft_record
from tokengraft.formats.sentencepiece_file import SENTENCEPIECE_FILES, is_sentencepiece
from tokengraft.planning.renumbering.choosing import INSTEAD, duplicate_texts
from tokengraft.planning.renumbering.places import Places
from tokengraft.recipes import Recipe

# What renumbering breaks outside the folder, where nobody here can follow.
BREAKS = (
    "ids above each removed token move down: LoRA adapters and merges, grafts, data sets cached as "
    "ids, draft models of speculative decoding, embeddings stored elsewhere, GGUF files and prompts "
    "written as ids no longer fit"
)
# Sections that may stand beside [[remove]] and [trim]; all others name ids or texts of the base.
BESIDE = frozenset({"version", "base", "remove", "trim", "stop"})
# Vocabularies and weights in forms that are not rewritten here.
_VOCABULARIES = frozenset(
    {
        *("tekken.json", "vocab.bpe", "encoder.json", "bpe.codes", "dict.txt", "params.json"),
        *(
            "sentencepiece.bpe.model",
            "spm.model",
            "source.spm",
            "target.spm",
            "adapter_config.json",
        ),
    }
)
# Files of a vocabulary that are copies where they lie in a folder of their own.
_COPIES = frozenset(
    {
        *("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json"),
        *("tokenizer_config.json", *SENTENCEPIECE_FILES),
    }
)
_ENDINGS = (
    *(".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".onnx", ".onnx_data", ".gguf"),
    *(".tiktoken", ".spm", ".tflite", ".mlmodel", ".ot", ".npz"),
)


def recipe_problems(recipe: Recipe) -> Iterator[Problem]:
    """Sections without consent, and sections that cannot stand beside these."""
    wishes = [(f"remove[{n}]", wish.renumber) for n, wish in enumerate(recipe.remove)]
    if recipe.trim is not None:
        wishes.append(("trim", recipe.trim.renumber))
    if not wishes:
        return
    for where, consent in wishes:
        if not consent:
            yield Problem(
                where=f"{where}.renumber",
                what=f"is needed, since {BREAKS}",
                suggestion=f"renumber = true if that is meant; {INSTEAD}",
            )
    for section in type(recipe).model_fields:
        if section not in BESIDE and getattr(recipe, section):
            yield Problem(
                where=section,
                what="cannot be planned together with [[remove]] or [trim], which move ids",
                suggestion="remove first, then plan this on the result",
            )


def refuse_folder(checkpoint: Checkpoint) -> None:
    """Refuse a folder whose ids or rows cannot all be moved.

    Raises:
        UnsupportedFormat: a vocabulary or weights of another kind lie there.
        RefusedError: there are no weights, or no tokenizer.json.
    """
    if "tokenizer.json" not in checkpoint.json:
        raise UnsupportedFormat(
            "ids are renumbered in tokenizer.json, and the folder has none",
            subject=str(checkpoint.root),
            hint="make it first: AutoTokenizer.from_pretrained(DIR).save_pretrained(NEW)",
        )
    if checkpoint.tensors is None:
        raise RefusedError(
            "the folder has no weights, and rows move with their ids",
            detail="small files alone with new ids would fit no weights that exist",
            subject=str(checkpoint.root),
            hint="plan on the folder with its weights (safetensors)",
        )
    for path in sorted(checkpoint.files):
        name = path.rpartition("/")[2]
        strange = name in _VOCABULARIES or name.endswith(_ENDINGS)
        strange = strange or (
            name.endswith(".safetensors") and path not in checkpoint.tensors.files
        )
        if "/" in path:
            strange = strange or name in _COPIES
        elif name in SENTENCEPIECE_FILES:
            strange = not is_sentencepiece(checkpoint.small_files.get(path, b""))
        if strange and not is_graft_record(path):
            raise UnsupportedFormat(
                f"{path} holds ids or rows in a form that is not renumbered here",
                detail="it would be copied as it is, and contradict all other files",
                subject=path,
                hint=f"plan on a copy of the folder without {path}",
            )
    twice = next(duplicate_texts(checkpoint), None)
    if twice is not None:
        raise RefusedError(
            f"the vocabulary gives {twice!r} an id that another piece has",
            subject="tokenizer.json#/model/vocab",
            hint=f"tokengraft audit {checkpoint.root}",
        )


def place_problems(places: Places, first: int, n_tokens: int) -> Iterator[Problem]:
    """Numbers that may be ids and would have to move."""
    for place, why in places.doubtful:
        if first <= place.token_id < n_tokens:
            yield Problem(
                where=f"{place.file}#{place.pointer}",
                what=f"holds {place.token_id}, which may be an id that moves: {why}",
                suggestion="take the key out of a copy of the folder, or remove later ids only",
            )


def code_notes(checkpoint: Checkpoint) -> Iterator[str]:
    """Code that comes with a model is never read, so ids that are written in it are not known."""
    files = [path for path in checkpoint.files if path.endswith(".py")]
    if files:
        yield f"{files[0]} comes with the model and was not read: ids that its code holds stay"
