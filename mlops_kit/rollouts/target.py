"""What a rollout has to know of whatever serves the release."""

from __future__ import annotations

from typing import Protocol


class ServingStatus(Protocol):
    """What serves an environment, as it says itself; times in seconds since the epoch.

    `revision` is the commit that is served and `since` when it was applied, `wanted` the newest
    commit that was seen; `error` says why they differ.
    """

    @property
    def revision(self) -> str:
        """The commit that is served."""

    @property
    def wanted(self) -> str:
        """The newest commit that was seen."""

    @property
    def since(self) -> float:
        """When the commit that is served was applied."""

    @property
    def error(self) -> str:
        """Why the newest commit isn't served; empty where it is."""

    @property
    def champion(self) -> str:
        """The version of the champion that serves; empty for none."""

    @property
    def dropped(self) -> int:
        """How many predictions couldn't be logged."""
