"""Whatever stands in a file or on a command line: what can't be used is refused by a KitError."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_kit import notebook_file
from mlops_kit.cli import options
from mlops_kit.errors import KitError
from mlops_kit.pipelines import notebooks, sources, step_outputs, values
from mlops_kit.pipelines.executions import Executions, State, StepState
from mlops_kit.project.settings import Settings
from mlops_kit.releases import release_yaml

ROOT = Path(__file__).parents[2]
REAL = json.loads((ROOT / "notebooks" / "train.ipynb").read_bytes())
RELEASE = (ROOT / "workflows" / "gitops" / "envs" / "prod" / "release.yaml").read_bytes()
TOML = (ROOT / "mlops-kit.toml").read_text()
STATE = State(
    "p-20260102-030405-abcd", "p", {"x": 1}, steps={"s": StepState(error={"reason": "x"})}
).to_json()
NAME = STATE["name"]

# One folder for all examples: a test's own would need a fixture for each of hundreds.
FAST = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

odd_texts = st.sampled_from(
    ["", "\0", "\ud800", "a\nb", "=", "[" * 1200, "x" * 5000, "1e999", "nan", "0" * 5000, "&a *a",
     "../x", "%s{0}", "\u202e", "9" * 5000, "!!python/name:os.system", "<<: *a", "2026-13-45",
     "? [a]", "- - -", "\x1b[2J", "0x", "1_0", ".inf", "~"]
)  # fmt: skip
texts = st.text(max_size=40) | odd_texts
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
trees = st.recursive(
    leaves, lambda t: st.lists(t, max_size=3) | st.dictionaries(texts, t, max_size=3), max_leaves=6
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@contextlib.contextmanager
def only_kit_errors() -> Iterator[None]:
    """Let a KitError with a sentence pass, and everything else through."""
    said = "nothing was refused"
    try:
        yield
    except KitError as error:
        said = str(error)
    assert 0 < len(said) < 20_000


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in JSON."""
    yield path
    children = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


def mutated(draw: st.DrawFn, real: Any) -> Any:
    """Return JSON with one to three of its values removed, doubled or replaced."""
    tree = copy.deepcopy(real)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(tree))))
        if not path:
            return draw(trees)
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.sampled_from(["remove", "replace", "replace", "rename"])):
            case "remove":
                del parent[path[-1]]
            case "replace":
                parent[path[-1]] = draw(trees)
            case _ if isinstance(parent, dict):
                parent[draw(texts)] = parent.pop(path[-1])
            case _:
                parent.append(parent[path[-1]])
    return tree


@st.composite
def mutated_notebooks(draw: st.DrawFn) -> bytes:
    return json.dumps(mutated(draw, REAL)).encode()


@st.composite
def mutated_states(draw: st.DrawFn) -> bytes:
    return json.dumps(mutated(draw, STATE)).encode()


@st.composite
def mutated_bytes(draw: st.DrawFn, real: bytes) -> bytes:
    """Return bytes with up to three pieces cut out or put in."""
    content = real
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 30)))
        put = draw(st.binary(max_size=8) | texts.map(lambda t: t.encode(errors="surrogatepass")))
        content = content[:start] + put + content[end:]
    return content


@FAST
@given(texts, trees)
def test_parameters(name: str, value: object) -> None:
    for notebook in ("train.ipynb", "promote.ipynb", "validate_data.ipynb"):
        path = ROOT / "notebooks" / notebook
        for key in (name, *(each.name for each in notebooks.signature(path))):
            with only_kit_errors():
                json.dumps(notebooks.typed(path, {key: value}))


@FAST
@given(st.lists(st.tuples(texts, texts), max_size=3), texts | st.binary(max_size=30), texts)
def test_parameters_of_the_command_line(
    folder: Path, pairs: list[tuple[str, str]], content: str | bytes, text: str
) -> None:
    path = folder / "given.yaml"
    path.write_bytes(
        content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
    )
    with only_kit_errors():
        options.given(pairs, pairs, [path], [])
    with only_kit_errors():
        found = options.given(pairs, [], [], [text])
        assert all(isinstance(name, str) for name in found)


DEEP = b"[" * 100_000


@pytest.mark.parametrize("content", [b"", b"\xff", b"[", DEEP, b"1", b'{"cells": 3}'])
def test_what_is_no_notebook_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "n.ipynb"
    path.write_bytes(content)
    with pytest.raises(KitError):
        notebooks.signature(path)


@FAST
@given(mutated_notebooks())
def test_notebooks(folder: Path, content: bytes) -> None:
    path = folder / "n.ipynb"
    path.write_bytes(content)
    with only_kit_errors():
        notebooks.signature(path)
        notebooks.typed(path, {"role": "candidate"})
        sources.source_digest(path)
        values.published(notebook_file.cells(path))


@FAST
@given(mutated_bytes(RELEASE))
def test_releases(content: bytes) -> None:
    with only_kit_errors():
        found = release_yaml.read_release(content)
        # What is accepted can be written, and means the same.
        assert release_yaml.read_release(release_yaml.write_release(found)) == found


@FAST
@given(mutated_states() | mutated_bytes(json.dumps(STATE).encode()))
def test_execution_states(folder: Path, content: bytes) -> None:
    made = Executions(folder / "executions")
    (made.folder / NAME).mkdir(parents=True, exist_ok=True)
    (made.folder / NAME / "execution.json").write_bytes(content)
    with only_kit_errors():
        found = made.open(NAME)
        assert isinstance(found.seen_state + found.failed_step, str)
        found._repr_markdown_()
    with only_kit_errors():
        made.last_unfinished("p")
    for each in made.all():
        step_outputs.write_json(folder / "again.json", each.state.to_json())


@FAST
@given(mutated_bytes(TOML.encode()))
def test_settings(folder: Path, content: bytes) -> None:
    (folder / "mlops-kit.toml").write_bytes(content)
    # Else a fault could be of what the machine sets.
    assert {name for name in os.environ if name.startswith("MLOPS_KIT_")} == {"MLOPS_KIT_KEEP_WARM"}
    with only_kit_errors():
        found = Settings.load(folder)
        assert found.state_folder.is_absolute()
