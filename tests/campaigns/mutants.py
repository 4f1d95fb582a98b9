"""The protocol with one step taken out or two exchanged: what each campaign must notice."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tokengraft.applying import locking, reading, single, store


@dataclass(frozen=True)
class Mutant:
    """A change of one module's text.

    Attributes:
        name: what is missing then.
        old: text that stands in the module once.
        new: what stands there instead.
    """

    name: str
    module: ModuleType
    old: str
    new: str


MUTANTS: dict[str, Mutant] = {
    mutant.name: mutant
    for mutant in (
        Mutant(
            "files are not synced",
            store,
            "                self._system.fsync(file)\n            finally:\n                self._system.close(file)\n        if",
            "                pass\n            finally:\n                self._system.close(file)\n        if",
        ),
        Mutant(
            "files are not synced before publishing",
            store,
            "        self._sync_files()\n        if manifest:",
            "        if manifest:",
        ),
        Mutant(
            "the manifest is not synced",
            store,
            "[format_manifest(self.digests)])\n        self._sync_files()",
            "[format_manifest(self.digests)])",
        ),
        Mutant(
            "folders are not synced",
            store,
            "        self._sync_folders()\n        self._rename()",
            "        self._rename()",
        ),
        Mutant(
            "folders are synced after the rename",
            store,
            "        self._sync_folders()\n        self._rename()",
            "        self._rename()\n        self._sync_folders()",
        ),
        Mutant(
            "the parent folder is not synced",
            store,
            "        self._sync_parent()\n        self._remove_replaced()",
            "        self._remove_replaced()",
        ),
        Mutant(
            "linked files are not synced",
            store,
            "                self._system.fsync(file)  # whoever",
            "                pass  # whoever",
        ),
        Mutant(
            "the rename replaces what is there",
            store,
            "self._system.rename_new(place.parent, place.stage, place.name)",
            "self._system.rename(place.parent, place.stage, place.name)",
        ),
        Mutant(
            "no lock is taken",
            locking,
            "                system.lock(file)\n",
            "",
        ),
        Mutant(
            "a folder is replaced whatever it holds",
            store,
            "        refuse_replacing(target)\n        try:\n            self._system.exchange",
            "        try:\n            self._system.exchange",
        ),
        Mutant(
            "a source that changes is not noticed",
            reading,
            "    if found != (",
            "    if False and found != (",
        ),
        Mutant(
            "a document is not synced before its rename",
            single,
            "                    system.fsync(file)\n",
            "",
        ),
        Mutant(
            "a document's name is not synced",
            single,
            "            system.fsync(parent)\n",
            "            pass\n",
        ),
        Mutant(
            "dead stages are not removed",
            store,
            "                remove_stages(parent, name, system)\n",
            "",
        ),
        Mutant(
            "dead stages go before the exchange is on disk",
            locking,
            "        system.fsync(parent)\n",
            "        pass\n",
        ),
        Mutant(
            "a replaced folder is not removed",
            store,
            "        self._sync_parent()\n        self._remove_replaced()",
            "        self._sync_parent()",
        ),
        Mutant(
            "a failed run leaves its stage",
            store,
            "                remove(place.parent, place.stage, system)\n            except",
            "                pass\n            except",
        ),
    )
}


def install(mutant: Mutant) -> None:
    """Load the module anew with its text changed, and let everybody in this process use it."""
    text = Path(mutant.module.__file__ or "").read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        message = f"{mutant.name}: the text is not there once"
        raise LookupError(message)
    fresh = ModuleType(mutant.module.__name__)
    fresh.__file__ = mutant.module.__file__
    sys.modules[fresh.__name__] = fresh
    code = compile(text.replace(mutant.old, mutant.new), f"{fresh.__name__} mutated", "exec")
    exec(code, vars(fresh))  # noqa: S102
    for user in [m for name, m in sys.modules.items() if name.startswith("tokengraft")]:
        for name, value in list(vars(user).items()):
            if value is mutant.module:
                setattr(user, name, fresh)
            elif (
                user is not fresh and name in vars(fresh) and value is vars(mutant.module).get(name)
            ):
                setattr(user, name, vars(fresh)[name])
