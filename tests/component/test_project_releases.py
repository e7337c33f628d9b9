"""A verdict becomes one commit with its evidence, the registry follows, and Git is the truth."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import mlops_kit.jupyter.panel.panel
from mlops_kit import PromotionPanel, Workspace, watch
from mlops_kit.errors import (
    RegistryError,
    ReleaseError,
    SecretFoundError,
)
from mlops_kit.jupyter.panel.reader import ONLY_LOOKS
from mlops_kit.jupyter.panel.state import Notice
from mlops_kit.models.evaluation_summary import EvaluationSummary, Names, VersionIdentity
from mlops_kit.models.registry import Registry
from mlops_kit.pipelines.executions import Execution
from mlops_kit.project import candidates, local_runs, releases, rollouts, scaffold
from mlops_kit.project.candidates import JudgedVersion
from mlops_kit.project.settings import GitOps
from mlops_kit.releases import approvals, holds
from mlops_kit.releases.repository import Proposal
from mlops_kit.reporting.markup import escaped
from mlops_kit.rollouts import decision
from tests.conftest import LOOSE
from tests.failures import fails

NOTEBOOKS = {"validate-data", "train-baseline", "train-candidate", "evaluate"}


@dataclass(frozen=True)
class Finished:
    """A project after one run of fraud-training."""

    project: Path
    execution: Execution


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, prepare_store: Callable[[Path], None]
) -> Finished:
    project = tmp_path_factory.mktemp("releasing") / "project"
    scaffold.create(project)
    prepare_store(project)
    settings = project / "mlops-kit.toml"
    strict = settings.read_text().partition("[models.")[0]
    # What a promotion itself does; the canary is in the tests that ask for it.
    # One after the other, as versions are named here.
    settings.write_text('workers = 1\nstrategy = "direct"\n' + strict + LOOSE)
    workspace = Workspace.open(project)
    # No rollout begins, so no customers are needed.
    given = {"rows": 16_000, "environment": "prod", "traffic": "live"}
    pipeline = workspace.pipeline("fraud-training")
    execution = local_runs.run(workspace, pipeline, given, observer=lambda _progress: None)
    assert execution.value("evaluate", "verdict") == "pass"
    return Finished(project, execution)


@pytest.fixture
def workspace(finished: Finished, tmp_path: Path) -> Workspace:
    """The project as the run left it, in a copy."""
    shutil.copytree(finished.project, tmp_path / "project")
    return Workspace.open(tmp_path / "project")


@pytest.fixture
def canary(workspace: Workspace) -> Workspace:
    """The same project, where a candidate has to prove itself on traffic."""
    return Workspace(workspace.settings.model_copy(update={"strategy": "canary"}))


@pytest.fixture
def candidate(workspace: Workspace) -> JudgedVersion:
    return candidates.find(workspace, "fraud")


@pytest.fixture
def other(workspace: Workspace, candidate: JudgedVersion) -> JudgedVersion:
    """The baseline, as if it had been judged."""
    version = workspace.model_version("fraud", role="baseline")
    return replace(candidate, version=version, execution="another-execution")


def commits(workspace: Workspace) -> int:
    return len(workspace.repository.log())


def evidence_of(workspace: Workspace, environment: str) -> dict[str, bytes]:
    champion = workspace.release("fraud", environment).champion
    assert champion
    found = {}
    for path in workspace.repository.list(champion.evidence):
        content = workspace.repository.read(path)
        assert content is not None
        found[path.removeprefix(f"{champion.evidence}/")] = content
    return found


def without_evidence(text: str) -> list[str]:
    return [line for line in text.splitlines() if "evidence:" not in line]


def test_the_pipeline_promotes_what_passes(workspace: Workspace, finished: Finished) -> None:
    execution = workspace.executions.open(finished.execution.name)
    found = releases.status(workspace, "fraud", "prod")
    version = execution.value("train-candidate", "version")
    assert (found.champion, found.alias) == (version, version)
    assert not found.differs
    assert found.sentence == f"fraud v{version} serves prod."
    assert found.revision == execution.value("promote", "revision")
    assert execution.value("promote", "changed") is True
    digest = workspace.registry.version("fraud", version).digest
    assert found.release.champion
    assert found.release.champion.digest == digest


def test_the_evidence_is_whole_and_says_nothing_of_the_machine(
    workspace: Workspace, finished: Finished
) -> None:
    files = evidence_of(workspace, "prod")
    assert set(files) == {"report.md", "gates.svg", *(f"{name}.ipynb" for name in NOTEBOOKS)}
    for name, content in files.items():
        assert str(finished.project).encode() not in content, name
        assert str(finished.project.parent.name).encode() not in content, name
        assert str(Path.home()).encode() not in content, name
    for name in NOTEBOOKS:
        cells = json.loads(files[f"{name}.ipynb"])["cells"]
        assert any(cell.get("outputs") for cell in cells), f"{name} has outputs"
    report = files["report.md"].decode()
    assert report.startswith("# fraud v")
    assert "to prod: PASS" in report
    assert "](gates.svg)" in report
    assert finished.execution.name in report
    assert files["gates.svg"].lstrip().startswith(b"<")


def test_a_promotion_asked_for_twice_is_one_commit(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    before = commits(workspace)
    first = releases.promote(workspace, candidate, environment="staging", reason="a try")
    again = releases.promote(workspace, candidate, environment="staging", reason="a try")
    assert (first.changed, again.changed) == (True, False)
    assert first.revision == again.revision
    assert commits(workspace) == before + 1
    assert releases.status(workspace, "fraud", "staging").alias == candidate.version.version


def test_what_the_pipeline_promoted_is_not_promoted_again_by_hand(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    before = commits(workspace)
    assert releases.promote(workspace, candidate, environment="prod").changed is False
    assert commits(workspace) == before


def test_what_serves_is_named_by_the_commit_that_made_it_champion(
    workspace: Workspace, candidate: JudgedVersion, finished: Finished
) -> None:
    releases.keep_record(workspace, finished.execution)
    again = releases.promote(
        workspace, replace(candidate, execution="a later one"), environment="prod"
    )
    assert not again.changed
    assert again.revision == finished.execution.value("promote", "revision")
    assert again.revision != workspace.repository.head(), "the record is no promotion"


@pytest.mark.parametrize("status", ["fail", "inconclusive", "", "PASS", None])
def test_only_a_verdict_of_pass_is_promoted(
    workspace: Workspace, candidate: JudgedVersion, status: Any
) -> None:
    published = candidate.evaluation.data()
    published["verdict"]["status"] = status
    before = commits(workspace)
    is_verdict = status in ("fail", "inconclusive")
    expected = ("release.verdict",) if is_verdict else ("evaluation", "verdict.status")

    def promoted() -> None:
        judged = candidates.find(workspace, "fraud", evaluation=published)
        releases.promote(workspace, judged, environment="dev")

    with fails(*expected):
        promoted()
    assert commits(workspace) == before
    assert releases.status(workspace, "fraud", "dev").champion == ""


def test_a_forced_promotion_is_recorded_with_the_verdict_that_was_overridden(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    forced = replace(candidate, evaluation=changed(candidate, status="fail"))
    releases.promote(workspace, forced, environment="dev", force_gate=True, reason="we know")
    newest = workspace.repository.log("envs/dev/release.yaml")[0]
    assert newest.trailers["Mlops-Forced-Gate"] == "fail"
    assert newest.trailers["Mlops-Reason"] == "we know"
    # Forcing what passes anyway is nothing to remember.
    releases.promote(workspace, candidate, environment="staging", force_gate=True)
    newest = workspace.repository.log("envs/staging/release.yaml")[0]
    assert "Mlops-Forced-Gate" not in newest.trailers


def test_a_first_canary_has_what_it_was_judged_against_as_its_champion(
    canary: Workspace, candidate: JudgedVersion, other: JudgedVersion
) -> None:
    before = commits(canary)
    panel = PromotionPanel(environment="staging", workspace=as_person(canary, "ana"))
    assert panel.sentence
    assert panel.board is not None
    first, new = other.version.version, candidate.version.version
    assert panel.board.next.startswith(f"v{first} becomes the first champion; then starts a replay")
    proposed = releases.proposed(canary, candidate, "staging")
    promoted = releases.promote(canary, candidate, environment="staging")
    assert commits(canary) == before + 2
    content = (canary.repository.read("envs/staging/release.yaml") or b"").decode()
    assert without_evidence(content) == without_evidence(proposed.after)
    found = releases.status(canary, "fraud", "staging")
    assert found.revision == promoted.revision
    assert (found.champion, found.alias) == (other.version.version, other.version.version)
    assert found.release.candidate
    assert found.release.candidate.version == candidate.version.version
    assert found.release.weight == 0
    said = f"v{first} serves staging, v{new} answers 0 %"
    assert said in found.sentence
    again = releases.promote(canary, candidate, environment="staging")
    assert (again.changed, again.revision) == (False, promoted.revision)
    acts = [entry.action for entry in releases.history(canary, "fraud", "staging").entries]
    assert acts == ["promote", "promote"]


def test_a_canary_beside_a_champion_is_one_commit_and_leaves_the_alias(
    canary: Workspace, candidate: JudgedVersion, other: JudgedVersion
) -> None:
    before = commits(canary)
    proposed = releases.proposed(canary, other, "prod")
    releases.promote(canary, other, environment="prod")
    assert commits(canary) == before + 1
    found = releases.status(canary, "fraud", "prod")
    assert (found.champion, found.alias) == (candidate.version.version,) * 2
    content = (canary.repository.read("envs/prod/release.yaml") or b"").decode()
    assert without_evidence(content) == without_evidence(proposed.after)


def test_a_first_canary_that_no_version_was_compared_with_serves_at_once(
    canary: Workspace, candidate: JudgedVersion
) -> None:
    judged = candidate.evaluation.model_copy(update={"reference": None})
    releases.promote(canary, replace(candidate, evaluation=judged), environment="dev")
    found = releases.status(canary, "fraud", "dev")
    assert found.champion == found.alias == candidate.version.version
    assert found.release.candidate is None


def test_a_rollouts_record_is_kept_once_beside_its_evidence(
    workspace: Workspace, finished: Finished
) -> None:
    before = commits(workspace)
    releases.keep_record(workspace, finished.execution)
    releases.keep_record(workspace, finished.execution)
    assert commits(workspace) == before + 1
    assert workspace.repository.log()[0].trailers["Mlops-Run"] == finished.execution.name
    record = json.loads(evidence_of(workspace, "prod")["watch-rollout.ipynb"])
    assert any(cell.get("outputs") for cell in record["cells"])
    assert str(finished.project) not in json.dumps(record)
    acts = [entry.action for entry in releases.history(workspace, "fraud", "prod").entries]
    assert acts == ["promote"], "a record is no act on the release"


def test_an_evaluation_speaks_for_its_own_version_only(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    def asked(model: str, version: str) -> JudgedVersion:
        return candidates.find(
            workspace, model, version, evaluation=candidate.evaluation.data(), execution="x"
        )

    baseline = workspace.model_version("fraud", role="baseline").version
    with fails("release.other-evaluation", f"fraud v{baseline}"):
        asked("fraud", baseline)
    with fails("release.other-evaluation", "churn"):
        asked("churn", "")
    assert asked("fraud", "").version == candidate.version
    assert asked("fraud", candidate.version.version).version == candidate.version


def test_a_version_that_nothing_judged_can_not_be_promoted(workspace: Workspace) -> None:
    baseline = workspace.model_version("fraud", role="baseline").version
    with fails("release.not-judged", f"fraud v{baseline}"):
        candidates.find(workspace, "fraud", baseline)
    with fails("release.not-judged", "churn"):
        candidates.find(workspace, "churn")


def test_what_speaks_for_a_version_is_what_its_steps_left(
    workspace: Workspace, candidate: JudgedVersion, finished: Finished
) -> None:
    assert candidate.execution == finished.execution.name
    assert candidate.version.tags["role"] == "candidate"
    assert {Path(path).parent.name for path in candidate.notebooks} == NOTEBOOKS
    assert all(Path(path).is_relative_to(workspace.project) for path in candidate.notebooks)


def test_a_rollback_moves_git_and_the_alias_back(
    workspace: Workspace, candidate: JudgedVersion, other: JudgedVersion
) -> None:
    before = releases.status(workspace, "fraud", "prod")
    releases.promote(workspace, other, environment="prod")
    assert releases.status(workspace, "fraud", "prod").alias == other.version.version
    back = releases.rollback(workspace, "fraud", "prod", reason="too many alarms")
    found = releases.status(workspace, "fraud", "prod")
    assert back.changed
    assert found.release == before.release
    assert found.alias == found.champion == candidate.version.version


def test_nobody_goes_back_to_a_version_that_the_registry_has_deleted(
    workspace: Workspace, candidate: JudgedVersion, other: JudgedVersion
) -> None:
    releases.promote(workspace, other, environment="prod")
    before = commits(workspace)
    client = MlflowClient(workspace.registry.tracking_uri)
    client.delete_model_version("fraud", candidate.version.version)
    with fails("release.former-deleted", f"fraud v{candidate.version.version}"):
        releases.rollback(workspace, "fraud", "prod", reason="too many alarms")
    assert commits(workspace) == before


def test_there_is_nothing_to_go_back_to_before_the_first_promotion(workspace: Workspace) -> None:
    for environment in ("dev", "prod"):
        with pytest.raises(ReleaseError):
            releases.rollback(workspace, "fraud", environment, reason="a try")


def test_an_alias_moved_by_hand_is_seen_and_healed(
    workspace: Workspace, candidate: JudgedVersion, other: JudgedVersion
) -> None:
    workspace.registry.set_alias("fraud", "champion", other.version.version)
    found = releases.status(workspace, "fraud", "prod")
    assert found.differs
    assert "Git counts" in found.sentence
    assert f"the registry says v{other.version.version}" in found.sentence
    healed = releases.repair(workspace, "fraud", "prod")
    assert not healed.differs
    champion = workspace.registry.by_alias("fraud", "champion")
    assert champion
    assert champion.version == candidate.version.version


def test_repairing_what_serves_nothing_changes_nothing(workspace: Workspace) -> None:
    assert releases.repair(workspace, "fraud", "dev").sentence == (
        "No version of fraud serves dev."
    )


def test_each_environment_has_an_alias_of_its_own(
    workspace: Workspace, candidate: JudgedVersion, other: JudgedVersion
) -> None:
    releases.promote(workspace, other, environment="dev")
    assert releases.status(workspace, "fraud", "dev").alias == other.version.version
    assert releases.status(workspace, "fraud", "prod").alias == candidate.version.version


def test_a_version_that_the_registry_lacks_is_not_promoted(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    lost = replace(candidate, version=dataclasses.replace(candidate.version, version="99"))
    before = commits(workspace)
    with fails("registry.not-found", "fraud v99"):
        releases.promote(workspace, lost, environment="dev")
    assert commits(workspace) == before
    assert releases.status(workspace, "fraud", "dev").champion == ""


class WithoutAliases(Registry):
    """A registry that goes away once the version has been read."""

    def set_alias(self, name: str, alias: str, version: str) -> None:
        raise RegistryError("It doesn't answer.")


def test_a_registry_that_goes_away_leaves_the_commit_and_repair_follows(
    workspace: Workspace, other: JudgedVersion
) -> None:
    going = Workspace(workspace.settings)
    known = workspace.registry
    vars(going)["registry"] = WithoutAliases(known.tracking_uri, artifacts=known.artifacts)
    with fails("registry", other.version, "prod"):
        releases.promote(going, other, environment="prod")
    found = releases.status(workspace, "fraud", "prod")
    assert found.champion == other.version.version
    assert found.differs
    assert not releases.repair(workspace, "fraud", "prod").differs


def test_a_version_that_the_server_could_not_load_is_not_promoted(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    version = candidate.version
    stored = workspace.settings.state_folder / "artifacts" / version.name / version.run_id
    (stored / "artifacts" / "model" / "model.skops").write_bytes(b"another model")
    before = commits(workspace)
    with fails("registry.untrusted", version.digest):
        releases.promote(workspace, candidate, environment="dev")
    assert commits(workspace) == before


def test_a_version_of_another_declaration_is_not_promoted(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    before = commits(workspace)
    file = workspace.project / "workflows" / "tables" / "fraud.py"
    file.write_text(
        file.read_text()
        + "\n\nfrom dataclasses import replace\n"
        + "TABLES = {n: t for n, t in globals().items() if type(t).__name__ == 'Table'}\n"
        + "globals().update({n: replace(t, unseen='refuse') for n, t in TABLES.items()})\n"
    )
    with fails("table.changed", str(candidate.version), "unseen"):
        releases.promote(workspace, candidate, environment="dev")
    assert commits(workspace) == before


def test_a_secret_in_an_output_stops_the_promotion_before_any_commit(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    path = Path(next(name for name in candidate.notebooks if "evaluate" in name))
    notebook = json.loads(path.read_text())
    secret = "AKIA" + "QYLPMN5HHHFPZAM2"
    said = {"output_type": "stream", "name": "stdout", "text": [f"key {secret}\n"]}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code[2]["outputs"].append(said)
    path.write_text(json.dumps(notebook))
    before = commits(workspace)
    with pytest.raises(SecretFoundError) as refused:
        releases.promote(workspace, candidate, environment="dev")
    assert secret not in str(refused.value)
    assert "evaluate.ipynb" in str(refused.value)
    assert commits(workspace) == before
    objects = subprocess.run(
        ["git", "-C", workspace.settings.gitops_url, "grep", "-c", secret, "main"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert objects.stdout == ""


def test_the_history_names_every_act_newest_first(
    workspace: Workspace, other: JudgedVersion
) -> None:
    releases.promote(workspace, other, environment="prod", reason="we say so")
    releases.rollback(workspace, "fraud", "prod", reason="too many alarms")
    entries = releases.history(workspace, "fraud", "prod").entries
    acts = [(entry.action, entry.why) for entry in entries if entry.action != "create"]
    assert acts == [("rollback", "too many alarms"), ("promote", "we say so"), ("promote", "")]
    shown = releases.history(workspace, "fraud", "prod")._repr_markdown_()
    assert "too many alarms" in shown
    assert workspace.settings.approved_by in shown


def test_what_will_change_is_shown_before_and_is_what_changes(
    workspace: Workspace, candidate: JudgedVersion, other: JudgedVersion
) -> None:
    assert releases.proposed(workspace, candidate, "prod").lines == []
    proposed = releases.proposed(workspace, other, "prod")
    assert any(line.startswith("+") and other.version.digest in line for line in proposed.lines)
    assert workspace.repository.read("envs/prod/release.yaml") == proposed.before.encode()
    releases.promote(workspace, other, environment="prod")
    content = workspace.repository.read("envs/prod/release.yaml")
    assert content
    assert without_evidence(content.decode()) == without_evidence(proposed.after)


def test_an_environment_that_is_not_there_is_said_before_anything_is_written(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    before = commits(workspace)
    with fails("release.no-environment", "envs/live/release.yaml"):
        releases.promote(workspace, candidate, environment="live")
    assert commits(workspace) == before


def test_a_promotion_waits_for_a_second_person(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    two = as_person(workspace, "ana", approvals=2)
    again = judged_otherwise(two, candidate)
    with fails("release.approvals", "prod", 2, "ana"):
        releases.promote(two, again, environment="prod")
    approvals.approve(two.repository, "prod", again.target, "ana", "recall is up")
    with fails("release.approvals", "ana", "recall is up"):
        releases.promote(two, again, environment="prod")
    approvals.approve(two.repository, "prod", again.target, "ben")
    assert releases.promote(two, again, environment="prod").changed
    assert workspace.release("fraud", "prod").champion.version == again.version.version


def test_an_approval_counts_no_more_once_the_evaluation_differs(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    two = as_person(workspace, "ana", approvals=2)
    again = judged_otherwise(two, candidate)
    approvals.approve(two.repository, "prod", again.target, "ben")
    changed = replace(again, evaluation=again.evaluation.model_copy(update={"note": "other"}))
    with fails("release.approvals", "ben"):
        releases.promote(two, changed, environment="prod")
    approvals.withdraw(two.repository, "prod", again.target, "ben")
    with fails("release.approvals", "ana"):
        releases.promote(two, again, environment="prod")


def test_a_rejected_version_is_not_promoted_until_somebody_approves_it(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    again = judged_otherwise(workspace, candidate)
    with fails("release.no-reason"):
        approvals.reject(workspace.repository, "prod", again.target, "ana", " \n ")
    approvals.reject(workspace.repository, "prod", again.target, "ana", "odd\nMlops-Action: x")
    with fails("release.rejected", "ana", "odd Mlops-Action: x"):
        releases.promote(workspace, again, environment="prod")
    approvals.approve(workspace.repository, "prod", again.target, "ben")
    assert releases.promote(workspace, again, environment="prod").changed


def test_a_file_of_decisions_that_nobody_of_the_kit_wrote_is_an_error(workspace: Workspace) -> None:
    for content in (b"[1]", b"approvals: [7]", b"approvals: [{no: 1}]", b"\xff: ["):
        proposal = Proposal("x", {"A": "b"}, {"decisions/prod/fraud-9.yaml": content})
        workspace.repository.commit(lambda _snapshot, made=proposal: made)
        with fails("release", "decisions/prod/fraud-9.yaml"):
            approvals.read(workspace.repository.snapshot(), "prod", "fraud", "9")


def test_a_held_rollout_stays_where_it_is_until_it_is_resumed(
    canary: Workspace, candidate: JudgedVersion
) -> None:
    again = judged_otherwise(canary, candidate)
    releases.promote(canary, again, environment="prod")
    running = canary.release("fraud", "prod").rollout
    holds.hold(canary.repository, "prod", running, "ben", "a call")
    with rollouts.open_observer(canary, "fraud", "prod") as observer:
        seen = observer.observe()
        decided = decision.decide(canary.settings.rollout, seen.situation)
        assert (decided.act, decided.change) == ("hold", None)
        assert seen.situation.held_by.endswith('"a call"'), "where a platform serves, it says so"
        holds.resume(canary.repository, "prod", running, "ben")
        assert observer.observe().situation.held_by == ""


def test_the_panel_shows_what_git_says_and_its_acts_are_commits(workspace: Workspace) -> None:
    panel = PromotionPanel(environment="dev", workspace=as_person(workspace, "ana"))
    assert "fraud v2" in panel.sentence
    assert panel.board is not None
    assert (panel.board.standing, panel.board.chosen) == ("pass", "2")
    first = "It takes all traffic at once; there is no earlier release to roll back to."
    assert panel.board.next == first
    panel.act("promote", {"version": "2", "reason": "up"})
    assert panel.board.notice.is_done, panel.board.notice
    assert panel.board.headline.startswith("champion v2 since ")
    newest = releases.history(workspace, "fraud", "dev").entries[0]
    assert (newest.action, newest.who, newest.why) == ("promote", "ana", "up")
    panel.act("rollback", {"reason": ""})
    assert refused(panel, "rollback", "release", "reason")
    panel.act("rollback", {"reason": "customers"})
    assert refused(panel, "rollback", "release", "dev")
    panel.act("no such act", {})
    assert refused(panel, "no such act", "release", "'no such act'", "'rollback'")
    panel.act("environment", {"value": "prod"})
    assert (panel.board.environment, panel.board.notice) == ("prod", Notice())
    panel.close()


def test_the_panel_does_nothing_on_what_it_does_not_show(workspace: Workspace) -> None:
    panel = PromotionPanel(environment="dev", workspace=as_person(workspace, "ana"))
    assert panel.sentence
    case = candidates.find(workspace, "fraud", "2")
    releases.promote(as_person(workspace, "ben"), case, environment="dev")
    before = workspace.repository.head()
    panel.act("promote", {"version": "2", "reason": "up"})
    assert panel.board is not None
    assert refused(panel, "promote", "gitops.lost-race", "ben", "'promote v2'", "dev")
    assert workspace.repository.head() == before
    panel.close()


def test_the_panel_says_when_git_is_away_and_offers_nothing(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    panel = PromotionPanel(workspace=workspace)
    assert panel.sentence
    away = workspace.settings.state_folder / "gitops.git"
    away.rename(away.with_name("elsewhere"))
    panel.act("refresh")
    assert panel.board is not None
    assert (panel.board.standing, panel.board.offers) == ("inconclusive", ())
    assert panel.board.checked in panel.board.next, "it says how old what it shows is"
    away.with_name("elsewhere").rename(away)
    panel.act("refresh")
    assert panel.board.standing != "inconclusive"
    assert panel.board.offers


def refused(panel: PromotionPanel, act: str, code: str, *facts: str) -> bool:
    """Whether an action failed with this code, and the notice names these facts."""
    assert panel.board is not None
    notice = panel.board.notice
    assert (notice.act, notice.is_done) == (act, False), notice
    assert f"{notice.fault}.".startswith(f"{code}."), notice
    assert [fact for fact in facts if fact not in notice.text] == [], notice.text
    return True


def champion(workspace: Workspace) -> str:
    """The version that serves prod: of two trainings at once either may be registered first."""
    found = workspace.release("fraud", "prod").champion
    assert found is not None
    return found.version


def as_person(workspace: Workspace, who: str, **more: Any) -> Workspace:
    """The same project in another person's hands."""
    settings = workspace.settings.model_copy(update={"approver": who, **more})
    return Workspace(settings)


