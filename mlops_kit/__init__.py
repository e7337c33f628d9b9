"""Notebooks that train, judge and promote a model, on one laptop and on Argo."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlops_kit import customers, releasing, watching
    from mlops_kit.comparing import compare
    from mlops_kit.forms import form
    from mlops_kit.models import data, evaluation, training
    from mlops_kit.monitoring import watch
    from mlops_kit.panel import PromotionPanel
    from mlops_kit.pipelines.definition import Condition, Input, Pipeline, Step
    from mlops_kit.pipelines.values import publish
    from mlops_kit.running import follow, run
    from mlops_kit.views import charts, curves, figures, reports
    from mlops_kit.workspace import Workspace

# Where each name comes from; loaded when it is used, so that a cell pays only for what it needs.
_HOME = {
    "Condition": "mlops_kit.pipelines.definition",
    "Input": "mlops_kit.pipelines.definition",
    "Pipeline": "mlops_kit.pipelines.definition",
    "PromotionPanel": "mlops_kit.panel",
    "Step": "mlops_kit.pipelines.definition",
    "Workspace": "mlops_kit.workspace",
    "charts": "mlops_kit.views",
    "compare": "mlops_kit.comparing",
    "curves": "mlops_kit.views",
    "customers": "mlops_kit",
    "data": "mlops_kit.models",
    "evaluation": "mlops_kit.models",
    "figures": "mlops_kit.views",
    "follow": "mlops_kit.running",
    "form": "mlops_kit.forms",
    "publish": "mlops_kit.pipelines.values",
    "releasing": "mlops_kit",
    "reports": "mlops_kit.views",
    "run": "mlops_kit.running",
    "training": "mlops_kit.models",
    "watch": "mlops_kit.monitoring",
    "watching": "mlops_kit",
}

_FUNCTIONS = {"compare", "follow", "form", "publish", "run", "watch"}

__all__ = [
    "Condition",
    "Input",
    "Pipeline",
    "PromotionPanel",
    "Step",
    "Workspace",
    "charts",
    "compare",
    "curves",
    "customers",
    "data",
    "evaluation",
    "figures",
    "follow",
    "form",
    "publish",
    "releasing",
    "reports",
    "run",
    "training",
    "watch",
    "watching",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME[name]
    if name[0].isupper() or name in _FUNCTIONS:
        return getattr(importlib.import_module(home), name)
    return importlib.import_module(f"{home}.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
