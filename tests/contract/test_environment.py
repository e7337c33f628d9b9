"""Conda, pip and the notebooks' machine get the same packages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# Of the machine, not of Python: pip can't bring them.
TOOLS = {"git", "make", "pip"}
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?([^;]*)")


def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def parts(line: str) -> tuple[str, str]:
    found = _REQUIREMENT.match(line.strip())
    assert found, line
    # Two packages keep their underscore on conda-forge, and one has another name.
    name = found[1].lower().replace("_", "-").removeprefix("python-")
    return name, found[2].replace(" ", "")


def required() -> dict[str, str]:
    described = project()
    extras = described["optional-dependencies"]
    assert isinstance(extras, dict)
    lines = [*described["dependencies"], *extras["lab"], *extras["mlserver"], *extras["dev"]]  # type: ignore[misc]
    return dict(parts(line) for line in lines if not line.startswith("mlops-kit["))


def conda() -> list[str]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    by_pip = next(line["pip"] for line in listed if isinstance(line, dict))
    return [*(line for line in listed if isinstance(line, str)), *by_pip[:-1]]


def test_conda_gets_what_pip_gets() -> None:
    listed = [parts(line) for line in conda()]
    names = [name for name, _ in listed]
    assert len(set(names)) == len(names), "a package stands there twice"
    listed_packages = {n: ranges for n, ranges in listed if n not in TOOLS and n != "python"}
    assert listed_packages == required()


def test_conda_gets_the_python_that_pip_asks_for() -> None:
    assert dict(parts(line) for line in conda())["python"] == project()["requires-python"]


def test_conda_installs_the_kit_itself_last() -> None:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    by_pip = [line["pip"] for line in listed if isinstance(line, dict)]
    assert [lines[-1] for lines in by_pip] == ["-e ."]


@pytest.mark.parametrize(("name", "ranges"), required().items())
def test_every_dependency_has_a_range(name: str, ranges: str) -> None:
    assert ">=" in ranges, f"{name} has no lower bound"


def test_a_missing_package_would_be_seen() -> None:
    listed = dict(parts(line) for line in conda())
    assert parts("pandera[pandas]>=0.24,<1") == ("pandera", ">=0.24,<1")
    assert parts("numpy") == ("numpy", "")
    assert {"papermill", "mlflow", "jupyterlab", "pytest"} <= set(listed)
