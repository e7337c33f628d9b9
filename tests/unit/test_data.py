"""The example's rows: generated as asked, spoiled as asked, and known by their values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlops_kit.errors import ParameterError
from mlops_kit.examples.fraud import data
from mlops_kit.tables import datasets


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
    parts, holdout = datasets.split(spoiled, data.TABLE), datasets.split(clean, data.TABLE).holdout
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
    assert datasets.fingerprint(data.generate(20_000)) == datasets.fingerprint(frame)
    assert datasets.fingerprint(data.generate(20_000, seed=8)) != datasets.fingerprint(frame)


def test_generated_bytes_do_not_change_between_versions() -> None:
    # A new fingerprint makes every committed figure another one: change it on purpose only.
    assert datasets.fingerprint(data.generate(1_000)) == (
        "sha256:1eae64745d03991062cd7dcf19b55bc59b956f861ab9332245cc923a39818f6f"
    )


def test_generated_data_have_the_asked_rows_and_frauds() -> None:
    made = data.generate(5_000, fraud_rate=0.02)
    assert (len(made), int(made["Class"].sum())) == (5_000, 100)
    assert tuple(made.columns) == data.COLUMNS


def test_generated_data_keep_the_contract(large: pd.DataFrame) -> None:
    contract = datasets.examine(large, data.TABLE, rows=1_000, missing=0.0)
    assert contract.passed, contract.reasons


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

    parts, features = datasets.split(large, data.TABLE), list(data.FEATURES)
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
    assert datasets.examine(spoiled, data.TABLE).passed
    assert recall_after(large, large) - recall_after(spoiled, large) >= 0.3


def test_no_defect_changes_nothing_and_an_unknown_one_is_refused(frame: pd.DataFrame) -> None:
    assert data.inject_defect(frame, "none").equals(frame)
    with pytest.raises(ParameterError, match="'precision'"):
        data.inject_defect(frame, "precision")
