from __future__ import annotations

import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_kit.errors import KitError, ReleaseError
from mlops_kit.releases.release import (
    Abort,
    Complete,
    Promote,
    Release,
    Replace,
    Retire,
    RollBack,
    ServedModel,
    Shift,
    apply,
    from_mapping,
    legal,
    to_mapping,
)
from mlops_kit.releases.release_yaml import read_release, write_release
from tests.failures import fails

ONE, TWO, THREE = (
    ServedModel(version, f"models/{version}", f"sha256:{version * 8}", f"image@{version}")
    for version in "123"
)
EMPTY = Release("fraud", "dev", host="dev.local")
CHAMPION = replace(EMPTY, champion=ONE)
RUNNING = replace(CHAMPION, candidate=TWO, weight=10, rollout="fraud-2")
SETTLING = replace(RUNNING, champion=TWO, weight=50)
ALL = (Promote, Replace, Shift, Complete, Retire, Abort, RollBack)

BOMB = b"a: &a [x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (name, name, b", ".join([b"*%c" % (name - 1)] * 9))
    for name in range(ord("b"), ord("z"))
)

quick = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
models = st.sampled_from([ONE, TWO, THREE, replace(ONE, digest="sha256:other")])
changes = st.one_of(
    models.map(lambda model: Promote(model, f"fraud-{model.version}")),
    models.map(Replace),
    st.integers(-1, 101).map(Shift),
    st.sampled_from([Complete(), Retire(), Abort()]),
    models.map(RollBack),
)
words = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12) | (
    st.sampled_from(["007", "1.10", "null", "true", "2026-01-01", "0x1f", "1e5", "~", "# no", "*a"])
)

own = st.dictionaries(
    st.sampled_from(["own.Scaled", "null.true", "größe.Maß"]),
    st.sampled_from([f"sha256:{'0' * 64}", f"sha256:{'1e' * 32}"]),
)
served = st.builds(ServedModel, words, words, words, image=words | st.just(""), trusted=own)


def test_the_first_promotion_takes_all_traffic_at_once() -> None:
    assert apply(EMPTY, Promote(ONE, "fraud-1")) == replace(EMPTY, champion=ONE)
    assert apply(EMPTY, Replace(ONE)) == replace(EMPTY, champion=ONE)


def test_a_canary_starts_at_weight_zero() -> None:
    started = apply(CHAMPION, Promote(TWO, "fraud-2"))
    assert started == replace(CHAMPION, candidate=TWO, weight=0, rollout="fraud-2")


def test_a_direct_promotion_replaces_the_champion() -> None:
    assert apply(CHAMPION, Replace(TWO)) == replace(CHAMPION, champion=TWO)


def test_the_gateway_order_is_one_change_a_step() -> None:
    release = apply(CHAMPION, Promote(TWO, "fraud-2"))
    seen = []
    for change in (Shift(10), Shift(50), Complete(), Shift(0), Retire()):
        release = apply(release, change)
        version = release.champion.version if release.champion else ""
        seen.append((version, release.weight, release.candidate is not None))
    expected = [("1", 10, True), ("1", 50, True), ("2", 50, True), ("2", 0, True), ("2", 0, False)]
    assert seen == expected


def test_an_abort_is_one_change() -> None:
    assert apply(RUNNING, Abort()) == CHAMPION


def test_a_rollback_takes_a_running_candidate_away() -> None:
    assert apply(RUNNING, RollBack(THREE)) == replace(CHAMPION, champion=THREE)
    assert apply(SETTLING, RollBack(ONE)) == CHAMPION


@pytest.mark.parametrize(
    ("release", "change"),
    [
        (EMPTY, Shift(10)),
        (EMPTY, Complete()),
        (EMPTY, Abort()),
        (EMPTY, RollBack(ONE)),
        (CHAMPION, Replace(ONE)),
        (CHAMPION, Replace(replace(ONE, digest="sha256:other"))),
        (CHAMPION, Shift(0)),
        (CHAMPION, RollBack(ONE)),
        (RUNNING, Promote(THREE, "fraud-3")),
        (RUNNING, Replace(THREE)),
        (RUNNING, Shift(101)),
        (RUNNING, Shift(True)),
        (RUNNING, Retire()),
        (replace(RUNNING, weight=0), Complete()),
        (SETTLING, Shift(60)),
        (SETTLING, Abort()),
        (SETTLING, Retire()),
    ],
)
def test_an_illegal_change_is_refused(release: Release, change: Any) -> None:
    with fails("release"):
        apply(release, change)


def test_a_refusal_lists_the_legal_changes() -> None:
    with fails("release.illegal", "Shift, Complete, Abort, RollBack"):
        apply(RUNNING, Replace(THREE))


def test_trusted_names_always_stand_in_the_file() -> None:
    own = {"own.steps.Scaled": f"sha256:{'0' * 64}"}
    release = replace(CHAMPION, champion=replace(ONE, trusted=own))
    spec: Any = to_mapping(release)["spec"]
    assert (spec["champion"]["trusted"], spec["candidate"]["trusted"]) == (own, {})
    assert read_release(write_release(release)) == release
    for wrong in ({"own": "sha256:0"}, {"own.a b": own["own.steps.Scaled"]}, {"": "x"}, {1: "x"}):
        with fails("release", "trusted"):
            replace(ONE, trusted=wrong)


def test_a_release_of_before_there_were_trusted_names_is_read() -> None:
    content = write_release(RUNNING)
    assert content.count(b"    trusted: {}\n") == 2
    assert read_release(content.replace(b"    trusted: {}\n", b"")) == RUNNING
    with fails("release", "trusted"):
        read_release(content.replace(b"    trusted: {}\n", b"    trusted: ''\n"))


