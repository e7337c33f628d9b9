"""Workflows by Argo's own server, which also hands out artifacts and archived logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import requests

from mlops_kit.argo.workflow_status import Node, refusal
from mlops_kit.errors import ClusterError

# Seconds to connect, and from one byte to the next.
_TIMEOUTS_SECONDS = (10, 60)


class ArgoServer:
    """Does what a KubernetesCluster does, with the rights of a token."""

    def __init__(
        self, address: str, token: str, namespace: str, *, secure: bool = True, verify: bool = True
    ) -> None:
        """`address` is host:port, as in ARGO_SERVER; nothing is asked yet."""
        self.namespace = namespace
        self.context = address
        self._url = f"{'https' if secure else 'http'}://{address.strip('/')}"
        self._session = requests.Session()
        # A ~/.netrc must not take the token's place.
        self._session.trust_env = False
        self._session.verify = verify
        if token:
            kind = "" if token.startswith(("Bearer ", "Basic ")) else "Bearer "
            self._session.headers["Authorization"] = f"{kind}{token}"

    def submit(self, workflow: Mapping[str, Any]) -> str:
        """Create a workflow, and return its name."""
        path = f"/api/v1/workflows/{self.namespace}"
        body = {"namespace": self.namespace, "workflow": dict(workflow)}
        with self._asked("create a workflow", path, body=body) as answer:
            return str(answer.json()["metadata"]["name"])

    def workflow(self, name: str) -> dict[str, Any]:
        """Return a workflow as the cluster has it."""
        return self._read(f"workflow {name!r}", f"/api/v1/workflows/{self.namespace}/{quote(name)}")

    def template(self, name: str) -> dict[str, Any]:
        """Return a WorkflowTemplate as the cluster has it."""
        path = f"/api/v1/workflow-templates/{self.namespace}/{quote(name)}"
        return self._read(f"workflowtemplate {name!r}", path)

    def log(self, name: str, node: Node, *, follow: bool) -> Iterator[str]:
        """Yield the lines that a node's container wrote, with `follow` until it ends."""
        path = f"/api/v1/workflows/{self.namespace}/{quote(name)}/log"
        query = {
            "podName": node.pod(name),
            "logOptions.container": "main",
            "logOptions.follow": str(follow).lower(),
        }
        with self._asked(f"read the log of {node.name!r}", path, query=query) as answer:
            for line in answer.iter_lines():
                said = json.loads(line.removeprefix(b"data: ")) if line else {}
                yield from str(said.get("result", {}).get("content", "")).splitlines()

    def artifact(self, name: str, node: Node, artifact: str) -> bytes:
        """Return an output of a node as its store keeps it, most as a .tgz."""
        path = f"/artifacts/{self.namespace}/{quote(name)}/{quote(node.id)}/{quote(artifact)}"
        with self._asked(f"read artifact {artifact!r} of {node.name!r}", path) as answer:
            content: bytes = answer.content
            return content

    def _read(self, what: str, path: str) -> dict[str, Any]:
        with self._asked(f"read {what}", path) as answer:
            found: dict[str, Any] = answer.json()
            return found

    @contextmanager
    def _asked(
        self,
        what: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Iterator[requests.Response]:
        """Yield the answer; raises ClusterError that says what was asked, where, and the answer."""
        method = "GET" if body is None else "POST"
        try:
            with self._session.request(
                method,
                self._url + path,
                json=body,
                params=query,
                timeout=_TIMEOUTS_SECONDS,
                stream=True,
            ) as answer:
                if not answer.ok:
                    where = f"namespace {self.namespace!r} at {self._url}"
                    said = refusal(what, where, answer.status_code, answer.text)
                    raise ClusterError(said, status=answer.status_code)
                yield answer
        except (requests.RequestException, ValueError) as error:
            raise ClusterError(
                f"Argo's server at {self._url} doesn't answer as expected: {error}. Expected "
                "ARGO_SERVER to be its host:port (ARGO_SECURE=false where it speaks plain http).",
                lasting=False,
            ) from error
