"""A table is declared once, in pandera's form, and gives a model its inputs and labels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from mlops_kit.tables import frames
from mlops_kit.tables.schema import declare_table
from mlops_kit.tables.slicers import bins
from mlops_kit.tables.table import Table
from tests.failures import fails

SCHEMA = pa.DataFrameSchema(
    {
        "id": pa.Column(str),
        "signed": pa.Column("datetime64[ns]", nullable=True),
        "age": pa.Column("int64", pa.Check.in_range(18, 120)),
        "visits": pa.Column("Int64", nullable=True),
        "spent": pa.Column(float, pa.Check.ge(0), nullable=True),
        "member": pa.Column(bool),
        "city": pa.Column(str, pa.Check.isin(["Rome", "Oslo"]), nullable=True),
        "left": pa.Column(str, pa.Check.isin(["yes", "no"])),
    }
)


def table(**more: Any) -> Table:
    roles = {"label": "left", "positive": "yes", "entity": "id", "amount": "spent"}
    return declare_table("churn", SCHEMA, **{**roles, **more})


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "signed": pd.to_datetime(["2026-01-02", None, "2026-01-03T12:00"], format="ISO8601"),
            "age": [20, 30, 40],
            "visits": pd.array([1, None, 3], dtype="Int64"),
            "spent": [1.5, np.nan, 2.0],
            "member": [True, False, True],
            "city": ["Rome", None, "Pisa"],
            "left": ["no", "yes", "no"],
        }
    )


def test_a_declaration_is_read_from_pandera() -> None:
    found = table()
    assert found.feature_names == ["signed", "age", "visits", "spent", "member", "city"]
    assert found.classes == ("no", "yes")
    assert found.positive == "yes"
    age, visits, city = (found.column(name) for name in ("age", "visits", "city"))
    assert (age.kind, age.low, age.high, age.nullable) == ("int", 18, 120, False)
    assert (visits.kind, visits.nullable) == ("int", True)
    assert city.categories == ("Rome", "Oslo")
    assert age.expected == "a whole number from 18 to 120"
    assert city.expected == "one of 'Rome', 'Oslo', or a missing value"


def test_a_model_class_of_pandera_declares_as_well() -> None:
    class House(pa.DataFrameModel):
        rooms: int = pa.Field(ge=1)
        price: float

    found = declare_table("houses", House, label="price")
    assert found.task == "regression"
    assert found.column("rooms").low == 1


def test_inputs_have_the_declared_types_with_gaps_as_nan() -> None:
    found = table().inputs(rows())
    assert [str(dtype) for dtype in found.dtypes] == [
        *("float64", "int64", "float64", "float64", "bool", "object")
    ]
    assert found["signed"].tolist()[0] == 20_455.0
    assert found["signed"].tolist()[2] == 20_456.5
    assert np.isnan(found["visits"][1])
    assert found["city"].tolist()[::2] == ["Rome", "Pisa"]
    assert found["city"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(("unseen", "is_missing"), [("keep", False), ("missing", True)])
def test_an_undeclared_category_is_handled_as_declared(unseen: str, is_missing: bool) -> None:
    found = table(unseen=unseen).inputs(rows())
    assert bool(found["city"].isna()[2]) == is_missing


def test_an_undeclared_category_can_be_refused() -> None:
    with fails("table", "'Pisa'", "row 2", "'city'"):
        table(unseen="refuse").inputs(rows())


@pytest.mark.parametrize(
    ("column", "value"),
    [("age", "old"), ("age", 1.5), ("age", None), ("spent", "12"), ("member", 2), ("city", 7)],
)
def test_a_value_of_another_type_names_its_row_and_column(column: str, value: Any) -> None:
    frame = rows().astype(object)
    frame.loc[1, column] = value
    with fails("table", "row 1", repr(column), repr(value)):
        table().inputs(frame)


def test_a_column_that_may_be_missing_may_be_absent() -> None:
    assert table().inputs(rows().drop(columns="visits"))["visits"].isna().all()
    with fails("table", "'age'"):
        table().inputs(rows().drop(columns="age"))


@pytest.mark.parametrize(
    ("classes", "positive", "given", "expected"),
    [
        (["ok", "fraud"], "fraud", ["fraud", "ok"], [1, 0]),
        ([1, 2], 2, [2, 1, 2.0, np.int8(1)], [1, 0, 1, 0]),
        ([-1, 1], 1, [-1, 1], [0, 1]),
        ([True, False], False, [True, False, np.bool_(False)], [0, 1, 1]),
    ],
)
def test_labels_are_class_indices(
    classes: list[Any], positive: Any, given: list[Any], expected: list[int]
) -> None:
    schema = pa.DataFrameSchema(
        {"x": pa.Column(float), "y": pa.Column(type(classes[0]), pa.Check.isin(classes))}
    )
    found = declare_table("m", schema, label="y", positive=positive)
    frame = pd.DataFrame({"x": np.zeros(len(given)), "y": pd.Series(given, dtype=object)})
    assert found.labels(frame).tolist() == expected


@pytest.mark.parametrize("value", ["maybe", 1, None, True])
def test_a_label_that_is_no_class_names_its_row(value: Any) -> None:
    frame = rows().astype(object)
    frame.loc[2, "left"] = value
    with fails("table", "row 2", "'left'", repr(value)):
        table().labels(frame)


def test_several_classes_and_numbers_are_tasks_too() -> None:
    schema = pa.DataFrameSchema(
        {"x": pa.Column(float), "y": pa.Column(int, pa.Check.isin([3, 5, 9]))}
    )
    found = declare_table("digits", schema, label="y")
    assert found.task == "multiclass"
    assert frames.encode(found, [9, 3, 5]).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("more", "fact"),
    [
        ({"label": "lef"}, "'left'"),
        ({"time": "sined"}, "'signed'"),
        ({"positive": "maybe"}, "'maybe'"),
        ({"slices": ["town"]}, "'town'"),
        ({"amount": "city"}, "'city'"),
        ({"label": "signed", "positive": None, "task": "regression"}, "'signed'"),
        ({"ignored": [*SCHEMA.columns]}, "no features"),
        ({"task": "ranking"}, "'ranking'"),
    ],
)
def test_a_contradiction_is_refused(more: dict[str, Any], fact: str) -> None:
    with fails("table", fact):
        table(**more)


def test_a_table_survives_as_json() -> None:
    found = table(time="signed", ignored=["age"], slices=["city"], unseen="missing")
    again = Table.from_json(json.loads(json.dumps(found.to_json())), "a test")
    assert again == found
    with fails("table", "a test"):
        Table.from_json({"schema_version": 99}, "a test")


def test_slices_are_categories_and_what_slicers_say() -> None:
    found = table(slices=["city", bins("spent", 2, title="spent (€)")])
    masks = {name: mask.tolist() for name, mask in found.slice_masks(rows()).items()}
    assert masks == {
        "city Rome": [True, False, False],
        "city Oslo": [False, False, False],
        "spent (€) below 2": [True, False, False],
        "spent (€) 2 or more": [False, False, True],
    }


def test_amounts_are_zero_where_missing_or_undeclared() -> None:
    assert table().amounts(rows()).tolist() == [1.5, 0.0, 2.0]
    assert table(amount="").amounts(rows()).tolist() == [0.0, 0.0, 0.0]


def test_declared_categories_are_pandas_categories() -> None:
    kind = pd.CategoricalDtype(["s", "m"])
    schema = pa.DataFrameSchema({"size": pa.Column(kind, nullable=True), "y": pa.Column(bool)})
    found = declare_table("shirts", schema, label="y", positive=True)
    given = pd.DataFrame({"size": ["m", "xl", None], "y": [True, False, True]})
    assert found.inputs(given)["size"].cat.codes.tolist() == [1, -1, -1]


@pytest.mark.parametrize("first", [True, False, None])
def test_the_order_of_day_and_month_is_declared_and_kept(first: bool | None) -> None:
    metadata = None if first is None else {"day_first": first}
    columns = {**SCHEMA.columns, "signed": pa.Column("datetime64[us]", metadata=metadata)}
    found = declare_table("m", pa.DataFrameSchema(columns), label="left", positive="yes")
    assert found.column("signed").day_first is first
    assert Table.from_json(json.loads(json.dumps(found.to_json())), "a test") == found


def test_a_day_first_that_is_neither_is_refused() -> None:
    columns = {**SCHEMA.columns, "signed": pa.Column(pa.DateTime, metadata={"day_first": "yes"})}
    with fails("table", "'signed'", "'yes'"):
        declare_table("m", pa.DataFrameSchema(columns), label="left", positive="yes")


def test_an_empty_text_is_a_missing_date_only_where_one_may_be_missing() -> None:
    frame = rows().astype(object)
    frame.loc[1, "signed"] = ""
    assert table().inputs(frame)["signed"].isna().tolist() == [False, True, False]
    columns = {**SCHEMA.columns, "signed": pa.Column(pa.DateTime)}
    strict = declare_table("m", pa.DataFrameSchema(columns), label="left", positive="yes")
    with fails("table", "row 1", "'signed'", "''"):
        strict.inputs(frame)
