"""What an environment should serve, and every legal change of that.

A release is the content of `envs/<environment>/release.yaml`. Its life, a change an arrow:

    nothing served ──Promote, Replace──▶ champion ──Replace, RollBack──▶ champion
    champion ──Promote──▶ candidate at weight 0 ──Shift──▶ candidate at 1..100
    candidate ──Abort──▶ champion as before
    candidate above 0 ──Complete──▶ candidate is champion ──Shift(0)──▶ ──Retire──▶ champion

Complete, Shift(0) and Retire are three changes because a gateway loses requests when they are
one. A newer candidate never takes a running one's place: abort first, so that traffic is back
on the champion before another model starts. RollBack is legal from every state that has a
champion, also while a candidate runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlops_kit.errors import ReleaseError

_API = {"apiVersion": "mlops-kit.dev/v1", "kind": "Release"}
# kustomize reads an object with this annotation and never emits it.
_ANNOTATIONS = {"config.kubernetes.io/local-config": "true"}
_SPEC = {"model": str, "environment": str, "host": str, "rollout": str}
_SIDE = {"version": str, "uri": str, "digest": str, "image": str, "evidence": str}
# Older releases lack it.
_TRUSTED = "trusted"
_LOOK = "Look at envs/<environment>/release.yaml in the GitOps repository."


@dataclass(frozen=True)
class ServedModel:
    """A model version as a server needs it; `image` may be empty where no container serves.

    `trusted` has the project's own types and functions that the model holds, by full name, with
    the digest of their code. Raises ReleaseError for a value that is empty, too long, or has
    characters that don't print.
    """

    version: str
    uri: str
    digest: str
    image: str = ""
    evidence: str = ""
    trusted: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("version", "uri", "digest"):
            _check_text(f"the served model's {name}", getattr(self, name), empty=False)
        for name in ("image", "evidence"):
            _check_text(f"the served model's {name}", getattr(self, name))
        for name, digest in self.trusted.items():
            _check_trusted(name, digest)

    def is_same(self, other: ServedModel | None) -> bool:
        """Tell whether `other` is this version with these bytes, wherever it is stored."""
        return other is not None and (self.version, self.digest) == (other.version, other.digest)


@dataclass(frozen=True)
class Release:
    """What one environment serves: a champion, perhaps a candidate, and its share of traffic.

    `weight` is the candidate's, in percent; the champion has the rest. `rollout` names the
    candidate's rollout and is empty without one. Raises ReleaseError where these disagree.
    """

    model: str
    environment: str
    host: str = ""
    champion: ServedModel | None = None
    candidate: ServedModel | None = None
    weight: int = 0
    rollout: str = ""

    def __post_init__(self) -> None:
        _check_text("model", self.model, empty=self.champion is None)
        _check_text("host", self.host)
        _check_text("rollout", self.rollout, empty=self.candidate is None)
        if not is_environment(self.environment):
            raise ReleaseError(
                f"The environment is {self.environment!r}; expected lower-case letters, digits "
                "and dashes, at most 63, as in the folders of envs/ in the GitOps repository."
            )
        _check_weight(self.weight)
        if self.candidate is not None and self.champion is None:
            raise ReleaseError(
                f"The candidate {self.candidate.version!r} stands without a champion; expected a "
                f"first model to be the champion at once. {_LOOK}"
            )
        if self.candidate is None and (self.weight or self.rollout):
            raise ReleaseError(
                f"No candidate, but weight {self.weight!r} and rollout {self.rollout!r}; expected "
                f"0 and ''. {_LOOK}"
            )


@dataclass(frozen=True)
class Promote:
    """Start a rollout: the candidate at weight 0, or the champion where there is none yet."""

    candidate: ServedModel
    rollout: str


@dataclass(frozen=True)
class Replace:
    """Make the candidate the champion at once."""

    candidate: ServedModel


@dataclass(frozen=True)
class Shift:
    """Give the candidate this share of the traffic, in percent."""

    weight: int


@dataclass(frozen=True)
class Complete:
    """Make the candidate the champion too, while its weight stays as it is."""


@dataclass(frozen=True)
class Retire:
    """Take away the candidate that became the champion and has no traffic of its own left."""


@dataclass(frozen=True)
class Abort:
    """Give the champion all traffic, and take the candidate away."""


@dataclass(frozen=True)
class RollBack:
    """Make a former champion the champion again, and take any candidate away."""

    to: ServedModel


Change = Promote | Replace | Shift | Complete | Retire | Abort | RollBack


def legal(release: Release) -> tuple[type[Change], ...]:
    """Return the kinds of change that this release allows."""
    if release.champion is None:
        return (Promote, Replace)
    if release.candidate is None:
        return (Promote, Replace, RollBack)
    if release.champion.is_same(release.candidate):
        return (Shift, RollBack) if release.weight else (Retire, RollBack)
    if release.weight:
        return (Shift, Complete, Abort, RollBack)
    return (Shift, Abort, RollBack)


def apply(release: Release, change: Change) -> Release:
    """Return the release after the change; raises ReleaseError where it isn't legal."""
    if type(change) not in legal(release):
        raise _refusal(release, change, "is not legal now")
    alone = replace(release, candidate=None, weight=0, rollout="")
    match change:
        case Promote(candidate, rollout):
            _check_new(release, change, candidate)
            if release.champion is None:
                return replace(alone, champion=candidate)
            return replace(alone, candidate=candidate, rollout=rollout)
        case Replace(candidate):
            _check_new(release, change, candidate)
            return replace(alone, champion=candidate)
        case Shift(weight):
            _check_weight(weight)
            if weight and release.candidate and release.candidate.is_same(release.champion):
                raise _refusal(release, change, "is not 0, and the candidate is champion")
            return replace(release, weight=weight)
        case Complete():
            return replace(release, champion=release.candidate)
        case Retire() | Abort():
            return alone
        case RollBack(to):
            if to.is_same(release.champion):
                raise _refusal(release, change, "is the champion already")
            return replace(alone, champion=to)


