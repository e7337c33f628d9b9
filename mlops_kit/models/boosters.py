"""Boosters of LightGBM, XGBoost and CatBoost, kept in their libraries' own data formats.

A fitted booster, alone or anywhere inside a scikit-learn estimator, is taken out before the rest
is stored by skops, and put back as an estimator of the kit's that asks the native booster. No code
of a file is run: the formats are data.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit.errors import UntrustedModelError
from mlops_kit.models import booster_files, skops_file

EXTENSIONS = {"lightgbm": "txt", "xgboost": "json", "catboost": "cbm"}
_LIBRARIES = {"lightgbm": "LGBM", "xgboost": "XGB", "catboost": "CatBoost"}


def take_out(model: Any) -> tuple[Any, dict[str, bytes]]:
    """Return the model with placeholders for its boosters, and their native files by name.

    The model given isn't changed. Raises UntrustedModelError for a booster that can't be stored.
    """
    files: dict[str, bytes] = {}
    placeholders: dict[int, Any] = {}
    for each in [*skops_file.objects(model)]:
        library = library_of(each)
        if library and id(each) not in placeholders:
            try:
                found, content = _placeholder(each, library, len(files))
            except Exception as error:  # another version of the library keeps it in another way
                raise UntrustedModelError(
                    f"The {type(each).__name__} can't be stored in {library}'s own format: {error}."
                ) from error
            placeholders[id(each)] = found
            if found.file:
                files[found.file] = content
    placeholders |= _frozen(model, placeholders)
    return (copy.deepcopy(model, placeholders) if placeholders else model), files


def _frozen(model: Any, placeholders: Mapping[int, Any]) -> dict[int, Any]:
    """Return each frozen booster with its placeholder in it.

    FrozenEstimator hands on what it is asked for, so deepcopy would take CatBoost's own way for it,
    and a copy of the booster would come in its place.
    """
    from sklearn.frozen import FrozenEstimator

    found = {}
    for each in skops_file.objects(model):
        inner, depth = each, 0
        while type(inner) is FrozenEstimator:
            inner, depth = inner.estimator, depth + 1
        if depth and id(inner) in placeholders:
            made = placeholders[id(inner)]
            for _ in range(depth):
                made = FrozenEstimator(made)
            found[id(each)] = made
    return found


def put_back(model: Any, files: Mapping[str, bytes], what: str) -> None:
    """Open the native files of the placeholders in a model, each checked before its library.

    Raises UntrustedModelError.
    """
    for each in skops_file.objects(model):
        if _is_placeholder(each):
            try:
                content = files[each.file]
                if len(content) > booster_files.MAX_BOOSTER_BYTES:
                    raise ValueError(f"it has {len(content)} bytes")
                each.booster_ = _OPEN[each.library](content)
                _check_shape(each)
            except ImportError as error:
                raise UntrustedModelError(
                    f"The model of {what} needs {each.library}, which isn't installed: "
                    f"pip install 'mlops-kit[{each.library}]'."
                ) from error
            except Exception as error:  # a tampered file may break anywhere in a reader
                raise UntrustedModelError(
                    f"{each.file!r:.80} of {what} is no sound file of {each.library!r:.20}: "
                    f"{error!r:.500}."
                ) from error


def _is_placeholder(each: Any) -> bool:
    return type(each).__module__ == "mlops_kit.models.booster_estimators" and bool(each.file)


def library_of(estimator: Any) -> str:
    """Return which library an estimator is of, or an empty text."""
    for library, start in _LIBRARIES.items():
        if type(estimator).__module__.startswith(f"{library}.") and type(
            estimator
        ).__name__.startswith(start):
            return library
    return ""


def _placeholder(estimator: Any, library: str, number: int) -> tuple[Any, bytes]:
    from sklearn.base import is_classifier

    from mlops_kit.models.booster_estimators import BoosterClassifier, BoosterRegressor

    kind: Any = BoosterClassifier if is_classifier(estimator) else BoosterRegressor
    if not _is_fitted(estimator):
        return kind(library), b""  # the template of a fitted one beside it
    found = kind(library, f"booster-{number}.{EXTENSIONS[library]}")
    found.n_features_in_ = int(estimator.n_features_in_)
    if hasattr(estimator, "feature_names_in_") or library == "catboost":
        names = getattr(estimator, "feature_names_in_", None)
        names = estimator.feature_names_ if names is None else names
        found.feature_names_in_ = np.asarray(names, dtype=object)
    if kind is BoosterClassifier:
        found.classes_ = np.asarray(estimator.classes_)
        found.has_sums_ = hasattr(estimator, "decision_function")
        if found.has_sums_ and library != "lightgbm":
            raise ValueError("it has a decision_function, which the kit doesn't know")
    return found, _WRITE[library](estimator, found)


def _is_fitted(estimator: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if hasattr(estimator, "is_fitted"):  # CatBoost's
        return bool(estimator.is_fitted())
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _write_lightgbm(estimator: Any, found: Any) -> bytes:
    if callable(estimator.objective):
        raise ValueError("its objective is a function, without which it gives no probabilities")
    found.best_iteration_ = int(estimator.best_iteration_ or 0)
    # All iterations, as the wrapper keeps them; predict says how many count.
    text: str = estimator.booster_.model_to_string(num_iteration=-1)
    return text.encode()


def _write_xgboost(estimator: Any, found: Any) -> bytes:
    if callable(estimator.objective):
        raise ValueError("its objective is a function, without which it gives no probabilities")
    booster = estimator.get_booster()
    found.missing_ = float(estimator.missing)
    best = booster.attr("best_iteration")
    found.best_iteration_ = None if best is None else int(best)
    return bytes(booster.save_raw("json"))


def _write_catboost(estimator: Any, found: Any) -> bytes:
    found.exponent_ = str(estimator.get_all_params().get("loss_function", "")).startswith(
        ("Poisson", "Tweedie")
    ) and not hasattr(found, "classes_")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.cbm"
        estimator.save_model(str(file), format="cbm")
        return file.read_bytes()


def _open_lightgbm(content: bytes) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=booster_files.lightgbm_text(content))


def _open_xgboost(content: bytes) -> Any:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(booster_files.xgboost_json(content)))
    return booster


def _open_catboost(content: bytes) -> Any:
    import catboost

    booster = catboost.CatBoost()
    booster.load_model(blob=booster_files.catboost_binary(content))
    return booster


def _check_shape(estimator: Any) -> None:
    """Check that a booster is for as many features and classes as its estimator says."""
    booster = estimator.booster_
    names = {"lightgbm": "num_feature", "xgboost": "num_features", "catboost": "feature_names_"}
    found = getattr(booster, names[estimator.library])
    count = found() if callable(found) else len(found)
    if count != estimator.n_features_in_:
        raise ValueError(f"it is for {count} features; expected {estimator.n_features_in_}")


_WRITE = {"lightgbm": _write_lightgbm, "xgboost": _write_xgboost, "catboost": _write_catboost}
_OPEN = {"lightgbm": _open_lightgbm, "xgboost": _open_xgboost, "catboost": _open_catboost}
