"""An artifact on disk becomes a predictor, if it is the one that Git names."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit.errors import ServingError, UntrustedModelError
from mlops_kit.models import artifacts
from mlops_kit.releases.release import ServedModel
from mlops_kit.serving.fast_scores import Scores, fast_scores
from mlops_kit.serving.fast_trees import Floats
from mlops_kit.serving.predictor import Predictor
from mlops_kit.serving.protocol import Signature

_LOG = logging.getLogger(__name__)
_MLMODEL = "MLmodel"
_PROBES = 32


def load(folder: Path, served: ServedModel) -> Predictor:
    """Return the predictor of an artifact in a folder, probed once.

    The files are read once, and nothing of them is run or imported before their digest is the
    one of `served`. Raises UntrustedModelError for another digest or a type off the allow-list,
    and ServingError for a model that can't be served.
    """
    contents = artifacts.contents(folder)
    found = artifacts.digest(contents)
    if found != served.digest:
        raise UntrustedModelError(
            f"The artifact of version {served.version} has the digest {found}; expected "
            f"{served.digest}. It isn't the one that was registered, and is not loaded."
        )
    what = f"version {served.version}"
    model = artifacts.load(contents.get(artifacts.MODEL_FILE, b""), what)
    signature = _signature(contents, what)
    slow = _slow(model, signature)
    fast = fast_scores(model, slow)
    if fast is None:
        _LOG.warning("%s is scored by scikit-learn: it has a kind of its own", what)
    predictor = Predictor(
        version=served.version,
        digest=served.digest,
        signature=signature,
        score=fast or slow,
        threshold=_threshold(model, what),
        is_fast=fast is not None,
    )
    try:
        predictor.predict(np.zeros((1, len(signature.features))))
    except Exception as error:  # whatever a model may raise
        raise ServingError(
            f"The model of {what} fails at a row of {len(signature.features)} zeros: {error!r}. "
            "Expected a classifier that scores its signature's features."
        ) from error
    return predictor


def _signature(contents: Mapping[str, bytes], what: str) -> Signature:
    """Return the features that the artifact's MLmodel file lists."""
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
    return Signature(features)


def _threshold(model: Any, what: str) -> float:
    """Return the score from which `model.predict` flags; 0.5 for a model that doesn't say."""
    from sklearn.model_selection import FixedThresholdClassifier

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


def _slow(model: Any, signature: Signature) -> Scores:
    """Return scikit-learn's own scores, from rows without names where that changes no bit.

    Making a frame of each request costs more than some models do.
    """
    import pandas as pd

    def by_frame(rows: Floats) -> Floats:
        scores: Floats = model.predict_proba(pd.DataFrame(rows, columns=names))[:, 1]
        return scores

    def by_rows(rows: Floats) -> Floats:
        scores: Floats = model.predict_proba(rows)[:, 1]
        return scores

    names = list(signature.features)
    probes = np.random.default_rng(0).normal(scale=3.0, size=(_PROBES, len(names)))
    named = list(_named(model))
    if not named:
        return by_rows
    try:
        expected = by_frame(probes).tobytes()
        kept = [(each, vars(each).pop("feature_names_in_")) for each in named]
        try:
            if by_rows(probes).tobytes() == expected:
                return by_rows
        except Exception:  # some choose columns by their names
            _LOG.info("the model takes named columns only")
        for each, of_each in kept:
            each.feature_names_in_ = of_each
    except Exception:  # what it raises, it raises again when it is probed
        _LOG.info("the model fails at random rows")
    return by_frame


def _named(model: Any) -> Iterator[Any]:
    """Return the model and all estimators in it that know their features' names."""
    waiting, seen = [model], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (list, tuple)):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
        elif type(each).__module__.startswith("sklearn.") and hasattr(each, "__dict__"):
            waiting += vars(each).values()
            if "feature_names_in_" in vars(each):
                yield each
