"""An executed notebook as Git keeps it: stable, small, readable, silent about the machine."""

from __future__ import annotations

import base64
import copy
import io
import json
import time
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_kit.reporting.markdown import escape, link, table
from mlops_kit.reporting.notebooks import git_safe
from mlops_kit.reporting.notebooks.redaction import MachineIdentity
from tests.failures import fails

MACHINE = MachineIdentity(
    Path("/srv/ana/fraud"), Path("/home/ana"), host="laptop-7f.bank.example", user="anamaria"
)
PNG = b"\x89PNG\r\n\x1a\n"
SCRAP = "application/scrapbook.scrap.json+json"


def code(source="", outputs=(), **fields):
    cell = {"cell_type": "code", "source": source, "outputs": list(outputs), "metadata": {}}
    return {**cell, "execution_count": 3, **fields}


def shown(**data):
    renamed = {key.replace("__", "/"): value for key, value in data.items()}
    return {"output_type": "display_data", "data": renamed, "metadata": {}}


def data(bundle, **metadata):
    return {"output_type": "display_data", "data": bundle, "metadata": metadata}


def log(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def notebook(*cells, **metadata):
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def safe(*cells, **metadata):
    raw = git_safe.git_safe(notebook(*cells, **metadata), machine=MACHINE)
    assert git_safe.git_safe(json.loads(raw), machine=MACHINE) == raw
    return json.loads(raw)


def outputs(*given, **options):
    return safe(code("x", given), **options)["cells"][0]["outputs"]


def text(*given):
    (output,) = outputs(*given)
    return "".join(output["text"])


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("/srv/ana/fraud/data/x.parquet", "./data/x.parquet"),
        ("sqlite:////srv/ana/fraud/mlflow.db", "sqlite:///./mlflow.db"),
        ("file:///home/ana/other/x", "file://~/other/x"),
        ("/home/ben/x.py:3", "~/x.py:3"),
        ("/root/.cache/x", "~/.cache/x"),
        ("/tmp/tmpab12cd/deep/x.csv", "/tmp/…/x.csv"),
        ("/tmp/tmpab12cd", "/tmp/…"),
        ("/private/var/folders/ab/cd/T/tmpq/x.csv", "/tmp/…/x.csv"),
        ("/tmp/ipykernel_4242/99.py:3: UserWarning", "/tmp/…/….py:3: UserWarning"),
        (
            "/srv/ana/fraud/.venv/lib/python3.11/site-packages/pandas/a.py",
            "site-packages/pandas/a.py",
        ),
        ("/opt/conda/lib/python3.11/json/decoder.py", "lib/python3.11/json/decoder.py"),
        ("/mnt/lake/day/part.parquet", "…/part.parquet"),
        ("at laptop-7f.bank.example and laptop-7f", "at [host] and [host]"),
        ("anamaria@x, not anamarias", "[user]@x, not anamarias"),
        ("<Thing object at 0x7fa1b2c3d4e5>", "<Thing object at 0x…>"),
        ("pid 4242", "pid …"),
        ("Cell In[12], line 1", "Cell In[…], line 1"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("2026/11/23 14:02:05 INFO mlflow: ok", "[time] INFO mlflow: ok"),
        ("2026-11-23T14:02:05.123+01:00 ok", "[time] ok"),
        ("fit took 3.21 s", "fit took …"),
        ("Wall time: 812 ms", "Wall time: …"),
        ("10%|#\r100%|##########| 5/5 [00:01<00:00, 3.1it/s]\n", "100%|##########| 5/5 […]\n"),
    ],
)
def test_what_differs_between_runs_is_masked(written, kept):
    assert text(log(written)) == kept


