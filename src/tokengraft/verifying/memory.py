"""How much memory a model may take on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """What can be had without swapping: the system's own estimate, or a container's rest if that is less.

    Pages that only cache files count as available on Linux. 0 where the system does not say.
    """
    found = _of_the_system()
    left = _of_the_container()
    return found if left is None else min(found, left)


def _of_the_system() -> int:
    with suppress(OSError, ValueError):
        for line in MEMINFO.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10  # the file counts in KiB
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def _of_the_container() -> int | None:
    """The limit of the control group (version 2) less what is in use, None where there is none."""
    with suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        cached = 0
        for line in (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines():
            if line.startswith("inactive_file "):
                cached = int(line.split()[1])
        return max(limit - used + cached, 0)
    return None