def judged_otherwise(workspace: Workspace, candidate: JudgedVersion) -> JudgedVersion:
    """A version that doesn't serve yet, judged as the champion was."""
    baseline = workspace.model_version("fraud", role="baseline")
    judged = candidate.evaluation
    identity = VersionIdentity(model="fraud", version=baseline.version, digest=baseline.digest)
    names = Names(candidate=str(baseline), reference=str(candidate.version))
    update = {"candidate": identity, "reference": judged.candidate, "names": names}
    evaluation = judged.model_copy(update=update)
    return replace(candidate, version=baseline, evaluation=evaluation, execution="another-one")


def changed(candidate: JudgedVersion, **update: Any) -> EvaluationSummary:
    """The evaluation of a version, with another verdict."""
    verdict = candidate.evaluation.verdict.model_copy(update=update)
    return candidate.evaluation.model_copy(update={"verdict": verdict})


def test_a_panel_that_nobody_disturbs_sends_nothing(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    panel = PromotionPanel(workspace=workspace)
    panel.refresh()
    before = panel.board
    panel.look()
    assert panel.board is before
    releases.promote(workspace, judged_otherwise(workspace, candidate), environment="prod")
    panel.look()
    assert panel.board is not before
    panel.close()


def test_the_evidence_of_an_act_opens_in_the_panel(workspace: Workspace) -> None:
    panel = PromotionPanel(workspace=workspace)
    panel.refresh()
    assert panel.board is not None
    entry = next(each for each in panel.board.history if each.evidence)
    panel.act("evidence", {"revision": entry.revision})
    assert panel.board.notice == Notice()
    assert panel.unfolded.opened is not None
    assert panel.unfolded.opened.file == "report.md"
    assert f"v{entry.version} to prod: PASS" in panel.document
    assert "data:image/svg+xml;base64," in panel.document
    panel.act("evidence", {"revision": entry.revision, "file": "evaluate.ipynb"})
    assert "Is the candidate good enough to serve?" in panel.document
    panel.act("evidence", {"revision": "0" * 40})
    assert refused(panel, "evidence", "release", "0000000000", "prod")
    panel.act("evidence", {"revision": ""})
    assert (panel.unfolded.opened, panel.document) == (None, "")
    panel.close()


def test_an_alias_that_was_moved_is_repaired_from_the_panel(workspace: Workspace) -> None:
    serving, other = champion(workspace), workspace.model_version("fraud", role="baseline").version
    workspace.registry.set_alias("fraud", "champion", other)
    panel = PromotionPanel(workspace=as_person(workspace, "ana"))
    panel.refresh()
    assert panel.board is not None
    assert f"v{other}" in " ".join(panel.board.remarks)
    assert panel.board.offers[-1].act == "repair"
    says = panel.board.offers[-1].says
    assert says == f"Sets its alias from v{other} to v{serving}, the champion in Git."
    panel.act("repair", {})
    assert (panel.board.notice.act, panel.board.notice.is_done) == ("repair", True)
    assert f"v{serving}" in panel.board.notice.text
    assert "repair" not in {offer.act for offer in panel.board.offers}
    panel.close()


def test_a_page_behind_a_proxy_acts_for_whom_it_names_and_else_only_shows(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = as_person(workspace, "the server", approver_header="X-Forwarded-User")
    assert behind.settings.approved_by == "the server", "a command line is behind no proxy"
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")
    panel = PromotionPanel(environment="dev", workspace=behind)
    assert panel.sentence
    assert panel.board is not None
    assert (panel.board.standing, panel.board.offers) == ("pass", ())
    assert ONLY_LOOKS in panel.board.remarks
    before = workspace.repository.head()
    asked = {"version": champion(workspace), "reason": "up"}
    panel.act("promote", asked)
    assert refused(panel, "promote", "release", ONLY_LOOKS)
    assert workspace.repository.head() == before
    monkeypatch.setenv("HTTP_X_FORWARDED_USER", "ana")
    panel.act("promote", asked)
    assert panel.board.notice.is_done, panel.board.notice
    assert releases.history(workspace, "fraud", "dev").entries[0].who == "ana"
    panel.close()


def test_a_watch_shows_itself_and_ends_as_a_record(workspace: Workspace) -> None:
    watched = watch("fraud", "prod", workspace=workspace)
    done = watched.wait(60)
    assert (done.outcome, done.champion) == ("serving", champion(workspace))
    assert done.sentence in watched.page()
    assert 'data-act="cancel"' not in watched.page()
    assert [type(part).__name__ for part in watched.record()] == ["Watched"]


def test_a_watch_that_is_stopped_leaves_the_rollout_as_it_is(
    workspace: Workspace, candidate: JudgedVersion
) -> None:
    judged = judged_otherwise(workspace, candidate)
    canary = as_person(workspace, "ana", strategy="canary")
    releases.promote(canary, judged, environment="prod")
    before = workspace.repository.head()
    watched = watch("fraud", "prod", workspace=canary)
    while watched.view.look is None:
        time.sleep(0.05)
    assert 'data-act="cancel"' in watched.page()
    assert escaped(watched.view.look.decision.sentence) in watched.page()
    watched.act("cancel", {})
    with fails("project", watched.title):
        watched.wait(30)
    assert watched.view.state == "stopped"
    assert "The rollout stays as it is in Git" in watched.page()
    assert workspace.repository.head() == before


def test_an_act_does_not_wait_for_a_look_that_hangs(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlops_kit.jupyter.panel.panel, "ACT_TIMEOUT_SECONDS", 0.1)
    panel = PromotionPanel(environment="dev", workspace=as_person(workspace, "ana"))
    panel.refresh()
    before = workspace.repository.head()
    hanging, over = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        over.wait(30)

    monkeypatch.setattr(panel, "_looked", lambda *_: hang() or panel.board)
    look = threading.Thread(target=panel.look)
    look.start()
    hanging.wait(10)
    panel.act("promote", {"version": champion(workspace), "reason": "up"})
    assert panel.board is not None
    assert panel.board.notice.act == "promote"
    assert not panel.board.notice.is_done
    assert "Git hangs" in panel.board.notice.text
    over.set()
    look.join(30)
    assert workspace.repository.head() == before


@pytest.mark.parametrize(
    ("verb", "remote_calls"),
    [
        ("promote", ["ls-remote", "push"]),
        ("rollback", ["ls-remote", "push"]),
        ("status", ["ls-remote"]),
        ("history", ["ls-remote"]),
        ("repair", ["ls-remote"]),
    ],
)
def test_a_verb_asks_the_remote_once(
    workspace: Workspace,
    candidate: JudgedVersion,
    tmp_path: Path,
    verb: str,
    remote_calls: list[str],
) -> None:
    gitops = GitOps(url=f"file://{workspace.settings.gitops_url}")
    workspace = Workspace(workspace.settings.model_copy(update={"gitops": gitops}))
    again = judged_otherwise(workspace, candidate)
    if verb == "rollback":
        releases.promote(workspace, again, environment="prod")
    log, git = tmp_path / "git.log", shutil.which("git")
    (tmp_path / "git").write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {git} "$@"\n')
    (tmp_path / "git").chmod(0o755)
    os.environ["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    match verb:
        case "promote":
            releases.promote(workspace, again, environment="prod")
        case "rollback":
            releases.rollback(workspace, "fraud", "prod", reason="a try")
        case _:
            getattr(releases, verb)(workspace, "fraud", "prod")
    words = log.read_text().split()
    assert [word for word in words if word in {"ls-remote", "fetch", "push"}] == remote_calls
