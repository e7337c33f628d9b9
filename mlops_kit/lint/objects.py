"""Rules for everything else: images, secrets, projects, webhooks, and what the seed had."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator

from mlops_kit.lint.workflows import all_templates
from mlops_kit.lint.yaml_documents import Document, Finding, Path, fields, inner

_SECRET_NAME = re.compile(
    r"(^|_)(PASSWORD|PASSWD|TOKEN|SECRET|SECRET_KEY|SECRET_ACCESS_KEY|PRIVATE_KEY|API_KEY)(_?\d+)?$",
    re.I,
)
_PLACEHOLDER = re.compile(r"\s*(<[^>]*>|\$\{?\w+\}?|\{\{.*\}\})?\s*")
_NO_METRIC = re.compile(
    r"\b(argocd_app_sync_duration(?!_seconds_total)|argo_workflow_status|argocd_app_health_status"
    r"|argocd_app_sync_status)\b"
)
_REFUSED = re.compile(r"argocd app (rollback|sync\b.*--(revision|force))")
_PULL_REQUEST = re.compile(r"(==|\bin)\s*\[[^\]]*pull_request")
_BUILT_IN = ("request-success-rate", "request-duration")


def images(documents: list[Document]) -> Iterator[Finding]:
    """Find an image by a tag, which is another one tomorrow."""
    for document in documents:
        for path, text in document.texts() if document.kind else ():
            if path[-1] != "image" or "{{" in text:
                continue
            if "argoproj/argocd" in text and "quay.io" not in text:
                yield document.finding(
                    path,
                    "gone-image",
                    f"{text!r} isn't published there any more.",
                    "Argo's images are on quay.io.",
                )
            if "@sha256:" not in text:
                yield document.finding(
                    path,
                    "floating-image",
                    f"{text!r} can be another image tomorrow, and Git wouldn't know.",
                    "Name it by its digest, as in name@sha256:….",
                )


def secrets(documents: list[Document]) -> Iterator[Finding]:
    """Find a secret in the clear, or an empty one, which lets everybody in."""
    for document in documents:
        if document.kind == "Secret":
            for section in ("data", "stringData"):
                for name, value in fields(document.at(section)).items():
                    yield from _secret(document, (section, name), str(value or ""))
        for path, text in document.texts() if document.kind else ():
            if path[-1] != "value" or _PLACEHOLDER.fullmatch(text):
                continue
            name = document.at(*path[:-1], "name")
            if "env" in path and _SECRET_NAME.search(str(name)):
                yield document.finding(
                    path,
                    "secret-in-the-clear",
                    f"The value of {name} stands in Git for everybody who reads it.",
                    "Use valueFrom.secretKeyRef.",
                )


def _secret(document: Document, path: Path, value: str) -> Iterator[Finding]:
    text = _decoded(value) if path[0] == "data" else value
    if document.name == "argo-workflows-webhook-clients" and not inner(text).get("secret"):
        yield document.finding(
            path,
            "empty-webhook-secret",
            "No secret turns the check of signatures off: everybody may start workflows.",
            "Give the entry a type, and a long random secret from outside of Git.",
        )
        return
    said = text.rpartition("secret:")[2].strip().strip("'\"")
    if not _PLACEHOLDER.fullmatch(text) and not _PLACEHOLDER.fullmatch(said):
        yield document.finding(
            path,
            "secret-in-the-clear",
            f"Entry {path[-1]!r} of Secret {document.name!r} stands in Git in the clear.",
            "Make it on the cluster, or seal it.",
        )


def _decoded(value: str) -> str:
    try:
        return b64decode(value, validate=True).decode()
    except ValueError:
        return value


def events(documents: list[Document]) -> Iterator[Finding]:
    """Find a webhook's binding that starts more than a push to main by a person."""
    demands = {
        "refs/heads/": ("any branch starts it", 'payload.ref == "refs/heads/main"'),
        "author": ("the kit's own commits start it, in a loop", 'author?.email != "…"'),
        "[0-9a-f]{40}": (
            "what stands in 'after' is evaluated by the next step",
            'payload.after matches "^[0-9a-f]{40}$"',
        ),
    }
    for document in documents:
        if document.kind != "WorkflowEventBinding" or _is_no_push(document):
            continue
        selector = str(document.at("spec", "event", "selector") or "")
        path = ("spec", "event", "selector")
        for part, (why, mend) in demands.items():
            if part not in selector:
                yield document.finding(path, "open-webhook", f"So {why}.", f"Add {mend}.")
        if _PULL_REQUEST.search(selector):
            yield document.finding(
                path,
                "open-webhook",
                "A pull request is anybody's code, with the cluster's credentials.",
                "Take pushes to main alone.",
            )


