"""What a real controller does with the kit's templates."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.conftest import GIVEN, Site

needs_server = pytest.mark.skipif("ARGO_SERVER" not in GIVEN, reason="needs ARGO_SERVER")


def submitted(site: Site, *words: str) -> str:
    done = site.run(
        "submit", "kit-small", "--revision", site.sha, "--context", site.context, *words
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[1]


def ended(site: Site, name: str) -> tuple[int, dict[str, Any]]:
    done = site.run("watch", name, "--json", "--context", site.context)
    return done.returncode, json.loads(done.stdout)


def until(found: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(1)
    raise AssertionError("it didn't come")


def pods(site: Site, name: str) -> list[Any]:
    selector = f"workflows.argoproj.io/workflow={name}"
    return list(site.core.list_namespaced_pod("argowf", label_selector=selector).items)


def test_a_pipeline_passes_and_its_values_arrive(site: Site) -> None:
    name = submitted(site)
    code, found = ended(site, name)
    assert (code, found["phase"]) == (0, "Succeeded"), found
    assert found["steps"] == {"make": "succeeded", "use": "succeeded"}
    assert found["length"] == "12", "a file went from one pod to the other"
    logs = site.run("logs", name, "--context", site.context).stdout
    assert "use  " in logs
    assert "argo=true" not in logs


def test_the_image_compiles_nothing_at_import(site: Site) -> None:
    image = GIVEN["KIT_CLUSTER_IMAGE"]
    counted = (
        "import subprocess, sys; said = subprocess.run([sys.executable, '-v', '-c',"
        " 'import mlflow, sklearn.ensemble'], capture_output=True, text=True).stderr;"
        " print(said.count('\\n# code object from /'))"
    )
    main = {"name": "main", "image": image, "command": ["python", "-c", counted]}
    spec = {"restartPolicy": "Never", "containers": [main]}
    pod = {"metadata": {"generateName": "kit-imports-"}, "spec": spec}
    name = site.core.create_namespaced_pod("argowf", pod).metadata.name

    def phase() -> str:
        return str(site.core.read_namespaced_pod(name, "argowf").status.phase)

    try:
        until(lambda: phase() in ("Succeeded", "Failed"))
        assert site.core.read_namespaced_pod_log(name, "argowf").strip() == "0"
    finally:
        site.core.delete_namespaced_pod(name, "argowf")


def test_what_follows_from_the_same_content_runs_once(site: Site) -> None:
    words = ("-p", "divisor", "2")
    assert ended(site, submitted(site, *words))[1]["steps"]["use"] == "succeeded"
    _, again = ended(site, submitted(site, *words))
    assert again["steps"] == {"make": "succeeded", "use": "cached"}
    assert again["length"] == "6"
    _, fresh = ended(site, submitted(site, "--fresh", *words))
    assert fresh["steps"]["use"] == "succeeded"


@needs_server
def test_the_server_shows_a_notebook_with_its_pictures(site: Site) -> None:
    import requests

    name = submitted(site)
    ended(site, name)
    where = ("argoproj.io", "v1alpha1", "argowf", "workflows", name)
    nodes = site.objects.get_namespaced_custom_object(*where)["status"]["nodes"].values()
    (node,) = [n["id"] for n in nodes if n["type"] == "Pod" and n.get("templateName") == "make"]
    scheme = "http" if GIVEN.get("ARGO_SECURE") == "false" else "https"
    root = f"{scheme}://{GIVEN['ARGO_SERVER']}/artifact-files/argowf/workflows/{name}/{node}"
    session = requests.Session()
    session.cookies.set("authorization", f"Bearer {GIVEN['ARGO_TOKEN'].removeprefix('Bearer ')}")
    session.verify = GIVEN.get("ARGO_INSECURE_SKIP_VERIFY") != "true"
    page = session.get(f"{root}/outputs/notebook-page")
    assert page.status_code == 200, page.text
    assert page.url.endswith("/index.html"), "so that pictures beside it are found"
    assert page.headers["content-type"].startswith("text/html")
    assert '<img src="figure-1.png"' in page.text
    picture = session.get(page.url.replace("index.html", "figure-1.png"))
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["fail", "pass == pass || x", "x' == 'x' || 'a' == 'pass"])
def test_a_gate_that_fails_stops_it(site: Site, text: str) -> None:
    code, found = ended(site, submitted(site, "-p", "text", text))
    assert found["steps"] == {"make": "succeeded", "use": "skipped"}
    assert found["verdict"] == text
    assert code in (3, 4), "as of a run whose verdict is no pass"


def test_a_deleted_pod_comes_again(site: Site) -> None:
    name = submitted(site, "-p", "seconds", "25")

    def running() -> Any:
        return [p for p in pods(site, name) if p.status.phase == "Running"]

    (pod,) = until(running)
    # Not before the controller has seen it run, else it makes the same pod without counting.
    time.sleep(12)
    site.core.delete_namespaced_pod(pod.metadata.name, "argowf", grace_period_seconds=1)
    code, found = ended(site, name)
    assert (code, found["phase"]) == (0, "Succeeded"), found
    where = ("argoproj.io", "v1alpha1", "argowf", "workflows", name)
    nodes = site.objects.get_namespaced_custom_object(*where)["status"]["nodes"].values()
    tries = [n for n in nodes if n["type"] == "Pod" and n.get("templateName") == "make"]
    assert len(tries) == 2


def test_a_failed_cell_is_not_tried_again_and_comes_back(site: Site) -> None:
    name = submitted(site, "-p", "divisor", "0")
    code, found = ended(site, name)
    assert (code, found["steps"]["use"]) == (1, "failed")
    tries = [p for p in pods(site, name) if "-use-" in p.metadata.name]
    assert len(tries) == 1
    if "ARGO_SERVER" not in GIVEN:
        pytest.skip("the notebook comes by ARGO_SERVER")
    back = site.run("debug", f"{name}/use")
    assert back.returncode == 0, back.stderr
    assert "stops before cell 'cell-2'" in back.stdout


@pytest.mark.parametrize(
    ("verb", "group", "resource", "allowed"),
    [
        ("create", "argoproj.io", "workflowtaskresults", True),
        ("patch", "argoproj.io", "workflowtaskresults", True),
        ("create", "argoproj.io", "workflows", False),
        ("get", "", "secrets", False),
        ("create", "", "pods", False),
        ("delete", "", "pods", False),
    ],
)
def test_the_pods_account_may_do_what_it_must_and_nothing_more(
    site: Site, verb: str, group: str, resource: str, allowed: bool
) -> None:
    from kubernetes import client

    asked = client.V1SubjectAccessReview(
        spec=client.V1SubjectAccessReviewSpec(
            user="system:serviceaccount:argowf:mlops-runner",
            resource_attributes=client.V1ResourceAttributes(
                namespace="argowf", verb=verb, group=group, resource=resource
            ),
        )
    )
    review = client.AuthorizationV1Api(site.core.api_client).create_subject_access_review(asked)
    assert review.status.allowed is allowed


@needs_server
@pytest.mark.parametrize(
    ("secret", "ref", "starts"),
    [
        ("right", "refs/heads/main", True),
        ("wrong", "refs/heads/main", False),
        ("right", "refs/heads/other", False),
    ],
)
def test_a_signed_push_starts_one(site: Site, secret: str, ref: str, starts: bool) -> None:
    import hashlib
    import hmac

    import requests
    from kubernetes import client

    entry = {"mlops-events": 'type: github\nsecret: "right"\n'}
    body = client.V1Secret(metadata={"name": "argo-workflows-webhook-clients"}, string_data=entry)
    try:
        site.core.create_namespaced_secret("argowf", body)
    except client.ApiException as error:
        if error.status != 409:
            raise
    before = set(_names(site))
    push = json.dumps({"ref": ref, "after": site.sha, "deleted": False, "commits": []}).encode()
    signature = hmac.new(secret.encode(), push, hashlib.sha256).hexdigest()
    scheme = "http" if GIVEN.get("ARGO_SECURE") == "false" else "https"
    answer = requests.post(
        f"{scheme}://{GIVEN['ARGO_SERVER']}/api/v1/events/argowf/mlops-kit",
        data=push,
        headers={
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-Hub-Signature-256": f"sha256={signature}",
        },
        timeout=30,
    )
    assert answer.status_code == (200 if secret == "right" else 401)
    if starts:
        (name,) = until(lambda: set(_names(site)) - before, 30)
        assert ended(site, name)[0] == 0
    else:
        time.sleep(5)
        assert set(_names(site)) == before


def _names(site: Site) -> list[str]:
    where = ("argoproj.io", "v1alpha1", "argowf", "workflows")
    found = site.objects.list_namespaced_custom_object(*where)["items"]
    return [each["metadata"]["name"] for each in found]
