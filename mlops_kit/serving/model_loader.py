"""An artifact on disk becomes a predictor, if it is the one that Git names."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import ServingError, TableError, UntrustedModelError
from mlops_kit.models import artifacts, outputs, trusted_code
from mlops_kit.releases.release import ServedModel
from mlops_kit.serving import probes
from mlops_kit.serving.fast_scores import fast_scores
from mlops_kit.serving.library_scores import library_scores
from mlops_kit.serving.predictor import Predictor
from mlops_kit.serving.signature import Signature

_LOG = logging.getLogger(__name__)
_MLMODEL = "MLmodel"


def load(folder: Path, served: ServedModel, trusted: Collection[str] = ()) -> Predictor:
    """Return the predictor of an artifact in a folder, tried on rows of its table.

    The files are read once, and nothing of them is run or imported before their digest is the
    one of `served`, and the project's own types in them are those that `served` names, with the
    code that it names. `trusted` are the names of the project's own types in its settings. Raises
    UntrustedModelError for another digest, a type that nobody vouches for or other code of it, and
    ServingError for a model that can't be served.
    """
    what = f"version {served.version}"
    files = artifacts.checked_contents(folder, served.digest, what)
    _check_released(files, served, what)
    loaded = artifacts.open_contents(files, what, trusted)
    model, table = loaded.model, loaded.table
    if table is None:
        signature = Signature(_listed(loaded.contents, what))
    else:
        signature = Signature(tuple(table.feature_names), table)
    slow = library_scores(model, signature)
    fast = fast_scores(model, slow, signature)
    if fast is None:
        _LOG.info("%s is scored by its own library: no faster way is known", what)
    predictor = Predictor(
        version=served.version,
        digest=served.digest,
        signature=signature,
        score=fast or slow,
        threshold=_threshold(model, signature, what),
        is_fast=fast is not None,
        quick_rows=fast.quick_rows if fast else 0,
    )
    _try(predictor, what)
    return predictor


def _check_released(files: Mapping[str, bytes], served: ServedModel, what: str) -> None:
    """Check that the project's own types in a model stand in its release, with the same code."""
    found = trusted_code.digests(artifacts.own_code(files, what))
    if found != dict(served.trusted):
        raise UntrustedModelError(
            f"The model of {what} holds the project's own {found or 'nothing'}; its release names "
            f"{dict(served.trusted) or 'nothing'}. Expected the same names and digests under "
            "'trusted' in release.yaml, which a promotion writes. Train again by 'mlops-kit run', "
            "and promote the new version.",
            code="registry.untrusted.not-in-release",
        )


def _try(predictor: Predictor, what: str) -> None:
    """Let a model score rows of its own table, at once and the first alone."""
    if predictor.signature.table is None:
        width = len(predictor.signature.features)
        rows = np.random.default_rng(0).normal(size=(1, width))
        told = [f"a row of {width} numbers"]
    else:
        rows, told = probes.declared_rows(predictor.signature)
    try:
        predictor.predict(rows)
        predictor.predict(rows[:1])
    except Exception as error:  # whatever a model may raise
        named = _first_fault(predictor, rows, told) or f"{len(rows)} rows at once"
        raise ServingError(
            f"The model of {what} fails at {named}: {error!r:.500}. Expected a score for each row "
            "that its table allows; impute what may be missing, and take unknown categories."
        ) from error


def _first_fault(predictor: Predictor, rows: NDArray[Any], told: list[str]) -> str:
    for place, each in enumerate(told):
        try:
            predictor.predict(rows[place : place + 1])
        except Exception:
            return each
    return ""


def _listed(contents: Mapping[str, bytes], what: str) -> tuple[str, ...]:
    """Return the features that the artifact's MLmodel lists."""
    import yaml

    try:
        described = yaml.safe_load(contents[_MLMODEL])
        inputs = json.loads(described["signature"]["inputs"])
        features = tuple(str(column["name"]) for column in inputs)
        if not features:
            raise ValueError("no feature is listed")
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ServingError(
            f"The artifact of {what} has no signature: {error!r}. Expected the file {_MLMODEL} "
            "with the inputs' names, as the kit registers a model."
        ) from error
    return features


def _threshold(model: Any, signature: Signature, what: str) -> float:
    """Return the score from which a model decides for the positive class; 0.5 if it doesn't say."""
    from sklearn.model_selection import FixedThresholdClassifier

    if signature.task != "binary":
        return 0.5
    if signature.table is not None:
        try:
            return outputs.threshold(model, signature.table)
        except TableError as error:
            raise ServingError(f"{what}: {error}") from error
    classes: Any = getattr(model, "classes_", ())
    if len(classes) != 2:
        raise ServingError(f"The model of {what} has the classes {classes}; expected two.")
    if not isinstance(model, FixedThresholdClassifier):
        return 0.5
    if model.response_method == "decision_function" or model.pos_label not in (None, classes[1]):
        raise ServingError(
            f"The threshold of {what} is for {model.response_method!r} and the class "
            f"{model.pos_label!r}; expected 'predict_proba' and {classes[1]!r}."
        )
    return 0.5 if model.threshold == "auto" else float(model.threshold)
