"""Workflows by the cluster's own API, as a context of the kubeconfig allows.

The door to kubernetes.
"""

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
    """Submits workflows, and reads them and their pods' logs."""

    def __init__(self, namespace: str, context: str = "") -> None:
        """Nothing is asked yet; without a context the kubeconfig's current one counts.

        Raises ClusterError where no kubeconfig can be read, or it lacks the context.
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
                f"No cluster can be asked: {error} Expected a kubeconfig (KUBECONFIG, or "
                "~/.kube/config), or Argo's server in ARGO_SERVER with ARGO_TOKEN."
            ) from error
        # What isn't there shall be said within seconds, not after three silent tries.
        api.rest_client.pool_manager.connection_pool_kw["retries"] = 1
        self._objects, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)

    def submit(self, workflow: Mapping[str, Any]) -> str:
        """Create a workflow, and return its name."""
        with self._asked("create a workflow"):
            made: Any = self._objects.create_namespaced_custom_object(
                *self._place("workflows"), dict(workflow), _request_timeout=_TIMEOUT_SECONDS
            )
        return str(made["metadata"]["name"])

    def workflow(self, name: str) -> dict[str, Any]:
        """Return a workflow as the cluster has it."""
        return self._read("workflows", name)

    def template(self, name: str) -> dict[str, Any]:
        """Return a WorkflowTemplate as the cluster has it."""
        return self._read("workflowtemplates", name)

    def log(self, name: str, node: Node, *, follow: bool) -> Iterator[str]:
        """Yield the lines that a node's container wrote, with `follow` until it ends."""
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
                    f"The pod of {node.name!r} in {name!r} is gone, and its log with it, unless "
                    "Argo archives logs: then its server (ARGO_SERVER) has it."
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
        """Refuse: artifacts lie in a store that only Argo's server opens to a laptop."""
        raise ClusterError(
            f"{artifact!r} of {name}/{node.name} lies in the artifact store; set ARGO_SERVER and "
            "ARGO_TOKEN, as Argo's server hands it out."
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
        """Turn the client's errors into one that says what was asked, where, and the answer."""
        try:
            yield
        except client.ApiException as error:
            where = f"namespace {self.namespace!r} of context {self.context!r}"
            said = refusal(what, where, error.status, str(error.body))
            raise ClusterError(said, status=error.status) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise ClusterError(
                f"Context {self.context!r} doesn't answer: {reason}. Expected its API to be "
                "reachable from here.",
                lasting=False,
            ) from error
