"""How long a model takes for one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlops_kit.models import intervals
from mlops_kit.models.gates import Estimate

if TYPE_CHECKING:
    import pandas as pd

# A pass over so many single rows is steady to a few percent.
LATENCY_ROWS = 30


def one_row_ms(
    model: Any, features: pd.DataFrame, confidence: float, clock: Callable[[], float]
) -> Estimate:
    """Return the median time that one row takes on one thread, in milliseconds.

    The median, because the tail belongs to the machine that this runs on, not to the model.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    rows = [features.iloc[[index]] for index in range(min(LATENCY_ROWS, len(features)))]
    taken = []
    # Threads that wait for one another cost more than one row does.
    with threadpool_limits(1):
        answer = getattr(model, "predict_proba", None) or model.predict
        answer(rows[0])
        for row in rows:
            start = clock()
            answer(row)
            taken.append(1000 * (clock() - start))
    return intervals.quantile(np.array(taken), 0.5, confidence)
