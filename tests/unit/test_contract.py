"""The rows of any table: held to its declaration, cut into parts, summed up, known by values."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from mlops_kit.tables import contract, leaks, splits
from mlops_kit.tables.schema import declare_table
from mlops_kit.tables.snapshots import fingerprint, read, save
from mlops_kit.tables.summaries import summary
from mlops_kit.tables.table import Table
from tests.failures import fails

SCHEMA = pa.DataFrameSchema(
    {
        "customer": pa.Column(str),
        "day": pa.Column("datetime64[us]"),
        "signed": pa.Column("datetime64[us]", nullable=True),
        "age": pa.Column(int, pa.Check.in_range(18, 120)),
        "spent": pa.Column(float, [pa.Check.ge(0), pa.Check(lambda s: s != 13, name="unlucky")],
                           nullable=True),
        "visits": pa.Column("Int64", nullable=True),
        "member": pa.Column(bool),
        "city": pa.Column(str, pa.Check.isin(["Rome", "Oslo"]), nullable=True),
        "left": pa.Column(str, pa.Check.isin(["no", "yes"])),
        "price": pa.Column(float),
        "tier": pa.Column(int, pa.Check.isin([1, 2, 3])),
    }
)  # fmt: skip
ROLES = {
    "binary": {"label": "left", "positive": "yes", "ignored": ["price", "tier"]},
    "regression": {"label": "price", "ignored": ["left", "tier"]},
    "multiclass": {"label": "tier", "ignored": ["left", "price"]},
}
TASKS = [*ROLES]


def table(task: str = "binary", **more: Any) -> Table:
    roles: dict[str, Any] = {"time": "day", "entity": "customer", **ROLES[task], **more}
    return declare_table("churn", SCHEMA, **roles)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(3)
    rows = 4_000
    days = np.datetime64("2026-01-01", "us") + np.sort(random.integers(0, 300, rows)) * (
        np.timedelta64(1, "D")
    )
    made = pd.DataFrame(
        {
            "customer": [f"c{number}" for number in random.integers(0, 1_500, rows)],
            "day": days,
            "signed": days - random.integers(1, 900, rows) * np.timedelta64(1, "D"),
            "age": random.integers(18, 90, rows),
            "spent": np.where(random.random(rows) < 0.1, np.nan, random.gamma(2, 50, rows)),
            "visits": pd.array(random.integers(0, 9, rows), "Int64"),
            "member": random.random(rows) < 0.5,
            "city": pd.Series(random.choice(["Rome", "Oslo"], rows)),
            "left": pd.Series(np.where(random.random(rows) < 0.2, "yes", "no")),
            "price": random.normal(100, 20, rows),
            "tier": random.integers(1, 4, rows),
        }
    )
    made.loc[[5, 9], "visits"] = None
    made.loc[[6, 8], "city"] = None
    return made


@pytest.mark.parametrize("task", TASKS)
def test_rows_as_declared_keep_the_contract(frame: pd.DataFrame, task: str) -> None:
    found = contract.examine(frame, table(task))
    assert found.passed, found.reasons
    assert contract.check(frame, table(task)) is frame
    assert {rule.status for rule in found.rules} == {"pass"}


def broken(frame: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return the frame with the one rule broken."""
    made = frame.copy()
    match rule:
        case "columns":
            return made.drop(columns="age").assign(note=1.0)
        case "types":
            return made.assign(spent=made["spent"].astype("float32"))
        case "missing":
            made.loc[17, "day"] = pd.NaT
        case "finite":
            made.loc[[17, 21], "spent"] = np.inf
        case "ranges":
            made.loc[17, "age"] = 7
        case "labels":
            made.loc[17, "left"] = "perhaps"
        case "classes":
            return made.assign(left="no")
        case "rows":
            return made[:99]
        case "times":
            return made.iloc[[*range(100, 4_000), *range(100)]]
        case "duplicates":
            return pd.concat([made, made.tail(400)]).sort_values("day", kind="stable")
        case "leak":
            return made.assign(age=18 + 20 * (made["left"] == "yes"))
        case "future":
            made.loc[17, "signed"] = pd.Timestamp("2027-01-01")
        case "checks":
            made.loc[17, "spent"] = 13.0
    return made


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        ("columns", ["'age'", "'note'"]),
        ("types", ["spent", "float32"]),
        ("missing", ["day", "row 17"]),
        ("finite", ["spent", "2 row(s)", "row 17 (inf)"]),
        ("ranges", ["age", "18", "row 17 (7)"]),
        ("labels", ["left", "row 17 (perhaps)"]),
        ("classes", ["0 rows of 'yes'", "not 5"]),
        ("rows", ["99"]),
        ("times", ["day", "row 3900"]),
        ("duplicates", ["400 row(s)"]),
        ("leak", ["age", "1.00000", "`ignored`"]),
        ("future", ["signed", "1 row(s)"]),
        ("checks", ["spent", "unlucky", "row 17 (13.0)"]),
    ],
)
def test_each_broken_rule_is_named_with_its_first_rows(
    frame: pd.DataFrame, rule: str, facts: list[str]
) -> None:
    with fails("data", *facts):
        contract.check(broken(frame, rule), table(), class_rows=5)
    found = contract.examine(broken(frame, rule), table(), class_rows=5)
    assert [each.name for each in found.rules if each.reasons] == [rule]


