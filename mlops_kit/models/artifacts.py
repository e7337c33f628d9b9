"""What a stored model is made of: its files, their digest, and the types that may be loaded."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_kit.errors import UntrustedModelError

# Types beyond scikit-learn's public ones that the kit itself vouches for. It is never widened by
# what a model says of itself: that would let the model decide what may be loaded.
TRUSTED_TYPES = frozenset(
    {
        "numpy.dtype",  # an empty array's, read without pickle
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    }
)
# A model's file is a ZIP: bounds in bytes on what is read and on what it unpacks to.
MAX_ARTIFACT_BYTES = 512 * 2**20
MAX_UNPACKED_BYTES = 2 * 2**30
MODEL_FILE = "model.skops"


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of an artifact, read once, so that what is checked is what is loaded."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    if size > MAX_ARTIFACT_BYTES:
        raise UntrustedModelError(
            f"The artifact has {size} bytes; the limit is {MAX_ARTIFACT_BYTES} bytes."
        )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def load(content: bytes, what: str) -> Any:
    """Return the model in a skops file, if every type in it is on the kit's own allow-list.

    Raises UntrustedModelError.
    """
    import skops.io

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise UntrustedModelError(
                f"The model of {what} unpacks to {unpacked} bytes; the limit is "
                f"{MAX_UNPACKED_BYTES}."
            )
        untrusted = set(skops.io.get_untrusted_types(data=content)) - TRUSTED_TYPES
        if untrusted:
            raise UntrustedModelError(
                f"The model of {what} holds {sorted(untrusted)}, which the kit doesn't vouch for; "
                "expected scikit-learn's own estimators (mlops_kit.models.artifacts.TRUSTED_TYPES)."
            )
        return skops.io.loads(content, trusted=sorted(TRUSTED_TYPES))
    except UntrustedModelError:
        raise
    except Exception as error:  # a tampered file may break anywhere in the reader
        raise UntrustedModelError(
            f"The model of {what} is no sound skops file: {error!r}."
        ) from error


def digest(contents: Mapping[str, bytes]) -> str:
    """Return `sha256:<hex>` over names and contents of all files of an artifact."""
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return f"sha256:{hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()}"
