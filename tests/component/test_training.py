"""A threshold costs least, decides exactly where it stands, and a version carries its papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mlops_kit import Workspace
from mlops_kit.examples.fraud import data
from mlops_kit.models import training
from mlops_kit.models.costs import Costs
from mlops_kit.models.registry import Registry
from mlops_kit.tables import datasets


class Scores:
    """A model whose scores are those of one column."""

    classes_ = (0, 1)

    def predict_proba(self, frame: pd.DataFrame) -> Any:
        scores = frame["V1"].to_numpy()
        return np.column_stack([1 - scores, scores])


def frame_of(scores: Any, labels: Any, amounts: Any) -> pd.DataFrame:
    rows = pd.DataFrame({name: np.zeros(len(scores)) for name in data.COLUMNS})
    return rows.assign(V1=scores, Class=np.asarray(labels, dtype="int64"), Amount=amounts)


def drawn(seed: int, rows: int, ties: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = rng.random(rows) < 0.1
    scores = np.clip(rng.normal(0.2 + 0.3 * labels, 0.2), 0, 1)
    if ties:
        scores = scores.round(1)
    return frame_of(scores, labels, rng.gamma(1.0, 60.0, rows))


def cost(frame: pd.DataFrame, threshold: float, costs: Costs) -> float:
    """What the documentation says, row by row, per 1,000 rows."""
    total = 0.0
    for score, label, amount in zip(frame["V1"], frame["Class"], frame["Amount"], strict=True):
        flagged = score >= threshold
        if label and not flagged:
            total += amount + costs.false_negative
        if flagged and not label:
            total += costs.false_positive
    return 1000 * total / len(frame)


def least(frame: pd.DataFrame, costs: Costs) -> float:
    everything = [-1.0, *sorted(set(frame["V1"])), 2.0]
    return min(cost(frame, threshold, costs) for threshold in everything)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    "costs", [Costs(), Costs(0.0, 20.0), Costs(500.0, 0.0), Costs(1e6, 0.0), Costs(0.5, 100.0)]
)
@pytest.mark.parametrize("rows", [60, 900])
def test_no_threshold_costs_less(rows: int, costs: Costs, ties: bool) -> None:
    for seed in range(2):
        frame = drawn(seed, rows, ties)
        chosen = training.choose_threshold(Scores(), frame, data.TABLE, costs=costs)
        assert cost(frame, chosen.value, costs) == pytest.approx(least(frame, costs))


def test_each_threshold_has_the_cost_that_is_documented() -> None:
    frame, costs = drawn(5, 300), Costs(4.0, 30.0)
    found = training.choose_threshold(Scores(), frame, data.TABLE, costs=costs)
    assert len(found.costs) == len(found.thresholds) > 100
    assert min(found.costs) == found.costs[found.thresholds.index(found.value)]
    assert list(found.thresholds) == sorted(found.thresholds)
    for threshold, said in list(zip(found.thresholds, found.costs, strict=True))[::10]:
        assert said == pytest.approx(cost(frame, threshold, costs))


def test_the_last_threshold_flags_nothing_also_where_a_score_is_1() -> None:
    frame = frame_of([0.0, 0.5, 1.0, 1.0], [0, 0, 1, 0], [10.0, 10.0, 100.0, 10.0])
    found = training.choose_threshold(Scores(), frame, data.TABLE, costs=Costs(1e6, 20.0))
    assert found.costs[-1] == pytest.approx(1000 * 120 / 4)
    assert found.value > 1.0
    assert "no positive at all would cost 30,000" in found._repr_markdown_()


def test_the_least_of_many_is_found_far_from_the_top() -> None:
    # Reviews for nothing, so that flagging half of all rows pays: thousands of scores below the
    # few that frauds have.
    rng = np.random.default_rng(2)
    scores = np.sort(rng.random(20_000))
    labels = np.zeros(20_000)
    labels[[9_991, 19_000]] = 1
    frame = frame_of(scores, labels, 1000.0)
    chosen = training.choose_threshold(Scores(), frame, data.TABLE, costs=Costs(0.01, 0.0))
    assert scores[9_990] < chosen.value <= scores[9_991]


def test_a_threshold_that_costs_least_is_as_low_as_the_data_say() -> None:
    frame = frame_of([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 10.0)
    found = training.choose_threshold(Scores(), frame, data.TABLE, costs=Costs())
    assert found.value == pytest.approx(0.5)
    assert found.costs[found.thresholds.index(found.value)] == 0


@pytest.fixture(scope="module")
def fitted() -> tuple[Any, pd.DataFrame]:
    frame = data.generate(4000, seed=11)
    model = make_pipeline(SimpleImputer(), LogisticRegression(max_iter=500))
    return model.fit(frame[[*data.FEATURES]], frame["Class"]), frame


def test_a_model_decides_exactly_at_its_threshold(fitted: tuple[Any, pd.DataFrame]) -> None:
    model, frame = fitted
    features = frame[[*data.FEATURES]]
    scores = model.predict_proba(features)[:, 1]
    at = float(np.sort(scores)[-20])
    for threshold in (at, float(np.nextafter(at, 1)), float(np.nextafter(at, 0)), 0.0, 1.1):
        decides = training.with_threshold(model, threshold, frame, data.TABLE)
        assert (decides.predict(features) == (scores >= threshold)).all()
        assert decides.threshold == threshold
    decides = training.with_threshold(model, at, frame, data.TABLE)
    assert decides.predict(features).sum() == 20
    assert (decides.predict_proba(features)[:, 1] == scores).all(), "scores stay as they were"


def test_a_version_carries_its_papers(
    fitted: tuple[Any, pd.DataFrame], tmp_path: Path, project: Path
) -> None:
    model, frame = fitted
    decides = training.with_threshold(model, 0.25, frame, data.TABLE)
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts=tmp_path / "artifacts")
    papers = Workspace.open(project).lineage_tags("train.ipynb", defect="none")
    made = training.register(
        registry, "fraud", decides, frame, data.TABLE, role="candidate", tags=papers
    )
    tags = registry.version("fraud", made.version).tags
    assert tags["role"] == "candidate"
    assert tags["data"] == datasets.fingerprint(frame)
    assert tags["code"] == "not in Git"
    assert tags["defect"] == "none"
    assert tags["notebook"].startswith("train.ipynb sha256:")

    notebook = project / "notebooks" / "train.ipynb"
    notebook.write_text(notebook.read_text().replace("random_state=7", "random_state=8"))
    changed = Workspace.open(project).lineage_tags("train.ipynb")
    assert changed["notebook"] != tags["notebook"]
    assert datasets.fingerprint(frame.iloc[:-1]) != tags["data"]