def test_several_broken_rules_are_told_at_once(frame: pd.DataFrame) -> None:
    made = frame
    several = ["types", "missing", "ranges", "labels", "duplicates"]
    for rule in several:
        made = broken(made, rule)
    found = contract.examine(made, table())
    assert {rule.name for rule in found.rules if rule.status == "fail"} == {*several}
    assert {rule.name for rule in found.rules if rule.status == "not judged"} >= {"leak", "checks"}
    assert found._repr_markdown_().count("**fail**") == len(several)


def test_an_undeclared_category_counts_and_fails_where_it_is_refused(frame: pd.DataFrame) -> None:
    made = frame.assign(city=frame["city"].where(frame.index != 17, "Pisa"))
    found = contract.examine(made, table())
    assert found.passed
    assert next(rule.count for rule in found.rules if rule.name == "categories") == 1
    with fails("data", "city", "row 17 (Pisa)"):
        contract.check(made, table(unseen="refuse"))


def test_rows_are_counted_from_the_first_whatever_the_index(frame: pd.DataFrame) -> None:
    made = broken(frame, "ranges").set_index(np.zeros(len(frame)))
    assert "row 17 (7)" in contract.examine(made, table()).reasons[0]


def test_duplicates_are_tolerated_up_to_the_given_share(frame: pd.DataFrame) -> None:
    found = contract.examine(broken(frame, "duplicates"), table(), duplicates=0.2)
    assert found.passed
    assert next(rule.count for rule in found.rules if rule.name == "duplicates") == 400


def test_missing_values_are_tolerated_up_to_the_given_share(frame: pd.DataFrame) -> None:
    assert contract.examine(frame, table(), missing=0.2).passed
    with fails("data", "missing: visits", "2 row(s)", "row 5", "missing: spent"):
        contract.check(frame, table(), missing=0.0)


def test_a_date_may_be_known_ahead(frame: pd.DataFrame) -> None:
    assert contract.examine(broken(frame, "future"), table(), known_ahead=["signed"]).passed


