"""What the README names is there: every command, file and target (test_run runs its lines)."""

import re
from pathlib import Path

from mlops_kit.cli.main import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


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
    section = README.partition("## Your own pipeline\n")[2]
    snippet = section.split("```python\n")[1].split("```")[0]
    assert snippet in source
