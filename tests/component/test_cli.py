"""The command itself: help, parameters, faults, new projects, and the wheel that it comes in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mlops_kit import errors
from mlops_kit.cli import exit_codes, main
from tests.commands import called

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(main.main.commands)
HEAVY = {"mlflow", "pandas", "sklearn", "numpy", "papermill", "pydantic", "rich", "resvg_py"}

Run = Callable[..., subprocess.CompletedProcess[str]]

ECHO = """
from mlops_kit import Input, Pipeline, Step

NAMES = ("code", "version", "count", "share", "flag", "names")
echo = Step("echo", "echo.ipynb", {name: Input(name) for name in NAMES}, {"said": list})
PIPELINE = Pipeline(
    "echo", (echo,),
    inputs={"code": "", "version": "", "count": 0, "share": 0.0, "flag": False, "names": "[]"},
)
"""
PARAMETERS = """# parameters
code: str = ""  # text
version: str = ""  # text
count: int = 0  # a whole number
share: float = 0.0  # a number
flag: bool = False  # yes or no
names: list[str] = []  # several texts"""
SAID = """from mlops_kit import publish
publish(said=[code, version, count, share, flag, names])"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in the test's folder, in this process."""
    return lambda *words, cwd=tmp_path, **env: called(words, cwd, env)


@pytest.fixture
def process(mlops_kit_command: str, tmp_path: Path) -> Run:
    """Run the installed command in the test's folder, where the process itself is tested."""

    def start(*words: str, cwd: Path = tmp_path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [mlops_kit_command, *words],
            cwd=cwd,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return start


@pytest.fixture
def echo(project: Path, notebook: Callable[..., Path]) -> Path:
    """A project with a pipeline that publishes the parameters that it got."""
    (project / "workflows" / "echo.py").write_text(ECHO)
    notebook(PARAMETERS, SAID, name="project/notebooks/echo.ipynb")
    return project


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Run, command: str) -> None:
    found = main.main.commands[command]
    assert found.help
    assert found.help.splitlines()[0].endswith(".")
    assert not found.get_short_help_str(61).endswith("..."), "cut off in the list of commands"
    assert f"  {command} " in main.main.get_help(main.main.make_context("mlops-kit", ["x"]))
    for parameter in found.params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


def test_help_loads_no_heavy_library() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mlops_kit", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    loaded = {name.partition(".")[0] for name in names}
    assert "click" in loaded
    assert not loaded & {*HEAVY, "yaml"}
    assert "Exit codes:" in done.stdout


def test_the_documented_exit_codes_are_the_ones_in_use() -> None:
    documented = {int(code) for code in re.findall(r"(?m)^  (\d+) ", exit_codes.EXIT_CODES)}
    faults = {
        each.exit_code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.KitError)
    }
    words = (None, "pass", "fail", "inconclusive", "else")
    verdicts = {exit_codes.code_of(each) for each in words}
    rollouts = {exit_codes.code_of("pass", each) for each in words}
    # 2 is click's own, too; a signal's is 128 and its number.
    assert documented == faults | verdicts | rollouts | {128 + 1, 128 + 2, 128 + 15}
    assert exit_codes.code_of(None) == exit_codes.code_of("pass") == 0
    assert exit_codes.code_of("Pass") == exit_codes.code_of("") == 4
    # Whoever was forced past a gate and kept its promise on traffic has ended well.
    assert exit_codes.code_of("fail", "pass") == exit_codes.code_of("pass", "pass") == 0
    assert exit_codes.code_of("pass", "fail") == exit_codes.code_of("fail", "fail") == 5
    assert exit_codes.code_of("pass", "inconclusive") == exit_codes.code_of("pass", "else") == 4


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(process: Run, shell: str) -> None:
    done = process("completion", shell)
    assert done.returncode == 0
    assert "_MLOPS_KIT_COMPLETE" in done.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (["rnu"], "'rnu'"),
        (["run"], "'PIPELINE'"),
        (["rollback"], "'--reason'"),
        (["serve", "halt"], "'halt'"),
        (["traffic", "--rate", "many"], "'many'"),
        (["plan"], "'--rate'"),
        (["completion", "tcsh"], "'tcsh'"),
    ],
)
def test_a_wrong_word_is_refused_by_its_name(
    run: Run, project: Path, words: list[str], fact: str
) -> None:
    done = run(*words, cwd=project)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert fact in done.stderr


