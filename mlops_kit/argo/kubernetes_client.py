"""Reach workflows through the cluster's API; the only module that imports kubernetes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import urllib3
from kubernetes import client, config, watch

from mlops_kit.argo.workflow_status import Node, refusal
from mlops_kit.errors import ClusterError

_GROUP, _VERSION = "argoproj.io", "v1alpha1"
_TIMEOUT_SECONDS = 30.0


class KubernetesCluster:
    """A `Cluster` behind a kubeconfig's context."""

    def __init__(self, namespace: str, context: str = "") -> None:
        """Prepare, without a request; `context` defaults to the kubeconfig's current one.

        Raises ClusterError if no kubeconfig can be read, or it lacks the context.
        """
        self.namespace = namespace
        try:
            contexts, current = config.list_kube_config_contexts()
            self.context = context or str(current["name"])
            if self.context not in {str(each["name"]) for each in contexts}:
                known = sorted(str(each["name"]) for each in contexts)
                raise ClusterError(
                    f"The kubeconfig has no context {self.context!r}; it has {known}."
                )
            api = config.new_client_from_config(context=self.context)
        except (config.ConfigException, OSError) as error:
            raise ClusterError(
                f"Can't find a cluster: {error} Expected a kubeconfig (KUBECONFIG or "
                "~/.kube/config), or Argo's server in ARGO_SERVER and ARGO_TOKEN."
            ) from error
        # Report an unreachable cluster within seconds, not after three silent retries.
        api.rest_client.pool_manager.connection_pool_kw["retries"] = 1
        self._objects, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)

    def submit(self, workflow: Mapping[str, Any]) -> str:
        """Create a workflow and return its name."""
        with self._asked("create a workflow"):
            made: Any = self._objects.create_namespaced_custom_object(
                *self._place("workflows"), dict(workflow), _request_timeout=_TIMEOUT_SECONDS
            )
        return str(made["metadata"]["name"])

    def workflow(self, name: str) -> dict[str, Any]:
        """Return a workflow as stored in the cluster."""
        return self._read("workflows", name)

    def template(self, name: str) -> dict[str, Any]:
        """Return a WorkflowTemplate as stored in the cluster."""
        return self._read("workflowtemplates", name)

    def log(self, name: str, node: Node, *, follow: bool) -> Iterator[str]:
        """Yield the lines of a node's container; with `follow`, until it ends."""
        with self._asked(f"read the log of {node.name!r}"):
            pods = self._core.list_namespaced_pod(
                self.namespace,
                label_selector=f"workflows.argoproj.io/workflow={name}",
                _request_timeout=_TIMEOUT_SECONDS,
            ).items
            of_node = "workflows.argoproj.io/node-id"
            mine = [pod for pod in pods if (pod.metadata.annotations or {}).get(of_node) == node.id]
            if not mine:
                raise ClusterError(
                    f"The pod of {node.name!r} in {name!r} is gone, and so is its log. If Argo "
                    "archives logs, set ARGO_SERVER to read them from its server."
                )
            where = {"name": mine[0].metadata.name, "namespace": self.namespace}
            if follow:
                reader = self._core.read_namespaced_pod_log
                yield from watch.Watch().stream(reader, container="main", **where)
            else:
                text = self._core.read_namespaced_pod_log(
                    container="main", _request_timeout=_TIMEOUT_SECONDS, **where
                )
                yield from str(text or "").splitlines()

    def artifact(self, name: str, node: Node, artifact: str) -> bytes:
        """Raise ClusterError: only Argo's server gives access to the artifact store."""
        raise ClusterError(
            f"{artifact!r} of {name}/{node.name} is in the artifact store; set ARGO_SERVER and "
            "ARGO_TOKEN to fetch it from Argo's server."
        )

    def _read(self, plural: str, name: str) -> dict[str, Any]:
        with self._asked(f"read {plural[:-1]} {name!r}"):
            found: dict[str, Any] = self._objects.get_namespaced_custom_object(
                *self._place(plural), name, _request_timeout=_TIMEOUT_SECONDS
            )
        return found

    def _place(self, plural: str) -> tuple[str, str, str, str]:
        return _GROUP, _VERSION, self.namespace, plural

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        """Turn the client's errors into a ClusterError that names the request and the answer."""
        try:
            yield
        except client.ApiException as error:
            where = f"namespace {self.namespace!r} of context {self.context!r}"
            said = refusal(what, where, error.status, str(error.body))
            raise ClusterError(said, status=error.status) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise ClusterError(
                f"Context {self.context!r} doesn't answer: {reason}. Check that its API is "
                "reachable from here.",
                lasting=False,
            ) from error
