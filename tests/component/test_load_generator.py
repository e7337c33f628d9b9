"""Requests are sent at their rate to a real server, and labels follow them when they are due."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops_kit.errors import StoreBusyError
from mlops_kit.examples import load_client
from mlops_kit.examples.load_generator import Label, Load, Sent, Traffic, send
from mlops_kit.serving import protocol
from mlops_kit.serving.signature import Signature
from tests import mixed
from tests.failures import fails

ROWS = np.arange(60, dtype=float).reshape(20, 3)
LABELS = (np.arange(20) % 5 == 0).astype(int)


class Server:
    """A server that answers as V2 says, keeps what it was asked, and can go away and come back."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.connections: set[tuple[str, int]] = set()
        self.answer: Any = {"model_version": "7", "outputs": []}
        self.status = 200
        self.delay = 0.0
        self.drops = False
        self.port = 0
        self.start()

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append(json.loads(body))
                outer.paths.append(self.path)
                outer.connections.add(self.client_address)
                time.sleep(outer.delay)
                content = json.dumps(outer.answer).encode()
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                # As a server does with connections that nobody uses, without a word.
                self.close_connection = outer.drops

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=[0.02], daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


class Given:
    """Takes labels, with the time at which they came."""

    def __init__(self, refusals: int = 0) -> None:
        self.labels: list[Label] = []
        self.times: list[float] = []
        self.refusals = refusals

    def __call__(self, labels: Sequence[Label]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreBusyError("busy")
        self.labels += labels
        self.times += [time.time()] * len(labels)


def test_each_row_is_sent_as_v2_says_and_its_label_follows(server: Server) -> None:
    given = Given()
    load = Load(rate=math.inf, count=40, clients=5)
    sent = send(server.url, "a fraud", ROWS, LABELS, load, on_label=given)
    assert sent == Sent(40, 40, 0, 0, 40, {"7": 40})
    assert set(server.paths) == {"/v2/models/a%20fraud/infer"}
    assert len(server.connections) <= load.threads
    truth = {}
    for request in server.requests:
        (tensor,) = request["inputs"]
        assert (tensor["name"], tensor["datatype"]) == ("features", "FP64")
        assert tensor["shape"] == [1, 3]
        truth[request["id"]] = LABELS[int(tensor["data"][0]) // 3]
    assert len(truth) == 40
    assert {label.prediction: label.label for label in given.labels} == truth
    clients = Counter(request["parameters"]["client_id"] for request in server.requests)
    assert set(clients) <= {f"customer-{number}" for number in range(5)}
    assert len(clients) > 1
    rows = Counter(request["inputs"][0]["data"][0] for request in server.requests)
    assert set(rows.values()) == {2}


def test_a_batch_is_one_request_with_a_label_a_row(server: Server) -> None:
    given = Given()
    load = Load(rate=math.inf, count=2, batch=10)
    assert send(server.url, "fraud", ROWS, LABELS, load, on_label=given).labels == 20
    assert [request["inputs"][0]["shape"] for request in server.requests] == [[10, 3]] * 2
    for request in server.requests:
        first = np.array(request["inputs"][0]["data"]).reshape(10, 3)[:, 0] // 3
        labels = sorted((x.row, x.label) for x in given.labels if x.prediction == request["id"])
        assert labels == list(enumerate(LABELS[first.astype(int)].tolist()))


def test_the_same_seed_sends_the_same_under_other_ids(server: Server) -> None:
    runs = []
    for seed in (1, 1, 2):
        server.requests.clear()
        load = Load(rate=math.inf, count=15, seed=seed, missing=0.5)
        send(server.url, "fraud", ROWS, LABELS, load)
        runs.append(
            (
                sorted((str(r["inputs"]), str(r["parameters"])) for r in server.requests),
                {request["id"] for request in server.requests},
            )
        )
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert not runs[0][1] & runs[1][1]


def test_a_share_of_the_requests_lacks_a_feature(server: Server) -> None:
    load = Load(rate=math.inf, count=200, missing=0.25, missing_feature=1)
    send(server.url, "fraud", ROWS, LABELS, load)
    data = [request["inputs"][0]["data"] for request in server.requests]
    assert 25 < sum(row[1] is None for row in data) < 75
    assert all(row[0] is not None and row[2] is not None for row in data)
    assert not np.isnan(ROWS).any()


def test_rows_of_any_table_go_as_a_tensor_a_column(server: Server) -> None:
    table, found = mixed.table(), mixed.rows(20)
    names = table.feature_names
    frame = pd.DataFrame({n: list(v) for n, v in zip(names, zip(*found, strict=True), strict=True)})
    frame["since"] = pd.to_datetime(frame["since"], format="ISO8601")
    frame["age"] = frame["age"].astype("Int64")
    rows = load_client.rows_of(table, frame.drop(columns="note"))
    labels = np.arange(20) % 2
    given = Given()
    load = Load(rate=math.inf, count=20, missing=0.3, missing_feature=1)
    assert send(server.url, "m", rows, labels, load, table=table, on_label=given).failed == 0
    signature = Signature(tuple(names), table)
    truth = {}
    for request in server.requests:
        content = json.dumps(request).encode()
        (sent,) = protocol.decode(content, {}, signature, 10, str).rows.tolist()
        (place,) = [at for at, row in enumerate(found) if row[6] == sent[6]]
        expected = [*found[place][:2], None, *found[place][3:]]
        assert sent[1] in (expected[1], None)
        assert sent[:1] + sent[2:] == expected[:1] + expected[2:]
        truth[request["id"]] = labels[place]
    assert {label.prediction: label.label for label in given.labels} == truth


def test_the_rate_is_kept(server: Server) -> None:
    start = time.monotonic()
    sent = send(server.url, "fraud", ROWS, LABELS, Load(rate=100, count=51))
    assert time.monotonic() - start >= 0.5
    assert sent.keeps_rate


def test_seconds_end_it(server: Server) -> None:
    sent = send(server.url, "fraud", ROWS, LABELS, Load(rate=50, seconds=0.5))
    assert 0 < sent.requests <= 25
    assert sent.requests == len(server.requests)


def test_labels_come_when_they_are_due(server: Server) -> None:
    given = Given()
    load = Load(rate=math.inf, count=20, label_delay=0.4)
    start = time.time()
    assert send(server.url, "fraud", ROWS, LABELS, load, on_label=given).labels == 20
    assert min(given.times) >= start + 0.4
    late = [came - label.time for came, label in zip(given.times, given.labels, strict=True)]
    # The clock that labels are dated by and the one that they wait by may differ by a little.
    assert min(late) > -0.05


def test_labels_that_a_busy_store_refuses_come_again(server: Server) -> None:
    given = Given(refusals=3)
    load = Load(rate=math.inf, count=20)
    assert send(server.url, "fraud", ROWS, LABELS, load, on_label=given).labels == 20
    assert len({label.prediction for label in given.labels}) == len(given.labels) == 20


def test_whoever_waits_learns_why_labels_could_not_be_given(server: Server) -> None:
    def broken(labels: Sequence[Label]) -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        send(server.url, "fraud", ROWS, LABELS, Load(rate=50, seconds=30), on_label=broken)


def test_a_server_that_restarts_costs_failed_requests_only(server: Server) -> None:
    given = Given()
    with Traffic(
        server.url, "fraud", ROWS, LABELS, Load(rate=100, seconds=30), on_label=given
    ) as traffic:
        until(lambda: traffic.sent.answered > 5)
        server.stop()
        server.drops = True
        until(lambda: traffic.sent.failed > 5)
        server.start()
        before = traffic.sent.answered
        until(lambda: traffic.sent.answered > before + 5)
        sent = traffic.stop()
    assert sent.answered + sent.failed == sent.requests
    # No label for a request that nobody answered: its id is unknown to the store.
    assert sent.labels == len(given.labels) == sent.answered


def test_a_connection_that_the_server_closed_costs_no_request(server: Server) -> None:
    server.drops = True
    load = Load(rate=math.inf, count=30, threads=2)
    assert send(server.url, "fraud", ROWS, LABELS, load).failed == 0
    assert len(server.connections) > 2


def test_an_error_is_a_failed_request_without_a_label(server: Server) -> None:
    server.status = 500
    sent = send(server.url, "fraud", ROWS, LABELS, Load(rate=math.inf, count=10))
    assert sent == Sent(10, 0, 10)


@pytest.mark.parametrize("answer", [[], "text", {"outputs": []}, None])
def test_an_answer_that_names_no_version_is_counted_apart(server: Server, answer: Any) -> None:
    server.answer = answer
    sent = send(server.url, "fraud", ROWS, LABELS, Load(rate=math.inf, count=3))
    assert sent.by_version == {"": 3}


def test_what_a_slow_server_leaves_overdue_is_left_out_and_said(server: Server) -> None:
    server.delay = 0.3
    load = Load(rate=100, seconds=2, threads=2)
    sent = send(server.url, "fraud", ROWS, LABELS, load)
    assert not sent.keeps_rate
    assert sent.requests < 20
    assert f"{sent.skipped} skipped" in str(sent)


def test_it_ends_at_once_when_it_is_stopped(server: Server) -> None:
    given = Given()
    load = Load(rate=20, seconds=600, label_delay=300)
    traffic = Traffic(server.url, "fraud", ROWS, LABELS, load, on_label=given).start()
    until(lambda: traffic.sent.answered > 2)
    start = time.monotonic()
    sent = traffic.stop()
    assert time.monotonic() - start < 5
    assert (sent.labels, given.labels) == (0, [])
    assert sent.requests == len(server.requests)


def test_an_event_stops_it_too(server: Server) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    sent = send(server.url, "fraud", ROWS, LABELS, Load(rate=50, seconds=600), stop=stop)
    assert sent.requests < 600


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com:80",
        "http://10.0.0.1:8080",
        "https://127.0.0.1",
        "127.0.0.1:80",
        "http://[::1",
    ],
)
def test_another_machine_or_no_address_is_refused(url: str) -> None:
    with fails("serving", repr(url)):
        Traffic(url, "fraud", ROWS, LABELS, Load(count=1))


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"count": -1},
        {"seconds": math.inf},
        {"count": 1, "rate": 0},
        {"count": 1, "rate": math.nan},
        {"count": 1, "batch": 0},
        {"count": 1, "missing": 1.5},
        {"count": 1, "label_delay": -1},
    ],
)
def test_a_load_that_has_no_end_or_makes_no_sense_is_refused(named: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected|must"):
        Load(**named)


def test_rows_and_labels_must_belong_together() -> None:
    with fails("serving", (20, 3), (19,)):
        Traffic("http://localhost:1", "fraud", ROWS, LABELS[1:], Load(count=1))


def until(true: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
