"""Numbers as people read them. Sizes are decimal, as disks and `ls --si` count: 1 GB is 10^9 bytes."""

from __future__ import annotations

from typing import Final

UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def size(size_bytes: int) -> tuple[str, str]:
    """A size as number and unit: three digits at most are shown, never `1000 kB`."""
    if size_bytes < 1000:  # noqa: PLR2004  below the first prefix
        return str(size_bytes), UNITS[0]
    amount, at = float(size_bytes), 0
    while at < len(UNITS) - 1 and round(amount, _digits(amount)) >= 1000:  # noqa: PLR2004
        amount, at = amount / 1000, at + 1
    return f"{amount:.{_digits(amount)}f}", UNITS[at]


def _digits(amount: float) -> int:
    return 1 if amount < 9.95 else 0  # noqa: PLR2004  9.96 is shown as 10


def number(value: int) -> str:
    """A count, with thousands set apart."""
    return f"{value:,}"
