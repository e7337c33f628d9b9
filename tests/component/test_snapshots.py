"""Snapshots of a data set: whole or not there, and named after what they hold."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from mlops_kit.errors import DataError
from mlops_kit.examples.fraud import data
from mlops_kit.tables import datasets, snapshots


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return data.generate(3_000)


def test_transactions_are_generated_by_that_word_and_read_from_a_file_otherwise(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    assert data.load("generated", rows=2_000, seed=3).equals(data.generate(2_000, seed=3))
    frame.iloc[:, ::-1].to_csv(tmp_path / "packed.csv.gz", index=False)
    loaded = data.load(tmp_path / "packed.csv.gz")
    assert loaded.equals(frame)
    assert datasets.fingerprint(loaded) == datasets.fingerprint(frame)


def test_a_snapshot_comes_back_as_it_was_saved(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = datasets.save(frame.iloc[100:], tmp_path / "new" / "snapshots")
    assert path.stem == datasets.fingerprint(frame.iloc[100:])[7:19]
    assert snapshots.read(path).equals(frame.iloc[100:].reset_index(drop=True))
    assert data.load(path).equals(snapshots.read(str(path)))


def test_a_snapshot_saved_by_many_at_once_is_one_whole_file(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: datasets.save(frame, tmp_path), range(16)))
    assert list(tmp_path.iterdir()) == list(paths)
    assert snapshots.read(paths.pop()).equals(frame)


def test_a_changed_or_renamed_snapshot_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = datasets.save(frame, tmp_path)
    renamed = path.rename(path.with_name("0123456789ab.parquet"))
    with pytest.raises(DataError, match="expected '0123456789ab'"):
        snapshots.read(renamed)
    frame.assign(Amount=0.0).to_parquet(path)
    with pytest.raises(DataError, match="changed or renamed"):
        snapshots.read(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=path.name):
        snapshots.read(path)
    with pytest.raises(DataError, match=r"none\.parquet"):
        snapshots.read(tmp_path / "none.parquet")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    # A limit on the size of files fails a write midway, as a full disk does.
    script = (
        "import pathlib, resource, sys\n"
        "from mlops_kit.errors import DataError\n"
        "from mlops_kit.examples.fraud import data\n"
        "from mlops_kit.tables import datasets\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    datasets.save(data.generate(3_000), pathlib.Path(sys.argv[1]))\n"
        "except DataError as error:\n"
        "    sys.exit(f'refused: {error}')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "disk")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "refused: Can't save a snapshot of 3,000 rows" in ended.stderr, ended.stderr
    assert list((tmp_path / "disk").iterdir()) == []


def test_a_folder_that_cannot_be_is_a_data_error(frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Can't save"):
        datasets.save(frame, tmp_path / "file" / "folder")


def test_importing_the_module_imports_no_heavy_library() -> None:
    script = (
        "import sys; from mlops_kit.examples.fraud import data;"
        "print({'pandas', 'pandera', 'pyarrow', 'sklearn'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "set()"
