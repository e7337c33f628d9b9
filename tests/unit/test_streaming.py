"""A table that is streamed is judged as one in memory, whatever the batches; then it is sampled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.project.row_progress import RowProgress
from mlops_kit.project.settings import Settings
from mlops_kit.tables import contract, loading, splits
from mlops_kit.tables.findings import Place
from mlops_kit.tables.loading import load
from mlops_kit.tables.reading import read
from mlops_kit.tables.rules import Contract
from mlops_kit.tables.scans import Scan
from mlops_kit.tables.schema import declare_table
from mlops_kit.tables.sketches import Copies, Distinct, Sample
from mlops_kit.tables.summaries import summary
from mlops_kit.tables.table import Table
from tests.failures import fails

SCHEMA = pa.DataFrameSchema(
    {
        "day": pa.Column("datetime64[us]"),
        "signed": pa.Column("datetime64[us]", nullable=True),
        "age": pa.Column(int, pa.Check.in_range(18, 120)),
        "spent": pa.Column(float, pa.Check.ge(0)),
        "visits": pa.Column("Int64", pa.Check.ge(0), nullable=True),
        "city": pa.Column(str, pa.Check.isin(["Rome", "Oslo"]), nullable=True),
        "left": pa.Column(str, pa.Check.isin(["no", "yes"])),
        "price": pa.Column(float),
    }
)
ROLES = {
    "binary": {"label": "left", "positive": "yes", "ignored": ["price"]},
    "regression": {"label": "price", "ignored": ["left"]},
}
ROWS = 400


def table(task: str = "binary", **more: Any) -> Table:
    return declare_table("churn", SCHEMA, time="day", **{**ROLES[task], **more})


def clean(rows: int = ROWS, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    days = np.datetime64("2026-01-01", "us") + np.arange(rows) * np.timedelta64(1, "h")
    return pd.DataFrame(
        {
            "day": days,
            "signed": days - np.timedelta64(40, "D"),
            "age": random.integers(18, 90, rows),
            "spent": random.gamma(2, 50, rows),
            "visits": pd.array(random.integers(0, 9, rows), "Int64"),
            "city": pd.Series(random.choice(["Rome", "Oslo"], rows)),
            "left": pd.Series(random.choice(["no", "yes"], rows)),
            "price": random.normal(100, 20, rows),
        }
    )


@cache
def faulty() -> pd.DataFrame:
    """Rows with each fault that single rows can have, several of them in many places."""
    made, random = clean(), np.random.default_rng(2)
    faults: dict[str, tuple[Any, ...]] = {
        "day": (pd.NaT, pd.Timestamp("2020-01-01")),
        "signed": (pd.Timestamp("2030-01-01"),),
        "age": (7, 150),
        "spent": (np.nan, np.inf, -1.0),
        "visits": (-3, None),
        "city": ("Pisa", None),
        "price": (np.inf, np.nan),
    }
    for name, values in faults.items():
        for value in values:
            made.loc[random.integers(0, ROWS, 5), name] = value
    made.loc[[30, 31, 299], :] = made.loc[[2, 2, 2], :].to_numpy()
    return made.astype(clean().dtypes)


def scanned(frame: pd.DataFrame, declared: Table, borders: list[int]) -> Scan:
    scan, edges = Scan(declared), [0, *sorted(borders), len(frame)]
    for start, end in pairwise(edges):
        scan.add(frame[start:end].reset_index(drop=True), Place(start))
    return scan


BORDERS = st.lists(st.integers(0, ROWS), max_size=60)
# What isn't said of a sample in the same words: its order, and copies without their values.
OTHER_WORDS = {"times", "duplicates"}


def judged(found: Contract) -> dict[str, Any]:
    rules = [rule for rule in found.rules if rule.name != "times"]
    return {
        rule.name: (rule.status, rule.count, rule.name in OTHER_WORDS or rule.reasons)
        for rule in rules
    }


@settings(deadline=None, max_examples=25)
@given(BORDERS, st.sampled_from([*ROLES]), st.sampled_from(["keep", "refuse"]))
def test_batches_are_judged_as_the_whole(borders: list[int], task: str, unseen: Any) -> None:
    declared = table(task, unseen=unseen)
    scan = scanned(faulty(), declared, borders)
    whole = contract.examine(faulty(), declared, missing=0.0)
    assert judged(contract.examine_sampled(faulty(), scan, note="", missing=0.0)) == judged(whole)
    assert not whole.passed
    alone = scanned(faulty(), declared, [])
    assert scan.tally.findings(9_000, 300) == alone.tally.findings(9_000, 300)
    assert any(each.rule == "times" for each in alone.tally.findings(1, 1))


@settings(deadline=None, max_examples=12)
@given(BORDERS, st.sampled_from([*ROLES]))
def test_batches_are_summed_up_as_the_whole(borders: list[int], task: str) -> None:
    declared, frame = table(task), pd.concat([clean(), clean()[:9]], ignore_index=True)
    scan = scanned(frame, declared, borders)
    assert summary(frame, declared, scan=scan) == summary(frame, declared)


@pytest.mark.parametrize("value", [np.nan, 5.0])
def test_a_label_that_is_the_same_in_each_row_is_seen_over_batches(value: float) -> None:
    scan = scanned(clean().assign(price=value), table("regression"), [7, 100])
    assert any(each.rule == "classes" for each in scan.tally.findings(1, 1))
    other = scanned(clean().assign(price=np.arange(ROWS) > 200.0).astype(clean().dtypes),
                    table("regression"), [7, 100])  # fmt: skip
    assert not any(each.rule == "classes" for each in other.tally.findings(1, 1))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same rows, in no order of time, in several forms."""
    folder = tmp_path_factory.mktemp("big")
    frame = clean(3_000, seed=4).sample(frac=1, random_state=4, ignore_index=True)
    frame.loc[2_900, "age"] = 7
    frame.loc[2_950] = frame.loc[10]
    made = {"whole": folder / "a.parquet", "cut": folder / "b.parquet", "csv": folder / "c.csv"}
    frame.to_parquet(made["whole"])
    frame.to_parquet(made["cut"], row_group_size=170)
    frame.to_csv(made["csv"], index=False)
    made["parts"] = folder / "parts"
    made["parts"].mkdir()
    for start in range(0, 3_000, 300):
        frame[start : start + 300].to_parquet(made["parts"] / f"{start // 300}.parquet")
    return made


