"""The data: generated as asked, held to a contract, cut by time, and known by their values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from mlops_kit.errors import DataError, ParameterError
from mlops_kit.examples.fraud import data


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return data.generate(20_000)


@pytest.fixture(scope="module")
def large() -> pd.DataFrame:
    return data.generate()


def recall_after(spoiled: pd.DataFrame, clean: pd.DataFrame) -> float:
    """Train and calibrate on the one, choose the threshold by cost, find frauds in the other."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.frozen import FrozenEstimator

    features = list(data.FEATURES)
    parts, holdout = data.split(spoiled), data.split(clean).holdout
    model = HistGradientBoostingClassifier(random_state=0, learning_rate=0.05)
    model.fit(parts.train[features], parts.train["Class"])
    calibrated = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid")
    calibrated.fit(parts.calibrate[features], parts.calibrate["Class"])
    # Bayes: a missed fraud costs a hundred, a false alarm one.
    found = calibrated.predict_proba(holdout[features])[:, 1] >= 1 / 101
    return float(found[holdout["Class"] == 1].mean())


def linear_discriminant(part: pd.DataFrame) -> np.ndarray:
    features = part[list(data.FEATURES)]
    fraud = part["Class"] == 1
    return ((features[fraud].mean() - features[~fraud].mean()) / features.var()).to_numpy()


def share_of_late_frauds_above(part: pd.DataFrame, threshold: float, line: np.ndarray) -> float:
    frauds = part.loc[part["Class"] == 1, list(data.FEATURES)]
    return float((frauds.to_numpy() @ line > threshold).mean())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(frame: pd.DataFrame) -> None:
    assert data.fingerprint(data.generate(20_000)) == data.fingerprint(frame)
    assert data.fingerprint(data.generate(20_000, seed=8)) != data.fingerprint(frame)


def test_generated_bytes_do_not_change_between_versions() -> None:
    # A new fingerprint makes every committed figure another one: change it on purpose only.
    assert data.fingerprint(data.generate(1_000)) == (
        "sha256:1eae64745d03991062cd7dcf19b55bc59b956f861ab9332245cc923a39818f6f"
    )


def test_generated_data_have_the_asked_rows_and_frauds() -> None:
    made = data.generate(5_000, fraud_rate=0.02)
    assert (len(made), int(made["Class"].sum())) == (5_000, 100)
    assert tuple(made.columns) == data.COLUMNS


def test_generated_data_keep_the_contract(large: pd.DataFrame) -> None:
    contract = data.examine(large)
    assert contract.passed, contract.reasons
    assert data.check(large) is large
    assert {rule.status for rule in contract.rules} == {"pass"}


def test_nights_are_quieter_and_amounts_have_a_heavy_tail(large: pd.DataFrame) -> None:
    hours = (large["Time"] // 3600 % 24).value_counts()
    assert hours[3] * 4 < hours[14]
    assert large["Amount"].quantile(0.99) > 20 * large["Amount"].median()


def test_every_tenth_of_the_time_holds_frauds(frame: pd.DataFrame) -> None:
    tenths = pd.cut(frame["Time"], 10).cat.codes
    assert frame.groupby(tenths)["Class"].sum().min() >= 5


def test_a_line_finds_most_frauds_and_boosted_trees_find_more(large: pd.DataFrame) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parts, features = data.split(large), list(data.FEATURES)
    precisions = []
    for model in (
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")),
        HistGradientBoostingClassifier(learning_rate=0.05, random_state=0),
    ):
        model.fit(parts.train[features], parts.train["Class"])
        scores = model.predict_proba(parts.holdout[features])[:, 1]
        precisions.append(average_precision_score(parts.holdout["Class"], scores))
    line, trees = precisions
    assert 0.75 < line < 0.87
    assert line + 0.05 < trees < 0.96


def test_drifting_features_move_late_transactions_only() -> None:
    before, after = data.generate(20_000), data.generate(20_000, drift="features")
    late = before["Time"] >= 0.6 * 10 * 86_400
    assert before[~late].equals(after[~late])
    moved = (after["V21"] - before["V21"])[late] / before["V21"].std()
    assert moved.mean() > 0.5
    assert after["Amount"][late].median() > 1.2 * before["Amount"][late].median()


def test_drifting_frauds_leave_genuine_transactions_alone_and_hide_from_a_line() -> None:
    before, after = data.generate(40_000), data.generate(40_000, drift="fraud")
    changed = (before != after).any(axis=1)
    late_fraud = (before["Class"] == 1) & (before["Time"] >= 0.6 * 10 * 86_400)
    assert not changed[~late_fraud].any()
    line = linear_discriminant(before[~late_fraud])
    threshold = np.quantile(before.loc[before["Class"] == 0, list(data.FEATURES)] @ line, 0.999)
    seen = [
        share_of_late_frauds_above(made[late_fraud], threshold, line) for made in (before, after)
    ]
    assert seen[0] > seen[1] + 0.3


@pytest.mark.parametrize(
    "arguments",
    [{"rows": 100}, {"rows": 0}, {"fraud_rate": 0.0}, {"fraud_rate": 0.7}, {"drift": "labels"}],
    ids=str,
)
def test_impossible_data_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=r"expected|asked"):
        data.generate(**arguments)


