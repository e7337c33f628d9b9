"""What labels say of a binary model, as tests write it."""

from __future__ import annotations

from mlops_kit.rollouts.quality import Quality, Tally


def binary(
    positives: int = 0,
    caught: int = 0,
    flagged: int = 0,
    worse: int = 0,
    better: int = 0,
    **rows: int,
) -> Quality:
    """Return the counts of so many positives, of which some were caught, and of flagged rows.

    `worse` and `better` positives only the champion, or only the candidate, caught; `rows` are
    `mature`, `labelled` and `failed`.
    """
    recall, precision = Tally(caught, positives, worse, better), Tally(caught, flagged)
    return Quality((("recall", recall), ("precision", precision)), **rows)
