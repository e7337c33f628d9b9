"""The server starts, shares its time fairly, stops without dropping a request, and never dies."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from mlops_kit.prediction_log.writer import PredictionLog
from mlops_kit.serving.options import Serving
from mlops_kit.serving.predictor import LiveRelease, Predictor
from mlops_kit.serving.protocol import Signature
from mlops_kit.serving.server import Server, application
from tests.failures import fails
from tests.served import Client, Source, Written

BODY = {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 1], "data": [0.5]}]}
ONE, TWO = (f"/v2/models/fraud/versions/{version}/infer" for version in "12")


def predictor(version: str, score: Any, *, is_fast: bool = False) -> Predictor:
    return Predictor(version, f"sha256:{version}", Signature(("a",)), score, 0.5, is_fast)


def first(rows: Any) -> Any:
    return rows[:, 0]


def release(champion: Any = first, candidate: Any = first, **more: Any) -> LiveRelease:
    sides = (predictor("1", champion, **more), predictor("2", candidate))
    return LiveRelease("r", "fraud", "dev", "rollout", *sides, weight=50)


@contextmanager
def serving(source: Source, **options: Any) -> Iterator[tuple[Client, Server]]:
    settings = Serving(**options)
    log = PredictionLog(Written().write)
    server = Server(application(source, log, settings, lambda: {"release": "r"}), settings)
    server.start()
    try:
        yield Client(server.url), server
    finally:
        server.stop()
        log.close()


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_before_the_first_release_it_lives_and_is_not_ready() -> None:
    source = Source(None)
    with serving(source) as (client, _):
        assert client.ask("/v2/health/live").status == 200
        assert client.ask("/v2/health/ready").status == 503
        assert client.ask(ONE, BODY).status == 503
        assert client.ask("/v2/models/fraud").status == 503
        source.live = release()
        assert client.ask("/v2/health/ready").status == 200
        assert client.ask(ONE, BODY).status == 200


def test_a_release_is_swapped_under_load_without_a_failed_request() -> None:
    source = Source(release(is_fast=True))
    statuses: list[int] = []
    stop = threading.Event()
    with serving(source) as (client, _):

        def load() -> None:
            while not stop.is_set():
                statuses.append(client.ask("/v2/models/fraud/infer", BODY).status)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(30):
            time.sleep(0.02)
            source.live = release(is_fast=number % 2 == 0)
        stop.set()
        for thread in threads:
            thread.join()
    assert len(statuses) > 50
    assert set(statuses) == {200}


def test_a_candidate_that_hangs_does_not_stop_the_champion() -> None:
    hanging = threading.Event()

    def hang(rows: Any) -> Any:
        hanging.wait(20)
        return first(rows)

    with serving(Source(release(candidate=hang))) as (client, _), ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(client.ask, TWO, BODY) for _ in range(10)]
        eventually(lambda: sum(each.running() for each in waiting) == 10)
        assert [client.ask(ONE, BODY).status for _ in range(5)] == [200] * 5
        assert not any(each.done() for each in waiting)
        hanging.set()
        assert {each.result().status for each in waiting} == {200}


def test_stop_lets_running_requests_end() -> None:
    running, go_on = threading.Event(), threading.Event()

    def slow(rows: Any) -> Any:
        running.set()
        go_on.wait(10)
        return first(rows)

    with serving(Source(release(champion=slow))) as (client, server), ThreadPoolExecutor(2) as pool:
        asked = pool.submit(client.ask, ONE, BODY)
        assert running.wait(10)
        stopping = pool.submit(server.stop)
        time.sleep(0.2)
        go_on.set()
        assert asked.result().status == 200
        stopping.result()
        with pytest.raises(OSError, match="refused"):
            client.ask("/v2/health/live")


def test_it_serves_in_the_callers_loop_as_well() -> None:
    async def both() -> int:
        settings = Serving()
        server = Server(application(Source(release()), None, settings, dict), settings)
        serving = asyncio.create_task(server.serve())
        reply = await asyncio.to_thread(until_served, Client(server.url))
        server.stop()
        await asyncio.wait_for(serving, 10)
        return reply

    assert asyncio.run(both()) == 200


def until_served(client: Client) -> int:
    # Nobody says when the loop has come to listening.
    end = time.monotonic() + 10
    while True:
        try:
            return client.ask(ONE, BODY).status
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Serving(port=port)
        with fails("serving.address", port):
            Server(application(Source(None), None, settings, dict), settings)


def test_a_port_can_be_taken_again_at_once() -> None:
    with serving(Source(release())) as (client, server):
        port = int(server.url.rpartition(":")[2])
        client.ask(ONE, BODY)
    with serving(Source(release()), port=port) as (client, _):
        assert client.ask(ONE, BODY).status == 200


def test_status_and_metrics_are_there_to_be_read() -> None:
    with serving(Source(release())) as (client, _):
        client.ask("/v2/models/fraud/infer", BODY, {"X-Client-Id": "a"})
        assert client.ask("/status").json == {"release": "r"}
        text = client.ask("/metrics").body.decode()
        assert 'outcome="ok"' in text
        assert "mlops_kit_model_seconds_bucket" in text
        eventually(lambda: b"predictions_logged_total 1.0" in client.ask("/metrics").body)


def test_a_body_without_a_length_is_counted_as_it_comes() -> None:
    with serving(Source(release()), max_body=10_000) as (client, _):
        address = client.url.removeprefix("http://")

        def sent(parts: list[bytes]) -> tuple[int, Any]:
            connection = http.client.HTTPConnection(address, timeout=10)
            connection.request("POST", ONE, iter(parts), encode_chunked=True,
                               headers={"Transfer-Encoding": "chunked"})  # fmt: skip
            reply = connection.getresponse()
            body = json.loads(reply.read())
            connection.close()
            return reply.status, body

        content = json.dumps(BODY).encode()
        assert sent([content[:20], content[20:]])[0] == 200
        status, body = sent([b" " * 4000] * 200)
        assert (status, list(body)) == (413, ["error"])
        assert client.ask(ONE, BODY).status == 200


def test_a_client_that_leaves_in_the_middle_or_speaks_no_http_harms_nobody() -> None:
    with serving(Source(release())) as (client, server):
        port = int(server.url.rpartition(":")[2])
        for content in (
            f"POST {ONE} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode(),
            f"POST {ONE} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".encode(),
            f"POST {ONE} HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n".encode(),
            b"\x16\x03\x01\x02\x00 no http at all\r\n\r\n",
            b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(content)
        assert client.ask(ONE, BODY).status == 200


def test_too_many_requests_for_a_slow_model_are_sent_away() -> None:
    go_on = threading.Event()

    def hang(rows: Any) -> Any:
        go_on.wait(20)
        return first(rows)

    with serving(Source(release(champion=hang))) as (client, _), ThreadPoolExecutor(300) as pool:
        waiting = [pool.submit(client.ask, ONE, BODY) for _ in range(280)]
        eventually(lambda: sum(each.done() for each in waiting) == 280 - 256)
        go_on.set()
        statuses = [each.result().status for each in waiting]
    assert statuses.count(503) == 280 - 256
    assert statuses.count(200) == 256


def test_scores_are_those_that_were_given_bit_for_bit() -> None:
    values = np.random.default_rng(0).random(200)
    with serving(Source(release(is_fast=True))) as (client, _):
        tensor = {**BODY["inputs"][0], "shape": [200, 1], "data": values.tolist()}
        reply = client.ask(ONE, {"inputs": [tensor]})
        assert reply.json["outputs"][0]["data"] == values.tolist()
