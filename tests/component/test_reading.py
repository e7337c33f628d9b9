"""Sources of rows: each dialect and format gives the same frame, or a fault that names the place.

We test these aspects: dialects of CSV, formats and archives, folders, URLs, SQL; kinds of values;
what is refused, with line, column and value; memory.
"""

from __future__ import annotations

import gzip
import http.server
import os
import sqlite3
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from mlops_kit.tables.reading import read
from mlops_kit.tables.schema import declare_table
from mlops_kit.tables.table import Table
from tests.failures import fails

COLUMNS = {
    "id": pa.Column(str),
    "city": pa.Column(str, pa.Check.isin(["Rome", "Málaga"]), nullable=True),
    "age": pa.Column(int),
    "visits": pa.Column("Int64", nullable=True),
    "spent": pa.Column(float, nullable=True),
    "member": pa.Column(bool),
    "signed": pa.Column("datetime64[us]", nullable=True),
    "left": pa.Column(str, pa.Check.isin(["Yes", "No"])),
}
TABLE = declare_table(
    "churn", pa.DataFrameSchema(COLUMNS), label="left", positive="Yes", entity="id", time="signed"
)
TEXT = (
    "id,city,age,visits,spent,member,signed,left\n"
    'a1,Rome,20,1,1.5,yes,2025-12-31,Yes\n"b\n2",Málaga,30,,NA,no,,No\n'
    "c3, ,40,3.0,-2e3,TRUE,2026-02-01, No\n"
)


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["a1", "b\n2", "c3"],
            "city": ["Rome", "Málaga", None],
            "age": [20, 30, 40],
            "visits": pd.array([1, None, 3], "Int64"),
            "spent": [1.5, np.nan, -2000.0],
            "member": [True, False, True],
            "signed": pd.to_datetime(["2025-12-31", None, "2026-02-01"]).astype("datetime64[us]"),
            "left": ["Yes", "No", "No"],
        }
    )


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", "."), text)
    return path


def table_of(kind: Any, **more: Any) -> Table:
    columns = {"x": pa.Column(kind, **more), "y": pa.Column(int, pa.Check.isin([0, 1]))}
    return declare_table("m", pa.DataFrameSchema(columns), label="y", positive=1)


