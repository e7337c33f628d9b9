"""Secrets are found wherever a notebook may hold them, and digests and pictures are none."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import threading
import time

import pytest

from mlops_kit.errors import SecretFoundError
from mlops_kit.reporting.notebooks import secret_scan

LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def drawn(length, seed=1, letters=LETTERS):
    """A token that is made here, so that no scanner finds one in this file."""
    return "".join(random.Random(seed).choices(letters, k=length))


HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
BODY = base64.urlsafe_b64encode(b'{"sub":"1234567890","name":"ana"}').decode().rstrip("=")
PLANTED = {
    "AWS key": "AKIA" + drawn(16, letters="ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    "GitHub token": "ghp_" + drawn(36),
    "GitHub fine-grained token": "github_pat_" + drawn(22) + "_" + drawn(40),
    "GitLab token": "glpat-" + drawn(20),
    "Slack token": "xoxb-" + "123456789012-1234567890123-" + drawn(24),
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "encrypted key": "-----BEGIN " + "ENCRYPTED PRIVATE KEY-----",
    "JWT": f"{HEADER}.{BODY}.{drawn(43)}",
    "URL password": "postgresql://mlflow:" + drawn(12) + "@db.example:5432/mlflow",
    "URL password with signs": "postgresql://mlflow:p$" + drawn(8) + "!@db/mlflow",
    "Azure key": "AccountKey=" + drawn(86) + "==",
    "Stripe key": "sk_live_" + drawn(24),
    "SendGrid key": "SG." + drawn(22) + "." + drawn(43),
    "Google key": "AIza" + drawn(35),
    "Hugging Face token": "hf_" + drawn(34),
    "PyPI token": "pypi-AgEIcHlwaS5vcmc" + drawn(80),
    "Telegram token": "110201543:" + drawn(35),
    "bearer": "Authorization: Bearer " + drawn(40),
    "password": f'password = "{drawn(10)}"',
    "typed password": f'db_password: str = "{drawn(10)}"  # for the database',
    "password argument": f'connect(host="db", password="{drawn(10)}")',
    "api key after another": f'password = os.environ["P"]; api_key = "{drawn(20)}"',
    "token": f'MLFLOW_TRACKING_TOKEN = "{drawn(32)}"',
    "hex token": f'access_token="{hashlib.sha1(b"x").hexdigest()}"',
    "secret in a mapping": json.dumps({"client_secret": drawn(24)}),
}


def book(source="x = 1", outputs=(), cell_metadata=None, metadata=None):
    cell = {
        "cell_type": "code",
        "id": "train",
        "source": source,
        "outputs": list(outputs),
        "metadata": cell_metadata or {},
        "execution_count": None,
    }
    raw = {"cells": [cell], "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(raw).encode()


PLACES = {
    "source": lambda line: book(source=["import os\n", line]),
    "log": lambda line: book(
        outputs=[{"output_type": "stream", "name": "stdout", "text": f"a\n{line}\n"}]
    ),
    "result": lambda line: book(
        outputs=[{"output_type": "display_data", "data": {"text/plain": [line]}, "metadata": {}}]
    ),
    "traceback": lambda line: book(
        outputs=[
            {
                "output_type": "error",
                "ename": "E",
                "evalue": "x",
                "traceback": ["\x1b[0;31mE\x1b[0m", f"----> 1 {line}"],
            }
        ]
    ),
    "cell metadata": lambda line: book(cell_metadata={"papermill": {"note": line}}),
    "metadata": lambda line: book(metadata={"x": [line]}),
}


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("place", ["source", "log", "result", "traceback"])
def test_a_planted_secret_is_found_in_every_place(kind, place):
    assert secret_scan.find({"train.ipynb": PLACES[place](PLANTED[kind])})


@pytest.mark.parametrize("kind", [k for k in PLANTED if "password" not in k.lower() or "URL" in k])
@pytest.mark.parametrize("place", ["cell metadata", "metadata"])
def test_a_planted_token_is_found_in_metadata(kind, place):
    assert secret_scan.find({"train.ipynb": PLACES[place](PLANTED[kind])})


def test_a_parameter_that_is_named_like_a_secret_counts_in_metadata():
    content = book(metadata={"papermill": {"parameters": {"db_password": drawn(10)}}})
    (finding,) = secret_scan.find({"train.ipynb": content})
    assert finding.place == "metadata"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("report.md", f"see https://ana:{drawn(10)}@git.example/x"),
        ("release.yaml", f"password: {drawn(8)}"),
        ("x.env", f"API_KEY={drawn(12)}"),
        ("x.toml", f'token = "{drawn(30)}"'),
        ("x.py", f'TOKEN = "ghp_{drawn(36)}"'),
        ("model.bin", f"\0\1{PLANTED['AWS key']}\0"),
        ("broken.ipynb", PLANTED["JWT"]),
        ("long.txt", "x" * 19_990 + PLANTED["GitHub token"] + "x" * 30_000),
    ],
)
def test_a_secret_is_found_in_other_files(name, line):
    (finding, *_) = secret_scan.find({name: f"first\n{line}\n".encode()})
    assert (finding.file, finding.line) == (name, 2)


def test_the_refusal_names_the_place_and_never_the_secret():
    token = PLANTED["GitHub token"]
    content = book(source=f"a = 1\nb = 2\nt = '{token}'")
    with pytest.raises(SecretFoundError) as caught:
        secret_scan.check({"evidence/train.ipynb": content})
    message = str(caught.value)
    assert "evidence/train.ipynb, cell 'train', source, line 3: GitHub Token" in message
    assert token not in message
    assert token[5:15] not in message


SHA = hashlib.sha256(b"model").hexdigest()
CLEAN = f'''
digest = "sha256:{SHA}"
data_digest: str = "{SHA}"  # of the training data
commit = "{SHA[:40]}"
run_id = "{SHA[:32]}"
cache_key = "{SHA}"
model_uri = "models:/fraud@champion"
password = os.environ["DB_PASSWORD"]
password = getpass.getpass()
token = client.token()
api_key = settings.api_key
secret_name = "mlflow-credentials"
password_file = "/run/secrets/db"
tokenizer = "distilbert-base-uncased-finetuned-sst-2-english"
max_tokens = 4096
key = "amount_over_1000_eur"
primary_key: str = "transaction_id"
n_passwords: int = 3
url = f"postgresql://{{user}}:{{password}}@{{host}}/db"
engine = "postgresql://mlflow:***@db/mlflow"
seen = "2026-11-23T14:02:05+01:00"
features = ["amount", "country", "merchant_key", "secret_flag"]
'''
CLEAN_LOG = f"""
2026/11/23 14:02:05 INFO mlflow.tracking: run {SHA[:32]} at http://127.0.0.1:5000/#/experiments/1
Downloaded sha256:{SHA} to models/fraud@3
The password must be longer than 8 characters; the secret: patience.
tokens per second: 1234567890123456
Engine(postgresql://mlflow:***@db:5432/mlflow)
[removed: a log, 70000 bytes, sha256:{SHA}; over 64000 bytes]
key {SHA[:40]} {SHA[:44]}
APPLICATION AP1 APACHEAIRFLOW 20261123:{SHA}
uuid 123e4567-e89b-12d3-a456-426614174000, https://git.example/a/b@{SHA[:40]}
"""


def test_a_clean_notebook_is_no_false_alarm():
    picture = base64.b64encode(random.Random(3).randbytes(30_000)).decode()
    frame = "\n".join(f"{i} {hashlib.sha256(bytes([i])).hexdigest()}" for i in range(200))
    scrap = {"name": "digest", "data": f"sha256:{SHA}", "encoder": "json", "version": 1}
    content = book(
        source=CLEAN,
        outputs=[
            {"output_type": "stream", "name": "stdout", "text": CLEAN_LOG},
            {
                "output_type": "display_data",
                "data": {"image/png": picture, "text/plain": frame},
                "metadata": {},
            },
            {
                "output_type": "display_data",
                "data": {"application/scrapbook.scrap.json+json": scrap},
                "metadata": {"scrapbook": {"name": "digest"}},
            },
        ],
        cell_metadata={"tags": ["parameters"], "mlops_kit": {"digest": SHA}},
        metadata={"kernelspec": {"name": "python3"}, "mlops_kit": {"run_id": SHA[:32]}},
    )
    assert secret_scan.find({"train.ipynb": content}) == ()
    secret_scan.check({"train.ipynb": content})


def test_manifests_that_only_name_secrets_are_no_false_alarm():
    manifest = f"""
kind: Release
digest: sha256:{SHA}
image: registry.example/kit@sha256:{SHA}
env:
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef: {{name: s3, key: password}}
secretName: mlflow-credentials
passwordSecret:
  name: db
automountServiceAccountToken: false
tokenPath: /var/run/secrets/token
"""
    assert (
        secret_scan.find({"release.yaml": manifest.encode(), "report.md": f"- `{SHA}`\n".encode()})
        == ()
    )


@pytest.mark.parametrize("unit", ["secret_", "http://a:", "Ab1/", "a: ", "-"])
def test_a_long_line_takes_no_minute(unit):
    started = time.perf_counter()
    secret_scan.find({"a.py": (unit * 20_000)[:20_000].encode()})
    assert time.perf_counter() - started < 8


def test_many_threads_find_the_same():
    content = book(source="\n".join(PLANTED.values()))
    expected = secret_scan.find({"a.ipynb": content})
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(secret_scan.find({"a.ipynb": content})))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(expected) >= 20
    assert found == [expected] * 6


def test_the_settings_of_detect_secrets_are_left_alone():
    from detect_secrets.settings import get_settings

    before = get_settings().json()
    secret_scan.find({"a.ipynb": book(source=PLANTED["JWT"])})
    assert get_settings().json() == before