def test_a_column_named_twice_is_a_broken_rule(frame: pd.DataFrame) -> None:
    found = contract.examine(pd.concat([frame, frame[["age"]]], axis=1), table())
    assert found.reasons[0] == "columns: 'age' stands there twice."


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["number", "text", "missing"])
def test_a_column_that_tells_the_label_is_found_in_each_task(
    frame: pd.DataFrame, task: str, kind: str
) -> None:
    declared = table(task)
    labels = declared.labels(frame)
    made = frame.copy()
    if kind == "number":
        made["spent"] = 3.0 * labels + 1
    elif kind == "text":
        made["city"] = pd.Series([f"{round(each)}" for each in labels])
    else:
        made["spent"] = frame["spent"].where(labels > labels.min(), np.nan).fillna(np.nan)
        made.loc[labels > labels.min(), "spent"] = 1.0
    found = {leak.column for leak in leaks.told(made, declared)}
    # A rounded number isn't told wholly, and a gap tells one class of three.
    wholly_told = kind == "number" or task == "binary" or (kind, task) == ("text", "multiclass")
    assert found == ({"number": {"spent"}, "text": {"city"}, "missing": {"spent"}}[kind]
                     if wholly_told else set())  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_an_id_tells_nothing(frame: pd.DataFrame, task: str) -> None:
    made = frame.assign(city=[f"id {number}" for number in range(len(frame))])
    assert leaks.told(made, table(task)) == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("by", ["time", "entity", "label"])
def test_a_split_keeps_every_row_once(frame: pd.DataFrame, task: str, by: Any) -> None:
    split = splits.split(frame, table(task), by=by)
    assert list(split.parts) == ["train", "calibrate", "holdout", "replay"]
    together = pd.concat(split.parts.values())
    order = ["day", "customer", "price"]
    again = together.sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(again, frame.sort_values(order, ignore_index=True))
    shares = [len(part) / len(frame) for part in split.parts.values()]
    assert shares == pytest.approx([0.55, 0.10, 0.25, 0.10], abs=0.04)
    assert split.note in split._repr_markdown_()


def test_a_split_by_time_puts_equal_times_into_one_part(frame: pd.DataFrame) -> None:
    parts = list(splits.split(frame.sample(frac=1, random_state=1), table()).parts.values())
    for before, after in pairwise(parts):
        assert before["day"].max() < after["day"].min()
    assert "day" in splits.split(frame, table()).note
    assert "customer" in splits.split(frame, table()).note, "customers stand on both sides"


def test_a_split_by_entity_keeps_each_in_one_part_also_when_rows_come(frame: pd.DataFrame) -> None:
    split = splits.split(frame, table(), by="entity")
    assert leaks.shared_entities([*split.parts.values()], table()) == (0, frame.customer.nunique())
    fewer = splits.split(frame[::2], table(), by="entity")
    for name, part in fewer.parts.items():
        assert set(part["customer"]) <= set(split.parts[name]["customer"])


def test_a_split_by_label_gives_each_part_the_same_share(frame: pd.DataFrame) -> None:
    for part in splits.split(frame, table(), by="label").parts.values():
        assert (part["left"] == "yes").mean() == pytest.approx(0.2, abs=0.02)
    for part in splits.split(frame, table("regression"), by="label").parts.values():
        assert part["price"].median() == pytest.approx(100, abs=4)


@pytest.mark.parametrize("count", [4, 5, 7, 13])
def test_a_rare_class_has_a_row_in_each_part(frame: pd.DataFrame, count: int) -> None:
    rare = frame.assign(left=np.where(np.arange(len(frame)) < count, "yes", "no"))
    parts = splits.split(rare, table(), by="label").parts.values()
    counts = [int((part["left"] == "yes").sum()) for part in parts]
    assert min(counts) >= 1
    assert sum(counts) == count
    assert counts[0] == max(counts)


def test_classes_at_different_times_are_each_split_by_their_own_time(frame: pd.DataFrame) -> None:
    early = frame["left"].where(frame["day"] < frame["day"].quantile(0.8), "no")
    split = splits.split(frame.assign(left=early), table())
    assert "replay would have 0 of" in split.note
    for label in ("no", "yes"):
        times = [part.loc[part["left"] == label, "day"] for part in split.parts.values()]
        assert all(before.max() < after.min() for before, after in pairwise(times))
    assert all(part["day"].is_monotonic_increasing for part in split.parts.values())


