"""What one model's rollout must prove, over what the rollouts of all models must."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from mlops_kit.errors import SettingsError
from mlops_kit.rollouts.policy import Policy

_STRICT = ConfigDict(extra="forbid", frozen=True)

if TYPE_CHECKING:
    Bounds = BaseModel
else:  # Policy's own fields, of which a model names what differs
    _FIELDS = {name: (kind, None) for name, kind in get_type_hints(Policy).items()}
    Bounds = create_model("Bounds", __config__=_STRICT, **_FIELDS)


def over(policy: Policy, own: Bounds, model: str) -> Policy:
    """Return a policy with a model's own bounds; raises SettingsError for a contradiction."""
    try:
        return replace(policy, **own.model_dump(exclude_unset=True))
    except ValueError as error:
        raise SettingsError(f"[models.{model}.rollout] over [rollout]: {error}.") from error
