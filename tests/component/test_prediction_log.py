"""Predictions count once, labels find them in any order, and a reader sees each row once."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.prediction_log.blocks import Arm, Block
from mlops_kit.prediction_log.log import Cursor, Label, LabelledRows, Observations
from tests.failures import fails
from tests.observed import CANDIDATE, CHAMPION, PAIR, START, asked, check, prediction, url

WHO = PAIR[:3]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is made and empty: a copy is quicker than making another."""
    folder = tmp_path_factory.mktemp("store")
    store = Observations(url(folder))
    store.prepare()
    store.close()
    return folder / "observations.db"


@pytest.fixture
def place(tmp_path: Path, empty: Path) -> Path:
    shutil.copy(empty, tmp_path)
    return tmp_path


@pytest.fixture
def store(place: Path) -> Iterator[Observations]:
    store = Observations(url(place))
    yield store
    store.close()
    check(place)


def read(store: Observations, verb: str, **named: Any) -> tuple[list[LabelledRows], Cursor]:
    """Read on until there is nothing more."""
    parts, after = [], named.pop("after", None)
    while True:
        part = getattr(store, verb)(*WHO, **{"before": math.inf, "after": after, **named})
        after = part.cursor
        parts.append(part)
        assert len(parts) < 1000, "it never comes to an end"
        if part.is_last:
            return parts, after


class Reader:
    """Who follows the labelled rows, and keeps what it has seen."""

    def __init__(self, store: Observations) -> None:
        self.store = store
        self.after: Cursor | None = None
        self.seen: Counter[tuple[str, float, int]] = Counter()

    def look(self, before: float = math.inf, most: int = 5_000) -> int:
        parts, self.after = read(self.store, "labelled", before=before, most=most, after=self.after)
        for part in parts:
            columns = (part.ids, part.scores, part.labels, part.previous)
            for name, score, label, previous in zip(*columns, strict=True):
                if previous >= 0:
                    self.seen[name, score, int(previous)] -= 1
                self.seen[name, score, int(label)] += 1
        assert set(self.seen.values()) <= {0, 1}
        return sum(len(part) for part in parts)

    @property
    def rows(self) -> set[tuple[str, float, int]]:
        return {row for row, times in self.seen.items() if times}


# --- counting ---------------------------------------------------------------------------------


def test_requests_are_counted_by_pair_weight_role_and_interval(place: Path) -> None:
    store = Observations(url(place), slow_ms=100, interval=10)
    store.add(
        [
            prediction(0),
            prediction(9, latency_ms=100.0, rows=5),
            prediction(9, id="slow", latency_ms=100.1, role="candidate"),
            prediction(10, outcome="error", latency_ms=900.0, role="candidate"),
            prediction(11, weight=20),
            prediction(12, candidate="", weight=0),
            prediction(13, candidate="sha256:other"),
        ]
    )
    assert store.blocks(*PAIR) == (
        Block(10, START, Arm(1, 0, 1), Arm(2, 0, 0)),
        Block(10, START + 10, Arm(1, 1, 0), Arm()),
        Block(20, START + 10, Arm(), Arm(1, 0, 0)),
    )
    assert store.champion_blocks(*WHO) == (Arm(2), Arm(3))
    assert store.champion_blocks(*WHO, since=START + 10) == (Arm(3),)
    assert store.champion_blocks(*WHO, until=START + 10) == (Arm(2),)
    assert store.blocks("fraud", "dev", CHAMPION, CANDIDATE) == ()
    store.close()
    check(place)


def test_a_retry_counts_once(store: Observations) -> None:
    batch = [prediction(1), prediction(2), prediction(1)]
    store.add(batch)
    store.add([*batch, prediction(3)])
    assert sum(block.champion.requests for block in store.blocks(*PAIR)) == 3
    assert store.coverage(*WHO, math.inf) == (3, 0)


def test_counters_go_on_after_a_restart(place: Path) -> None:
    for number in range(3):
        store = Observations(url(place), interval=60)
        store.add([prediction(number), prediction(0)])
        store.close()
    store = Observations(url(place), interval=60)
    assert [block.champion.requests for block in store.blocks(*PAIR)] == [3]
    store.close()
    store.add([prediction(7)])
    assert [block.champion.requests for block in store.blocks(*PAIR)] == [4]
    store.close()


