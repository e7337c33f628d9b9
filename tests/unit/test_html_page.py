"""An executed notebook as a page: everything is shown, nothing runs, nothing is fetched."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
from nbformat import v4

from mlops_kit.reporting.notebooks import html_page
from tests.failures import fails

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde\0\0\0\0IEND\xaeB`\x82"
).decode()
EVIL = "<img src=x onerror=alert(1)><script>alert(1)</script>"


def shown(**data: str) -> nbformat.NotebookNode:
    bundle = {kind.replace("__", "/").replace("_xml", "+xml"): v for kind, v in data.items()}
    return v4.new_output("display_data", data=bundle)


def saved(tmp_path: Path, *cells: nbformat.NotebookNode) -> tuple[str, Path]:
    notebook = tmp_path / "judge.ipynb"
    nbformat.write(v4.new_notebook(cells=list(cells)), notebook)
    html_page.save(notebook, tmp_path / "judge.html")
    return (tmp_path / "judge.html" / "index.html").read_text(), tmp_path / "judge.html"


class Tags(HTMLParser):
    """Collects the elements of a page with their attributes."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_each_output_has_the_form_that_shows_most(tmp_path: Path) -> None:
    cell = v4.new_code_cell(
        "x = 1",
        outputs=[
            v4.new_output("stream", text="a log\n"),
            shown(text__markdown="| a |\n|---|\n| **1** |", text__plain="a table"),
            shown(image__png=PNG, text__plain="Recall: v2 above v1"),
            shown(image__svg_xml='<?xml version="1.0"?><svg><title>curve</title></svg>'),
        ],
    )
    page, folder = saved(tmp_path, v4.new_markdown_cell("# Good enough?"), cell)
    assert "<h1>Good enough?</h1>" in page
    assert "<pre>a log\n</pre>" in page
    assert "<td><strong>1</strong></td>" in page
    assert "a table" not in page
    assert '<img src="figure-1.png" alt="Recall: v2 above v1">' in page
    assert (folder / "figure-1.png").read_bytes() == base64.b64decode(PNG)
    assert "<svg><title>curve</title></svg>" in page


def test_a_failed_cell_is_one_click_away(tmp_path: Path) -> None:
    failure = v4.new_output("error", ename="KeyError", evalue="'x'", traceback=["KeyError: 'x'"])
    cell = v4.new_code_cell("{}['x']", outputs=[failure])
    cell.metadata["papermill"] = {"exception": True}
    page, _ = saved(tmp_path, v4.new_code_cell("1"), cell)
    assert page.count('href="#failed"') == page.count('id="failed"') == 1
    assert page.count("KeyError: &#x27;x&#x27;") == 1


def test_nothing_on_the_page_acts_or_is_fetched(tmp_path: Path) -> None:
    cells = [
        v4.new_markdown_cell(f"{EVIL} ![far](https://far.example/x.png) [go](javascript:alert(1))"),
        v4.new_code_cell(
            f"'{EVIL}'",
            outputs=[
                v4.new_output("stream", text=EVIL),
                shown(text__html=EVIL + "<p>said</p>"),
                shown(text__markdown=EVIL),
                shown(text__plain=EVIL),
                shown(image__png=PNG, text__plain='" onerror="alert(1)'),
                shown(image__svg_xml="<svg onload='alert(1)'><script>1</script></svg>"),
                v4.new_output("error", ename=EVIL, evalue=EVIL, traceback=[EVIL]),
            ],
        ),
    ]
    page, _ = saved(tmp_path, *cells)
    tags = Tags(page).found
    assert not {"script", "iframe", "object", "link"} & {tag for tag, _ in tags}
    assert [attributes["src"] for tag, attributes in tags if tag == "img"] == ["figure-1.png"]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert not re.search(r"""(?i)(src=["']?\w+|href=["']?(data|javascript)):""", page)
    assert "said" in page


def test_what_is_no_notebook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.ipynb").write_text('{"cells": [')
    with fails("notebook", "torn.ipynb"):
        html_page.save(tmp_path / "torn.ipynb", tmp_path / "page")
    assert not (tmp_path / "page").exists()


FILES = {
    "report.md": b"# v2: PASS\n\n<details><summary>gates</summary>\n\n![drawn](gates.svg)\n\n"
    b"![far](https://elsewhere.example/x.png) [away](https://elsewhere.example)\n\n</details>\n",
    "gates.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "notes.txt": EVIL.encode(),
}


def test_evidence_is_shown_with_its_own_pictures_and_leads_nowhere() -> None:
    report = html_page.shown("report.md", FILES)
    tags = Tags(report).found
    assert "<h1>v2: PASS</h1>" in report
    assert "details" not in report
    (source,) = (named["src"] for tag, named in tags if tag == "img")
    assert str(source).startswith("data:image/svg+xml;base64,")
    assert not [named for tag, named in tags if tag == "a" and "href" in named]
    assert "<script" not in report, "a picture in an img runs nothing"
    picture = html_page.shown("gates.svg", FILES)
    assert "<script" not in picture
    assert "data:image/svg+xml" in picture
    assert "<script" not in html_page.shown("notes.txt", FILES)


def test_a_whole_page_has_its_pictures_inside(tmp_path: Path) -> None:
    cell = v4.new_code_cell('"src=figure-1.png"', outputs=[shown(image__png=PNG, text__plain=EVIL)])
    notebook = tmp_path / "a.ipynb"
    nbformat.write(v4.new_notebook(cells=[cell]), notebook)
    page = html_page.whole(notebook)
    (source,) = (named["src"] for tag, named in Tags(page).found if tag == "img")
    assert source == f"data:image/png;base64,{PNG}"
    assert "<script" not in page
    assert html_page.shown("a.ipynb", {"a.ipynb": notebook.read_bytes()}).count(PNG) == 1


def test_what_is_called_a_notebook_and_is_none_is_said() -> None:
    with fails("notebook", "b.ipynb"):
        html_page.shown("b.ipynb", {"b.ipynb": b"{"})
