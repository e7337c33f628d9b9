"""The files that a GitOps repository starts with."""

from __future__ import annotations

from pathlib import Path

from mlops_kit.releases.repository import GitOpsRepository, Proposal
from mlops_kit.releases.snapshot import Snapshot


def add_environments(repository: GitOpsRepository, seed: Path) -> None:
    """Add the environments that a seed has got since the repository was made from it."""
    found = {p.relative_to(seed).as_posix(): p for p in seed.glob("envs/*/*") if p.is_file()}
    if found.keys() <= set(repository.list("envs")):
        return

    def propose(snapshot: Snapshot) -> Proposal | None:
        known = {path.split("/")[1] for path in snapshot.list("envs")}
        new = {path: p.read_bytes() for path, p in found.items() if p.parent.name not in known}
        names = ", ".join(sorted({path.split("/")[1] for path in new}))
        trailers = {"Mlops-Action": "create"}
        return Proposal(f"Add {names}", trailers, new) if new else None

    repository.commit(propose)
