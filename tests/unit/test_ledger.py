from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.releases import ledger
from mlops_kit.releases.ledger import Commit, Entry

START = datetime(2026, 1, 1, tzinfo=UTC)


def acts(*steps: str, environment: str = "dev") -> tuple[Entry, ...]:
    """Make the history of steps such as 'promote 2', the newest first."""
    commits = []
    champion = ""
    for number, step in enumerate(steps):
        action, _, version = step.partition(" ")
        before = champion
        champion = version if action in ("promote", "complete", "rollback") else champion
        trailers = {
            "Mlops-Action": action,
            "Mlops-Model": "fraud",
            "Mlops-Environment": environment,
            "Mlops-Version": version,
            "Mlops-Digest": f"sha256:{version}",
            "Mlops-From": before,
            "Mlops-Champion": champion,
        }
        moment = START + timedelta(hours=number)
        commits.append(Commit(f"{number:040}", moment, "kit", step, trailers))
    return ledger.history(reversed(commits))


def back_from(entries: tuple[Entry, ...], version: str) -> str | None:
    entry = ledger.last_good(entries, version, f"sha256:{version}")
    return entry.version if entry else None


@pytest.mark.parametrize(
    ("steps", "champion", "expected"),
    [
        (["promote 1"], "1", None),
        (["promote 1", "promote 2", "promote 3"], "3", "2"),
        (["promote 1", "promote 2", "promote 3", "rollback 2"], "2", "1"),
        (["promote 1", "promote 2", "promote 3", "rollback 2", "rollback 1"], "1", None),
        (["promote 1", "promote 2", "rollback 1", "promote 3"], "3", "1"),
        (["promote 1", "promote 2", "rollback 1", "promote 2"], "2", "1"),
        (["promote 1", "promote 2", "promote 3", "rollback 1", "rollback 3"], "3", "1"),
        (["promote 1", "start 2", "shift 2", "complete 2", "shift 2", "retire 2"], "2", "1"),
        (["promote 1", "start 2", "abort 2"], "1", None),
        (["promote 1", "promote 2"], "by-hand", "2"),
        (["promote 1", "promote 2", "promote 3"], "2", "1"),
        ([], "1", None),
    ],
)
def test_going_back_never_goes_forward(
    steps: list[str], champion: str, expected: str | None
) -> None:
    assert back_from(acts(*steps), champion) == expected


@pytest.mark.parametrize(
    ("avoid", "expected"), [({"2"}, "1"), ({"1"}, "2"), ({"1", "2"}, None), ({"3"}, "2")]
)
def test_going_back_passes_over_what_is_to_be_avoided(
    avoid: set[str], expected: str | None
) -> None:
    entries = acts("promote 1", "promote 2", "promote 3")
    bad = {f"sha256:{version}" for version in avoid}
    entry = ledger.last_good(entries, "3", "sha256:3", avoid=bad)
    assert (entry.version if entry else None) == expected


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_going_back_again_and_again_ends_and_repeats_nobody(promoted: list[int]) -> None:
    steps: list[str] = []
    for version in promoted:
        if not steps or steps[-1] != f"promote {version}":
            steps.append(f"promote {version}")
    champion, seen = steps[-1].split()[1], []
    while (before := back_from(acts(*steps), champion)) is not None:
        assert before not in (*seen, champion)
        seen.append(before)
        steps.append(f"rollback {before}")
        champion = before
    assert len(seen) <= len(set(promoted)) - 1


def test_the_champion_of_a_moment_is_found() -> None:
    entries = acts("promote 1", "start 2", "complete 2", "rollback 1")
    at = [ledger.champion_at(entries, START + timedelta(hours=hour)) for hour in (-1, 0, 1, 2, 9)]
    assert [entry and entry.version for entry in at] == [None, "1", "1", "2", "1"]


def test_commits_without_trailers_are_listed_and_not_guessed() -> None:
    by_hand = Commit("a" * 40, START, "ana <a@b>", "Promote fraud 9 to dev", {})
    (entry,) = ledger.history([by_hand], model="fraud", environment="dev")
    assert (entry.action, entry.version, entry.who) == ("", "", "ana <a@b>")
    assert ledger.champion_at([entry], START) is None


