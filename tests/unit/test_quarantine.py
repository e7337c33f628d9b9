"""A version that failed live isn't promoted again, and a model that fails often slows down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.errors import QuarantineError
from mlops_kit.releases import ledger, quarantine
from mlops_kit.releases.ledger import Commit, Entry
from mlops_kit.releases.quarantine import PromotionLimits as Limits
from tests.failures import fails

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600.0


def acts(*steps: str) -> tuple[Entry, ...]:
    """Make a history, one act an hour, the newest first.

    A step is 'promote 2', 'start 2', 'complete 2', 'abort 2 fail', 'rollback 1 2', which goes
    back to 1 from 2, with '!' at its end by an override; 'revert 3' undoes the act number 3.
    """
    commits = []
    for number, step in enumerate(steps):
        action, version, *more = step.rstrip("!").split()
        said = {
            "action": {"start": "promote"}.get(action, action),
            "version": version,
            "digest": f"sha256:{version}",
            "champion": version if action in ("promote", "complete", "rollback") else "0",
            "verdict": more[0] if action == "abort" else "".join(more[1:]),
            "rolled_back": f"sha256:{more[0]}" if action == "rollback" else "",
            "override": "ana knows why" if step.endswith("!") else "",
        }
        trailers = {ledger.TRAILERS[name]: text for name, text in said.items()}
        reverts = ""
        if action == "revert":
            trailers, reverts = {}, f"{int(version):040}"
        when = START + timedelta(hours=number)
        commits.append(Commit(f"{number:040}", when, "kit", step, trailers, reverts))
    return ledger.history(reversed(commits))


def check(
    entries: tuple[Entry, ...],
    version: str,
    limits: Limits | None = None,
    after: float = HOUR,
) -> None:
    """Check a promotion so many seconds after the newest act."""
    now = entries[0].when.timestamp() + after
    chosen = limits or Limits(freeze_after=99)
    quarantine.check_promotion(entries, version, f"sha256:{version}", chosen, now)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["promote 1", "start 2", "abort 2 fail"], {"2"}),
        (["promote 1", "start 2", "abort 2 inconclusive"], set()),
        (["promote 1", "start 2", "abort 2 pass"], set()),
        (["promote 1", "promote 2", "rollback 1 2"], {"2"}),
        (["promote 1", "start 2", "complete 2", "rollback 1 2"], {"2"}),
        (["promote 1", "promote 2", "promote 3", "rollback 2 3", "rollback 1 2"], {"2", "3"}),
        (["promote 1", "promote 2", "rollback 1 2", "promote 2!"], set()),
        (["promote 1", "promote 2", "rollback 1 2", "promote 3!"], {"2"}),
        (["promote 1", "promote 2", "rollback 1 2", "start 2!", "abort 2 fail"], {"2"}),
        (["promote 1", "promote 2", "rollback 1 2", "rollback 2 1!"], {"1"}),
        (["promote 1", "promote 2", "revert 1"], {"2"}),
        (["promote 1", "start 2", "revert 1"], set()),
        (["promote 1", "promote 2", "rollback 1 2", "revert 2"], {"2"}),
        ([], set()),
    ],
)
def test_what_failed_live_is_in_quarantine(steps: list[str], expected: set[str]) -> None:
    assert {each.removeprefix("sha256:") for each in quarantine.quarantined(acts(*steps))} == (
        expected
    )


def test_a_quarantined_version_is_refused_with_what_put_it_there() -> None:
    entries = acts("promote 1", "start 2", "abort 2 fail")
    check(entries, "3")
    with fails("release.quarantine.version", "abort 2 fail", "2026-01"):
        check(entries, "2")


def test_the_same_version_with_other_bytes_is_another() -> None:
    entries = acts("promote 1", "start 2", "abort 2 fail")
    quarantine.check_promotion(entries, "2", "sha256:rebuilt", Limits(), START.timestamp() + 9e9)


@pytest.mark.parametrize(
    ("rollbacks", "after", "waits"),
    [(1, 99, True), (1, 100, False), (2, 199, True), (2, 200, False), (3, 399, True), (3, 400, 0)],
)
def test_the_cool_down_doubles_with_each_rollback(
    rollbacks: int, after: float, waits: bool
) -> None:
    steps = [f"rollback 1 {number}" for number in range(2, 2 + rollbacks)]
    entries, limits = acts("promote 1", *steps), Limits(100.0, 99, 86_400.0)
    if waits:
        with fails("release.quarantine.cooldown", "1 s"):
            check(entries, "9", limits, after)
    else:
        check(entries, "9", limits, after)


def test_rollbacks_before_the_window_do_not_double_the_cool_down() -> None:
    entries, limits = (
        acts("promote 1", "rollback 1 2", "rollback 1 3"),
        Limits(100.0, 99, HOUR),
    )
    check(entries, "9", limits, 150.0)
    with fails("release.quarantine.cooldown", "100 s"):
        check(entries, "9", limits, 50.0)


def test_too_many_rollbacks_freeze_the_model_until_the_window_has_passed() -> None:
    entries = acts("promote 1", "rollback 1 2", "rollback 1 3", "rollback 1 4")
    limits = Limits(0.0, 3, 10 * HOUR)
    with fails("release.quarantine.frozen", 3, "36000 s"):
        check(entries, "9", limits, 7.9 * HOUR)
    check(entries, "9", limits, 8 * HOUR)
    check(entries[1:], "9", limits, 0)


def test_aborts_neither_cool_down_nor_freeze() -> None:
    steps = [f"abort {number} fail" for number in range(2, 8)]
    check(acts("promote 1", *steps), "9", Limits(1000.0, 1, 86_400.0), 1.0)


def test_a_second_rollback_of_a_digest_needs_a_person() -> None:
    by_person = acts("promote 1", "promote 2", "rollback 1 2", "promote 2!")
    quarantine.check_rollback(by_person, "2", "sha256:2")
    by_verdict = acts("promote 1", "promote 2", "rollback 1 2 fail", "promote 2!")
    quarantine.check_rollback(by_verdict, "1", "sha256:1")
    with fails("release.quarantine.repeated", "'2'"):
        quarantine.check_rollback(by_verdict, "2", "sha256:2")


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.lists(st.sampled_from(["rollback 1 2", "abort 3 fail", "promote 4!", "revert 0"])),
    st.floats(0, 1e300),
    st.integers(1, 10_000),
    st.floats(0, 1e300),
    st.floats(-1e9, 1e9),
)
def test_no_limits_and_no_clock_break_the_check(
    steps: list[str], cooldown: float, freeze_after: int, window: float, after: float
) -> None:
    entries = acts("promote 1", *steps)
    back = any(entry.action == "rollback" for entry in entries)
    try:
        check(entries, "9", Limits(cooldown, freeze_after, window), after)
    except QuarantineError:
        assert back, "only a rollback stops a version that never failed"