def to_mapping(release: Release) -> dict[str, object]:
    """Return the object that release.yaml holds: always every field, in this order."""
    champion, candidate = release.champion, release.candidate
    image = champion.image if champion else ""
    return {
        **_API,
        "metadata": {"name": "release", "annotations": dict(_ANNOTATIONS)},
        "spec": {
            **{name: getattr(release, name) for name in _SPEC},
            "champion": {**_side(champion, ""), "weight": 100 - release.weight},
            # The candidate's Deployment is dropped, but its image is still replaced before.
            "candidate": {**_side(candidate, image), "weight": release.weight},
        },
    }


def from_mapping(mapping: object) -> Release:
    """Read what to_mapping wrote; raises ReleaseError that names the field that differs."""
    kinds = {**dict.fromkeys(_API, str), "metadata": dict, "spec": dict}
    top = _fields(mapping, "release.yaml", kinds)
    spec = _fields(top["spec"], "spec", {**_SPEC, "champion": dict, "candidate": dict})
    spec = {**spec, **{name: {_TRUSTED: {}} | spec[name] for name in ("champion", "candidate")}}
    sides = {name: _read_side(spec[name], f"spec.{name}") for name in ("champion", "candidate")}
    weight = _fields(spec["candidate"], "spec.candidate", _side_types())["weight"]
    release = Release(
        **{name: spec[name] for name in _SPEC},
        champion=sides["champion"],
        candidate=sides["candidate"],
        weight=weight,
    )
    _check_equal({**top, "spec": spec}, to_mapping(release), "")
    return release


def is_environment(name: object) -> bool:
    """Tell whether the name can be an environment's: a DNS label, as namespaces are."""
    return isinstance(name, str) and bool(
        re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", name)
    )


def _side(model: ServedModel | None, image: str) -> dict[str, object]:
    if model is None:
        return {"absent": True, **dict.fromkeys(_SIDE, ""), "image": image, _TRUSTED: {}}
    fields = {name: getattr(model, name) for name in _SIDE}
    return {"absent": False, **fields, _TRUSTED: dict(sorted(model.trusted.items()))}


