"""Simulated customers: the traffic that a laptop lacks, with labels that come later."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlops_kit.errors import ParameterError
from mlops_kit.examples.fraud import data
from mlops_kit.examples.load import Load, Sent

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.examples.load_generator import Traffic
    from mlops_kit.prediction_log.log import Observations

# Yesterday's transactions, and those that come while the rollout is watched.
_ROWS = {"before": 24_000, "live": 60_000}
# Rows a second of yesterday's, which no log should drop.
_BEFORE_RATE = 10_000
# The feature that an upstream service leaves out today, in this share of the transactions.
MISSING, MISSING_SHARE = "V28", 0.12
_BATCH = 50


@dataclass(frozen=True, eq=False)
class Customers:
    """Labelled transactions: `before` the rollout, and `live` ones, each sent once.

    `load` says how the live ones are sent; those before come in batches, as fast as they are
    answered. One of eight live transactions lacks a feature, which no earlier one does.
    """

    before: pd.DataFrame
    live: pd.DataFrame
    load: Load

    def within(self, seconds: float) -> Customers:
        """Return the same customers, who stop after so many seconds."""
        return replace(self, load=replace(self.load, seconds=seconds))

    def send_before(self, url: str, model: str, observations: Observations) -> Sent:
        """Send the transactions of before, then their labels, and return when all is stored."""
        from mlops_kit.examples.load_generator import Label, send

        labels: list[Label] = []
        count = math.ceil(len(self.before) / _BATCH)
        load = Load(rate=_BEFORE_RATE / _BATCH, count=count, batch=_BATCH, threads=2)
        sent = send(url, model, *_arrays(self.before), load, on_label=labels.extend)
        # Afterwards, so that labels and predictions don't wait for each other.
        observations.label(labels)
        return sent

    def traffic(
        self,
        url: str,
        model: str,
        observations: Observations,
        *,
        anywhere: bool = False,
        stop: threading.Event | None = None,
    ) -> Traffic:
        """Return the live traffic, to be used as a context manager."""
        from mlops_kit.examples.load_generator import Traffic

        rows, labels = _arrays(self.live)
        return Traffic(
            url,
            model,
            rows,
            labels,
            replace(self.load, missing_feature=data.FEATURES.index(MISSING)),
            on_label=observations.label,
            stop=stop,
            anywhere=anywhere,
        )


def of(
    traffic: Literal["live", "simulated"],
    source: str,
    *,
    seed: int = 7,
    rate: float = 200.0,
    label_delay: float = 0.5,
) -> Customers | None:
    """Return customers whose transactions no model was trained on; None for live traffic.

    `source` is "generated", for new ones by another seed, or a data set, whose latest part is
    sent: the part that training leaves alone. `rate` in requests a second, `label_delay` in
    seconds. Raises DataError, ParameterError.
    """
    if traffic == "live":
        return None
    if not rate > 0:
        raise ParameterError(f"rate is {rate!r}; expected more than 0 requests a second.")
    if source == "generated":
        before = data.generate(_ROWS["before"], seed=seed + 1_000)
        live = data.generate(_ROWS["live"], seed=seed + 2_000)
    else:
        latest = data.split(data.load(Path(source))).replay
        # In turn, and not by time: where somebody drew a sample, its frauds come at other times.
        third = latest.reset_index().index % 3
        before, live = latest[third < 2], latest[third == 2]
    load = Load(
        rate=rate,
        count=len(live),
        label_delay=label_delay,
        missing=MISSING_SHARE,
        seed=seed,
        threads=4,
    )
    return Customers(before, live, load)


def _arrays(frame: pd.DataFrame) -> tuple[Any, Any]:
    return frame[[*data.FEATURES]].to_numpy(), frame["Class"].to_numpy()
