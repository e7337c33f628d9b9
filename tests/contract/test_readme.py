"""What the README says is true: its commands run, its files exist, its commands are all there."""

import re
import shlex
import subprocess
from pathlib import Path

from mlops_kit.cli.main import main
from tests.conftest import LOOSE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PACE = """
[rollout]
recall = 0.3
precision = 0.2
slow_ms = 1000.0
interval = 0.4
baking = 1.0
missing_looks = 60
"""
COMMANDS = [
    shlex.split(line.removeprefix("$ "), comments=True)
    for line in README.splitlines()
    if line.startswith("$ ")
]


def test_every_command_is_in_the_readme():
    for name in main.commands:
        assert f"mlops-kit {name}" in README, name


def test_every_link_leads_to_a_file():
    targets = re.findall(r"\]\(([^)#]+)\)", README + (ROOT / "CONTRIBUTING.md").read_text())
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_make_target_in_the_readme_exists():
    targets = set(re.findall(r"^make (\w+)|`make (\w+)`", README, re.MULTILINE))
    known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {name for pair in targets for name in pair if name} <= known
    assert len(targets) >= 3


def test_the_second_model_is_the_one_that_is_tested():
    source = (ROOT / "tests" / "component" / "test_second_model.py").read_text()
    section = README.partition("## Your own model\n")[2]
    snippet = section.split("```python\n")[1].split("```")[0]
    assert snippet in source


def hurry(project):
    """Let a few rows suffice, and a rollout look often."""
    pipeline = project / "workflows" / "fraud_training.py"
    pipeline.write_text(pipeline.read_text().replace('"rows": 120_000', '"rows": 20_000'))
    settings = project / "mlops-kit.toml"
    before, _, _ = settings.read_text().partition("[models.")
    settings.write_text(before + LOOSE + PACE)


def test_the_commands_run_in_their_order(tmp_path, mlops_kit_command):
    where = tmp_path
    assert len(COMMANDS) >= 6
    for command in COMMANDS:
        if command[0] == "cd":
            where /= command[1]
            hurry(where)
            continue
        assert command[0] == "mlops-kit"
        done = subprocess.run(
            [mlops_kit_command, *command[1:]],
            cwd=where, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        # New data may leave a verdict inconclusive (4); nothing here may be a fault.
        assert done.returncode in {0, 4}, (command, done.stdout[-2000:], done.stderr[-2000:])
