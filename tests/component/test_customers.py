"""Simulated customers of any table send rows that no model was trained on."""

from __future__ import annotations

import json
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_kit import data, datasets
from mlops_kit.errors import DataError, ParameterError
from mlops_kit.examples import customers, load_client
from mlops_kit.examples.fraud.table import TABLE
from mlops_kit.examples.load import Load
from mlops_kit.examples.load_generator import send
from mlops_kit.prediction_log.label import Label
from mlops_kit.tables.table import Column, Table
from tests.failures import fails


def rows(frame: object) -> set[tuple[float, ...]]:
    return set(map(tuple, frame[["Time", "V1", "V2", "Amount"]].to_numpy()))  # type: ignore[index]


def test_live_traffic_needs_no_customers() -> None:
    assert customers.of("live", "generated", TABLE) is None


def test_generated_customers_are_others_than_the_training_data_and_than_each_other() -> None:
    sent = customers.of("simulated", "generated", TABLE, seed=7)
    assert sent is not None
    before, live, trained = rows(sent.before), rows(sent.live), rows(data.generate(120_000, seed=7))
    assert not before & live
    assert not (before | live) & trained
    assert sent.before["Class"].sum() >= 100


def test_a_data_set_s_latest_part_is_sent_and_nothing_that_a_model_learned_from(
    tmp_path: Path,
) -> None:
    saved = datasets.save(data.generate(20_000, seed=3), tmp_path)
    split = datasets.split(data.load(saved), TABLE)
    sent = customers.of("simulated", str(saved), TABLE)
    assert sent is not None
    before, live = rows(sent.before), rows(sent.live)
    assert before | live == rows(split.replay)
    assert not before & live
    assert len(before) > len(live)


def test_the_live_ones_are_sent_once_each_and_stop_in_time() -> None:
    sent = customers.of("simulated", "generated", TABLE, rate=50.0, label_delay=2.0)
    assert sent is not None
    assert (sent.load.count, sent.load.rate, sent.load.label_delay) == (len(sent.live), 50.0, 2.0)
    assert sent.within(3.0).load.seconds == 3.0


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_sends_nothing_is_refused(rate: float) -> None:
    with pytest.raises(ParameterError, match="rate is"):
        customers.of("simulated", "generated", TABLE, rate=rate)


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent"):
        customers.of("simulated", str(tmp_path / "absent.csv"), TABLE)


# --- any table ----------------------------------------------------------------------------------

CARS = Table(
    "cars",
    (
        Column("sold", "datetime"),
        Column("doors", "int", nullable=True),
        Column("fuel", "category", categories=("gas", "diesel")),
        Column("new", "bool"),
        Column("grade", "str", categories=("a", "b", "c")),
    ),
    "multiclass",
    "grade",
    ("a", "b", "c"),
    time="sold",
)


def cars(folder: Path, count: int = 1_000) -> Path:
    """Write cars in no order of time; the last 100 days are the latest."""
    days = np.random.default_rng(0).permutation(count)
    path = folder / "cars.csv"
    pd.DataFrame(
        {
            "sold": [f"{date.fromordinal(730_000 + int(day))}" for day in days],
            "doors": [None if day % 7 == 0 else int(day % 5) for day in days],
            "fuel": [("gas", "diesel")[day % 2] for day in days],
            "new": days % 3 == 0,
            "grade": [CARS.classes[day % 3] for day in days],
        }
    ).to_csv(path, index=False)
    return path


def test_rows_of_a_mixed_table_are_sent_as_tensors_by_name(tmp_path: Path) -> None:
    sent = customers.of("simulated", str(cars(tmp_path)), CARS, rate=50.0)
    assert sent is not None
    assert len(sent.before) + len(sent.live) == 100
    assert sent.before["sold"].min() >= pd.Timestamp(date.fromordinal(730_900))
    assert sent.load.count == 15_000
    rows, labels = customers._arrays(CARS, sent.before)
    assert labels.tolist() == [ord(each) - ord("a") for each in sent.before["grade"]]
    request = json.loads(load_client.body("one", 7, rows[:20], CARS))
    tensors = {each["name"]: each for each in request["inputs"]}
    kinds = {name: each["datatype"] for name, each in tensors.items()}
    assert kinds == {"doors": "INT64", "fuel": "BYTES", "new": "BOOL"}
    assert all(each["shape"] == [20] for each in tensors.values())
    assert {type(each) for each in tensors["doors"]["data"]} == {int, type(None)}
    assert {*tensors["fuel"]["data"]} == {"gas", "diesel"}
    assert {*tensors["new"]["data"]} == {True, False}


def test_the_load_generator_takes_rows_that_are_not_numbers(tmp_path: Path) -> None:
    sent = customers.of("simulated", str(cars(tmp_path)), CARS)
    assert sent is not None
    rows, labels = customers._arrays(CARS, sent.live)
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"model_version": "1"}')

        def log_message(self, *_: object) -> None:
            pass

    given: list[Label] = []
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        load = Load(rate=100, count=5, batch=3, threads=1)
        url = f"http://127.0.0.1:{server.server_port}"
        sent_now = send(url, "cars", rows, labels, load, on_label=given.extend, table=CARS)
        server.shutdown()
    assert (sent_now.answered, sent_now.labels) == (5, 15)
    doors = [value for each in asked for value in each["inputs"][0]["data"]]
    assert len(doors) == 15
    assert {each.label for each in given} <= {0.0, 1.0, 2.0}


def test_rows_that_nothing_generates_are_drawn_and_a_short_data_set_is_refused(
    tmp_path: Path,
) -> None:
    sent = customers.of("simulated", "generated", CARS)
    assert sent is not None
    assert (len(sent.before), len(sent.live), sent.load.count) == (5_000, 20_000, 20_000)
    rows, labels = customers._arrays(CARS, sent.live)
    assert {*labels.tolist()} == {0, 1, 2}
    assert {*rows[:, 1]} == {"gas", "diesel"}
    short = tmp_path / "short.csv"
    short.write_text("sold,doors\n2020-01-01,4\n")
    with fails("data", "short.csv", "fuel"):
        customers.of("simulated", str(short), CARS)
    with fails("data", "replay", "lacks"):
        customers.of("simulated", str(cars(tmp_path, 10)), CARS)
