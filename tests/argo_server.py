"""Argo's server and the cluster's own API in small, over workflows that really run as processes."""

from __future__ import annotations

import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.controller import Controller, Node

TOKEN = "let-me-in"
_PHASES = {"Failed": "main: Error (exit code 1)", "Skipped": "when evaluated false"}


class ArgoServer:
    """Runs one template's workflows; `silences` counts requests that get no answer but a 503."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.workflows: dict[str, dict[str, Any]] = {}
        self.ran: dict[str, dict[str, Node]] = {}
        self.silences = 0
        self.threads: list[threading.Thread] = []

    def submit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        name = f"{body['metadata']['generateName']}{len(self.workflows)}abcd"
        stored = {
            **body,
            "metadata": {**body["metadata"], "name": name},
            "status": {
                "phase": "Running",
                "storedWorkflowTemplateSpec": self.controller.template["spec"],
            },
        }
        self.workflows[name] = stored
        given = {each["name"]: each["value"] for each in body["spec"]["arguments"]["parameters"]}
        thread = threading.Thread(target=self._run, args=(name, given))
        self.threads.append(thread)
        thread.start()
        return stored

    def _run(self, name: str, given: Mapping[str, str]) -> None:
        nodes = self.controller.submit(name, **given)
        self.ran[name] = nodes
        failed = any(node.phase == "Failed" for node in nodes.values())
        status = self.workflows[name]["status"]
        status["nodes"] = {
            node_id(name, task): described(name, task, node) for task, node in nodes.items()
        }
        status["phase"] = "Failed" if failed else "Succeeded"

    def artifact(self, workflow: str, node: str, artifact: str) -> bytes:
        task = next(t for t in self.ran[workflow] if node_id(workflow, t) == node)
        path = self.ran[workflow][task].artifacts[artifact]
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            archive.add(path, arcname=path.name)
        return file.getvalue()

    def log(self, workflow: str, task: str) -> list[str]:
        ours = 'time="2026-11-25T12:00:00 UTC" level=info msg="sub-process exited" argo=true'
        return [*self.ran[workflow][task].log.splitlines(), ours]


def node_id(workflow: str, task: str) -> str:
    return f"{workflow}-{sum(task.encode())}"


def described(workflow: str, task: str, node: Node) -> dict[str, Any]:
    return {
        "id": node_id(workflow, task),
        "displayName": task,
        "templateName": task,
        "type": "Skipped" if node.phase in ("Skipped", "Omitted") else "Pod",
        "phase": node.phase,
        "message": _PHASES.get(node.phase, ""),
        "progress": "1/1",
        "outputs": {
            "parameters": [{"name": k, "value": v} for k, v in node.parameters.items()],
            "artifacts": [{"name": name} for name in node.artifacts],
        },
    }


def answer(server: ArgoServer, method: str, url: str, body: Any) -> Any:
    """Return what a request gets: JSON, bytes, lines of text, or None for a 404."""
    path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
    custom = re.fullmatch(
        r"/apis/argoproj.io/v1alpha1/namespaces/argowf/(workflows|workflowtemplates)(?:/(.+))?",
        path,
    )
    own = re.fullmatch(r"/api/v1/(workflows|workflow-templates)/argowf(?:/([^/]+))?", path)
    if found := custom or own:
        if method == "POST":
            return server.submit(body["workflow"] if own else body)
        if found[1] == "workflows":
            return server.workflows.get(found[2])
        template = server.controller.template
        return template if template["metadata"]["name"] == found[2] else None
    if path == "/api/v1/namespaces/argowf/pods":
        workflow = query["labelSelector"][0].partition("=")[2]
        return {"kind": "PodList", "apiVersion": "v1", "items": _pods(server, workflow)}
    if found := re.fullmatch(r"/api/v1/namespaces/argowf/pods/(.+)/log", path):
        workflow, _, task = found[1].partition(".")
        return "\n".join(server.log(workflow, task)).encode()
    if found := re.fullmatch(r"/api/v1/workflows/argowf/([^/]+)/log", path):
        node = query["podName"][0].rpartition("-")[2]
        task = next(t for t in server.ran[found[1]] if node_id("", t) == f"-{node}")
        lines = server.log(found[1], task)
        return b"".join(
            b"data: " + json.dumps({"result": {"content": line}}).encode() + b"\n\n"
            for line in lines
        )
    if found := re.fullmatch(r"/artifacts/argowf/([^/]+)/([^/]+)/([^/]+)", path):
        return server.artifact(found[1], found[2], found[3])
    return None


def _pods(server: ArgoServer, workflow: str) -> list[dict[str, Any]]:
    return [
        {
            "metadata": {
                "name": f"{workflow}.{task}",
                "annotations": {"workflows.argoproj.io/node-id": node_id(workflow, task)},
            }
        }
        for task in server.ran.get(workflow, {})
    ]


@contextmanager
def serving(server: ArgoServer) -> Iterator[str]:
    """Serve it, and yield its host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._send(401, {"message": "token not valid"})
            elif server.silences:
                server.silences -= 1
                self._send(503, {"message": "not now"})
            else:
                found = answer(server, self.command, self.path, body)
                done = 201 if self.command == "POST" and self.path.startswith("/apis/") else 200
                self._send(404 if found is None else done, found or {"message": "not found"})

        def _send(self, status: int, found: Any) -> None:
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            kind = "text/plain" if isinstance(found, bytes) else "application/json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{http.server_port}"
        finally:
            for each in server.threads:
                each.join()
            http.shutdown()
            thread.join()


def kubeconfig(folder: Path, address: str) -> Path:
    """Write a kubeconfig with the one context `small`."""
    path = folder / "kubeconfig.yaml"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "small",
        "contexts": [{"name": "small", "context": {"cluster": "small", "user": "me"}}],
        "clusters": [{"name": "small", "cluster": {"server": f"http://{address}"}}],
        "users": [{"name": "me", "user": {"token": TOKEN}}],
    }
    path.write_text(json.dumps(content))
    return path