def _is_no_push(document: Document) -> bool:
    """Whether it takes another system's event: it reads a payload, and nothing of a push's."""
    read = [text for _, text in document.texts() if "payload." in text]
    of_push = re.compile(
        r"x-git|pull_request|payload\.(ref|after|before|head_commit|commits|checkout_sha)\b"
    )
    return bool(read) and not any(of_push.search(text) for _, text in document.texts())


def sources(documents: list[Document]) -> Iterator[Finding]:
    """Find a commit that isn't fixed, or that a later push makes unreachable."""
    for document, path, _ in all_templates(documents):
        for place, each in document.items(*path, "inputs", "artifacts"):
            git = fields(fields(each).get("git"))
            if "depth" in git and "fetch" not in git:
                yield document.finding(
                    (*place, "git", "depth"),
                    "shallow-clone",
                    "With a depth, a push before the pod starts makes the commit unreachable.",
                    "Leave depth out.",
                )
            if git and git.get("revision") in (None, "HEAD", "main", "master"):
                yield document.finding(
                    (*place, "git"),
                    "floating-revision",
                    "Two steps of one workflow can get two commits.",
                    "Give the full SHA as a parameter.",
                )
    for document in documents:
        for path, text in document.texts() if document.kind else ():
            if path[-1] == "targetRevision" and text == "HEAD":
                yield document.finding(
                    path, "floating-revision", "HEAD moves with the host's default.", "Write main."
                )


def delivery(documents: list[Document]) -> Iterator[Finding]:
    """Find canaries, commands and queries that do nothing, or are refused."""
    for document in documents:
        if document.kind == "Canary":
            yield from _canary(document)
        if not document.kind:
            continue
        for path, text in document.texts():
            if found := _NO_METRIC.search(text):
                yield document.finding(
                    path,
                    "no-such-metric",
                    f"Nothing exports {found[0]}: the panel stays empty.",
                    "See the metrics of Argo's own documentation.",
                )
            if _REFUSED.search(_command(document, path, text)):
                yield document.finding(
                    path,
                    "refused-command",
                    "Argo CD refuses it under auto-sync, and --force is an outage.",
                    "Commit the state that you want.",
                )


def _canary(document: Document) -> Iterator[Finding]:
    kind = document.at("spec", "targetRef", "kind")
    if kind not in ("Deployment", "DaemonSet", "Service"):
        yield document.finding(
            ("spec", "targetRef", "kind"),
            "canary-target",
            f"Flagger can't shift a {kind}: the object is refused.",
            "Name a Deployment.",
        )
    for path, metric in document.items("spec", "analysis", "metrics"):
        each = fields(metric)
        if each.get("name") not in _BUILT_IN and not each.keys() & {"templateRef", "query"}:
            yield document.finding(
                path,
                "canary-metric",
                f"Metric {each.get('name')!r} is queried by nothing: the canary always goes back.",
                "Give it a templateRef.",
            )


def _command(document: Document, path: Path, text: str) -> str:
    """Return a text, or the whole command line that it begins, if it is written as a list."""
    whole = document.at(*path[:-1])
    if path[-1] != 0 or not isinstance(whole, list):
        return text
    rest = document.at(*path[:-2], "args") if path[-2] == "command" else ()
    return " ".join(map(str, (*whole, *(rest if isinstance(rest, list) else ()))))


RULES = (images, secrets, events, sources, delivery)