@pytest.mark.parametrize(
    "line",
    [
        "recall 0.92 (n = 8,412), p95 in 30 ms, and/or 1/2",
        "GET http://data/v2/models/fraud/infer and s3://bucket/opt/x",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "run 0a1b2c3d4e5f60718293a4b5c6d7e8f9 of fraud, commit 24cf173",
        "weights 10/20/30, window 2026-01-01 to 2026-02-01",
    ],
)
def test_what_a_reviewer_reads_is_kept(line):
    assert text(log(line)) == line


def test_times_of_the_data_are_kept_and_times_of_the_run_are_not():
    run = {"papermill": {"start_time": "2026-11-23T14:00:00", "end_time": "2026-11-23T14:05:00"}}
    frame = "seen_at 2026-01-05 10:00:00\nfitted  2026-11-23 15:02:11+01:00"
    ((output),) = outputs(shown(text__plain=frame), **run)
    assert "".join(output["data"]["text/plain"]) == "seen_at 2026-01-05 10:00:00\nfitted  [time]"


def test_two_runs_of_the_same_work_are_the_same_bytes():
    def run(count, moment, address, pieces):
        cell = code("f()", [*map(log, pieces), shown(text__plain=f"<F at 0x{address}>")], id="f")
        cell["execution_count"] = count
        cell["metadata"] = {
            "execution": {"iopub.execute_input": moment},
            "papermill": {"duration": count},
        }
        given = code("x = 1", id=f"{address[:8]}", metadata={"tags": ["injected-parameters"]})
        return git_safe.git_safe(
            notebook(
                given, cell, papermill={"start_time": moment, "input_path": f"/tmp/{address}"}
            ),
            machine=MACHINE,
        )

    first = run(1, "2026-11-23T14:00:00Z", "7f00aa11bb22", ["one\ntw", "o\n"])
    second = run(9, "2026-11-24T09:30:00Z", "7f99cc33dd44", ["one\n", "two\n"])
    assert first == second


def test_cells_keep_their_ids_and_get_stable_ones_where_they_have_none():
    cells = safe(code("a", id="train"), code("b"), code("b"), code("c", id="not valid!"))["cells"]
    names = [cell["id"] for cell in cells]
    again = [cell["id"] for cell in safe(code("new"), code("b"), code("b"))["cells"]]
    assert names[0] == "train"
    assert len(set(names)) == 4
    assert names[1:3] == again[1:3]


def test_published_values_are_kept_however_big():
    value = {"name": "auc", "data": "x" * 100_000, "encoder": "json", "version": 1}
    (output,) = outputs(
        data({SCRAP: value}, scrapbook={"name": "auc", "data": True, "display": False})
    )
    assert output["data"][SCRAP] == value
    assert output["metadata"]["scrapbook"]["name"] == "auc"


def test_a_big_output_becomes_a_line_with_its_size_and_digest():
    line = text(log("x" * 70_000))
    assert line.startswith("[removed: a log, 70000 bytes, sha256:")
    assert len(line) < 200


def test_a_notebook_with_too_many_outputs_keeps_the_first_ones():
    cells = [code(f"a{i}", [log(f"{i} " + "y" * 50_000)]) for i in range(20)]
    raw = git_safe.git_safe(notebook(*cells), machine=MACHINE)
    kept = json.loads(raw)["cells"]
    assert len(raw) < 520_000
    assert kept[0]["outputs"][0]["text"][0].startswith("0 yyy")
    assert "over 512000 bytes in the notebook" in json.dumps(kept[19])


def test_markdown_and_text_stand_and_html_goes():
    (output,) = outputs(
        shown(text__plain="a  b", text__html="<script>evil()</script><table>…</table>")
    )
    assert output["data"] == {"text/plain": ["a  b"]}


def test_html_that_stands_alone_becomes_its_text():
    rows = "<tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2 &lt; 3</td></tr>"
    html = f"<style>x{{}}</style><table>{rows}</table>"
    (output,) = outputs(
        shown(text__html=html, text__plain="<pandas.Styler object at 0x7f12345678>")
    )
    assert "".join(output["data"]["text/plain"]) == "a | b\n1 | 2 < 3"


