"""Settings come from one place each, and a wrong one is said before anything starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlops_kit.errors import SettingsError
from mlops_kit.models.costs import Costs
from mlops_kit.project.settings import Model, Settings
from mlops_kit.project_folder import FILE, find_project
from mlops_kit.tables.table import TASKS, Task
from tests.failures import fails


def settings(folder: Path, text: str = "", **environment: str) -> Settings:
    (folder / FILE).write_text(text)
    os.environ.update(environment)
    return Settings.load(folder)


def test_without_a_file_the_defaults_count(tmp_path: Path) -> None:
    found = Settings.load(tmp_path)
    assert (found.model, found.environment, found.strategy) == ("", "prod", "canary")
    assert found.project == tmp_path
    assert found.state_folder == tmp_path / ".mlops-kit"
    assert found.registry_uri == f"sqlite:///{tmp_path / '.mlops-kit' / 'mlflow.db'}"
    assert found.gitops_url == str(tmp_path / ".mlops-kit" / "gitops.git")
    assert found.observations_url == f"sqlite:///{tmp_path / '.mlops-kit' / 'observations.db'}"
    assert found.models == {}
    assert (found.rollout.steps, found.rollout.interval) == ((10, 20, 30, 40, 50), 1.0)


def test_the_file_wins_over_the_defaults_and_the_environment_over_the_file(tmp_path: Path) -> None:
    text = 'model = "churn"\nenvironment = "dev"\n[models.fees]\nminimum = 7\nresamples = 200\n'
    changed = {"MLOPS_KIT_MODEL": "fees", "MLOPS_KIT_MODELS__FEES__MINIMUM": "9"}
    found = settings(tmp_path, text, **changed)
    assert (found.model, found.environment) == ("fees", "dev")
    fees = found.models["fees"]
    assert (fees.minimum, fees.resamples, fees.slice_minimum) == (9, 200, 20)


def test_a_model_has_gates_and_costs_of_its_own(tmp_path: Path) -> None:
    text = """[models.churn]
gates = [{ metric = "recall", at_least = 0.5 }, { metric = "cost", at_most = 3, slice = "city" }]
costs = { false_positive = 1, matrix = [[0, 1], [2, 0]] }
"""
    found = settings(tmp_path, text).models["churn"]
    assert found.costs == Costs(false_positive=1.0, matrix=((0.0, 1.0), (2.0, 0.0)))
    recall, cost = found.rules("binary").gates
    assert (recall.metric, recall.side, recall.bound) == ("recall", "at_least", 0.5)
    assert (cost.side, cost.bound, cost.slice) == ("at_most", 3.0, "city")


def test_names_are_trusted_for_one_model_or_for_all(tmp_path: Path) -> None:
    text = '[models]\ntrusted = ["a.B"]\n[models.churn]\nminimum = 7\ntrusted = ["c.D"]\n'
    found = settings(tmp_path, text)
    assert (found.trusted, found.models["churn"].minimum) == (("a.B",), 7)
    assert [*found.models] == ["churn"]
    assert set(found.trusted_names) == {"a.B", "c.D"}
    with fails("settings", "trusted"):
        settings(tmp_path, "[models]\ntrusted = [1]\n")


@pytest.mark.parametrize("task", TASKS)
def test_a_model_without_gates_must_be_no_worse_than_its_reference(task: Task) -> None:
    compared = [gate for gate in Model().rules(task).gates if gate.against == "reference"]
    assert compared


def test_the_bounds_of_a_rollout_and_of_the_server_are_settings(tmp_path: Path) -> None:
    text = "[rollout]\nsteps = [5, 25]\ninterval = 60\n[serving]\nport = 8080\n"
    found = settings(
        tmp_path,
        text,
        MLOPS_KIT_ROLLOUT__INTERVAL="30",
        MLOPS_KIT_SERVING__LOG_FEATURES="digest",
        MLOPS_KIT_OBSERVATIONS_URI="sqlite:////elsewhere/observations.db",
    )
    assert (found.rollout.steps, found.rollout.interval) == ((5, 25), 30)
    assert (found.serving.port, found.serving.log_features) == (8080, "digest")
    assert found.observations_url == "sqlite:////elsewhere/observations.db"


def test_a_models_own_bounds_win_over_those_of_all(tmp_path: Path) -> None:
    text = """[rollout]
