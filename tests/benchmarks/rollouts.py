"""Simulate rollouts, judged by the kit and by Flagger's rule, and print how often each is wrong.

    python -m tests.benchmarks.rollouts [--full] [--runs N] [--rates R …] [--processes N]
                                        [--only cells|null|bursts|means]

Every rollout is drawn from a seed of its own, so the numbers are the same on every machine and
with any number of processes. `cells` are the scenarios; `null` are candidates exactly at a bound,
looked at each minute for a day; in `bursts` each version's errors come in bursts of its own;
`means` are the bets on bounded losses, of regressions and costs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from tests.benchmarks import bounded_means
from tests.benchmarks.simulation import (
    CHAMPION,
    NULLS,
    SCENARIOS,
    Outcome,
    Scenario,
    World,
    flagger,
    kit,
)

DAY = 86_400.0
RULES: dict[str, Callable[[World], Outcome]] = {
    "Flagger, labels late": partial(flagger, labels=False, missing=False),
    "Flagger, missing passes": partial(flagger, labels=False, missing=True),
    "Flagger, labels at once": partial(flagger, labels=True, missing=False),
    "mlops-kit": kit,
}
Cell = list[Outcome]


def main() -> None:
    """Simulate, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--full", action="store_true", help="2,000 runs a cell, all rates")
    parser.add_argument("--runs", type=int, help="runs a cell (40)")
    parser.add_argument("--rates", type=float, nargs="+", help="requests a second (100)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", choices=("cells", "null", "bursts", "means"), default="cells")
    options = parser.parse_args()
    runs = options.runs or (2000 if options.full else 40)
    rates = options.rates or ([10.0, 100.0, 1000.0] if options.full else [100.0])
    began = time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        print(*PARTS[options.only](pool, rates, runs), sep="\n", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"\n{runs:,} runs a cell, {minutes:.1f} minutes, {options.processes} processes.")