def test_scripts_and_widgets_become_a_line():
    (script,) = outputs(data({"application/javascript": "alert(1)"}))
    assert "application/javascript, 8 bytes, sha256:" in script["data"]["text/plain"][0]
    view = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "1"},
        "text/plain": "IntSlider()",
    }
    raw = safe(code("w", [data(view)]), widgets={"state": {"big": 1}})
    assert raw["cells"][0]["outputs"][0]["data"] == {"text/plain": ["IntSlider()"]}
    assert "widgets" not in raw["metadata"]


def test_html_inside_markdown_outputs_loses_its_power():
    hostile = "<details>ok</details> <img src=x onerror=alert(1)> [x](javascript:alert(1))"
    (output,) = outputs(shown(text__markdown=hostile))
    kept = "".join(output["data"]["text/markdown"])
    assert "<details>" in kept
    assert "<img" not in kept
    assert "javascript:" not in kept


def test_a_plotly_figure_becomes_the_picture_that_is_handed_in():
    figure = {"data": [{"y": [1, 2]}], "layout": {}}
    seen = []
    raw = git_safe.git_safe(
        notebook(code("f", [data({"application/vnd.plotly.v1+json": figure})])),
        machine=MACHINE,
        picture=lambda given: seen.append(given) or PNG,
    )
    (output,) = json.loads(raw)["cells"][0]["outputs"]
    assert seen == [figure]
    assert output["data"] == {
        "image/png": base64.b64encode(PNG).decode(),
        "text/plain": ["plotly figure"],
    }


def test_a_picture_loses_its_comments_and_shows_the_same():
    from PIL import Image, PngImagePlugin

    comment = PngImagePlugin.PngInfo()
    comment.add_text("Author", "anamaria")
    file = io.BytesIO()
    Image.new("RGB", (3, 3), "red").save(file, "png", pnginfo=comment)
    (output,) = outputs(data({"image/png": base64.encodebytes(file.getvalue()).decode()}))
    kept = base64.b64decode(output["data"]["image/png"])
    assert b"anamaria" in file.getvalue()
    assert b"anamaria" not in kept
    assert Image.open(io.BytesIO(kept)).getpixel((1, 1)) == (255, 0, 0)


def test_an_error_keeps_its_message_and_the_failing_cell_its_mark():
    trace = ["\x1b[0;31mValueError\x1b[0m", "File /srv/ana/fraud/x.py:3", "no column 'amount'"]
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": trace}
    failed = {
        "papermill": {"status": "failed", "exception": True, "duration": 1.5, "start_time": "x"}
    }
    (cell,) = safe(code("x", [error], metadata=failed))["cells"]
    assert cell["outputs"][0]["traceback"] == ["ValueError", "File ./x.py:3", "no column 'amount'"]
    assert cell["metadata"] == {"papermill": {"status": "failed", "exception": True}}


@pytest.mark.parametrize(
    "broken",
    [b"", b"{}", b"[]", b"\xff", b'{"nbformat": 4, "cells": [3]}', b'{"nbformat": 4, "cells": {}}'],
)
def test_what_is_no_notebook_is_refused_with_its_name(tmp_path, broken):
    path = tmp_path / "x.ipynb"
    path.write_bytes(broken)
    with fails("notebook", "x.ipynb"):
        git_safe.git_safe(path)


def test_a_notebook_of_an_older_format_gets_ids():
    old = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("a")])
    old["nbformat_minor"] = 4
    del old["cells"][0]["id"]
    kept = json.loads(git_safe.git_safe(old, machine=MACHINE))
    assert kept["nbformat_minor"] == 5
    assert kept["cells"][0]["id"].startswith("cell-")


