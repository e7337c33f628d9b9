"""Conda, pip and the notebooks' machine get the same packages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
# Of the machine, not of Python: pip can't bring them.
TOOLS = {"git", "make", "pip"}
EXTRAS = ("lab", "mlserver", "lightgbm", "xgboost", "catboost", "dev")
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
    lines = [*described["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]  # type: ignore[misc]
    found = dict(parts(line) for line in lines if not line.startswith("mlops-kit["))
    # conda-forge's XGBoost has no other name where it has no CUDA.
    found.pop("xgboost-cpu")
    return found


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


def locked(name: str) -> dict[str, list[Requirement]]:
    """Return what a file of the lock pins, by package; a package may have one pin a platform."""
    text = (ROOT / "lock" / name).read_text().replace("\\\n", " ")
    found: dict[str, list[Requirement]] = {}
    for line in text.splitlines():
        pin, *hashes = line.split(" --hash=")
        assert hashes, f"{pin} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", each) for each in hashes), pin
        requirement = Requirement(pin.strip())
        found.setdefault(requirement.name, []).append(requirement)
    return found


def asked(*extras: str) -> list[Requirement]:
    described = project()
    by_extra = described["optional-dependencies"]
    assert isinstance(by_extra, dict)
    lines = [*described["dependencies"], *(line for e in extras for line in by_extra[e])]  # type: ignore[misc]
    return [Requirement(line) for line in lines if not line.startswith("mlops-kit[")]


@pytest.mark.parametrize(
    ("name", "extras"), [("base.txt", ()), ("dev.txt", ("lab", "mlserver", "dev"))]
)
def test_the_lock_pins_what_is_asked_for_within_its_range(
    name: str, extras: tuple[str, ...]
) -> None:
    pins = locked(name)
    for requirement in asked(*extras):
        for pin in pins[requirement.name.lower().replace("_", "-")]:
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            assert Version(specifier.version) in requirement.specifier, (requirement, pin)


def test_the_files_of_the_lock_agree() -> None:
    every = {name: set(map(str, pins)) for name, pins in locked("dev.txt").items()}
    for name in ("base.txt", "build.txt"):
        for package, pins in locked(name).items():
            versions = {str(pin).split(";")[0].strip() for pin in pins}
            assert versions <= {each.split(";")[0].strip() for each in every[package]}, package


def test_the_lock_names_no_server() -> None:
    for path in (ROOT / "lock").iterdir():
        assert "://" not in path.read_text(), path


def test_the_build_backend_is_pinned() -> None:
    assert "hatchling" in locked("build.txt")
