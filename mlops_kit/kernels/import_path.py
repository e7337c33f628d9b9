"""Let a kernel that starts in a notebook's folder find the project's own modules and files."""

from __future__ import annotations

from pathlib import Path


def code(project: Path) -> str:
    """Return one line of Python that puts a project on `sys.path`, right after `''`.

    IPython puts `''` there for the working directory, before the installed packages. The line
    binds no name and shows nothing.
    """
    insert = "path.insert(path.index('') + 1 if '' in path else len(path), own)"
    add = f"(lambda path, own: own in path or {insert})"
    # In ASCII, so that no folder's name can break the line.
    return f"{add}(__import__('sys').path, {str(project)!a}) and None"


def argument(project: Path) -> str:
    """Return the argument of ipykernel's command line that runs this line at start, and `%run`'s.

    It leaves alone `exec_lines`, which a user's own configuration may set.
    """
    magic = "__import__('mlops_kit.kernels.run_magic', fromlist=['install'])"
    return f"--IPKernelApp.code_to_run={code(project)}; {magic}.install(get_ipython())"