def test_counters_belong_to_what_counts_as_slow(place: Path, store: Observations) -> None:
    store.add([prediction(1)])
    assert Observations(url(place), slow_ms=1).blocks(*PAIR) == ()


def test_nothing_is_stored_of_a_batch_with_a_prediction_that_contradicts_itself(
    store: Observations,
) -> None:
    good = prediction(1)
    for wrong in (
        replace(good, id="x", rows=2),
        replace(good, id="x", scores=b""),
        replace(good, id="x", features=b"1234567"),
        replace(good, id="x", rows=0, scores=b"", decisions=b"", features=b""),
        replace(good, id="x", time=math.nan),
        replace(good, id="x", latency_ms=-1.0),
        replace(good, id="x", outcome="error"),
    ):
        with fails("prediction-log", "'x'"):
            store.add([good, wrong])
    assert store.status("fraud", "prod")["predictions"] == 0


def test_clients_are_counted_among_the_first_predictions(store: Observations) -> None:
    store.add(
        [
            prediction(0, client="a"),
            prediction(1, client="a"),
            prediction(2, client="b", role="candidate"),
            prediction(3, client="b", role="candidate"),
            prediction(4, client="", role="candidate"),
            prediction(5, client="", role="candidate"),
            prediction(6, client=""),
            prediction(7, client="c", weight=20),
        ]
    )
    assert store.clients(*PAIR, 10) == (3, 5)
    assert store.clients(*PAIR, 20) == (0, 1)
    assert store.clients(*PAIR, 30) == (0, 0)
    assert store.clients(*PAIR, 10, most=3) == (1, 2)
    store.add([prediction(8, client="d", role="candidate")])
    assert store.clients(*PAIR, 10) == (4, 6)
    assert store.clients(*PAIR, 10, most=3) == (1, 2)


# --- labels -----------------------------------------------------------------------------------


def test_a_label_counts_whether_it_comes_late_early_or_twice(store: Observations) -> None:
    label = Label("request-1", 0, 1, START + 5)
    store.label([label])
    assert store.status("fraud", "prod")["unknown_labels"] == 1
    store.add([prediction(1), prediction(2)])
    store.label([label, label])
    store.label([Label("request-2", 0, 0, START + 6)])
    assert store.status("fraud", "prod") == {
        "predictions": 2,
        "labels": 2,
        "conflicts": 0,
        "unknown_labels": 0,
        "newest_prediction": START + 2,
        "newest_label": START + 6,
    }
    assert store.coverage(*WHO, math.inf) == (2, 2)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_of_conflicting_labels_the_newest_counts(
    store: Observations, order: tuple[int, ...], after: int
) -> None:
    labels = [Label("request-1", 0, y, START + t) for y, t in ((1, 1), (0, 3), (1, 2))]
    for number, index in enumerate(order):
        if number == after:
            store.add([prediction(1)])
        store.label([labels[index]])
    store.add([prediction(1)])
    ((part,), _) = read(store, "matured")
    assert part.labels.tolist() == [0]
    status = store.status("fraud", "prod")
    assert (status["conflicts"], status["labels"]) == (1, 1)


def test_labels_of_no_stored_row_are_unknown(store: Observations) -> None:
    store.add([prediction(1, rows=2)])
    store.label([Label("request-1", 2, 1, 0.0), Label("nobody", 0, 1, 0.0)])
    store.label([Label("nobody", 0, 0, 1.0)])
    status = store.status("fraud", "prod")
    assert (status["unknown_labels"], status["labels"]) == (2, 0)


def test_status_knows_nothing_of_another_model(store: Observations) -> None:
    store.add([prediction(1)])
    store.label([Label("request-1", 0, 1, 0.0)])
    assert set(store.status("other", "prod").values()) == {0, None}


