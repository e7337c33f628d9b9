"""The library names no column of an example, and says none of its words."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mlops_kit"
WORDS = re.compile(r"(?i:fraud|genuine|\beuro\b)|\bV28\b|\"Class\"|\"Amount\"")
# Where one may stand, and why.
ALLOWED = {
    "__init__.pyi": "the example's data are a public name",
    "models/evaluation_summary.py": "the fields of evaluations of version 1",
    "cli/projects.py": "`new` without a table makes the example's project",
}


def test_only_the_examples_speak_of_theirs() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi"), *PACKAGE.rglob("*.js")]
        if "examples" not in path.parts and "template" not in path.parts
        if WORDS.search(path.read_text())
    }
    assert found == set(ALLOWED)