def test_a_part_without_a_class_is_refused_with_the_counts(frame: pd.DataFrame) -> None:
    with fails("data", "train", "0 of 'yes'"):
        splits.split(frame.assign(left="no"), table())
    with fails("data", "0 rows"):
        splits.split(frame[:0], table("regression"))


def test_a_row_without_a_time_is_not_split(frame: pd.DataFrame) -> None:
    with fails("data", "day", "row 17"):
        splits.split(broken(frame, "missing"), table())


@pytest.mark.parametrize(
    "given", [{"shares": (0.5, 0.5, 0.0, 0.0)}, {"shares": (0.5, 0.5)}, {"by": "moon"}], ids=str
)
def test_what_is_no_split_is_refused(frame: pd.DataFrame, given: dict[str, Any]) -> None:
    with fails("parameter", *map(repr, given.values())):
        splits.split(frame, table(), **given)
    with fails("parameter", "'entity'"):
        splits.split(frame, table(entity=""), by="entity")


@pytest.mark.parametrize("task", TASKS)
def test_a_summary_counts_what_is_there(frame: pd.DataFrame, task: str) -> None:
    found = summary(pd.concat([frame, frame.tail(3)]), table(task))
    assert (found.rows, found.duplicates) == (4_003, 3)
    city = next(each for each in found.columns if each.name == "city")
    assert (city.distinct, city.kind, round(city.missing * 4_003)) == (2, "str", 2)
    shown = found._repr_markdown_()
    assert "| repeated rows | 3 |" in shown
    label = table(task).label
    assert label in shown
    assert summary(frame[:0], table(task)).rows == 0


def test_a_fingerprint_sees_values_names_types_and_order_but_no_index() -> None:
    plain = pd.DataFrame({"a": [0.0, 1.5, np.nan], "b": [1, 2, 3]})
    known = fingerprint(plain)
    assert fingerprint(plain.set_index(pd.Index([7, 7, 9]))) == known
    assert fingerprint(plain.assign(a=[-0.0, 1.5, -np.nan])) == known
    others = [
        plain.assign(a=[0.0, 1.5, 2.0]),
        plain.rename(columns={"b": "c"}),
        plain.astype({"b": "int32"}),
        plain[["b", "a"]],
        plain.iloc[::-1],
        plain.head(2),
    ]
    assert len({known, *map(fingerprint, others)}) == 7
    assert len(known) == len("sha256:") + 64


def test_a_fingerprint_sees_every_kind_of_value(frame: pd.DataFrame) -> None:
    known = fingerprint(frame)
    same = [
        frame.set_index(np.arange(len(frame)) + 7),
        frame.assign(city=frame["city"].astype(object)),
        frame.assign(city=frame["city"].astype("category")),
        frame.assign(day=frame["day"].astype("datetime64[ns]")),
    ]
    assert {known, *map(fingerprint, same)} == {known}
    others = [frame.copy() for _ in range(6)]
    others[0].loc[0, "city"] = "Pisa"
    others[1].loc[0, "city"] = None
    others[2].loc[0, "day"] = pd.NaT
    others[3].loc[0, "visits"] = None
    others[4].loc[0, "member"] = not frame.loc[0, "member"]
    others[5] = frame.iloc[::-1]
    assert len({known, *map(fingerprint, others)}) == 7


def test_texts_that_run_together_differ() -> None:
    pairs = [["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None]]
    assert len({fingerprint(pd.DataFrame({"x": pair})) for pair in pairs}) == 4


def test_a_fingerprint_of_anything_else_is_refused() -> None:
    with fails("data", "'x'", "object"):
        fingerprint(pd.DataFrame({"x": [[1], [2]]}))


def test_a_snapshot_comes_back_with_its_types(frame: pd.DataFrame, tmp_path: Any) -> None:
    made = frame.assign(maybe=pd.array([True, None] * 2_000, "boolean"))
    path = save(made[100:], tmp_path)
    pd.testing.assert_frame_equal(read(path), made[100:].reset_index(drop=True))