@pytest.mark.parametrize(
    "values",
    [
        ("a", 0, math.nan, 0.0),
        ("a", 0, math.inf, 0.0),
        ("a", -1, 1, 0.0),
        ("a", 0, 1, math.nan),
        ("", 0, 1, 0.0),
        ("a", 0, 1, 0.0, "", "both"),
    ],
)
def test_a_label_that_cannot_be_is_refused(values: tuple[Any, ...]) -> None:
    with fails("prediction-log"):
        Label(*values)


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 3, 100])
def test_matured_rows_are_read_in_order_and_once(store: Observations, most: int) -> None:
    rows = {number: 1 + number % 3 for number in range(10)}
    numbers = [3, 0, 9, 1, 2, 8, 7, 4, 5, 6]
    store.add([prediction(number, rows=rows[number]) for number in numbers])
    store.add([prediction(11, outcome="error"), prediction(12, role="candidate")])
    store.label([Label("request-2", 1, 1, 0.0), Label("request-5", 0, 0, 0.0)])
    parts, _ = read(store, "matured", before=START + 8, most=most)
    assert all(len(part) <= max(most, 3) for part in parts)
    ids = [name for part in parts for name in part.ids]
    assert ids == [f"request-{number}" for number in range(9) for _ in range(rows[number])]
    labels = np.nan_to_num(np.concatenate([part.labels for part in parts]), nan=-1)
    assert labels[np.array(ids) == "request-2"].tolist() == [-1, 1, -1]
    assert labels[np.array(ids) == "request-5"].tolist() == [0, -1, -1]
    assert (labels >= 0).sum() == 2
    for part in parts:
        for index, name in enumerate(part.ids):
            number = int(name.removeprefix("request-"))
            row = index - part.ids.index(name)
            assert part.scores[index] == number + row
            assert part.decisions[index] == number % 2
            assert part.features is not None
            assert part.features[index].tolist() == [3 * row, 3 * row + 1, 3 * row + 2]


def test_features_are_read_where_they_are_asked_for_and_kept(store: Observations) -> None:
    store.add([prediction(1), prediction(2, features=b"", features_digest="x", rows=4)])
    ((part,), _) = read(store, "matured")
    assert (part.ids, part.without_features) == (("request-1",), 4)
    ((part,), _) = read(store, "matured", features=False)
    assert (len(part), part.features, part.without_features) == (5, None, 0)


def test_both_roles_of_a_digest_are_read_or_one(store: Observations) -> None:
    store.add([prediction(1), prediction(2, role="candidate", candidate=CHAMPION)])
    assert len(read(store, "matured")[0][0]) == 2
    assert len(read(store, "matured", role="candidate")[0][0]) == 1


def test_a_digest_that_never_answered_has_no_rows(store: Observations) -> None:
    who = ("fraud", "prod", "sha256:nobody")
    assert len(store.matured(*who, before=math.inf)) == 0
    assert store.labelled(*who, before=math.inf).is_last
    assert store.coverage(*who, math.inf) == (0, 0)


@pytest.mark.parametrize("since", [-math.inf, 0.0, 3.0, 10.0, 12.5])
@pytest.mark.parametrize("before", [-1.0, 0.0, 9.0, 10.0, 25.0, 31.0, math.inf])
def test_coverage_is_exact_at_every_time(store: Observations, since: float, before: float) -> None:
    chosen = [prediction(number, rows=1 + number % 2) for number in range(0, 40, 3)]
    store.add([*chosen, prediction(2, outcome="error")])
    store.label([Label(each.id, 0, 1, 0.0) for each in chosen[::2]])
    inside = [each for each in chosen if since <= each.time - START <= before]
    expected = sum(each.rows for each in inside), sum(each in chosen[::2] for each in inside)
    assert store.coverage(*WHO, START + before, since=START + since) == expected


def test_labels_are_seen_whenever_they_come(store: Observations) -> None:
    reader = Reader(store)
    store.add([prediction(1), prediction(2), prediction(9)])
    store.label([Label("request-1", 0, 1, 1.0), Label("request-9", 0, 1, 1.0)])
    assert reader.look(START + 5) == 1
    store.label([Label("request-2", 0, 0, 1.0), Label("request-1", 0, 0, 2.0)])
    assert reader.look(START + 5) == 2
    assert reader.rows == {("request-1", 1.0, 0), ("request-2", 2.0, 0)}
    assert reader.look(START + 5) == 0
    # One that comes into the store after younger ones were read, with a label that waited.
    store.label([Label("request-0", 0, 1, 1.0)])
    store.add([prediction(0)])
    assert reader.look(START + 5) == 1
    # One that matures, and whose label has changed before that.
    store.label([Label("request-9", 0, 0, 2.0)])
    assert reader.look(START + 8) == 0
    assert reader.look(START + 9) == 1
    assert reader.rows >= {("request-0", 0.0, 1), ("request-9", 9.0, 0)}