@pytest.mark.parametrize("form", ["whole", "cut", "csv", "parts"])
def test_a_larger_table_is_judged_whole_and_sampled(files: dict[str, Path], form: str) -> None:
    everything = read(files[form], table())
    found = load(files[form], table(), sample=1_000)
    assert (found.count, len(found.frame)) == (3_000, 1_000)
    assert found.note == "3,000 rows read, 1,000 sampled (seed 7)."
    assert found.frame["day"].is_monotonic_increasing
    # The same rows, whatever the format and its batches are.
    same = load(files["whole"], table(), sample=1_000).frame
    pd.testing.assert_frame_equal(found.frame, same)
    assert len(found.frame.merge(everything.drop_duplicates(), how="inner")) == 1_000
    told = found.examine()
    last = files["parts"] / "9.parquet"
    places = ("row 2900", "row 2950")
    if form == "parts":
        places = (f"row 200 of {str(last)!r}", f"row 250 of {str(last)!r}")
    assert told.reasons == (f"ranges: age is below 18 in 1 row(s): {places[0]} (7).",)
    assert found.scan is not None
    assert found.scan.repeated(0)[0].first == places[1:]
    assert told.note in told._repr_markdown_()
    assert told.rows == found.summary().rows == 3_000
    assert found.note in found.summary()._repr_markdown_()
    split = found.split()
    assert sum(map(len, split.parts.values())) == 1_000
    assert found.note in split.note


@pytest.mark.parametrize("sample", [0, 3_000])
def test_a_table_that_fits_is_loaded_as_it_is(files: dict[str, Path], sample: int) -> None:
    found = load(files["cut"], table(), sample=sample)
    expected = splits.sort_by_time(read(files["cut"], table()), table())
    pd.testing.assert_frame_equal(found.frame, expected)
    assert found.scan is None
    assert found.examine() == contract.examine(expected, table())
    assert found.summary() == summary(expected, table())


