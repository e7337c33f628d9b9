"""A pytest plugin for your notebooks: run one with parameters, and read what it published.

    def test_a_training_publishes_a_version(run_notebook):
        trained = run_notebook("train", dataset="small.parquet")
        assert trained["version"]
        run_notebook.accepts("evaluate", candidate=trained["version"])

Notebooks run on warm kernels, forked from one process, each in its own folder. The project is the
one around pytest's root folder, or the one that `--mlops-project` names. Executed notebooks and
published files go to the test's `tmp_path`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlops_kit.kernels.zygote_client import Zygote


@dataclass(frozen=True)
class Executed:
    """A notebook that ran to its end; `executed["name"]` is a value that it published.

    The value of a published file is its path.
    """

    notebook: Path
    published: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Return a published value; raises KeyError with the published names."""
        if name not in self.published:
            raise KeyError(f"{self.notebook.name} published {sorted(self.published)}, not {name!r}")
        return self.published[name]


@dataclass(frozen=True)
class NotebookRunner:
    """Runs a project's notebooks, and writes their files to `folder`."""

    project: Path
    folder: Path
    zygote: Zygote

    def __call__(self, notebook: str, /, timeout: float = 600.0, **parameters: Any) -> Executed:
        """Run a notebook with parameters, and return it once all its cells ran.

        `timeout` is in seconds. Raises ParameterError before the notebook starts, and StepError,
        with cell and line, if it fails.
        """
        from mlops_kit import notebook_file
        from mlops_kit.kernels import provisioner
        from mlops_kit.pipelines import notebooks, values

        source = self._source(notebook)
        number = len(list(self.folder.glob("notebook-*")))
        job = notebooks.Job(source, self.folder / f"notebook-{number}", parameters, {}, timeout)
        with provisioner.manager(
            zygote=self.zygote, cwd=source.parent, project=self.project
        ) as manager:
            notebooks.execute(job, manager)
        found = values.published(notebook_file.cells(job.executed))
        kept = {name: values.keep(name, data, job.folder) for name, data in found.items()}
        return Executed(job.executed, {name: value.argument for name, value in kept.items()})

    def accepts(self, notebook: str, /, **parameters: Any) -> dict[str, Any]:
        """Check that a notebook accepts these values without running it, and return them typed.

        Use it to check one step's outputs against the next step's parameters. Raises
        ParameterError.
        """
        from mlops_kit.pipelines import notebooks

        return notebooks.typed(self._source(notebook), parameters)

    def _source(self, notebook: str) -> Path:
        from mlops_kit.pipelines import notebooks

        return self.project / "notebooks" / notebooks.file_name(notebook)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the project."""
    parser.addoption(
        "--mlops-project", metavar="FOLDER", help="the project that mlops-kit's fixtures use"
    )


@pytest.fixture(scope="session")
def mlops_kit_zygote() -> Iterator[Zygote]:
    """Start the process that all tests' kernels are forked from."""
    from mlops_kit.kernels.zygote_client import Zygote

    with Zygote.start() as started:
        yield started


@pytest.fixture
def run_notebook(
    request: pytest.FixtureRequest, tmp_path: Path, mlops_kit_zygote: Zygote
) -> NotebookRunner:
    """Return a runner of the project's notebooks; see `NotebookRunner`."""
    from mlops_kit.project_folder import find_project

    named = request.config.getoption("--mlops-project")
    project = Path(named).resolve() if named else find_project(request.config.rootpath)
    return NotebookRunner(project, tmp_path, mlops_kit_zygote)
