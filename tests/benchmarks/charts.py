"""Measure how charts are drawn: by the kit, by matplotlib, and by Altair with vl-convert.

    python -m tests.benchmarks.charts [--rounds N]

Each draws the same two curves of 51 points, 720 by 346 pixels at 144 dpi, in a process of its own,
in interleaved rounds; the table shows medians. Seconds are those of the processor: import, the
first SVG and PNG, and one of each after that. Sizes are those of the files, and of what is
installed for it. Altair comes with the extra `bench`; what isn't installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

X = [i / 50 for i in range(51)]
CURVES = {"champion v12": [1 - x**4 for x in X], "candidate v13": [1 - x**5 for x in X]}
AGAIN = 10
Draw = Callable[[], bytes]


def kit() -> tuple[Draw, Draw]:
    """Draw by the kit."""
    from mlops_kit.reporting.charts.charts import Lines, Series

    lines = tuple(Series(name, X, y, dashed="champion" in name) for name, y in CURVES.items())
    chart = Lines("Precision and recall", lines, "recall", "precision")
    return lambda: chart.svg().encode(), chart.png


def matplotlib() -> tuple[Draw, Draw]:
    """Draw by matplotlib, without pyplot."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg  # noqa: F401
    from matplotlib.figure import Figure

    def draw(kind: str) -> bytes:
        figure = Figure(figsize=(7.5, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.set(title="Precision and recall", xlabel="recall", ylabel="precision")
        for name, y in CURVES.items():
            axes.plot(X, y, "--" if "champion" in name else "-", label=name)
        axes.legend()
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=144)
        return file.getvalue()

    return lambda: draw("svg"), lambda: draw("png")


def altair() -> tuple[Draw, Draw]:
    """Draw by Altair, and by Vega in vl-convert's JavaScript engine."""
    import altair as alt
    import vl_convert

    rows = [
        {"recall": x, "precision": y, "model": name}
        for name, column in CURVES.items()
        for x, y in zip(X, column, strict=True)
    ]

    def spec() -> str:
        marks = alt.Chart(alt.Data(values=rows), title="Precision and recall").mark_line()
        chart = marks.encode(x="recall:Q", y="precision:Q", color="model:N", strokeDash="model:N")
        return chart.properties(width=580, height=280).to_json()

    return (
        lambda: vl_convert.vegalite_to_svg(spec()).encode(),
        lambda: vl_convert.vegalite_to_png(spec(), scale=1.5),
    )


# How each draws, and the packages that it needs beside what the kit needs for its other work.
PEERS = {
    "kit": (kit, ("resvg-py",)),
    "matplotlib": (matplotlib, ("matplotlib",)),
    "altair": (altair, ("altair", "vl-convert-python", "narwhals")),
}


def measure(peer: str) -> dict[str, float]:
    """Return what one process took: seconds of the processor, and kB."""
    seconds: dict[str, float] = {}

    def timed(name: str, draw: Callable[[], object], times: int = 1) -> object:
        start = time.process_time()
        for _ in range(times):
            made = draw()
        seconds[name] = (time.process_time() - start) / times
        return made

    svg, png = timed("import", PEERS[peer][0])  # type: ignore[misc]
    timed("first SVG", svg)
    timed("first PNG", png)
    drawn = timed("an SVG", svg, AGAIN), timed("a PNG", png, AGAIN)
    sizes = zip(("SVG, kB", "PNG, kB"), drawn, strict=True)
    return seconds | {name: len(made) / 1000 for name, made in sizes}  # type: ignore[arg-type]


def installed(packages: tuple[str, ...]) -> float:
    """Return the megabytes of these packages' files."""
    files = [file for name in packages for file in importlib.metadata.files(name) or ()]
    places = {file.locate() for file in files}
    return sum(place.stat().st_size for place in places if place.exists()) / 1e6


def main() -> int:
    """Measure, and print a table of medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", choices=PEERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return 0
    sizes = {}
    for peer, (_, packages) in PEERS.items():
        try:
            sizes[peer] = installed(packages)
        except importlib.metadata.PackageNotFoundError:
            print(f"{peer} is left out: install the extra bench")
    found: dict[str, list[dict[str, float]]] = {peer: [] for peer in sizes}
    for _ in range(options.rounds):
        for peer, rounds in found.items():
            command = [sys.executable, "-m", "tests.benchmarks.charts", "--one", peer]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rounds.append(json.loads(done.stdout))
    names = list(next(iter(found.values()))[0])
    print("| |", " | ".join(names), "| installed, MB |")
    print("|---|" + "---:|" * (len(names) + 1))
    for peer, rounds in found.items():
        cells = [statistics.median(one[name] for one in rounds) for name in names]
        told = " | ".join(f"{cell:.3g}" for cell in cells)
        print(f"| {peer} | {told} | {sizes[peer]:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
