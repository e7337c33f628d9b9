"""Functions from a frame to slices of its rows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from mlops_kit.tables.table import Slicer

    Mask = npt.NDArray[np.bool_]


def bins(column: str, *edges: float, title: str = "") -> Slicer:
    """Return a slicer by the value of a numeric column: one slice between each two edges.

    `bins("spent", 10, 100)` gives below 10, 10 to 100 (without 100), and 100 or more.
    """
    limits = [-math.inf, *edges, math.inf]

    def masks(frame: pd.DataFrame) -> dict[str, Mask]:
        values = frame[column].to_numpy(dtype="float64", na_value=math.nan)
        found: dict[str, Mask] = {}
        for low, high in pairwise(limits):
            words = f"{low:g} to {high:g}"
            if low == -math.inf:
                words = f"below {high:g}"
            if high == math.inf:
                words = f"{low:g} or more"
            found[f"{title or column} {words}"] = (values >= low) & (values < high)
        return found

    return masks
