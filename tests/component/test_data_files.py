"""Data files: loaded whole or refused with the reason, and snapshots that keep their name."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from mlops_kit.errors import DataError
from mlops_kit.examples.fraud import data


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return data.generate(3_000)


@pytest.fixture(scope="module")
def text(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_every_format_gives_the_same_frame(
    frame: pd.DataFrame, text: bytes, tmp_path: Path
) -> None:
    files = [
        written(tmp_path / "plain.csv", text),
        written(tmp_path / "marked.csv", b"\xef\xbb\xbf" + text),
        written(tmp_path / "windows.csv", text.replace(b"\n", b"\r\n")),
        written(tmp_path / "packed.csv.gz", gzip.compress(text)),
        tmp_path / "table.parquet",
    ]
    frame[::-1].iloc[::-1, ::-1].to_parquet(files[-1])
    for path in files:
        loaded = data.load(path)
        assert loaded.equals(frame), path
        assert data.fingerprint(loaded) == data.fingerprint(frame)
    loaded.iloc[0, 0] = 5.0
    assert loaded.iloc[0, 0] == 5.0


def test_generated_data_are_loaded_by_that_word() -> None:
    assert data.load("generated", rows=2_000, seed=3).equals(data.generate(2_000, seed=3))


def test_whole_numbers_and_quotes_are_read_as_the_contract_wants(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    whole = frame.assign(Time=frame["Time"].astype(int), Class=frame["Class"].astype(str))
    whole.to_csv(tmp_path / "quoted.csv", index=False, quoting=2)
    assert data.load(tmp_path / "quoted.csv").equals(frame)


def test_a_file_cut_anywhere_is_refused(frame: pd.DataFrame, text: bytes, tmp_path: Path) -> None:
    packed = gzip.compress(text)
    frame.to_parquet(tmp_path / "whole.parquet")
    table = (tmp_path / "whole.parquet").read_bytes()
    cuts = [
        *[("cut.csv.gz", packed[:-end]) for end in (1, 4, 8, len(packed) // 2, len(packed) - 15)],
        *[("cut.parquet", table[:-end]) for end in (1, 8, len(table) // 2, len(table) - 4)],
        *[("cut.csv", text[:-end]) for end in (2, 3, 9, 200)],
    ]
    for name, content in cuts:
        with pytest.raises(DataError, match=r"cut\.") as caught:
            data.load(written(tmp_path / name, content))
        assert "cut" in str(caught.value).replace(name, ""), (name, len(content))


def test_a_damaged_archive_is_refused(text: bytes, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(text))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(DataError, match=r"broken\.csv\.gz"):
        data.load(written(tmp_path / "broken.csv.gz", bytes(packed)))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("empty.csv.gz", gzip.compress(b"", mtime=0), "'Time' is missing"),
        ("header.csv", ",".join(data.COLUMNS).encode() + b"\n", "no rows"),
        ("semicolons.csv", ";".join(data.COLUMNS).encode() + b"\n1;2\n", "';'; expected commas"),
        ("wide.csv", "Time\tV1".encode("utf-16"), "not UTF-8"),
        ("latin.csv", "Zeit,Größe\n".encode("latin-1"), "not UTF-8"),
        ("prose.csv", b"hello\n", "'hello' is not a column"),
        ("notes.txt", b"hello\n", "expected 'generated', or a file"),
        ("text.csv.gz", b"hello\n", "not what its name says"),
        ("text.parquet", b"hello\n", "not what its name says"),
        ("endless.csv", ",".join(data.COLUMNS).encode() + b"\n" + b"1" * 3_000_000, "0 rows"),
    ],
)
def test_what_is_no_data_set_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        data.load(written(tmp_path / name, content))
    assert reason in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file"):
        data.load(tmp_path / "none.csv")
    (tmp_path / "folder.parquet").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("folder.parquet", "pipe.csv"):
        with pytest.raises(DataError, match="not a file"):
            data.load(tmp_path / name)


def test_missing_unknown_and_repeated_columns_are_named(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.rename(columns={"V7": "v7"}).to_csv(tmp_path / "named.csv", index=False)
    with pytest.raises(DataError) as caught:
        data.load(tmp_path / "named.csv")
    assert caught.value.reasons == ("'V7' is missing.", "'v7' is not a column of the contract.")
    pd.concat([frame, frame["V7"]], axis=1).to_csv(tmp_path / "twice.csv", index=False)
    with pytest.raises(DataError, match="'V7' stands there twice"):
        data.load(tmp_path / "twice.csv")


def test_values_that_are_no_numbers_are_refused(
    frame: pd.DataFrame, text: bytes, tmp_path: Path
) -> None:
    lines = text.split(b"\n")
    lines[9] = b"\xe9" + lines[9]
    with pytest.raises(DataError, match="invalid value"):
        data.load(written(tmp_path / "word.csv", b"\n".join(lines)))
    frame.assign(V3="1.5").to_parquet(tmp_path / "word.parquet")
    with pytest.raises(DataError, match="'V3' holds"):
        data.load(tmp_path / "word.parquet")
    frame.assign(Class=frame["Class"] + 0.5).to_parquet(tmp_path / "half.parquet")
    with pytest.raises(DataError, match="truncated"):
        data.load(tmp_path / "half.parquet")


def test_an_empty_value_is_left_to_the_contract_and_an_empty_label_is_refused(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    made = frame.copy()
    made.loc[5, "V3"] = None
    made.to_csv(tmp_path / "value.csv", index=False)
    assert data.load(tmp_path / "value.csv").equals(made)
    made.assign(Class=made["Class"].astype("Int64").where(made.index != 6)).to_parquet(
        tmp_path / "label.parquet"
    )
    with pytest.raises(DataError, match=r"label of 1 row\(s\), first of row 6"):
        data.load(tmp_path / "label.parquet")


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_file_with_too_many_rows_is_refused(
    frame: pd.DataFrame, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"large.{ending}"
    frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
    with pytest.raises(DataError, match="more than 2,999 rows"):
        data.load(path, most=2_999)
    assert len(data.load(path, most=3_000)) == 3_000


def test_a_snapshot_comes_back_as_it_was_saved(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = data.save(frame.iloc[100:], tmp_path / "new" / "snapshots")
    assert path.stem == data.fingerprint(frame.iloc[100:])[7:19]
    assert data.read(path).equals(frame.iloc[100:].reset_index(drop=True))
    assert data.load(path).equals(data.read(str(path)))


def test_a_snapshot_saved_by_many_at_once_is_one_whole_file(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: data.save(frame, tmp_path), range(16)))
    assert list(tmp_path.iterdir()) == list(paths)
    assert data.read(paths.pop()).equals(frame)


def test_a_changed_or_renamed_snapshot_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = data.save(frame, tmp_path)
    renamed = path.rename(path.with_name("0123456789ab.parquet"))
    with pytest.raises(DataError, match="expected '0123456789ab'"):
        data.read(renamed)
    frame.assign(Amount=0.0).to_parquet(path)
    with pytest.raises(DataError, match="changed or renamed"):
        data.read(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=path.name):
        data.read(path)
    with pytest.raises(DataError, match=r"none\.parquet"):
        data.read(tmp_path / "none.parquet")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    # A limit on the size of files fails a write midway, as a full disk does.
    script = (
        "import pathlib, resource, sys\n"
        "from mlops_kit.errors import DataError\n"
        "from mlops_kit.examples.fraud import data\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    data.save(data.generate(3_000), pathlib.Path(sys.argv[1]))\n"
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
    written(tmp_path / "file", b"")
    with pytest.raises(DataError, match="Can't save"):
        data.save(frame, tmp_path / "file" / "folder")


def test_importing_the_module_imports_no_heavy_library() -> None:
    script = (
        "import sys; from mlops_kit.examples.fraud import data;"
        "print({'numpy', 'pandas', 'pandera', 'pyarrow', 'sklearn'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "set()"