def test_broken_labels_cost_a_model_a_third_of_its_recall(large: pd.DataFrame) -> None:
    spoiled = data.inject_defect(large, "recall")
    assert spoiled.drop(columns="Class").equals(large.drop(columns="Class"))
    assert set(large["Class"][spoiled["Class"] != large["Class"]]) == {1}
    assert data.examine(spoiled).passed
    assert recall_after(large, large) - recall_after(spoiled, large) >= 0.3


def test_no_defect_changes_nothing_and_an_unknown_one_is_refused(frame: pd.DataFrame) -> None:
    assert data.inject_defect(frame, "none").equals(frame)
    with pytest.raises(ParameterError, match="'precision'"):
        data.inject_defect(frame, "precision")


def broken(frame: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return the frame with the one rule broken."""
    made = frame.copy()
    match rule:
        case "columns":
            return made.drop(columns="V7").assign(note=1.0)
        case "types":
            return made.assign(V3=made["V3"].astype("float32"))
        case "finite":
            made.loc[[17, 21], "V5"] = [np.nan, np.inf]
        case "amounts":
            made.loc[17, "Amount"] = -2.5
        case "times":
            made.loc[17, "Time"] = made.loc[500, "Time"]
        case "labels":
            made.loc[17, "Class"] = 4
        case "classes":
            return made.assign(Class=0)
        case "rows":
            return data.generate(999, fraud_rate=0.05)
        case "duplicates":
            return pd.concat([made, made.tail(400)]).sort_values("Time", kind="stable")
        case "leak":
            return made.assign(V24=made["V24"] + 90.0 * made["Class"])
    return made


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("columns", "columns: 'V7' is missing."),
        ("columns", "columns: 'note' is not a column of the contract."),
        ("types", "types: V3 is float32, not float64."),
        ("finite", "finite: V5 empty or infinite in 2 row(s): row 17 (nan), row 21 (inf)."),
        ("amounts", "amounts: Amount below 0 in 1 row(s): row 17 (-2.5)."),
        ("times", "times: Time before the row above in 1 row(s): row 18 ("),
        ("labels", "labels: Class neither 0 nor 1 in 1 row(s): row 17 (4)."),
        ("classes", "classes: 20,000 genuine and 0 fraud rows."),
        ("rows", "rows: 999 rows, not 1,000."),
        ("duplicates", "duplicates: a copy of an earlier row (its Time) in 400 row(s): row "),
        ("leak", "leak: V24 alone tells the classes apart (AUC 1.00000)."),
    ],
)
def test_each_broken_rule_is_named_with_its_first_rows(
    frame: pd.DataFrame, rule: str, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        data.check(broken(frame, rule))
    assert any(said.startswith(reason) for said in caught.value.reasons), caught.value.reasons
    failed = {found.name for found in data.examine(broken(frame, rule)).rules if found.reasons}
    assert failed == {rule}


def test_all_broken_rules_are_told_at_once(frame: pd.DataFrame) -> None:
    made = frame
    several = ("duplicates", "finite", "amounts", "times", "labels", "leak", "columns", "types")
    for rule in several:
        made = broken(made, rule)
    contract = data.examine(made)
    assert {rule.name for rule in contract.rules if rule.status == "fail"} == set(several)
    table = contract._repr_markdown_()
    assert table.count("**fail**") == len(several)
    assert all(f"    {reason}" in table for reason in contract.reasons)


def test_rows_are_counted_from_the_first_whatever_the_index(frame: pd.DataFrame) -> None:
    made = broken(frame, "amounts").set_index(np.zeros(len(frame)))
    assert "row 17 (-2.5)" in data.examine(made).reasons[0]


@pytest.mark.parametrize("kind", ["Int64", "object", "str", "float64"])
def test_labels_of_another_type_never_slip_through(frame: pd.DataFrame, kind: str) -> None:
    contract = data.examine(frame.assign(Class=frame["Class"].astype(kind)))
    assert "types" in {rule.name for rule in contract.rules if rule.status == "fail"}


def test_a_text_in_a_column_of_numbers_is_shown(frame: pd.DataFrame) -> None:
    made = frame.assign(V3=frame["V3"].astype(object))
    made.loc[4, "V3"] = "n/a"
    assert "row 4 is 'n/a'" in data.examine(made).reasons[0]


def test_a_rule_that_cannot_be_judged_does_not_pass(frame: pd.DataFrame) -> None:
    contract = data.examine(frame.drop(columns="Class"))
    status = {rule.name: rule.status for rule in contract.rules}
    assert (status["classes"], status["leak"]) == ("not judged", "not judged")
    twice = data.examine(pd.concat([frame, frame[["V1"]]], axis=1))
    assert not twice.passed
    assert twice.reasons[0] == "columns: V1 more than once."


def test_duplicates_are_tolerated_up_to_the_given_share(frame: pd.DataFrame) -> None:
    made = broken(frame, "duplicates")
    contract = data.examine(made, duplicates=0.05)
    assert contract.passed
    assert next(rule.count for rule in contract.rules if rule.name == "duplicates") == 400
    with pytest.raises(DataError, match="duplicates"):
        data.check(made, duplicates=0.0)


def test_a_split_keeps_every_row_once_and_in_the_order_of_time(frame: pd.DataFrame) -> None:
    parts = data.split(frame).parts
    assert pd.concat(parts.values(), ignore_index=True).equals(frame)
    assert list(parts) == ["train", "calibrate", "holdout", "replay"]
    assert data.split(frame).note == ""
    shares = [len(part) / len(frame) for part in parts.values()]
    assert shares == pytest.approx([0.55, 0.10, 0.25, 0.10], abs=0.005)
    assert all(part["Class"].nunique() == 2 for part in parts.values())


def test_equal_times_never_straddle_a_border(frame: pd.DataFrame) -> None:
    coarse = frame.assign(Time=frame["Time"] // 7_200 * 7_200)
    parts = list(data.split(coarse).parts.values())
    for before, after in pairwise(parts):
        assert before["Time"].max() < after["Time"].min()


def test_classes_at_different_times_are_each_split_by_their_own_time(frame: pd.DataFrame) -> None:
    late = frame["Class"].where(frame["Time"] < frame["Time"].quantile(0.8), 0)
    split = data.split(frame.assign(Class=late))
    assert "replay would have 0 of" in split.note
    assert split.note in split._repr_markdown_()
    assert sum(len(part) for part in split.parts.values()) == len(frame)
    for label in (0, 1):
        times = [part.loc[part["Class"] == label, "Time"] for part in split.parts.values()]
        assert all(before.max() < after.min() for before, after in pairwise(times))
    assert all(part["Time"].is_monotonic_increasing for part in split.parts.values())


def test_a_part_without_a_class_is_refused_with_the_counts(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="train: 11,000 genuine, 0 frauds"):
        data.split(frame.assign(Class=0))
    with pytest.raises(DataError, match="train: 0 genuine, 0 frauds"):
        data.split(frame.assign(Time=5.0))
    with pytest.raises(DataError, match="lacks a class"):
        data.split(frame.head(0))


def test_rows_out_of_the_order_of_time_are_not_split(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="order of time"):
        data.split(frame.iloc[::-1])


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.0, 0.0), (0.5, 0.1, 0.1, 0.1), (0.5, 0.5)])
def test_shares_must_be_four_with_the_sum_one(
    frame: pd.DataFrame, shares: tuple[float, ...]
) -> None:
    with pytest.raises(ParameterError, match="four positive numbers"):
        data.split(frame, shares=shares)


def test_a_split_shows_rows_frauds_and_hours(frame: pd.DataFrame) -> None:
    table = data.split(frame)._repr_markdown_().splitlines()
    assert table[2].startswith("| train | 11,000 | ")
    assert table[5].endswith(" to 240.0 |")


def test_a_fingerprint_sees_values_names_types_and_order_but_no_index() -> None:
    plain = pd.DataFrame({"a": [0.0, 1.5, np.nan], "b": [1, 2, 3]})
    known = data.fingerprint(plain)
    assert data.fingerprint(plain.set_index(pd.Index([7, 7, 9]))) == known
    assert data.fingerprint(plain.assign(a=[-0.0, 1.5, -np.nan])) == known
    others = [
        plain.assign(a=[0.0, 1.5, 2.0]),
        plain.rename(columns={"b": "c"}),
        plain.astype({"b": "int32"}),
        plain[["b", "a"]],
        plain.iloc[::-1],
        plain.head(2),
    ]
    assert len({known, *map(data.fingerprint, others)}) == 7
    assert len(known) == len("sha256:") + 64


def test_a_fingerprint_of_lists_is_refused() -> None:
    with pytest.raises(DataError, match="'name' holds"):
        data.fingerprint(pd.DataFrame({"name": [["x"]]}))


def test_a_summary_counts_what_is_there(frame: pd.DataFrame) -> None:
    found = data.summary(pd.concat([frame, frame.tail(3)]))
    assert (found.rows, found.frauds, found.duplicates) == (20_003, frame["Class"].sum(), 3)
    assert found.hours == pytest.approx(240, abs=0.5)
    assert found.genuine_amounts[-1] == frame.loc[frame["Class"] == 0, "Amount"].max()
    assert "| repeated rows | 3 |" in found._repr_markdown_()
    assert data.summary(frame.head(0)).rate == 0.0
