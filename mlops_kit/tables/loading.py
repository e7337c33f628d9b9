"""Load the rows that a model learns from: all, or a sample of a table that was read whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import DataError, ParameterError
from mlops_kit.tables import contract, reading, splits, summaries
from mlops_kit.tables.scans import Scan
from mlops_kit.tables.sketches import Sample

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.tables.reading import Batch
    from mlops_kit.tables.rules import Contract
    from mlops_kit.tables.splits import Split
    from mlops_kit.tables.summaries import Summary
    from mlops_kit.tables.table import Table

Progress = Callable[[int, int | None], None]
"""Gets the rows read so far, and how many there are where that is known."""

SAMPLE = 1_000_000
"""Rows of the sample that a refusal proposes."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows that a model learns from, in the order of the table's time.

    `count` is how many were read. Where the frame is a sample of them, drawn with `seed`, `scan`
    holds what was found in all.
    """

    frame: pd.DataFrame
    table: Table
    count: int
    seed: int = 0
    scan: Scan | None = None

    @property
    def note(self) -> str:
        """How many rows were read, and how many of them sampled."""
        read = f"{self.count:,} rows read"
        if self.scan is None:
            return f"{read}."
        return f"{read}, {len(self.frame):,} sampled (seed {self.seed})."

    def summary(self) -> Summary:
        """Return the rows in a few numbers: counts and extremes of all, the rest of the sample."""
        if self.scan is None:
            return summaries.summary(self.frame, self.table)
        of_sample = "Medians, quantiles and the shares of texts are the sample's."
        note = f"{self.note} {of_sample}"
        return summaries.summary(self.frame, self.table, scan=self.scan, note=note)

    def examine(self, **bounds: Any) -> Contract:
        """Return what holds of all rows, by the bounds of `datasets.examine`.

        Of a sampled table, the checks that need many rows at once are judged on the sample.
        """
        if self.scan is None:
            return contract.examine(self.frame, self.table, **bounds)
        return contract.examine_sampled(self.frame, self.scan, note=self.note, **bounds)

    def split(self, **how: Any) -> Split:
        """Return the rows in four parts, as `datasets.split` cuts them; a sample's note says so."""
        found = splits.split(self.frame, self.table, **how)
        return replace(found, note=f"{self.note} {found.note}") if self.scan else found


def load(
    source: str | Path,
    table: Table,
    *,
    sample: int = 0,
    seed: int = 7,
    progress: Progress = lambda _rows, _total: None,
    most: int = reading.MAX_ROWS,
    **dialect: Any,
) -> Rows:
    """Return the rows of a source in the order of the table's time, or a sample of them.

    Each row is read and judged in any case, a batch at a time, in memory for the sample alone.
    The sample is uniform: rates and probabilities stay those of the table.

    Args:
        source: as of `read`.
        table: what the rows have to be.
        sample: how many rows to keep of a source that holds more; 0 keeps all.
        seed: of the sample.
        progress: gets the rows read so far, batch by batch.
        most: how many rows are kept without a sample before the source is refused.
        dialect: `encoding`, `separator`, `decimal` and `day_first`, as of `read`.

    Raises DataError as `read` does; for too many rows, it names the line that allows a sample.
    """
    if sample < 0:
        raise ParameterError(f"sample is {sample}; expected how many rows to keep, or 0 for all.")
    kept, scan = Sample(sample or most, seed), Scan(table)
    waiting: list[Batch] = []
    with closing(reading.batches(source, table, dialect)) as found:
        for batch in found:
            kept.add(batch.arrays)
            if not sample and max(kept.rows, batch.total or 0) > most:
                raise DataError(
                    f"{reading.too_many(source, most, batch.total)}. To check all of them and "
                    "learn from a uniform sample, write this line below "
                    f"[models.{table.name}] in mlops-kit.toml: sample = {SAMPLE}"
                )
            waiting.append(batch)
            if kept.rows > kept.most:
                _scan(scan, waiting)
            progress(kept.rows, batch.total)
    rows = kept.rows
    waiting.clear()
    frame = splits.sort_by_time(reading.to_frame(table, kept.take()), table)
    return Rows(frame, table, rows, seed, scan if rows > kept.most else None)


def _scan(scan: Scan, waiting: list[Batch]) -> None:
    """Look at the batches that wait, in their order: none does while all rows may fit."""
    for batch in waiting:
        scan.add(reading.to_frame(scan.tally.table, [[*batch.arrays]]), batch.place)
    waiting.clear()
