"""Kinds of number as numpy knows them."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np

NUMPY: Mapping[str, type[np.generic]] = {
    "BF16": ml_dtypes.bfloat16,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
}
