"""An artifact on disk becomes a predictor, if it is the one that Git names."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_kit.errors import ServingError, TableError, UntrustedModelError
from mlops_kit.models import artifacts, outputs
from mlops_kit.releases.release import ServedModel
from mlops_kit.serving import probes
from mlops_kit.serving.fast_scores import fast_scores
from mlops_kit.serving.library_scores import library_scores
from mlops_kit.serving.predictor import Predictor
from mlops_kit.serving.signature import Signature
from mlops_kit.tables.table import Table

_LOG = logging.getLogger(__name__)
_MLMODEL, _TABLE = "MLmodel", "table.json"


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


def _signature(contents: Mapping[str, bytes], what: str) -> Signature:
    """Return what the artifact's table declares, or else the features that its MLmodel lists."""
    if _TABLE in contents:
        try:
            table = Table.from_json(json.loads(contents[_TABLE]), f"{_TABLE} of {what}")
        except (ValueError, TableError) as error:
            raise ServingError(
                f"{_TABLE} of {what} is no table: {error}. Register the model anew."
            ) from error
        return Signature(tuple(table.feature_names), table)
    return Signature(_listed(contents, what))


def _listed(contents: Mapping[str, bytes], what: str) -> tuple[str, ...]:
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
    """Return the score from which `model.predict` decides for the positive class.

    0.5 for a model that doesn't say.
    """
    from sklearn.model_selection import FixedThresholdClassifier

    if signature.task != "binary":
        return 0.5
    classes: Any = getattr(model, "classes_", ())
    if len(classes) != 2:
        raise ServingError(f"The model of {what} has the classes {classes}; expected two.")
    if not isinstance(model, FixedThresholdClassifier):
        return 0.5
    table = signature.table
    positive = classes[1] if table is None else outputs.positive_class(model, table)
    flagged = classes[1] if model.pos_label is None else model.pos_label
    if model.response_method == "decision_function" or flagged != positive:
        raise ServingError(
            f"The threshold of {what} is for {model.response_method!r} and the class "
            f"{flagged!r}; expected 'predict_proba' and {positive!r}."
        )
    return 0.5 if model.threshold == "auto" else float(model.threshold)