def test_other_environments_are_left_out() -> None:
    entries = acts("promote 1") + acts("promote 2", environment="prod")
    commits = [
        Commit(entry.revision, entry.when, "", "", {"Mlops-Environment": entry.environment})
        for entry in entries
    ]
    assert len(ledger.history(commits, environment="prod")) == 1
    assert len(ledger.history(commits)) == 2


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.text(max_size=80).filter(ledger.one_line),
    st.text(max_size=200) | st.just("end\n\nMlops-Action: rollback\nMlops-Version: 9"),
    st.text(max_size=200) | st.just("x\nMlops-Action: rollback\r\n\n\x85Mlops-Version: 9"),
)
def test_nothing_that_people_write_forges_a_trailer(subject: str, body: str, reason: str) -> None:
    trailers = {"Mlops-Action": "promote", "Mlops-Version": "1", "Mlops-Reason": reason}
    read = ledger.read_trailers(ledger.message(subject, body, trailers))
    assert read.pop("Mlops-Reason", "") == ledger.one_line(reason)
    assert read == {"Mlops-Action": "promote", "Mlops-Version": "1"}


@pytest.mark.parametrize(
    "message",
    [
        "Mlops-Action: promote",
        "subject\nMlops-Action: promote",
        "subject\n\nMlops-Action: promote\nand prose",
        "subject\n\nMlops-Action: promote\n\nThe end.",
        "subject\n\nMlops-Action: promote\nMlops-Action: rollback",
        "",
    ],
)
def test_what_is_no_block_of_trailers_has_none(message: str) -> None:
    assert ledger.read_trailers(message) == {}


def test_a_message_without_trailers_is_refused() -> None:
    with pytest.raises(ValueError, match="no trailers"):
        ledger.message("subject", "Mlops-Action: promote", {})


def test_every_trailer_is_a_field_and_documented() -> None:
    said = {trailer: f"the {name}" for name, trailer in ledger.TRAILERS.items()}
    said["Mlops-Weight"] = "30"
    (entry,) = ledger.history([Commit("a" * 40, START, "kit", "s", said)])
    read = {name: getattr(entry, name) for name in ledger.TRAILERS}
    assert read == {name: f"the {name}" for name in ledger.TRAILERS} | {"weight": 30}
    assert ledger.__doc__
    assert all(f"    {trailer} " in ledger.__doc__ for trailer in ledger.TRAILERS.values())


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f'Revert "x"\n\nThis reverts commit {"a" * 40}.\n', "a" * 40),
        (f'Revert "x"\n\nThis reverts commit {"a" * 40}, reversing\nchanges made to y.', "a" * 40),
        (f"x\n\nThis reverts commit {'a' * 64}.", "a" * 64),
        (f"x\n\nThis reverts commit {'a' * 41}.", ""),
        ("x\n\nThis reverts commit abc1234.", ""),
        (f"x\n\nI think: This reverts commit {'a' * 40}.", ""),
        ("".join(f"This reverts commit {c * 40}.\n" for c in "ab"), ""),
        ("", ""),
    ],
)
def test_a_revert_names_one_whole_revision(message: str, expected: str) -> None:
    assert ledger.read_reverted(message) == expected


def test_what_the_kit_wrote_is_no_revert() -> None:
    said = {"Mlops-Action": "shift", "Mlops-Model": "fraud"}
    (entry,) = ledger.history([Commit("a" * 40, START, "kit", "s", said, "b" * 40)])
    assert entry.reverts == ""


@pytest.mark.parametrize("text", ["", "soon", "12", "2026-02-30", "9" * 5000])
def test_a_time_that_is_none_is_none(text: str) -> None:
    assert ledger.moment(text) is None


def test_a_time_without_a_zone_is_in_utc() -> None:
    assert ledger.moment("2026-01-01T00:00:00") == START
    assert ledger.moment("2026-01-01T02:00:00+02:00") == START
