"""Our own methods, as the benchmark calls them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.rows.cases import Method

OURS: Mapping[str, Method] = MappingProxyType({})
