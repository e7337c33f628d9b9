"""Simulated customers of any table: traffic that a laptop lacks, with labels that come later."""

from __future__ import annotations

import importlib
import importlib.util
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlops_kit.errors import ParameterError
from mlops_kit.examples import load_client
from mlops_kit.examples.load import Load, Sent

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.examples.load_generator import Traffic
    from mlops_kit.prediction_log.log import Label, Observations
    from mlops_kit.tables.loading import Rows
    from mlops_kit.tables.table import Table

    Reader = Callable[[str], Rows]

GENERATED = "generated"
# Rows a second of before the rollout, which no log should drop.
_BEFORE_RATE = 10_000
_BATCH = 50
# Rows that are drawn where nothing generates them: for before the rollout, and live ones.
_DRAWN = (5_000, 20_000)
# A small data set is sent over and over, for as long as a rollout may take.
_LONGEST_SECONDS = 300.0


@dataclass(frozen=True, eq=False)
class Customers:
    """Labelled rows of a table: those of `before` the rollout, and `live` ones.

    `load` says how the live ones are sent; those before come in batches, as fast as they are
    answered.
    """

    table: Table
    before: pd.DataFrame
    live: pd.DataFrame
    load: Load

    def within(self, seconds: float) -> Customers:
        """Return the same customers, who stop after so many seconds."""
        return replace(self, load=replace(self.load, seconds=seconds))

    def send_before(self, url: str, model: str, observations: Observations) -> Sent:
        """Send the rows of before, then their labels, and return when all is stored."""
        from mlops_kit.examples.load_generator import send

        labels: list[Label] = []
        count = math.ceil(len(self.before) / _BATCH)
        load = Load(rate=_BEFORE_RATE / _BATCH, count=count, batch=_BATCH, threads=2)
        sides = _arrays(self.table, self.before)
        sent = send(url, model, *sides, load, on_label=labels.extend, table=_named(self.table))
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
        """Return the live traffic, to be used as a context manager.

        Args:
            url: the server's, as http://host:port.
            model: the registered name.
            observations: takes the labels.
            anywhere: allow a server on another machine.
            stop: an event that ends sending.
        """
        from mlops_kit.examples.load_generator import Traffic

        def store(labels: Sequence[Label]) -> None:
            observations.label(labels)

        return Traffic(
            url,
            model,
            *_arrays(self.table, self.live),
            self.load,
            on_label=store,
            stop=stop,
            anywhere=anywhere,
            table=_named(self.table),
        )


def of(
    traffic: Literal["live", "simulated"],
    source: str,
    table: Table,
    *,
    read: Reader | None = None,
    seed: int = 7,
    rate: float = 200.0,
    label_delay: float = 0.5,
) -> Customers | None:
    """Return customers whose rows no model was trained on; None for live traffic.

    Args:
        traffic: "simulated" or "live".
        source: "generated", for new rows of an example's table, or ones that are drawn column by
            column; or a data set, whose latest part is sent, which training leaves alone.
        table: declares the rows.
        read: reads a data set as training did, which may have sampled it; by default all of it.
        seed: of what is drawn.
        rate: in requests a second.
        label_delay: seconds until a label arrives.

    Raises DataError, ParameterError and TableError.
    """
    if traffic == "live":
        return None
    if not rate > 0:
        raise ParameterError(f"rate is {rate!r}; expected more than 0 requests a second.")
    load = Load(rate=rate, count=0, label_delay=label_delay, seed=seed, threads=4)
    if source == GENERATED:
        before, live, changed = _generated(table, seed)
        load = replace(load, **{"count": len(live), **changed})
        return Customers(table, before, live, load)
    before, live = _parts(table, source, read)
    count = max(len(live), math.ceil(rate * _LONGEST_SECONDS))
    return Customers(table, before, live, replace(load, count=count))


def _example(table: Table) -> Any:
    """Return the module with the rows of an example's table, which is named as its package."""
    name = f"mlops_kit.examples.{table.name}"
    if not table.name.isidentifier() or importlib.util.find_spec(name) is None:
        return None
    module = f"{name}.customers"
    return importlib.import_module(module) if importlib.util.find_spec(module) else None


def _generated(table: Table, seed: int) -> tuple[Any, Any, dict[str, Any]]:
    """Return an example's own rows, or rows drawn column by column, which mean nothing."""
    example = _example(table)
    if example is not None:
        before, live, changed = example.generated(seed)
        return before, live, changed
    from mlops_kit.tables import simulated

    before, live = (
        simulated.rows(table, count, seed=seed + place) for place, count in enumerate(_DRAWN, 1)
    )
    return before, live, {}


def _parts(table: Table, source: str, read: Reader | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the replay part of a data set: two thirds for before the rollout, one for after."""
    from mlops_kit.tables import datasets

    loaded = read(source) if read else datasets.load(source, table)
    rows = loaded.split().replay
    # In turn, and not by time: where somebody drew a sample, its classes come at other times.
    third = np.arange(len(rows)) % 3
    return rows[third < 2], rows[third == 2]


def _arrays(table: Table, frame: pd.DataFrame) -> tuple[Any, Any]:
    """Return rows as they are sent and their labels: numbers as one matrix, else values by cell."""
    labels = table.labels(frame)
    if _named(table) is None:
        return table.inputs(frame).to_numpy(np.float64), labels
    return load_client.rows_of(table, frame), labels


def _named(table: Table) -> Table | None:
    """Return the table where its rows go as a tensor a column; None where all are numbers."""
    return None if all(column.is_number for column in table.features) else table