def column(folder: Path, kind: Any, values: list[str], **more: Any) -> list[Any]:
    """Read a column of these texts."""
    lines = ["x;y", *(f"{value};{place % 2}" for place, value in enumerate(values))]
    path = written(folder / "column.csv", "\n".join(lines).encode())
    return list(read(path, table_of(kind, **more))["x"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_every_dialect_gives_the_same_frame(
    expected: pd.DataFrame, tmp_path: Path, encoding: str, separator: str, ends: str
) -> None:
    text = TEXT.replace(",", separator).replace('"b\n2"', '"b  2"').replace("\n", ends)
    path = written(tmp_path / "a.csv", text.replace("  ", "\n").encode(encoding))
    pd.testing.assert_frame_equal(read(path, TABLE), expected)


def test_every_format_gives_the_same_frame(expected: pd.DataFrame, tmp_path: Path) -> None:
    content = TEXT.encode()
    folder = tmp_path / "parts"
    (folder / "city=Rome").mkdir(parents=True)
    (folder / "day=2").mkdir()
    expected[:1].drop(columns="city").to_parquet(folder / "city=Rome" / "part-0.parquet")
    expected[1:].to_parquet(folder / "day=2" / "part-1.parquet", index=True)
    written(folder / "_SUCCESS", b"")
    sources = [
        written(tmp_path / "plain.txt", content),
        written(tmp_path / "packed.csv.gz", gzip.compress(content)),
        zipped(tmp_path / "packed.zip", data_csv=TEXT),
        tmp_path / "table.parquet",
        folder,
        f"file://{tmp_path / 'plain.txt'}",
    ]
    expected.iloc[:, ::-1].to_parquet(tmp_path / "table.parquet")
    for source in sources:
        pd.testing.assert_frame_equal(read(source, TABLE), expected, obj=str(source))


def test_an_index_that_pandas_wrote_is_no_column(expected: pd.DataFrame, tmp_path: Path) -> None:
    indexed = expected.set_index(pd.Index([7, 8, 9]))
    indexed.to_csv(tmp_path / "a.csv")
    indexed.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        pd.testing.assert_frame_equal(read(tmp_path / name, TABLE), expected)


def test_a_table_and_a_query_of_a_database_are_read(expected: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        expected.to_sql("customers", connection, index=False)
    for query in ("customers", "select * from customers where age > 0 order by id"):
        found = read(f"sqlite:///{path}#{query}", TABLE)
        pd.testing.assert_frame_equal(found, expected)
    with fails("data", "customer", "no such table"):
        read(f"sqlite:///{path}#customer", TABLE)


def test_a_databases_password_is_never_said() -> None:
    with pytest.raises(Exception, match="nowhere") as caught:
        read("postgresql+pg8000://ann:hunter2@nowhere/shop#customers", TABLE)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    def handler(*args: Any) -> http.server.SimpleHTTPRequestHandler:
        return Quiet(*args, directory=str(tmp_path))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_url_is_read(expected: pd.DataFrame, tmp_path: Path, website: str) -> None:
    written(tmp_path / "a.csv.gz", gzip.compress(TEXT.encode()))
    pd.testing.assert_frame_equal(read(f"{website}/a.csv.gz?version=3", TABLE), expected)
    with fails("data", f"{website}/b.csv"):
        read(f"{website}/b.csv?token=s3cret", TABLE)


class Bucket(http.server.BaseHTTPRequestHandler):
    """The two requests of S3 that fetch an object: how large is it, and its bytes."""

    objects: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        content = self.objects.get(self.path.partition("?")[0])
        if content is None:
            # A listing of what is below a prefix, or that there is no object.
            is_listing = "list-type" in self.path
            content = LISTING if is_listing else b""
            self.send_response(200 if is_listing else 404)
        else:
            span = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
            content = content[int(span[0] or 0) : int(span[2]) + 1 if span[2] else None]
            self.send_response(206 if span[1] else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


LISTING = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Name>shop</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
)


def test_an_object_of_a_bucket_is_read(
    expected: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "anyone")
    Bucket.objects["/shop/a.csv.gz"] = gzip.compress(TEXT.encode())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"scheme=http&region=us-east-1&endpoint_override=127.0.0.1:{server.server_port}"
        found = read(f"s3://shop/a.csv.gz?{place}", TABLE)
        with fails("data", "s3://shop/b.csv"):
            read(f"s3://shop/b.csv?{place}", TABLE)
        server.shutdown()
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    "values",
    [
        ["2026-03-04", "2026-12-31"],
        ["2026-03-04 00:00:00", "2026-12-31 00:00:00"],
        ["2026-03-04T00:00:00Z", "2026-12-31T01:00:00+01:00"],
        ["04.03.2026", "31.12.2026"],
        ["04/03/2026", "31/12/2026"],
        ["03/04/2026", "12/31/2026"],
        ["03/04/2026 00:00", "12/31/2026 00:00"],
        ["4 Mar 2026", "31 Dec 2026"],
        ["20260304", "20261231"],
    ],
)
def test_dates_are_read_as_people_write_them(tmp_path: Path, values: list[str]) -> None:
    found = column(tmp_path, "datetime64[us]", values)
    assert found == [pd.Timestamp("2026-03-04"), pd.Timestamp("2026-12-31")]


def test_a_date_that_may_be_two_is_refused_until_somebody_says_which(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", b"x,y\n03/04/2026,0\n05/06/2026,1\n")
    table = table_of("datetime64[us]")
    with fails("data", "03/04/2026", "line 2", "day_first"):
        read(path, table)
    assert read(path, table, day_first=True)["x"].dt.month.tolist() == [4, 6]
    declared = table_of("datetime64[us]", metadata={"day_first": False})
    assert read(path, declared)["x"].dt.month.tolist() == [3, 5]
    with fails("data", "13/04/2026", "line 2", "the month is first"):
        read(written(path, b"x,y\n13/04/2026,0\n05/06/2026,1\n"), declared)


def test_one_batch_of_rows_never_decides_which_comes_first(tmp_path: Path) -> None:
    # Each batch of a database shows another order.
    texts = ["13/01/2026"] * 3 + ["01/13/2026"] * 3
    pd.DataFrame({"x": texts, "y": [0, 1] * 3}).to_parquet(tmp_path / "a.parquet")
    with fails("data", "13/01/2026", "row 0", "day_first"):
        read(tmp_path / "a.parquet", table_of("datetime64[us]"))


@pytest.mark.parametrize(
    ("kind", "values", "found"),
    [
        (bool, ["yes", "No", "TRUE", "f", "1", "0.0", "on"], [True, False] * 3 + [True]),
        (int, ["1", " 2 ", "3.0", "-4", "9007199254740993"], [1, 2, 3, -4, 2**53 + 1]),
        (float, ["1,5", "-0,25", "3", "1e3"], [1.5, -0.25, 3.0, 1000.0]),
        (float, ["1.5", "+2.5", ".5", "inf"], [1.5, 2.5, 0.5, np.inf]),
        (str, ["NA", "None", "007"], ["NA", "None", "007"]),
    ],
)
def test_values_are_read_as_their_kind(
    tmp_path: Path, kind: Any, values: list[str], found: list[Any]
) -> None:
    assert column(tmp_path, kind, values) == found


@pytest.mark.parametrize("word", ["", " ", "NA", "n/a", "NULL", "NaN", "None", "#N/A"])
def test_a_word_for_nothing_is_a_missing_number(tmp_path: Path, word: str) -> None:
    assert np.isnan(column(tmp_path, float, ["1.5", word], nullable=True)[1])


@pytest.mark.parametrize(
    ("kind", "value", "facts"),
    [
        (int, "1,234", ["thousands"]),
        (float, "1.234.567", ["thousands"]),
        (float, "1,234,567.5", ["thousands"]),
        (int, "1.5", ["a whole number"]),
        (int, "12 apples", ["a whole number"]),
        (int, "", ["nothing"]),
        (int, "99999999999999999999", ["a whole number"]),
        (float, "0x10", ["a number"]),
        (float, "$5", ["a number"]),
        (bool, "2", ["true or false"]),
        ("datetime64[us]", "yesterday", ["a date"]),
        ("datetime64[us]", "2026-02-30", ["a date"]),
    ],
)
def test_another_value_names_line_column_value_and_what_was_expected(
    tmp_path: Path, kind: Any, value: str, facts: list[str]
) -> None:
    good = {int: "7", float: "7", bool: "yes"}.get(kind, "2026-01-01")
    with fails("data", "column.csv", "line 3, column 'x'", value, *facts):
        column(tmp_path, kind, [good, value])


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    text = TEXT.replace(",40,", ",forty,").replace("2026-02-01, No", "2026-02-01,perhaps")
    with fails("data") as caught:
        read(written(tmp_path / "a.csv", text.encode()), TABLE)
    assert caught.value.reasons == (  # type: ignore[attr-defined]
        "line 5, column 'age': 'forty'; expected a whole number.",
        "line 5, column 'left': 'perhaps'; expected one of 'Yes', 'No'.",
    )


def test_many_faults_are_told_at_once_and_bounded(tmp_path: Path) -> None:
    lines = ["x,y", *["word,5"] * 5_000]
    with fails("data", "line 2, column 'x'", "column 'y'") as caught:
        read(written(tmp_path / "a.csv", "\n".join(lines).encode()), table_of(float))
    assert len(caught.value.reasons) == 20  # type: ignore[attr-defined]


@pytest.mark.parametrize("label", ["0.0", "1", " 1.0 "])
def test_a_label_may_be_written_as_a_decimal(tmp_path: Path, label: str) -> None:
    path = written(tmp_path / "a.csv", f"x,y\n1,{label}\n".encode())
    assert read(path, table_of(float))["y"].tolist() == [int(float(label))]


def test_a_missing_label_is_refused_with_its_line(tmp_path: Path) -> None:
    with fails("data", "line 3, column 'y'", "nothing"):
        read(written(tmp_path / "a.csv", b"x,y\n1,0\n2,\n3,1\n"), table_of(float))


def test_a_typed_file_names_the_row(expected: pd.DataFrame, tmp_path: Path) -> None:
    made = expected.assign(age=[20.0, 1.5, 40.0], left=["Yes", None, "No"])
    made.to_parquet(tmp_path / "a.parquet")
    with fails("data", "row 1 (counted from 0), column 'age': 1.5", "row 1", "'left': nothing"):
        read(tmp_path / "a.parquet", TABLE)
    expected.assign(spent=[[1], [2], [3]]).to_parquet(tmp_path / "b.parquet")
    with fails("data", "row 0", "'spent'", "a number"):
        read(tmp_path / "b.parquet", TABLE)


@pytest.mark.parametrize(
    ("name", "content", "fact"),
    [
        ("empty.csv", b"", "empty"),
        ("empty.csv.gz", gzip.compress(b"", mtime=0), "empty"),
        ("header.csv", TEXT.splitlines()[0].encode(), "no rows"),
        ("prose.csv", b"hello\n", "'hello'"),
        ("text.csv.gz", b"hello\n", "gzip"),
        ("text.parquet", b"hello\n", "Parquet"),
        ("book.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel"),
        ("torn.zip", b"PK\x03\x04torn", "cut"),
        ("a.json", b'{"a": 1}', "JSON"),
        ("a.html", b"<html>", "web page"),
        ("a.feather", b"ARROW1\0\0", "Feather"),
        ("a.pkl", b"\x80\x04\x95\0\0", "pickle"),
        ("endless.csv", TEXT.splitlines()[0].encode() + b"\n" + b"1" * 6_000_000, "0 rows"),
        ("twice.csv", b"id,id,city,age,visits,spent,member,signed,left\n", "'id' stands"),
        ("case.csv", TEXT.replace("age", "Age", 1).encode(), "mean 'age'"),
    ],
)
def test_what_holds_no_table_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, fact: str
) -> None:
    with fails("data", name, fact):
        read(written(tmp_path / name, content), TABLE)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with fails("data", "none.csv", tmp_path):
        read(tmp_path / "none.csv", TABLE)
    os.mkfifo(tmp_path / "pipe.csv")
    with fails("data", "pipe.csv"):
        read(tmp_path / "pipe.csv", TABLE)
    (tmp_path / "folder").mkdir()
    with fails("data", "folder"):
        read(tmp_path / "folder", TABLE)
    zipped(tmp_path / "two.zip", a_csv="", b_csv="")
    with fails("data", "a.csv", "b.csv"):
        read(tmp_path / "two.zip", TABLE)
    zipped(tmp_path / "book.zip", **{"xl/workbook_xml": ""})
    with fails("data", "Excel"):
        read(tmp_path / "book.zip", TABLE)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    rows = [f"{place / 7},{place % 2}" for place in range(3_000)]
    text = "\n".join(["x,y", *rows, ""]).encode()
    pd.DataFrame({"x": np.arange(3_000) / 7, "y": 1}).to_parquet(tmp_path / "a.parquet")
    table, packed = (tmp_path / "a.parquet").read_bytes(), gzip.compress(text)
    cuts = [
        *[("cut.csv.gz", packed[:-end]) for end in (1, 4, 8, len(packed) // 2, len(packed) - 15)],
        *[("cut.parquet", table[:-end]) for end in (1, 8, len(table) // 2, len(table) - 4)],
        *[("cut.csv", text[:-end]) for end in (2, 3, 9)],
    ]
    for name, content in cuts:
        with fails("data", name) as caught:
            read(written(tmp_path / name, content), table_of(float))
        assert "cut" in str(caught.value).replace(name, ""), (name, len(content))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"x,y\n" + b"1,0\n2,1\n" * 5_000))
    packed[len(packed) // 2] ^= 0xFF
    with fails("data", "broken.csv.gz"):
        read(written(tmp_path / "broken.csv.gz", bytes(packed)), table_of(float))


def test_the_separator_that_excel_writes_first_is_taken(
    expected: pd.DataFrame, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.csv", b"sep=,\r\n" + TEXT.encode())
    pd.testing.assert_frame_equal(read(path, TABLE), expected)
    with fails("data", "line 6, column 'age'"):
        read(written(path, path.read_bytes().replace(b",40,", b",forty,")), TABLE)


def test_an_accent_that_comes_late_is_read_too(tmp_path: Path) -> None:
    lines = ["x,y", *["plain,0"] * 400_000, "Zoë,1"]
    path = written(tmp_path / "late.csv", "\n".join(lines).encode("latin-1"))
    assert read(path, table_of(str))["x"].iloc[-1] == "Zoë"


def test_a_source_with_too_many_rows_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "large.csv", b"x,y\n" + b"1,0\n" * 3_000)
    with fails("data", "2,999"):
        read(path, table_of(float), most=2_999)
    assert len(read(path, table_of(float), most=3_000)) == 3_000


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_large_table_takes_a_few_times_its_own_memory(tmp_path: Path, ending: str) -> None:
    script = (
        "import resource, sys\n"
        "import numpy as np, pandas as pd, pandera.pandas as pa\n"
        # What a library takes by itself is no part of what is measured.
        "import pyarrow, pyarrow.compute, pyarrow.csv, pyarrow.parquet\n"
        "from mlops_kit.tables import reading\n"
        "from mlops_kit.tables.schema import declare_table\n"
        "path, ending = sys.argv[1:]\n"
        "names = [f'c{n}' for n in range(31)]\n"
        "rows = 500_000\n"
        "block = np.arange(rows * 31).reshape(rows, 31) % 997 / 8\n"
        "frame = pd.DataFrame(block, columns=names)\n"
        "size = block.nbytes\n"
        "whole = pyarrow.Table.from_pandas(frame, preserve_index=False)\n"
        "write = pyarrow.parquet.write_table if ending == 'parquet' else pyarrow.csv.write_csv\n"
        "write(whole, path)\n"
        "del whole\n"
        "schema = pa.DataFrameSchema({name: pa.Column(float) for name in names})\n"
        "table = declare_table('m', schema, label='c0')\n"
        "import os; pid = os.fork()\n"
        "if pid: sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "del frame, block\n"
        "def peak():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return 1024 * int(next(l for l in lines if l.startswith('VmHWM')).split()[1])\n"
        "def now():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return 1024 * int(next(l for l in lines if l.startswith('VmRSS')).split()[1])\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"
        "before = now()\n"
        "found = reading.read(path, table)\n"
        "assert len(found) == rows\n"
        "print((peak() - before) / size, flush=True); os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / f"a.{ending}"), ending],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 3, done.stdout
