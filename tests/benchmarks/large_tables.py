"""How fast a table is read, judged and sampled, and in how much memory: rows × 31 numbers.

    .venv/bin/python -m tests.benchmarks.large_tables [--rows 1000000 10000000] [--sample 1000000]

Needs 250 bytes of disk a row. The memory is the peak above what the imports take, in MB, as a
multiple of a frame of all rows, and of a batch of 65,536 rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COLUMNS = 31
_CHUNK = 500_000
_BATCH = 65_536


def write(path: Path, rows: int) -> None:
    """Write rows with a time, 29 numbers and a rare label, a chunk at a time."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(1)
    names = ["time", *(f"x{number}" for number in range(COLUMNS - 2)), "label"]
    types = [pa.float64()] * (COLUMNS - 1) + [pa.int64()]
    schema = pa.schema([*zip(names, types, strict=True)])
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, _CHUNK):
            count = min(_CHUNK, rows - start)
            columns = [np.arange(start, start + count, dtype=float)]
            columns += [random.normal(size=count) for _ in names[1:-1]]
            columns.append((random.random(count) < 0.002).astype(np.int64))
            writer.write_table(pa.table(dict(zip(names, columns, strict=True)), schema))


def table() -> Any:
    """Return the declaration of these rows, with a range for each number."""
    import pandera.pandas as pa

    from mlops_kit.tables.schema import declare_table

    numbers = {f"x{each}": pa.Column(float, pa.Check.in_range(-9, 9)) for each in range(29)}
    label = pa.Column(int, pa.Check.isin([0, 1]))
    schema = pa.DataFrameSchema({"time": pa.Column(float), **numbers, "label": label})
    return declare_table("bench", schema, label="label", positive=1, time="time")


def measure(path: Path, sample: int) -> dict[str, Any]:
    """Load and judge a file in this process; memory is above what the imports left."""
    # What a library takes by itself is no part of what is measured.
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401

    from mlops_kit.tables import loading

    declared = table()
    Path("/proc/self/clear_refs").write_text("5")
    before, start, used = _memory("VmRSS"), time.perf_counter(), time.process_time()
    rows = loading.load(path, declared, sample=sample)
    read, read_peak = time.perf_counter() - start, _memory("VmHWM") - before
    read_used = time.process_time() - used
    contract = rows.examine()
    assert contract.passed, contract.reasons
    rows.summary()
    judged = time.perf_counter() - start
    return {
        "note": rows.note,
        "rows": rows.count,
        "read": read,
        "used": read_used,
        "judged": judged,
        "read_peak": read_peak,
        "peak": _memory("VmHWM") - before,
    }


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def line(found: dict[str, Any], sample: int) -> str:
    """Return what was measured as a row of the table."""
    frame, batch = found["rows"] * COLUMNS * 8, _BATCH * COLUMNS * 8
    read, peak = found["read_peak"], found["peak"]
    cells = [
        f"{found['rows']:,}",
        f"{sample:,}" if sample else "all",
        f"{found['read']:.1f}",
        f"{found['rows'] / found['read']:,.0f}",
        f"{found['used']:.1f}",
        f"{read / 1e6:,.0f} ({read / frame:.2f}x, {read / batch:.0f} batches)",
        f"{found['judged']:.1f}",
        f"{peak / 1e6:,.0f} ({peak / frame:.2f}x)",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write each file, and measure it without and with samples, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--sample", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--whole", type=int, default=1_000_000, help="the most rows without one")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.sample[0])))
        return
    print("| rows | sample | read s | rows/s | CPU s | peak MB, read | judged s | peak MB, all |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for rows in asked.rows:
            path = Path(folder) / f"{rows}.parquet"
            write(path, rows)
            for sample in [0] * (rows <= asked.whole) + [s for s in asked.sample if s < rows]:
                words = ["--measure", str(path), "--sample", str(sample)]
                command = [sys.executable, "-m", "tests.benchmarks.large_tables", *words]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                print(line(json.loads(done.stdout), sample), flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