@pytest.mark.parametrize(("form", "count"), [("whole", "3,000"), ("csv", "2,000")])
def test_too_many_rows_are_refused_with_the_line_to_write(
    files: dict[str, Path], tmp_path: Path, form: str, count: str
) -> None:
    line = f"sample = {loading.SAMPLE}"
    with fails("data", files[form].name, count, "[models.churn]", line):
        load(files[form], table(), most=2_000)
    (tmp_path / "mlops-kit.toml").write_text(f"[models.churn]\n{line}\n")
    assert Settings.load(tmp_path).models["churn"].sample == loading.SAMPLE
    with fails("parameter", "-1"):
        load(files[form], table(), sample=-1)


def test_a_value_that_does_not_fit_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    path, frame = tmp_path / "a.csv", clean(90).astype({"age": str})
    frame.loc[79, "age"] = "old"
    frame.to_csv(path, index=False)
    with fails("data", "line 81, column 'age'", "'old'"):
        load(path, table(), sample=10)


def in_batches(values: np.ndarray, size: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(values), size):
        yield start, values[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_sample_is_uniform_and_the_same_in_any_batches(size: int) -> None:
    import pyarrow

    counts = np.zeros(60)
    for seed in range(300):
        drawn = []
        for step in (size, 60):
            sample = Sample(20, seed)
            for _, rows in in_batches(np.arange(60), step):
                sample.add([pyarrow.array(rows)])
            drawn.append([each for batch in sample.take() for each in batch[0].to_pylist()])
        assert drawn[0] == drawn[1] == sorted(drawn[0])
        assert len(drawn[0]) == 20
        counts[drawn[0]] += 1
    # Pearson's statistic over cells that a draw fills 20 at once: its mean is 59 × 2/3.
    assert 15 < ((counts - 100) ** 2 / 100).sum() < 75


@pytest.mark.parametrize("size", [997, 50_000])
def test_distinct_values_are_exact_where_few_and_near_where_many(size: int) -> None:
    random = np.random.default_rng(5)
    hashes = random.integers(0, 2**64, 50_000, dtype=np.uint64)
    for some, is_exact in ((hashes[:4_000], True), (hashes, False)):
        found = Distinct()
        for _, batch in in_batches(np.concatenate([some, some[::-1]]), size):
            found.add(batch)
        assert found.is_exact is is_exact
        # Five standard errors.
        assert abs(found.count - len(some)) <= (0 if is_exact else 0.08 * len(some))


@pytest.mark.parametrize("most", [1 << 20, 1_500])
def test_repeated_rows_are_exact_where_few_and_unbiased_where_many(most: int) -> None:
    random = np.random.default_rng(6)
    hashes = random.integers(0, 2**64, 40_000, dtype=np.uint64)
    hashes[20_000:] = np.where(random.random(20_000) < 0.4, hashes[:20_000], hashes[20_000:])
    expected = np.flatnonzero(pd.Series(hashes).duplicated())
    results = []
    for size in (611, 40_000):
        found = Copies(most)
        for start, batch in in_batches(hashes, size):
            found.add(batch, start)
        assert found.looked_at <= most
        assert set(found.found()) <= set(expected)
        results.append((found.halvings, found.found().tolist()))
    assert results[0] == results[1]
    halvings, rows = results[0]
    assert (halvings == 0) is (most > 40_000)
    if not halvings:
        assert rows == expected.tolist()
    # Five standard errors of a share of a fifth, of 1,250 rows.
    assert len(rows) << halvings == pytest.approx(len(expected), rel=0 if not halvings else 0.3)


def test_reading_is_told_every_few_seconds_and_leaves_one_line() -> None:
    now, said = [0.0], []
    progress = RowProgress(said.append, clock=lambda: now[0])
    for second in range(11):
        now[0] = float(second)
        progress(1_000 * second, 20_000)
    assert [line for [line] in said] == [
        f"{rows:,} of 20,000 rows read, 1,000 rows/s" for rows in (2_000, 5_000, 8_000)
    ]
    progress.end("20,000 rows read.")
    assert said[-1] == ["20,000 rows read."]


def test_a_table_that_is_read_at_once_is_not_told() -> None:
    said: list[Any] = []
    progress = RowProgress(said.append, clock=lambda: 1.0)
    progress(1_000, None)
    progress.end("1,000 rows read.")
    assert said == []
