"""Measure the fraud-training pipeline by the kit and by its peers, in one run, and print a table.

    python -m tests.benchmarks.pipelines [--quick] [--rounds N] [--only KEY …] [--json FILE]

Every contender gets the same five notebooks, data, environment and a fresh copy of one prepared
project. Rounds are interleaved, each in another order, so that what the machine does otherwise
meets all of them.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import table
from tests.benchmarks.contenders import Contender, contenders
from tests.benchmarks.scene import ROOT, BenchmarkError, Scene, ploomber
from tests.benchmarks.table import Machine, Run

QUICK = 2


def main() -> int:
    """Measure, and print; 1 if a contender did not do its work."""
    options = _options()
    place = options.place.resolve()
    place.mkdir(parents=True, exist_ok=True)
    python = ""
    if options.no_network:
        print("ploomber-engine is left out: --no-network.")
    else:
        try:
            python = ploomber(place)
        except BenchmarkError as error:
            print(f"ploomber-engine is left out: {error}")
    known = contenders(python)
    chosen = [each for each in known if not options.only or each.key in options.only]
    if not chosen:
        print(f"--only knows {[each.key for each in known]}.")
        return 2
    sys.dont_write_bytecode = False
    for folder in (sysconfig.get_path("purelib"), str(ROOT / "mlops_kit")):
        compileall.compile_dir(folder, quiet=2, workers=0)
    scene = Scene(place)
    try:
        scene.prepare()
        runs = measured(scene, chosen, QUICK if options.quick else options.rounds)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        with contextlib.suppress(BenchmarkError):
            if scene.zygote:
                scene.inside("cool-down")
        scene.remove()
    print(f"\n{table.facts()}\n{table.markdown(chosen, runs)}")
    if options.json:
        found = [vars(run) for run in runs]
        options.json.write_text(json.dumps({"facts": table.facts(), "runs": found}, indent=1))
    failed = sorted({each.key for each in chosen} - {run.key for run in runs})
    if failed:
        print(f"Not measured, because they failed: {failed}.", file=sys.stderr)
    return 1 if failed else 0


def measured(scene: Scene, chosen: Sequence[Contender], rounds: int) -> list[Run]:
    """Return what each round measured of each contender, the order turned by one each round."""
    runs: list[Run] = []
    for number in range(max(rounds, *(each.least for each in chosen))):
        turn = number % len(chosen)
        for each in [*chosen[turn:], *chosen[:turn]]:
            if number < max(rounds, each.least):
                machine = Machine(scene.zygote)
                try:
                    seconds = each.measure(scene)
                except BenchmarkError as error:
                    # One that fails is no reason to lose what the others took.
                    print(f"round {number + 1}  {each.key} FAILED: {error}", file=sys.stderr)
                    continue
                runs.append(Run(each.key, seconds, machine.foreign(scene.zygote)))
                _show(runs[-1], number)
    return runs


def _show(run: Run, number: int) -> None:
    mark = f"  others used {run.foreign:.0%}" if run.foreign > table.MOST_FOREIGN else ""
    print(f"round {number + 1}  {run.key:<16} {run.seconds:7.2f} s{mark}", flush=True)


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="tests.benchmarks.pipelines")
    options.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    options.add_argument("--quick", action="store_true", help=f"{QUICK} rounds, for a look")
    options.add_argument("--only", nargs="+", default=[], metavar="KEY", help="these alone")
    options.add_argument("--no-network", action="store_true", help="without ploomber-engine")
    options.add_argument("--json", type=Path, help="also write every measurement here")
    options.add_argument(
        "--place",
        type=Path,
        default=ROOT / ".mlops-kit" / "benchmarks",
        help="where projects and ploomber-engine's environment are kept",
    )
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