@pytest.mark.parametrize(
    ("words", "exit_code", "code", "facts"),
    [
        (["run", "fraud-trainig"], 1, "project", ["Did you mean 'fraud-training'?"]),
        (["run", "fraud-training", "-p", "row", "1"], 2, "parameter", ["Did you mean 'rows'?"]),
        (["run", "fraud-training", "-p", "rows", "many"], 2, "parameter", ["rows", "many", "int"]),
        (
            ["run", "fraud-training", "-p", "rows=1000", "--fresh"],
            *(2, "parameter.no-name", ["'rows=1000'", "-p rows 1000"]),
        ),
        (["run", "fraud-training", "-p", "candidate_defect", "recal"], 2, "parameter", ["recal"]),
        (["run", "fraud-training", "--resume"], 1, "project", ["fraud-training"]),
        (["step", "fraud-training", "trian"], 1, "definition", ["'trian'", "'train-baseline'"]),
        (["step", "fraud-training", "evaluate", "-p", "x", "1"], 2, "parameter", ["'x'"]),
        (["debug", "fraud-training-x"], 1, "project.no-execution", ["'fraud-training-x'"]),
        (["rollback", "--reason", "x"], 1, "release", ["'prod'"]),
        (["promote"], 1, "release", ["fraud"]),
        (
            ["run", "fraud-training", "-p", "traffic", "some"],
            *(2, "parameter", ["'some'", "Literal['live', 'simulated']"]),
        ),
        (["run", "fraud-training", "--resume", "--force-gate"], 1, "project", ["fraud-training"]),
        (["promote", "--force-gate"], 1, "release", ["fraud"]),
        (["watch", "-e", "nowhere"], 1, "release", ["envs/nowhere/release.yaml", "prod"]),
        (["traffic"], 1, "serving.not-running", ["prod", "mlops-kit serve --detach"]),
        (["traffic", "--rate", "0"], 2, "parameter", ["rate", "0.0"]),
        (["traffic", "--seconds", "-1"], 2, "parameter.traffic", ["seconds", "-1.0"]),
        (["traffic", "--label-delay", "nan"], 2, "parameter.traffic", ["label_delay"]),
        (["plan", "--rate", "0"], 2, "parameter.plan", ["rate"]),
        (["plan", "--rate", "nan"], 2, "parameter.plan", ["rate"]),
        (["plan", "--rate", "9", "--positive-rate", "2"], 2, "parameter.plan", ["positive", "1"]),
        (["plan", "--rate", "9", "--history", "-5"], 2, "parameter.plan", ["0 or more"]),
        (["plan", "--rate", "9", "--label-delay", "-1"], 2, "parameter.plan", ["-1"]),
        (["dora", "--days", "0"], 2, "parameter.days", ["0.0"]),
        (["dora", "--days", "nan"], 2, "parameter.days", ["nan"]),
    ],
)
def test_a_mistake_has_a_code_and_names_the_facts(
    run: Run, project: Path, words: list[str], exit_code: int, code: str, facts: list[str]
) -> None:
    done = run(*words, "--json", cwd=project, MLOPS_KIT_COLD="true")
    assert (done.returncode, done.stderr) == (exit_code, "")
    answer = json.loads(done.stdout)
    assert f"{answer['code']}.".startswith(f"{code}."), answer
    assert answer["exit_code"] == exit_code
    assert [fact for fact in facts if fact not in answer["message"]] == [], answer
    assert not list((project / ".mlops-kit").glob("executions/*"))


