"""Describe a data set in a few numbers and a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from mlops_kit.reporting.charts.charts import Bars

QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Summary:
    """A data set in a few numbers: hours that it covers, quantiles of the amounts in euro."""

    rows: int
    frauds: int
    hours: float
    duplicates: int
    genuine_amounts: tuple[float, ...]
    fraud_amounts: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Share of the rows that are fraud."""
        return self.frauds / self.rows if self.rows else 0.0

    def _repr_markdown_(self) -> str:
        facts = {
            "rows": f"{self.rows:,}",
            "frauds": f"{self.frauds:,} ({self.rate:.2%})",
            "hours covered": f"{self.hours:.1f}",
            "repeated rows": f"{self.duplicates:,}",
        }
        lines = ["| | |", "|---|---:|", *(f"| {name} | {fact} |" for name, fact in facts.items())]
        names = (f"{share:.0%}" if share < 1 else "largest" for share in QUANTILES)
        lines += ["", f"| amount (€) | {' | '.join(names)} |", "|---" * (len(QUANTILES) + 1) + "|"]
        for label, amounts in (("genuine", self.genuine_amounts), ("fraud", self.fraud_amounts)):
            lines.append(f"| {label} | {' | '.join(f'{amount:,.2f}' for amount in amounts)} |")
        return "\n".join(lines) + "\n"


def summary(frame: pd.DataFrame) -> Summary:
    """Return the data set in a few numbers; amounts of a class without rows are NaN."""
    times, amounts, fraud = frame["Time"], frame["Amount"], frame["Class"] == 1
    return Summary(
        rows=len(frame),
        frauds=int(fraud.sum()),
        hours=float(times.max() - times.min()) / 3600 if len(frame) else 0.0,
        duplicates=int(frame.duplicated().sum()),
        genuine_amounts=tuple(float(value) for value in amounts[~fraud].quantile(QUANTILES)),
        fraud_amounts=tuple(float(value) for value in amounts[fraud].quantile(QUANTILES)),
    )


def amounts(frame: pd.DataFrame) -> Bars:
    """Return how the amounts of genuine and fraudulent transactions are spread, on a log scale."""
    import numpy as np

    from mlops_kit.reporting.charts.charts import Bars

    logs = np.log10(frame["Amount"].clip(lower=0.01))
    values = {"genuine": logs[frame["Class"] == 0], "fraud": logs[frame["Class"] == 1]}
    label = "amount in euro, as a power of ten: 0 is 1, 1 is 10, 2 is 100"
    return Bars.histogram("How the amounts are spread", values, x_label=label)