absolute_error = 5.0
slow_ms = 90
[models.fees.rollout]
absolute_error = 300.0
steps = [50]
"""
    changed = {"MLOPS_KIT_MODELS__FEES__ROLLOUT__SLOW_MS": "400"}
    found = settings(tmp_path, text, **changed)
    fees, other = found.policy("fees"), found.policy("other")
    assert (fees.absolute_error, fees.slow_ms, fees.steps) == (300.0, 400.0, (50,))
    assert (other.absolute_error, other.slow_ms, other) == (5.0, 90.0, found.rollout)


def test_a_models_wrong_bounds_are_refused_when_the_settings_are_read(tmp_path: Path) -> None:
    with fails("settings.unknown", "recal", "models"):
        settings(tmp_path, "[models.fees.rollout]\nrecal = 0.5\n")
    with fails("settings", "models.fees.rollout"):
        settings(tmp_path, "[rollout]\nerror_cap = 9\n[models.fees.rollout]\nabsolute_error = 10\n")


def test_mlflows_own_name_wins_over_the_file_and_the_kits_over_it(tmp_path: Path) -> None:
    text = 'tracking_uri = "http://file"'
    assert settings(tmp_path, text).registry_uri == "http://file"
    found = settings(tmp_path, text, MLFLOW_TRACKING_URI="http://ecosystem")
    assert found.registry_uri == "http://ecosystem"
    found = settings(tmp_path, text, MLOPS_KIT_TRACKING_URI="http://kit")
    assert found.registry_uri == "http://kit"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle = 'a'", "sets 'modle'.*Did you mean 'model'"),
        ("[models.m]\nminimun = 5", r"\[m\], sets 'minimun'.*Did you mean 'minimum'"),
        ("[gitops]\nurll = 'a'", "sets 'urll'.*Did you mean 'url'"),
        ("project = '/'", "sets 'project'"),
        ("strategy = 'blue'", "strategy: .*'blue'"),
        ("workers = -1", "workers: "),
        ("workers = 'many'", "workers: .*'many'"),
        ("[models.m]\nminimum = 'high'", "models.m.minimum: .*'high'"),
        ("[models.m]\nconfidence = 2.0", "models.m.confidence: .*less than 1"),
        ("[models.m]\nresamples = 3", "models.m.resamples: .*100"),
        ("[models.m]\ngates = [{ metric = 'recall' }]", "'recall' needs one of"),
        ("[models.m]\ngates = [{ metrik = 'recall' }]", "metrik"),
        ("[models.m.costs]\nover = -1.0", "costs must be 0 or more"),
        ("[gitops]\ntimeout = 0", "gitops.timeout: "),
        ("[rollout]\nstep = [10]", r"\[rollout\], sets 'step'.*Did you mean 'steps'"),
        ("[rollout]\nsteps = [50, 10]", "expected weights that rise"),
        ("[rollout]\nsteps = []", "expected weights that rise"),
        ("[rollout]\nsteps = [0, 110]", "expected percents over 0"),
        ("[rollout]\nrecall = 1.0", "recall is 1.0; expected over 0 and under 1"),
        ("[rollout]\nalpha_promote = 0.0", "alpha_promote is 0.0; expected over 0"),
        ("[rollout]\ninterval = 0", "interval is 0.0; expected more than 0"),
        ("[rollout]\nbaking = -1", "baking is -1.0; expected 0 or more"),
        ("[rollout]\ncanary_deadline = inf", "canary_deadline is inf; expected more than 0"),
        ("[rollout]\nslow_ms = nan", "slow_ms is nan; expected more than 0"),
        ("[rollout]\ninterval = 'often'", "rollout.interval: .*'often'"),
        ("[serving]\nprot = 1", r"\[serving\], sets 'prot'.*Did you mean 'port'"),
        ("[serving]\nport = 70000", "port is 70000; expected 0 to 65535"),
        ("[serving]\nmax_body = 0", "max_body, max_rows and log_rows must be 1 or more"),
        ("[serving]\nlog_features = 'all'", "serving.log_features: .*'all'"),
        ("rollout = 3", "rollout: "),
        ("model = ", "can't be read"),
    ],
)
def test_a_wrong_file_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MLOPS_KIT_MODLE", "a", "the environment sets 'modle'.*Did you mean 'model'"),
        ("MLOPS_KIT_ROLLOUT__RECAL", "1", "sets 'recal'.*Did you mean 'recall'"),
        ("MLOPS_KIT_WORKERS", "many", "workers: .*'many'"),
        ("MLOPS_KIT_ROLLOUT__RECALL", "high", "rollout.recall: .*'high'"),
        ("MLOPS_KIT_MODELS__M__MINIMUM", "-1", "models.m.minimum"),
        ("MLOPS_KIT_ROLLOUT", '{"steps": [50, 10]}', "expected weights that rise"),
        ("MLOPS_KIT_SERVING__PORT", "-1", "port is -1; expected 0 to 65535"),
    ],
)
def test_a_wrong_variable_is_said(tmp_path: Path, name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings(tmp_path, **{name: value})


def test_a_file_that_is_no_text_or_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"model = '\xff'")
    with fails("settings.unreadable", FILE):
        Settings.load(tmp_path)
    (tmp_path / "other" / FILE).mkdir(parents=True)
    with fails("settings.unreadable", FILE):
        Settings.load(tmp_path / "other")


def test_the_message_says_where_settings_come_from(tmp_path: Path) -> None:
    with fails("settings", tmp_path, FILE, "MLOPS_KIT_*"):
        settings(tmp_path, "workers = -1")


def test_settings_do_not_change(tmp_path: Path) -> None:
    found = settings(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        found.model = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        found.gitops.url = "other"  # type: ignore[misc]


def test_the_project_is_the_nearest_folder_with_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "project" / "notebooks" / "deep"
    inner.mkdir(parents=True)
    assert find_project(inner) == inner
    (tmp_path / "project" / FILE).touch()
    assert find_project(inner) == tmp_path / "project"
    monkeypatch.chdir(inner)
    assert Settings.load().project == tmp_path / "project"


def test_whoever_approves_has_a_name(tmp_path: Path) -> None:
    assert settings(tmp_path, 'approver = "ana"').approved_by == "ana"
    assert settings(tmp_path).approved_by


def test_the_projects_own_file_holds_only_what_settings_know() -> None:
    root = Path(__file__).parents[2]
    found = Settings.load(root)
    assert found.models["fraud"].costs == Costs(), "what new projects start with are the defaults"
    defaults = Model()
    assert found.models["fraud"].minimum == defaults.minimum