def test_a_clock_that_goes_back_loses_no_label(store: Observations) -> None:
    reader = Reader(store)
    store.add([prediction(1)])
    assert reader.look(START + 5) == 0
    store.label([Label("request-1", 0, 1, 1.0)])
    assert reader.look(START - 3600) == 1
    assert reader.look(START + 5) == 0


def test_labels_from_a_time_on_are_seen_alone(store: Observations) -> None:
    store.add([prediction(number) for number in range(6)])
    store.label([Label(f"request-{number}", 0, 1, 1.0) for number in (1, 4)])
    (part,), after = read(store, "labelled", since=START + 3)
    assert part.ids == ("request-4",)
    store.label([Label(f"request-{number}", 0, 1, 1.0) for number in (2, 3, 5)])
    parts, _ = read(store, "labelled", since=START + 3, after=after)
    assert [name for part in parts for name in part.ids] == ["request-3", "request-5"]


STEP = st.one_of(
    st.tuples(st.just("add"), st.lists(st.integers(0, 7), max_size=4)),
    st.tuples(
        st.just("label"),
        st.lists(
            st.tuples(st.integers(0, 8), st.integers(0, 2), st.integers(0, 1), st.integers(0, 2)),
            max_size=4,
        ),
    ),
    st.tuples(st.just("look"), st.tuples(st.integers(0, 9), st.integers(1, 3))),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, max_size=14))
def test_a_reader_has_seen_each_label_that_counts(empty: Path, steps: list[Any]) -> None:
    truth: dict[tuple[int, int], tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(empty, folder)
        store = Observations(url(Path(folder)))
        reader = Reader(store)
        added = set()
        for verb, what in steps:
            if verb == "add":
                added |= set(what)
                store.add([prediction(number, rows=1 + number % 3) for number in what])
            elif verb == "label":
                store.label([Label(f"request-{n}", row, y, float(t)) for n, row, y, t in what])
                for n, row, y, t in what:
                    truth[n, row] = max(truth.get((n, row), (0, 0)), (t, y))
            else:
                before, most = what
                reader.look(START + before, most)
        reader.look()
        expected = {
            (f"request-{n}", float(n + row), label)
            for (n, row), (_, label) in truth.items()
            if n in added and row <= n % 3
        }
        assert reader.rows == expected
        rows = sum(1 + number % 3 for number in added)
        assert store.coverage(*WHO, math.inf) == (rows, len(expected))
        assert store.status("fraud", "prod")["unknown_labels"] == len(truth) - len(expected)
        store.close()
        check(Path(folder))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_order_of_the_same_predictions_and_labels_does_not_matter(
    empty: Path, data: st.DataObject
) -> None:
    given = [prediction(n, outcome="error" if n == 4 else "ok") for n in range(5)] * 2
    labels = [Label(f"request-{n}", 0, n % 2, float(t)) for n in range(6) for t in range(2)]
    labels += [Label("request-1", 0, 0, 1.0), Label("request-2", 0, 1, 5.0)]
    order = data.draw(st.permutations([*given, *labels]))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(empty, folder)
        store = Observations(url(Path(folder)))
        for each in order:
            if isinstance(each, Label):
                store.label([each])
            else:
                store.add([each])
        parts, _ = read(store, "matured")
        found = [(n, y) for part in parts for n, y in zip(part.ids, part.labels, strict=True)]
        assert found == [(f"request-{n}", y) for n, y in enumerate((0, 1, 1, 1))]
        status = store.status("fraud", "prod")
        assert (status["predictions"], status["labels"]) == (5, 5)
        assert (status["conflicts"], status["unknown_labels"]) == (2, 1)
        assert sum(block.champion.errors for block in store.blocks(*PAIR)) == 1
        store.close()
        check(Path(folder))
        assert asked(Path(folder), "SELECT count(*) FROM waiting") == 1