@quick
@given(st.lists(changes, max_size=25))
def test_no_sequence_of_changes_breaks_a_release(sequence: list[Any]) -> None:
    release = EMPTY
    for change in sequence:
        kinds = legal(release)
        assert kinds
        assert set(kinds) < set(ALL)
        before = release
        try:
            release = apply(before, change)
        except ReleaseError:
            continue
        assert type(change) in kinds
        assert release.champion is not None
        assert read_release(write_release(release)) == release
        # Traffic only moves by a shift, or back to the champion.
        if not isinstance(change, Shift):
            assert release.weight in (0, before.weight)
        # Only these make a champion, and a candidate only after it had traffic.
        if release.champion != before.champion:
            assert isinstance(change, Promote | Replace | Complete | RollBack)
            assert not isinstance(change, Promote) or before.champion is None
            assert not isinstance(change, Complete) or before.weight > 0
        # From every share of traffic there is one change that takes it all back.
        if release.weight:
            assert apply(release, RollBack(replace(ONE, version="0"))).weight == 0


@quick
@given(served, served, st.integers(0, 100), words)
def test_a_release_survives_its_file(
    champion: ServedModel, candidate: ServedModel, weight: int, word: str
) -> None:
    release = Release(word, "dev", word, champion, candidate, weight, word)
    assert from_mapping(to_mapping(release)) == release
    assert read_release(write_release(release)) == release
    assert write_release(read_release(write_release(release))) == write_release(release)


@pytest.mark.parametrize("release", [EMPTY, CHAMPION, RUNNING, SETTLING])
def test_every_field_is_always_written(release: Release) -> None:
    spec: Any = to_mapping(release)["spec"]
    fields = ["absent", "version", "uri", "digest", "image", "evidence", "trusted", "weight"]
    assert [*spec["champion"]] == [*spec["candidate"]] == fields
    assert spec["champion"]["weight"] + spec["candidate"]["weight"] == 100
    assert spec["candidate"]["absent"] is (release.candidate is None)


def test_the_file_is_local_to_kustomize_and_says_who_wrote_it() -> None:
    text = write_release(CHAMPION).decode()
    assert text.startswith("# Written by mlops-kit; people don't edit this file.\n")
    assert "config.kubernetes.io/local-config: 'true'" in text


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("spec.candidate.weight", 101, "spec.champion.weight"),
        ("spec.candidate.weight", "10", "spec.candidate.weight"),
        ("spec.candidate.weight", True, "spec.candidate.weight"),
        ("spec.candidate.absent", "false", "spec.candidate.absent"),
        ("spec.candidate.absent", True, "No candidate"),
        ("spec.champion.weight", 91, "spec.champion.weight"),
        ("spec.champion.absent", True, "without a champion"),
        ("spec.champion.uri", "", "spec.champion"),
        ("spec.champion.version", 1, "spec.champion.version"),
        ("spec.champion.digest", "a\nb", "spec.champion"),
        ("spec.champion.digest", "a  b", "spec.champion"),
        ("spec.environment", "../prod", "environment"),
        ("spec.surplus", "x", "surplus"),
        ("spec.rollout", "", "rollout"),
        ("spec", [], "release.yaml.spec"),
        ("kind", "Deployment", "kind"),
        ("apiVersion", "mlops-kit.dev/v2", "apiVersion"),
        ("metadata.annotations", {}, "metadata.annotations"),
        ("metadata.name", "other", "metadata.name"),
    ],
)
def test_a_wrong_field_is_named(path: str, value: object, named: str) -> None:
    mapping: Any = to_mapping(RUNNING)
    *parents, last = path.split(".")
    place = mapping
    for name in parents:
        place = place[name]
    place[last] = value
    if path == "spec.candidate.weight" and value == 101:
        named = "weight"
    with fails("release", named):
        from_mapping(mapping)


@quick
@given(st.data())
def test_a_file_that_lacks_a_field_or_has_another_type_is_a_release_error(data: Any) -> None:
    mapping: Any = copy.deepcopy(to_mapping(RUNNING))
    place = mapping
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or not place[name] or data.draw(st.booleans()):
            break
        place = place[name]
    before = place[name]
    replacement = data.draw(
        st.none()
        | st.integers()
        | st.floats()
        | st.lists(st.text())
        | st.dictionaries(words, words)
    )
    # A file of before has no `trusted`.
    if name != "trusted" and data.draw(st.booleans()):
        del place[name]
    elif type(replacement) is not type(before):
        place[name] = replacement
    else:
        return
    with pytest.raises(ReleaseError):
        from_mapping(mapping)


@quick
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.integers(0, 600))
def test_broken_bytes_are_a_kit_error(noise: bytes, position: int) -> None:
    whole = write_release(RUNNING)
    for content in (noise, whole[:position] + noise + whole[position:], whole[:position]):
        try:
            release = read_release(content)
        except KitError:
            continue
        assert from_mapping(to_mapping(release)) == release


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 60_000,
        b"a: &a [*a, *a]",
        BOMB,
        b"2026-99-99",
        b"1" * 5000,
        b"!!python/object/apply:os.system [id]",
        b"? " * 30_000,
        b"? {a: b}\n: c",
        b"\xff\xfe",
        b"x" * 70_000,
        b"a: .inf\nb: 0b",
    ],
)
def test_hostile_bytes_are_a_kit_error_at_once(content: bytes) -> None:
    started = time.process_time()
    with pytest.raises(ReleaseError):
        read_release(content)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_the_seed_holds_what_the_kit_would_write(environment: str) -> None:
    seed = Path(__file__).parents[2] / "workflows" / "gitops"
    content = (seed / "envs" / environment / "release.yaml").read_bytes()
    release = read_release(content)
    assert write_release(release) == content
    assert (release.environment, release.champion) == (environment, None)