@pytest.mark.parametrize(
    "unit", ["A" * 1_000_000, "/a" * 300_000, "0x" * 300_000, "\x1b[" * 200_000, "1-" * 300_000]
)
def test_a_huge_line_takes_no_minute(unit):
    started = time.perf_counter()
    outputs(log(unit))
    assert time.perf_counter() - started < 10


PIECES = st.sampled_from(
    [
        *(
            "/srv/ana/fraud/x.py",
            "/home/ana/",
            "/home/ben/y",
            "/tmp/abc/d",
            "/opt/x/y",
            "site-packages/",
        ),
        *(
            "laptop-7f",
            "anamaria",
            "0x7fffdeadbeef",
            "2026-11-23 14:02:05",
            "12:00:01.5",
            "In[3]",
            "took 3 s",
        ),
        *(
            "\x1b[31m",
            "\r",
            "\n",
            " ",
            "/",
            ".",
            ":",
            "…",
            "~",
            "<",
            ">",
            "[",
            "]",
            "'",
            "|",
            "&",
            "é",
            "\ud800",
        ),
        *(
            "lib/python3.11/",
            "/var/tmp/",
            "ipykernel_1/2.py",
            "Wall time: 3 s",
            "<img src=x>",
            "x" * 50,
        ),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=9).map("".join)
KINDS = [
    "text/plain",
    "text/markdown",
    "text/html",
    "image/svg+xml",
    "image/png",
    "application/json",
    "application/javascript",
    SCRAP,
    "application/vnd.plotly.v1+json",
]
OUTPUTS = st.one_of(
    st.builds(log, TEXTS, st.sampled_from(["stdout", "stderr"])),
    st.builds(data, st.dictionaries(st.sampled_from(KINDS), TEXTS, min_size=1, max_size=3)),
    st.builds(
        lambda t: {"output_type": "error", "ename": "E", "evalue": t, "traceback": [t, "x"]}, TEXTS
    ),
)
CELLS = st.one_of(
    st.builds(
        lambda source, given, name, tags: code(source, given, metadata={"tags": tags}, **name),
        TEXTS,
        st.lists(OUTPUTS, max_size=4),
        st.sampled_from([{}, {"id": "a"}, {"id": "failure"}, {"id": "failure-2"}, {"id": "é"}]),
        st.sampled_from([[], ["injected-parameters"], ["papermill-error-cell-tag"]]),
    ),
    st.builds(lambda source: {"cell_type": "markdown", "source": source, "metadata": {}}, TEXTS),
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(CELLS, max_size=5),
    st.sampled_from([40, 300, 64_000]),
    st.sampled_from([300, 900, 512_000]),
)
def test_any_notebook_becomes_valid_and_stays_as_it_is(cells, output_cap, notebook_cap):
    given = notebook(*cells)
    before = copy.deepcopy(given)
    options = {
        "machine": MACHINE,
        "picture": lambda _: PNG,
        "output_cap": output_cap,
        "notebook_cap": notebook_cap,
    }
    once = git_safe.git_safe(given, **options)
    assert given == before
    assert git_safe.git_safe(given, **options) == once
    assert git_safe.git_safe(json.loads(once), **options) == once
    assert once.endswith(b"}\n")
    nbformat.validate(nbformat.reads(once.decode(), as_version=4))


@settings(max_examples=50, deadline=None)
@given(st.lists(OUTPUTS, min_size=1, max_size=4), TEXTS, TEXTS)
def test_nothing_of_the_machine_survives(given, before, after):
    places = "/srv/ana/fraud/a.py /home/ana/b /home/ben/c anamaria"
    planted = f"{before} {places} laptop-7f.bank.example 0x7fffdeadbeef {after}"
    cells = [code("x", [*given, log(planted), shown(text__plain=planted)])]
    kept = git_safe.git_safe(notebook(*cells), machine=MACHINE, picture=lambda _: PNG).decode()
    for secret in (
        "/home/ana",
        " /home/ben",
        "/srv/ana",
        " anamaria ",
        "laptop-7f.bank",
        "0x7fffdeadbeef",
    ):
        assert secret not in kept


NASTY = "a|b\n`c` <script>x</script> [d](javascript:e) **f** https://g.example & \u202e # 1. $h$"


def test_escaped_text_has_no_meaning_left():
    safe_text = escape(NASTY)
    assert "\n" not in safe_text
    assert "<" not in safe_text
    assert "\u202e" not in safe_text
    assert r"a\|b \`c\`" in safe_text
    assert "https://g" not in safe_text


@given(st.text(max_size=30))
def test_any_text_is_one_cell_of_a_table(anything):
    header, _, row = table(["a", "b"], [[anything, 1]]).splitlines()
    bare = row.replace("\\\\", "").replace("\\|", "")
    assert bare.count("|") == header.count("|")


@pytest.mark.parametrize(
    ("target", "linked"),
    [
        ("train.ipynb", True),
        ("https://git.example/x#y", True),
        ("../a/b.md", True),
        ("javascript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("data:text/html,x", False),
        ("//evil.example", False),
        ("&#106;avascript:alert(1)", False),
        ("vbscript:x", False),
    ],
)
def test_only_web_and_relative_addresses_become_links(target, linked):
    assert link("t", target).startswith("[t](") is linked


def test_a_target_cannot_leave_its_link():
    assert link("t", 'a) [x](b "c<d>') == "[t](a%29%5Bx%5D%28b%22c%3Cd%3E)"


RUN = [
    "import sys, warnings\nprint('at', sys.executable)\nprint(object())\nwarnings.warn('careful')",
    "import plotly.graph_objects as go\ngo.Figure(go.Scatter(y=[1, 3, 2]))",
    "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()",
    "import pandas as pd\npd.DataFrame({'amount': [1.5, 2.5]})",
    "import ipywidgets\nipywidgets.IntSlider()",
    "print('z' * 100_000)",
    "from IPython.display import HTML, Javascript, display\n"
    "display(HTML('<b>bold</b>'), Javascript('1'))",
    "from pathlib import Path\nPath('/home/someone/x.csv').read_text()",
]


def test_a_real_run_is_readable_without_a_kernel(tmp_path):
    from nbclient import NotebookClient

    kept = []
    cheap = [0, 5, 6, 7]
    for turn, which in (("one", range(len(RUN))), ("two", cheap)):
        cells = [nbformat.v4.new_code_cell(RUN[i], id=f"c{i}") for i in which]
        run = nbformat.v4.new_notebook(cells=cells)
        folder = tmp_path / turn
        folder.mkdir()
        NotebookClient(
            run, timeout=60, allow_errors=True, resources={"metadata": {"path": str(folder)}}
        ).execute()
        nbformat.write(run, folder / "x.ipynb")
        kept.append(git_safe.git_safe(folder / "x.ipynb"))
    by_cell, again = ({c["id"]: c["outputs"] for c in json.loads(raw)["cells"]} for raw in kept)
    assert {name: by_cell[name] for name in again} == again
    assert base64.b64decode(by_cell["c1"][-1]["data"]["image/png"]).startswith(PNG)
    assert base64.b64decode(by_cell["c2"][-1]["data"]["image/png"]).startswith(PNG)
    assert "amount" in "".join(by_cell["c3"][0]["data"]["text/plain"])
    assert set(by_cell["c4"][0]["data"]) == {"text/plain"}
    assert "a log, 100001 bytes, sha256:" in by_cell["c5"][0]["text"][0]
    assert by_cell["c6"][0]["data"]["text/plain"] == ["bold"]
    assert by_cell["c7"][0]["ename"] == "FileNotFoundError"
    seen = json.dumps(by_cell)
    for private in ("/home/", "/tmp/tmp", str(tmp_path), "text/html", "vnd.", " at 0x7", "[31m"):
        assert private not in seen
    assert len(kept[0]) < 100_000
