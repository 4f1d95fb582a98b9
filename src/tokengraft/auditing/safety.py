"""S: what in a folder could do harm to whoever opens it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokengraft.auditing.asking import CONFIG, TOKENIZER_CONFIG, object_of
from tokengraft.auditing.rule import Found, counted, listed, place, rule, shown
from tokengraft.auditing.tokens import EVERY_CHANGE
from tokengraft.checkpoint import Checkpoint

# .bin means many things; these names are PyTorch's and the Trainer's, which are pickles.
_PICKLE = re.compile(
    r"(pytorch_model|adapter_model|training_args|optimizer|scheduler)[^/]*\.bin"
    r"|[^/]*\.(pt|pth|ckpt|pkl|pickle)"
)
_MODEL_FILE = (".json", ".safetensors", ".jinja", ".txt", ".model")


@rule(
    "S101",
    severity="error",
    title="no path leaves the folder",
    bears_on=("inference", *EVERY_CHANGE),
)
def path_is_unsafe(checkpoint: Checkpoint) -> Iterator[Found]:
    """A link in a model's folder can point at any file of the machine.

    What it checks:
        No link leads out of the folder (links of the Hugging Face cache to its own files are fine)
        or nowhere, nothing is a device or a pipe, and no two names differ by case alone.

    Why it matters:
        A copy of such a folder would carry a private file along, or overwrite one. A link that
        leads nowhere is a download that was broken off. Names that differ by case alone are one
        file on macOS and Windows.

    Example:
        notes.txt is a link to /etc/passwd.

    Fix and its safety:
        Display only: such files are not read and not copied. Remove the link by hand.

    Sources:
        CWE-59 (following links), CWE-178 (case).
    """
    for problem in checkpoint.problems:
        if problem.kind == "unsafe-path":
            is_case = "case" in problem.text
            is_model = problem.subject.endswith(_MODEL_FILE)
            leaves = "leaves" in problem.text or "regular" in problem.text
            yield Found(
                place(problem.subject),
                f"{shown(problem.subject)}: {problem.text}",
                safety="display-only",
                severity="note" if is_case else None if leaves or is_model else "warning",
            )


@rule("S102", severity="note", title="the model needs no code of its own")
def brings_code(checkpoint: Checkpoint) -> Iterator[Found]:
    """Some models ask for Python code that comes with them, or from somewhere else.

    What it checks:
        `auto_map` in config.json and tokenizer_config.json is absent or empty. Code from another
        repository (written as name--module.Class) is a warning.

    Why it matters:
        Such code runs with your rights as soon as somebody passes trust_remote_code. Code from
        another repository can change after you looked at it. Nothing of it is run here, ever, so
        what the code does with tokens is not known either.

    Example:
        "auto_map": {"AutoModelForCausalLM": "modeling_x.XForCausalLM"}

    Fix and its safety:
        Display only: read the code before you run it, and pin the revision.

    Sources:
        Hugging Face documentation, "Models with custom code".
    """
    for file in (CONFIG, TOKENIZER_CONFIG):
        entries = object_of(checkpoint, file, "/auto_map")
        named = [
            name
            for value in entries.values()
            for name in (value if isinstance(value, list) else [value])
            if isinstance(name, str)
        ]
        remote = sorted({name.split("--")[0] for name in named if "--" in name})
        if named:
            yield Found(
                place(file, "/auto_map"),
                f"{file} asks for code of its own"
                + (f", from another repository: {listed(map(shown, remote))}" if remote else ""),
                listed(shown(name) for name in named),
                safety="display-only",
                severity="warning" if remote else None,
            )


@rule("S103", severity="note", title="there are no pickles in the folder")
def has_pickles(checkpoint: Checkpoint) -> Iterator[Found]:
    """Opening a pickle runs whatever code its maker put into it.

    What it checks:
        No file of the folder has a name that PyTorch gives to pickles: pytorch_model*.bin,
        training_args.bin, *.pt, *.pth, *.ckpt, *.pkl. A folder with pickles as its only weights is
        refused before any rule looks at it.

    Why it matters:
        Programs that prefer them, or do not know safetensors, will open them. They are never read
        here, so nobody has compared them with the safetensors files.

    Example:
        pytorch_model.bin beside model.safetensors.

    Fix and its safety:
        Display only: delete them by hand if safetensors weights are there too.

    Sources:
        Python documentation, module pickle; CWE-502.
    """
    found = [path for path in checkpoint.files if _PICKLE.fullmatch(path.rsplit("/", 1)[-1])]
    if found:
        yield Found(
            place(found[0]),
            f"{counted(len(found), 'file')} {'is a pickle' if len(found) == 1 else 'are pickles'}"
            " by name",
            listed(found),
            safety="display-only",
        )