def cells(pool: ProcessPoolExecutor, rates: Sequence[float], runs: int) -> list[str]:
    """Return the tables of all scenarios by rule and rate."""
    found = {
        (rule, rate, scenario.key): pool.submit(drawn, rule, scenario, rate, runs)
        for rate in rates
        for scenario in SCENARIOS
        for rule in RULES
    }
    of = {key: future.result() for key, future in found.items()}
    good = [scenario.key for scenario in SCENARIOS if scenario.is_good]
    bad = [scenario.key for scenario in SCENARIOS if not scenario.is_good]
    lines = [
        "| rule | req/s | false rollback: good a / identical e / outage f "
        "| false promotion: recall .75 b / errors 8 % c / 3 % slow d / worst of b2, c2, d2 "
        "| minutes to promote a | minutes to roll back b / c / d | exposed requests b / c / d |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for rule in RULES:
        for rate in rates:
            cell = {scenario.key: of[rule, rate, scenario.key] for scenario in SCENARIOS}
            wrong = [percent(share(cell[key], "promoted")) for key in "bcd"]
            wrong.append(percent(max(share(cell[key], "promoted") for key in ("b2", "c2", "d2"))))
            columns = [
                slashed(percent(share(cell[key], "rolled back")) for key in "aef"),
                slashed(wrong),
                middle(cell["a"], "promoted"),
                slashed(middle(cell[key], "rolled back") for key in "bcd"),
                slashed(f"{statistics.median(o.exposed for o in cell[key]):,.0f}" for key in "bcd"),
            ]
            lines.append(f"| {rule} | {rate:g} | {' | '.join(columns)} |")
    lines += ["", *_all_cells(of, rates)]
    ours = {key: cell for key, cell in of.items() if key[0] == "mlops-kit"}
    promoted = max(share(cell, "promoted") for key, cell in ours.items() if key[2] in bad)
    rolled = max(share(cell, "rolled back") for key, cell in ours.items() if key[2] in good)
    times = [middle(ours["mlops-kit", rate, key], "promoted") for rate in rates for key in "ae"]
    exposed = max(outcome.exposed for key in ours if key[2] == "b" for outcome in ours[key])
    return [
        *lines,
        "",
        f"mlops-kit's worst false promotion: {promoted:.2%} of a cell; to reach: 0.5 % at most.",
        f"mlops-kit's worst false rollback: {rolled:.2%} of a cell; to reach: 0.5 % at most.",
        f"Minutes until good models are promoted, a and e by rate: {', '.join(times)}; "
        "to reach: 5 to 9.",
        f"Requests that a candidate of recall .75 answered, at most: {exposed:,}; to reach: 0.",
    ]


def null(pool: ProcessPoolExecutor, rates: Sequence[float], runs: int) -> list[str]:
    """Return how often a candidate exactly at a bound is promoted, or rolled back, in a day."""
    found = [
        (scenario, rate, pool.submit(drawn, "mlops-kit", scenario, rate, runs, horizon=DAY))
        for scenario in NULLS
        for rate in rates
    ]
    lines = ["| at its bound | req/s | promoted | rolled back |", "|---|---:|---:|---:|"]
    for scenario, rate, future in found:
        cell = future.result()
        wrong = percent(share(cell, "promoted")), percent(share(cell, "rolled back"))
        lines.append(f"| {scenario.name} | {rate:g} | {wrong[0]} | {wrong[1]} |")
    return [
        *lines,
        "",
        "The theory allows 5 % of promotions; over the champion's double rate,"
        " a rollback is right.",
    ]


def bursts(pool: ProcessPoolExecutor, rates: Sequence[float], runs: int) -> list[str]:
    """Return what bursts do to a good candidate and to one with 8 % errors, by the discount."""
    found = []
    for scenario in (each for each in SCENARIOS if each.key in "ec"):
        for rate, deviation, discount in product(rates, (0.5, 1.0, 2.0), (False, True)):
            task = partial(drawn, "mlops-kit", scenario, rate, runs, horizon=DAY, bursts=discount)
            future = pool.submit(task, variation=deviation**2)
            found.append((scenario, rate, deviation, discount, future))
    lines = [
        "| candidate | req/s | deviation / mean | discount | promoted | rolled back | minutes |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for scenario, rate, deviation, discount, future in found:
        cell = future.result()
        right = "promoted" if scenario.is_good else "rolled back"
        lines.append(
            f"| {scenario.name} | {rate:g} | {deviation} | {'yes' if discount else 'no'} "
            f"| {percent(share(cell, 'promoted'))} | {percent(share(cell, 'rolled back'))} "
            f"| {middle(cell, right)} |"
        )
    return lines


PARTS = {"cells": cells, "null": null, "bursts": bursts, "means": bounded_means.table}


def drawn(
    rule: str,
    scenario: Scenario,
    rate: float,
    runs: int,
    *,
    variation: float = 0.0,
    **more: float | bool,
) -> Cell:
    """Return the outcomes of a cell; `more` goes to the rule."""
    scenario = replace(scenario, truth=replace(scenario.truth, variation=variation))
    champion = replace(CHAMPION, variation=variation)
    names = [*RULES, *(each.key for each in (*SCENARIOS, *NULLS))]
    seeds = [names.index(rule), names.index(scenario.key), int(rate * 1000), int(variation * 100)]
    found = []
    for run in range(runs):
        world = World(scenario, rate, np.random.default_rng([*seeds, run]), champion)
        found.append(RULES[rule](world, **more))
    return found


def share(cell: Cell, end: str) -> float:
    """Return the share of the rollouts that ended so."""
    return sum(outcome.end == end for outcome in cell) / len(cell)


def middle(cell: Cell, end: str) -> str:
    """Return the median of the minutes of those that ended so."""
    minutes = [outcome.minutes for outcome in cell if outcome.end == end]
    return f"{statistics.median(minutes):g}" if minutes else "–"


def percent(part: float) -> str:
    """Return a share with one digit."""
    return f"{part:.1%}"


def slashed(values: Iterable[str]) -> str:
    """Return values side by side."""
    return " / ".join(values)


def _all_cells(of: dict[tuple[str, float, str], Cell], rates: Sequence[float]) -> list[str]:
    lines = [
        "All cells: promoted / rolled back / undecided; median minutes; median exposed requests.",
        "",
        "| scenario | req/s | " + " | ".join(RULES) + " |",
        "|---|---:|" + "---:|" * len(RULES),
    ]
    for scenario in SCENARIOS:
        for rate in rates:
            columns = []
            for rule in RULES:
                cell = of[rule, rate, scenario.key]
                ends = slashed(
                    percent(share(cell, end)) for end in ("promoted", "rolled back", "undecided")
                )
                minutes = statistics.median(outcome.minutes for outcome in cell)
                exposed = statistics.median(outcome.exposed for outcome in cell)
                columns.append(f"{ends}; {minutes:g} m; {exposed:,.0f}")
            lines.append(f"| {scenario.key} {scenario.name} | {rate:g} | {' | '.join(columns)} |")
    return lines


if __name__ == "__main__":
    main()
