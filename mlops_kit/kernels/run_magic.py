"""Let `%run` in a step also find what lies in the project's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_kit.project_folder import located


def install(shell: Any) -> None:
    """Let a shell's `%run` look in the notebook's folder, and then in the project's.

    A step ran in the project's folder once, so notebooks name files from there.
    """
    from IPython.utils.path import get_py_filename

    stock = shell.find_line_magic("run")

    def find(name: str) -> str:
        try:
            return str(get_py_filename(name))
        except OSError:
            return str(get_py_filename(str(located(Path(name)))))

    def run(line: str) -> Any:
        return stock(line, file_finder=find)

    shell.register_magic_function(run, magic_name="run")
