"""Panel and report show of each task what it has, and nothing of another one."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from mlops_kit.errors import EvaluationError
from mlops_kit.jupyter.panel import evaluation as panel
from mlops_kit.models.comparison import slices
from mlops_kit.models.evaluation import Evaluation, judge
from mlops_kit.models.evaluation_summary import EvaluationSummary
from mlops_kit.models.gates import Estimate, GateRule, Rules
from mlops_kit.project import table_notebooks
from mlops_kit.reporting import reports
from mlops_kit.reporting.charts import curves, task_charts
from mlops_kit.reporting.reports import Report
from tests import judged as made

HOSTILE = "<img src=x onerror=alert(1)>\"'`|\n# b"
COMPARED = {
    "binary": made.classified(("no", "yes")),
    "multiclass": made.classified(("a", "b", "c")),
    "regression": made.predicted(),
}
SHOWN = {task: made.evaluation(each) for task, each in COMPARED.items()}
# What each task shows, in the panel and in its words.
OWN = {
    "binary": ("Curves and threshold", "Precision and recall", "true positives", "Confusion by"),
    "multiclass": ("Recall per class", "Confusion", "Most frequent errors", "true class"),
    "regression": ("Absolute error", "Error by predicted size", "Bias by predicted size"),
}
NEVER = {
    "binary": ("Recall per class", "predicted size"),
    "multiclass": ("hreshold", "recision", "positive", "alibration", "predicted size"),
    "regression": ("hreshold", "recision", "positive", "alibration", "ecall", "onfusion"),
}


class Reader(HTMLParser):
    """The elements of a page with their attributes and ancestors, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any], list[str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.found.append((tag, dict(attrs), [*self._open]))
        if tag not in ("input", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.found.append((tag, dict(attrs), [*self._open]))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "elements are closed in their order"

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(found: EvaluationSummary) -> Reader:
    page = panel.evaluation(found)
    assert page is not None
    return Reader(page)


def report_of(found: EvaluationSummary) -> dict[str, str]:
    files = Report(found, "prod", {"model": "t v2"}).files()
    return {name: content.decode() for name, content in files.items()}


@pytest.mark.parametrize("task", SHOWN)
def test_the_panel_shows_what_the_task_has_and_nothing_else(task: str) -> None:
    found = shown(SHOWN[task])
    assert all(said in found.text for said in OWN[task])
    assert not [said for said in NEVER[task] if said in found.text]
    sliders = [named for name, named, _ in found.found if name == "input"]
    assert len(sliders) == (task == "binary")


@pytest.mark.parametrize("task", SHOWN)
def test_the_report_shows_what_the_task_has_and_its_pictures(task: str) -> None:
    files = report_of(SHOWN[task])
    text = files.pop("report.md")
    assert not [said for said in NEVER[task] if task != "binary" and said in text]
    assert set(re.findall(r"\]\((\S+\.svg)\)", text)) == set(files)
    for picture in files.values():
        assert ElementTree.fromstring(picture).tag.endswith("svg")
    expected = {
        "binary": set(),
        "multiclass": {"recall.svg", "confusion.svg"},
        "regression": {"errors.svg", "error-by-size.svg", "bias-by-size.svg"},
    }
    assert set(files) == {"gates.svg"} | expected[task]


def test_the_matrix_in_the_panel_is_the_one_that_was_published() -> None:
    found = SHOWN["multiclass"]
    cells = [
        int(count.replace(",", ""))
        for count in re.findall(r"<td[^>]*>(?:<strong>)?([\d,]+)", str(panel.evaluation(found)))
    ]
    for role in ("candidate", "reference"):
        rows = found.curves["confusion"][role]
        flat = [count for row in rows for count in (*row, sum(row))]
        assert any(cells[i : i + len(flat)] == flat for i in range(len(cells))), role


def test_many_classes_are_grouped_and_it_is_said() -> None:
    found = made.evaluation(made.classified([f"class {i:02}" for i in range(35)], rows=3_000))
    page = shown(found)
    assert "Of 35 classes the matrices show the 19 that t v2 gets wrong most often" in page.text
    assert page.text.count("16 others") == 4
    assert "too few rows" in page.text
    assert len(str(panel.evaluation(found))) < 80_000
    text = report_of(found)["report.md"]
    assert "The matrix shows the 19 classes of the most errors" in text


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_hostile_names_are_text(task: str) -> None:
    names = ("b", HOSTILE) if task == "binary" else ("a", "b", HOSTILE)
    found = made.evaluation(made.classified(names), names={"candidate": HOSTILE, "reference": "r"})
    page = shown(found)
    assert not [name for name, named, _ in page.found if name == "img" or "onerror" in named]
    assert "onerror=alert(1)" in page.text
    files = report_of(found)
    text = files.pop("report.md")
    assert "<img" not in text
    assert "\n# b" not in text
    assert not [picture for picture in files.values() if "<img" in picture]


def test_hostile_names_are_text_in_a_notebook() -> None:
    comparison = made.classified(("a", "b", HOSTILE))
    parts = slices(comparison, {HOSTILE: comparison.judged["candidate"].labels >= 0})
    compared = comparison.of([f"recall:{HOSTILE}"])
    names = {"candidate": HOSTILE, "reference": "r"}
    latency = {role: Estimate(1.0, 1.0, 1.0, 50) for role in comparison.judged}
    carried = made.curves(comparison)
    found = Evaluation(
        comparison.table, names, compared, latency, parts, comparison.judged, carried, note=HOSTILE
    )
    rules = Rules(gates=(GateRule(f"recall:{HOSTILE}", at_least=0.5),))
    shown = (found, found.slice_table, judge(found, rules), reports.recalls(found))
    for text in (each._repr_markdown_() for each in shown):
        assert "onerror" in text
        assert "<img" not in text
        assert "\n# b" not in text


@pytest.mark.parametrize("task", SHOWN)
def test_the_page_keeps_the_rules_that_axe_would_check(task: str) -> None:
    found = shown(SHOWN[task]).found
    names = [name for name, _, _ in found]
    assert names.count("caption") == names.count("table")
    assert all(named.get("scope") in ("row", "col") for name, named, _ in found if name == "th")
    for name, named, above in found:
        if name == "svg":
            is_named = named.get("role") == "img" and named.get("aria-label")
            assert is_named or named.get("aria-hidden") == "true"
        if "tabindex" in named:
            assert named["role"] == "group"
            assert named["aria-label"]
            assert named["data-lm-suppress-shortcuts"] == "true"
        if name == "summary":
            assert above[-1] == "details"
            assert named["data-lm-suppress-shortcuts"] == "true"
    ids = [named["id"] for _, named, _ in found if "id" in named]
    keys = [named["data-key"] for name, named, _ in found if name == "details"]
    assert len(ids) == len(set(ids))
    assert len(keys) == len(set(keys)), "or the page folds another one on an update"


def test_a_cell_says_its_share_in_words_and_stays_readable() -> None:
    page = str(panel.evaluation(SHOWN["multiclass"]))
    grounds = re.findall(r"rgb\(0 114 178/(\d+)%\)", page)
    assert grounds
    assert max(map(int, grounds)) <= 40, "a darker ground would be too dark for a dark word"
    assert len(re.findall(r"<small>\d+ %</small>", page)) == len(grounds)


@pytest.mark.parametrize("task", SHOWN)
def test_an_evaluation_without_curves_shows_its_tables(task: str) -> None:
    found = shown(made.evaluation(COMPARED[task], curves={}))
    assert "Slices" in found.text
    assert not [said for said in OWN[task] if said in found.text]


def evaluated(task: str) -> Evaluation:
    """The evaluation as a notebook has it, of one metric."""
    comparison = COMPARED[task]
    latency = {role: Estimate(1.0, 1.0, 1.0, 50) for role in comparison.judged}
    return Evaluation(
        comparison.table,
        {"candidate": "t v2", "reference": "t v1"},
        {},
        latency,
        (),
        comparison.judged,
        made.curves(comparison),
    )


@pytest.mark.parametrize("task", SHOWN)
def test_notebook_and_report_name_the_holdout_alike(task: str) -> None:
    header = f"| {SHOWN[task].title} |"
    assert repr(evaluated(task)) == f"Evaluation of t v2 against t v1: {SHOWN[task].title}"
    assert header in evaluated(task)._repr_markdown_()
    assert header in report_of(SHOWN[task])["report.md"]
    assert SHOWN[task].title in shown(SHOWN[task]).text


def test_a_notebook_draws_what_report_and_panel_draw() -> None:
    classes, errors = evaluated("multiclass"), evaluated("regression")
    assert curves.confusion(classes).svg() == report_of(SHOWN["multiclass"])["confusion.svg"]
    assert curves.recalls(classes).svg() == report_of(SHOWN["multiclass"])["recall.svg"]
    assert curves.error_quantiles(errors).svg() == report_of(SHOWN["regression"])["errors.svg"]
    table = reports.recalls(classes)._repr_markdown_()
    assert table in report_of(SHOWN["multiclass"])["report.md"] + "\n"
    assert "| city Bern | t v1 |" in reports.confusion_by_slice(evaluated("binary")).text


def test_a_chart_of_another_task_is_refused() -> None:
    for chart in (curves.confusion, curves.recalls):
        with pytest.raises(EvaluationError):
            chart(evaluated("regression"))
    for other in (curves.error_quantiles, curves.error_by_size, curves.bias_by_size):
        with pytest.raises(EvaluationError):
            other(evaluated("binary"))


@pytest.mark.parametrize("task", SHOWN)
def test_a_new_project_draws_the_charts_of_its_task(task: str) -> None:
    guess: Any = SimpleNamespace(table=COMPARED[task].table, duplicates=0.0, rows=9, reasons={})
    cells = json.loads(table_notebooks.as_json(table_notebooks._evaluate(guess, "x.csv", "prod")))
    source = "\n".join("".join(cell["source"]) for cell in cells["cells"])
    called = set(re.findall(r"curves\.(\w+)\(", source))
    expected = {
        "binary": {"precision_recall", "calibration", "cost_by_threshold"},
        "multiclass": {"recalls", "confusion"},
        "regression": {"error_quantiles", "error_by_size", "bias_by_size"},
    }
    assert called == expected[task]
    assert all(hasattr(curves, name) for name in called)


def test_the_confusion_chart_tells_rows_and_shares() -> None:
    chart = task_charts.confusion({"candidate": "t v2"}, curves._classes(evaluated("multiclass")))
    matrix = SHOWN["multiclass"].curves["confusion"]["candidate"]
    share = round(100 * matrix[0][0] / sum(matrix[0]))
    assert f"| a | {matrix[0][0]} {share} % |" in chart.markdown()
    assert f">{share} %<" in chart.svg()