def test_an_error_is_a_message_without_a_traceback(run: Run, project: Path) -> None:
    done = run("run", "fraud-trainig", cwd=project)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ProjectError: ")
    assert "Did you mean 'fraud-training'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_environment_has_no_history(run: Run, project: Path) -> None:
    done = run("history", "-e", "nowhere", cwd=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "said", "data"),
    [
        (["serve", "stop"], "Nothing serves prod.\n", None),
        (["dora"], "No model was released yet.\n", []),
        (["history"], "", []),
        (["watch", "--once"], "No version of fraud serves prod.", {"weights": [], "champion": ""}),
    ],
)
def test_where_nothing_was_released_the_answer_says_so(
    run: Run, project: Path, words: list[str], said: str, data: object
) -> None:
    done = run(*words, cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
    assert "–" not in done.stdout, "a version that isn't there has no name"
    answer = json.loads(run(*words, "--json", cwd=project).stdout)
    assert answer == (answer | data if isinstance(data, dict) else data)


def test_a_plan_says_what_can_be_told_and_what_cant(run: Run, project: Path) -> None:
    done = run("plan", "--rate", "100", "--history", "40000", cwd=project)
    assert done.returncode == 0, done.stderr
    first, promoted, *found = done.stdout.splitlines()
    assert first.startswith("100 requests a second, 0.5 % positives, ")
    assert "40,000 labelled rows now" in first
    assert re.search(r"a candidate of recall .* is promoted: half within \d+ s", promoted)
    assert any(re.match(r"errors 15.0 % is found: half within \d+ s", line) for line in found)
    none = run("plan", "--rate", "0.01", "--json", cwd=project)
    rows = json.loads(none.stdout)
    assert [row["what"] for row in rows if row["what"].startswith("recall")] != []
    # Nothing can be told of a fraud every five hours.
    assert {row["told"] for row in rows if row["what"].startswith("recall")} == {0.0}


def test_a_mistake_is_json_where_json_is_asked_for(run: Run, project: Path) -> None:
    done = run("run", "fraud-training", "-p", "rows", "many", "--json", cwd=project)
    answer = json.loads(done.stdout)
    assert list(answer) == ["error", "code", "message", "exit_code"]
    assert (answer["error"], answer["code"]) == ("ParameterError", "parameter.type")
    assert (answer["exit_code"], done.returncode) == (2, 2)
    assert done.stderr == ""
    # A value that looks like the option isn't it.
    done = run("run", "fraud-training", "-p", "data", "--json", "-p", "x", "1", cwd=project)
    assert done.stdout == ""
    assert "'x'" in done.stderr


def test_what_data_say_does_not_steer_the_terminal(process: Run, project: Path) -> None:
    done = process("run", "\x1b[2J\x1b]0;owned\x07", cwd=project)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert "owned" in done.stderr


def test_a_narrow_terminal_is_no_fault(process: Run, project: Path) -> None:
    done = process("debug", "größer", cwd=project, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 1
    assert done.stderr.startswith("ProjectError: ")


def test_a_reader_that_has_had_enough_is_no_fault(mlops_kit_command: str, project: Path) -> None:
    line = f"{mlops_kit_command} history --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", line], cwd=project, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[", "")


def test_a_fault_of_the_system_is_a_sentence(process: Run, project: Path) -> None:
    (project / ".mlops-kit").write_text("a file where a folder has to be")
    done = process("status", cwd=project)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert ".mlops-kit" in done.stderr


def ended(error: BaseException, *words: str) -> tuple[int, str, BaseException | None]:
    """Return how a command ends whose body raises that."""

    @click.command(cls=exit_codes.Command)
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> None:
        raise error

    done = CliRunner().invoke(command, words)
    return done.exit_code, done.output, done.exception


def test_a_full_disk_and_no_memory_are_sentences_but_a_bug_keeps_its_traceback() -> None:
    code, said, _ = ended(OSError(28, "No space left on device", "x"))
    assert (code, said.partition(": ")[0]) == (1, "OSError")
    assert "[Errno 28] No space left on device: 'x'" in said
    code, said, _ = ended(MemoryError())
    assert (code, said) == (1, "MemoryError: No memory is left. Finished steps are kept.\n")
    bug = RuntimeError("a bug")
    assert ended(bug) == (1, "", bug)
    code, said, _ = ended(PermissionError(13, "Permission denied", "x"), "--json")
    assert (code, json.loads(said)["error"]) == (1, "PermissionError")
    assert json.loads(said)["code"] == "system"
    code, said, _ = ended(exit_codes.Stopped(15), "--json")
    assert (code, json.loads(said)["exit_code"]) == (143, 143)
    assert json.loads(said)["code"] == "stopped"
    code, said, _ = ended(MemoryError(), "--json")
    assert (code, json.loads(said)["code"]) == (1, "system.memory")


def test_papermills_spellings_keep_texts_as_they_are(run: Run, echo: Path, tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text("code: 0x10\nversion: 1.0\ncount: 1\nshare: 1\n")
    given = [
        "-f",
        str(tmp_path / "given.yaml"),
        "-y",
        "{version: 1.10, count: 2, names: [007, no]}",
    ]
    given += ["-r", "share", "4e0", "-p", "count", "3", "-p", "share", "3", "-p", "flag", "yes"]
    done = run("step", "echo", "echo", *given, "--json", cwd=echo, MLOPS_KIT_COLD="true")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["said"]
    # A file gives way to -y, -y to -p, and -p to -r.
    assert said == ["0x10", "1.10", 3, 4.0, True, ["007", "no"]]
    assert isinstance(said[3], float)


DEEP = "[" * 5000


@pytest.mark.parametrize(
    ("given", "code", "fact"),
    [
        (["-f", "nowhere.yaml"], "parameter.unreadable", "nowhere.yaml"),
        (["-f", "."], "parameter.unreadable", "."),
        (["-f", "latin.yaml"], "parameter.unreadable", "latin.yaml"),
        (["-y", "just a text"], "parameter.no-mapping", "just a text"),
        (["-y", "[1, 2]"], "parameter.no-mapping", "-y"),
        (["-y", "a: b: c"], "parameter.no-yaml", "-y"),
        (["-y", "? [a, b]\n: 1"], "parameter.no-yaml", "-y"),
        (["-y", f"names: {DEEP}"], "parameter.no-yaml", "-y"),
        (["-p", "count", "1.5"], "parameter.type", "int"),
        (["-p", "flag", "perhaps"], "parameter.type", "bool"),
    ],
)
def test_parameters_that_cant_be_read_are_refused(
    run: Run, echo: Path, given: list[str], code: str, fact: str
) -> None:
    (echo / "latin.yaml").write_bytes(b"code: \xe4")
    done = run("step", "echo", "echo", *given, "--json", cwd=echo, MLOPS_KIT_COLD="true")
    assert (done.returncode, done.stderr) == (2, "")
    answer = json.loads(done.stdout)
    assert answer["code"] == code
    assert fact in answer["message"]
    assert len(done.stdout) < 2000


def test_a_yaml_tag_runs_nothing(run: Run, echo: Path) -> None:
    given = ("-y", "names: !!python/object/apply:os.system [id]")
    done = run("step", "echo", "echo", *given, cwd=echo, MLOPS_KIT_COLD="true")
    # Plain data to the kit: the tag's arguments are a list of texts.
    assert done.returncode in (0, 2)
    assert "uid=" not in done.stdout + done.stderr


def test_a_project_is_made_in_an_empty_folder_and_only_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    first, second = run("new", "empty"), run("new", "deep/er", "--json")
    assert (first.returncode, second.returncode) == (0, 0)
    assert "cd empty\n  mlops-kit run fraud-training" in first.stdout
    files = json.loads(second.stdout)["files"]
    for name in files:
        made = (tmp_path / "empty" / name, tmp_path / "deep" / "er" / name)
        assert made[0].read_bytes() == made[1].read_bytes()
    assert {"mlops-kit.toml", "notebooks/train.ipynb", "workflows/fraud_training.py"} <= set(files)
    assert not [name for name in files if "debug-" in name or "checkpoint" in name]
    (tmp_path / "empty" / "mine.txt").touch()
    (tmp_path / "file").touch()
    for taken in ("empty", "file"):
        done = run("new", taken)
        assert done.returncode == 1
        assert repr(taken) in done.stderr
    done = run("status", cwd=tmp_path / "deep" / "er" / "notebooks")
    assert done.stdout == "No version of fraud serves prod.\n"


def test_the_wheel_brings_its_template(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*words: str, cwd: Path) -> str:
        command = [sys.executable, "-P", *words]
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("-c", "import mlops_kit; print(mlops_kit.__file__)", cwd=tmp_path)
    assert where.startswith(str(tmp_path / "site"))
    run("-m", "mlops_kit", "new", "made", cwd=tmp_path)
    # Its GitOps repository starts from the wheel's seed, too.
    assert "No version of fraud" in run("-m", "mlops_kit", "status", cwd=tmp_path / "made")
    for name in ("notebooks", "workflows"):
        listed = subprocess.run(["git", "ls-files", name], cwd=ROOT, capture_output=True, text=True)
        assert listed.stdout
        for path in listed.stdout.split():
            assert (tmp_path / "made" / path).read_bytes() == (ROOT / path).read_bytes()