def _side_types() -> dict[str, type]:
    return {"absent": bool, **_SIDE, _TRUSTED: dict, "weight": int}


def _read_side(mapping: object, where: str) -> ServedModel | None:
    side = _fields(mapping, where, _side_types())
    if side["absent"]:
        return None
    try:
        return ServedModel(**{name: side[name] for name in (*_SIDE, _TRUSTED)})
    except ReleaseError as error:
        raise ReleaseError(f"{where}: {error}") from error


def _fields(mapping: object, where: str, types: Mapping[str, type]) -> dict[str, Any]:
    if not isinstance(mapping, dict):
        raise ReleaseError(f"{where} is {mapping!r:.80}; expected a mapping. {_LOOK}")
    for name, kind in types.items():
        if name not in mapping:
            raise ReleaseError(f"{where} lacks {name!r}; expected all of {[*types]}. {_LOOK}")
        # Not isinstance: in YAML `true` is no number, but in Python it is an int.
        if type(mapping[name]) is not kind:
            raise ReleaseError(
                f"{where}.{name} is {mapping[name]!r:.80}; expected {kind.__name__}. {_LOOK}"
            )
    if unknown := [name for name in mapping if name not in types]:
        raise ReleaseError(f"{where} has {unknown!r:.80}; expected only {[*types]}. {_LOOK}")
    return mapping


def _check_equal(found: object, expected: object, where: str) -> None:
    if isinstance(expected, dict):
        found = _fields(found, where or "release.yaml", {k: type(v) for k, v in expected.items()})
        for name, value in expected.items():
            _check_equal(found[name], value, f"{where}.{name}" if where else name)
    elif found != expected:
        raise ReleaseError(f"{where} is {found!r:.80}; expected {expected!r:.80}. {_LOOK}")


def _check_text(what: str, value: object, *, empty: bool = True) -> None:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 1000:
        raise ReleaseError(f"{what} is {value!r:.80}; expected one line of text, up to 1000 long.")
    # A trailer keeps no other blanks, and what is promoted has to be found again by them.
    if value != " ".join(value.split()) or not (value or empty):
        raise ReleaseError(f"{what} is {value!r:.80}; expected text, with single blanks inside.")


def _check_trusted(name: object, digest: object) -> None:
    if not isinstance(name, str) or not all(map(str.isidentifier, name.split("."))):
        raise ReleaseError(
            f"A trusted name is {name!r:.80}; expected a type's or function's full name."
        )
    if not isinstance(digest, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ReleaseError(f"The trusted {name!r:.80} has {digest!r:.80}; expected its digest.")


def _check_weight(weight: object) -> None:
    if type(weight) is not int or not 0 <= weight <= 100:
        raise ReleaseError(f"The candidate's weight is {weight!r:.80}; expected an int, 0 to 100.")


def _check_new(release: Release, change: Change, candidate: ServedModel) -> None:
    champion = release.champion
    if champion is not None and champion.version == candidate.version:
        same = champion.digest == candidate.digest
        reason = "is the champion already" if same else "has another digest than the champion's"
        raise _refusal(release, change, reason)


def _named(change: Change) -> str:
    """Return a change as a message names it: Promote of '4', Shift to 20 %."""
    name = type(change).__name__
    candidate = getattr(change, "candidate", None)
    if candidate is not None:
        return f"{name} of {candidate.version!r}"
    weight = getattr(change, "weight", None)
    return name if weight is None else f"{name} to {weight} %"


def _refusal(release: Release, change: Change, reason: str) -> ReleaseError:
    champion = release.champion.version if release.champion else None
    candidate = release.candidate.version if release.candidate else None
    return ReleaseError(
        f"{_named(change)} {reason}: {release.environment} has champion {champion!r} and candidate "
        f"{candidate!r} at weight {release.weight}. Legal now: "
        f"{', '.join(kind.__name__ for kind in legal(release))}.",
        code="release.illegal",
    )
