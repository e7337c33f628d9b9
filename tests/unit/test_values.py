"""The values that pass from step to step: their types, their files, their way to disk and back."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from mlops_kit.pipelines import step_outputs, values
from mlops_kit.pipelines.values import Value
from tests.failures import fails


def scrap(name: str, data: Any) -> dict[str, Any]:
    bundle = {"name": name, "data": data, "encoder": "json", "version": 1}
    return {"output_type": "display_data", "data": {values.MIME: bundle}}


def of_file(path: Path) -> dict[str, Any]:
    return {
        "file": str(path),
        "sha256": values.file_digest(path),
        "bytes": path.stat().st_size,
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "made" / "table.csv.gz"
    path.parent.mkdir()
    path.write_bytes(b"some rows")
    return path


ANY = {"file": "/x", "sha256": "sha256:0", "bytes": 1}


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        ("text", {str}),
        (3, {int, float}),
        (3.0, {float}),
        (True, {bool}),
        ([1], {list}),
        ({"a": 1}, {dict}),
        (ANY, {Path}),
        ({**ANY, "more": 1}, {dict}),
        ({"file": "/x"}, {dict}),
        (None, set()),
    ],
)
def test_a_value_has_the_types_that_it_has_and_no_other(data: object, kinds: set[type]) -> None:
    every = (str, int, float, bool, list, dict, Path)
    assert {kind for kind in every if values.of_type(data, kind)} == kinds


def test_the_last_value_of_a_name_counts() -> None:
    cells = [
        {"cell_type": "markdown"},
        {"outputs": [scrap("a", 1), scrap("b", None), {"output_type": "stream", "text": "a = 9"}]},
        {"outputs": [scrap("a", 2)]},
    ]
    assert values.published(cells) == {"a": 2, "b": None}


@pytest.mark.parametrize(
    "data",
    ["", "text", "ü€😀\ud800", 0, -1.5, True, [], [1, "a", None], {"a": {"b": [1.0]}}, None],
)
def test_a_value_comes_back_from_disk_as_it_was(tmp_path: Path, data: object) -> None:
    kept = values.keep("name", data, tmp_path)
    assert (kept.data, kept.file, kept.argument) == (data, None, data)
    step_outputs.save(tmp_path, {"name": kept}, "key")
    found = step_outputs.load(tmp_path)
    assert found == ({"name": kept}, "key")
    assert list(tmp_path.iterdir()) == [tmp_path / "outputs.json"]


def test_the_digest_of_a_value_is_of_its_content() -> None:
    here = Path("nowhere")
    first = values.keep("a", {"x": 1, "y": 2}, here).digest
    assert first == values.keep("b", {"y": 2, "x": 1}, here).digest
    assert first != values.keep("a", {"x": 1, "y": 3}, here).digest
    assert first.startswith("sha256:")
    assert not here.exists()


def test_a_large_value_travels_as_a_file(tmp_path: Path) -> None:
    small, large = "x" * (values.MAX_INLINE_BYTES - 2), "x" * (values.MAX_INLINE_BYTES - 1)
    assert values.keep("v", small, tmp_path).file is None
    kept = values.keep("v", large, tmp_path / "new")
    assert kept.file is not None
    assert json.loads(kept.file.read_bytes()) == large
    assert kept.argument == str(kept.file)
    assert kept.digest == values.file_digest(kept.file)


def test_a_published_file_is_kept_with_its_kind_and_digest(tmp_path: Path, source: Path) -> None:
    kept = values.keep("dataset", of_file(source), tmp_path / "step")
    assert kept.file == (tmp_path / "step" / "dataset.csv.gz").resolve()
    assert kept.file.read_bytes() == b"some rows"
    assert kept.digest == values.file_digest(source)
    assert kept.data is None


def test_a_file_that_is_gone_or_has_changed_is_refused(tmp_path: Path, source: Path) -> None:
    published = of_file(source)
    source.write_bytes(b"other rows")
    with pytest.raises(ValueError, match=source.name):
        values.keep("dataset", published, tmp_path / "step")
    source.unlink()
    with pytest.raises(FileNotFoundError):
        values.keep("dataset", published, tmp_path / "other")


def test_a_folder_can_be_moved_with_its_files(tmp_path: Path, source: Path) -> None:
    kept = values.keep("dataset", of_file(source), tmp_path / "step")
    step_outputs.save(tmp_path / "step", {"dataset": kept}, "key")
    (tmp_path / "step").rename(tmp_path / "moved")
    found = step_outputs.load(tmp_path / "moved")
    assert found is not None
    assert found[0]["dataset"].file == (tmp_path / "moved" / "dataset.csv.gz").resolve()
    (tmp_path / "moved" / "dataset.csv.gz").unlink()
    assert step_outputs.load(tmp_path / "moved") is None


def test_a_file_may_be_kept_where_it_is(source: Path) -> None:
    kept = values.keep_file(source, source)
    assert (kept.file, source.read_bytes()) == (source.resolve(), b"some rows")
    linked = source.with_name("same")
    os.link(source, linked)
    assert values.keep_file(linked, source).file == source.resolve()
    assert linked.exists()


def test_a_new_value_never_changes_what_another_execution_has(tmp_path: Path, source: Path) -> None:
    first = values.keep("dataset", of_file(source), tmp_path / "first")
    assert first.file is not None
    # A cache hit brings it over; it may be a link to the same bytes.
    second = values.keep_file(first.file, tmp_path / "second" / first.file.name)
    assert second.file is not None
    # The second execution's step runs again, with other rows, into the same place.
    other = tmp_path / "other.csv.gz"
    other.write_bytes(b"other rows")
    values.keep("dataset", of_file(other), tmp_path / "second")
    assert second.file.read_bytes() == b"other rows"
    assert first.file.read_bytes() == b"some rows"
    assert values.file_digest(first.file) == first.digest


def test_a_new_large_value_never_changes_a_linked_one(tmp_path: Path) -> None:
    first = values.keep("v", ["x" * values.MAX_INLINE_BYTES], tmp_path / "first")
    assert first.file is not None
    values.keep_file(first.file, tmp_path / "second" / "v.json")
    values.keep("v", ["y" * values.MAX_INLINE_BYTES], tmp_path / "second")
    assert values.file_digest(first.file) == first.digest


def test_a_copy_is_made_where_no_link_can_be(tmp_path: Path, source: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second file system to link across")
    target = shared / f"values-{os.getpid()}" / "dataset.csv.gz"
    try:
        kept = values.keep_file(source, target)
        assert kept.file == target
        assert target.stat().st_nlink == 1
        assert stat.S_ISREG(target.stat().st_mode)
    finally:
        target.unlink()
        target.parent.rmdir()


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"[]",
        b"{}",
        b'{"key": "k", "outputs": []}',
        b'{"key": "k", "outputs": {"a": 1}}',
        b'{"key": "k", "outputs": {"a": {"file": 1, "digest": ""}}}',
        b'{"key": "k", "outputs": {"a": {"file": "a\\u0000b", "digest": ""}}}',
        b'{"key": "k", "outputs": {"a": {"file": "' + b"x" * 5000 + b'", "digest": ""}}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_broken_outputs_are_none(tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "outputs.json").write_bytes(stored)
    assert step_outputs.load(tmp_path) is None


@pytest.mark.parametrize("value", [float("nan"), object(), {1}, Path("/nowhere"), b"x"])
def test_what_cant_leave_a_notebook_is_refused(value: object) -> None:
    with fails("parameter", "v="):
        values.publish(v=value)


def test_a_value_is_plain_or_a_file(tmp_path: Path, source: Path) -> None:
    for value in (Value(data=[1], digest="d"), Value(file=source.resolve(), digest="d")):
        stored = json.loads(json.dumps(value.to_json(tmp_path)))
        assert Value.from_json(stored, tmp_path) == value
