"""A table that nobody here has seen goes from its file to a served champion, and back."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from mlops_kit.examples.parcels.generator import generate
from tests.stores import Prepare

# This machine may be busy, and answer nobody for some seconds.
PACE = {"slow_ms": 2000, "interval": 0.5, "baking": 1}
PATIENT = "missing_looks = 60\n"


@dataclass(frozen=True)
class Desk:
    """A project made from a file, and how the command runs in it."""

    command: str
    project: Path

    def run(self, *words: str) -> Any:
        done = subprocess.run(
            [self.command, *words, "--json"],
            cwd=self.project if self.project.exists() else self.project.parent,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory, mlops_kit_command: str, prepare_store: Prepare
) -> Desk:
    """The project that `new` writes for a file of parcels, at a pace for a test."""
    folder = tmp_path_factory.mktemp("any")
    generate(9_000).to_csv(folder / "parcels.csv", index=False)
    desk = Desk(mlops_kit_command, folder / "parcels")
    asked = ("--from", str(folder / "parcels.csv"), "--target", "hours", "--time", "sent_at")
    desk.run("new", "parcels", *asked)
    settings = desk.project / "mlops-kit.toml"
    text = settings.read_text().replace("[rollout]\n", f"[rollout]\n{PATIENT}")
    for name, value in PACE.items():
        text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
    settings.write_text(text)
    prepare_store(desk.project)
    return desk


@pytest.fixture(scope="module")
def delivered(desk: Desk) -> Any:
    """What one run of its pipeline left."""
    return desk.run("run", "parcels-training")


@pytest.fixture
def server(desk: Desk, delivered: Any) -> Iterator[str]:
    """The URL of a server of the champion."""
    yield desk.run("serve", "--detach")["url"]
    desk.run("serve", "stop")


def test_a_run_trains_judges_promotes_and_rolls_out(delivered: Any) -> None:
    assert set(delivered["steps"].values()) == {"succeeded"}
    assert delivered["verdict"] == "pass"
    names = {row["name"] for row in delivered["evaluation"]["scores"]}
    assert {"mean_absolute_error", "r2", "latency_ms"} <= names
    assert delivered["rollout"]["outcome"] == "completed"
    assert delivered["rollout"]["weights"] == [0, 10, 20, 30, 40, 50, 100]


def test_its_rows_are_asked_for_by_name_labelled_and_the_release_goes_back(
    desk: Desk, delivered: Any, server: str, tmp_path: Path
) -> None:
    model = f"{server}/v2/models/parcels"
    described = requests.get(model, timeout=30).json()
    types = {each["name"]: each["datatype"] for each in described["inputs"]}
    assert (types["carrier"], types["distance_km"], types["fragile"]) == ("BYTES", "FP64", "BOOL")
    row = {"carrier": "Falcon", "service": "express", "origin": "Nowhere", "distance_km": 420.5}
    row |= {"weight_kg": None, "insured_eur": None, "fragile": True}
    tensors = [
        {"name": name, "datatype": types[name], "shape": [1], "data": [value]}
        for name, value in row.items()
    ]
    asked = {"id": "one", "inputs": tensors}
    answer = requests.post(f"{model}/infer", json=asked, timeout=30)
    assert answer.status_code == 200, answer.text
    assert 0 < answer.json()["outputs"][0]["data"][0] < 200
    late = tmp_path / "labels.csv"
    late.write_text("id,row,label\none,0,31.5\n")
    assert desk.run("label", str(late))["stored"] == 1
    before = desk.run("status")["champion"]
    desk.run("rollback", "--reason", "the carriers changed")
    assert desk.run("status")["champion"] != before
