"""Reach workflows through Argo's server, which also serves artifacts and archived logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import requests

from mlops_kit.argo.workflow_status import Node, refusal
from mlops_kit.errors import ClusterError

# Seconds to connect, and between two bytes.
_TIMEOUTS_SECONDS = (10, 60)


class ArgoServer:
    """A `Cluster` behind Argo's server, with a token's rights."""

    def __init__(
        self, address: str, token: str, namespace: str, *, secure: bool = True, verify: bool = True
    ) -> None:
        """Prepare, without a request.

        Args:
            address: host:port, as in ARGO_SERVER.
            token: empty for none.
            namespace: where workflows run.
            secure: whether the server speaks HTTPS.
            verify: whether to check its certificate.
        """
        self.namespace = namespace
        self.context = address
        self._url = f"{'https' if secure else 'http'}://{address.strip('/')}"
        self._session = requests.Session()
        # A ~/.netrc must not replace the token.
        self._session.trust_env = False
        self._session.verify = verify
        if token:
            kind = "" if token.startswith(("Bearer ", "Basic ")) else "Bearer "
            self._session.headers["Authorization"] = f"{kind}{token}"

    def submit(self, workflow: Mapping[str, Any]) -> str:
        """Create a workflow and return its name."""
        path = f"/api/v1/workflows/{self.namespace}"
        body = {"namespace": self.namespace, "workflow": dict(workflow)}
        with self._asked("create a workflow", path, body=body) as answer:
            return str(answer.json()["metadata"]["name"])

    def workflow(self, name: str) -> dict[str, Any]:
        """Return a workflow as stored in the cluster."""
        return self._read(f"workflow {name!r}", f"/api/v1/workflows/{self.namespace}/{quote(name)}")

    def template(self, name: str) -> dict[str, Any]:
        """Return a WorkflowTemplate as stored in the cluster."""
        path = f"/api/v1/workflow-templates/{self.namespace}/{quote(name)}"
        return self._read(f"workflowtemplate {name!r}", path)

    def log(self, name: str, node: Node, *, follow: bool) -> Iterator[str]:
        """Yield the lines of a node's container; with `follow`, until it ends."""
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
        """Return a node's artifact as stored, usually as a .tgz."""
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
        """Send a request and yield the response; raises ClusterError, naming both."""
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
                f"Argo's server at {self._url} doesn't answer as expected: {error}. Set "
                "ARGO_SERVER to its host:port, and ARGO_SECURE=false if it speaks plain HTTP.",
                lasting=False,
            ) from error
