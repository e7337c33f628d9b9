"""The command line without a process of its own: nothing is imported again for each command."""

from __future__ import annotations

import os
import subprocess
import traceback
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from mlops_kit.cli.main import main


def called(
    words: tuple[str, ...], cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command of the kit here, and return how it would have ended as a process."""
    before, out, err = dict(os.environ), StringIO(), StringIO()
    os.environ.update(environment)
    code = 0
    try:
        with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
            try:
                main.main(args=list(words), prog_name="mlops-kit")
            except SystemExit as ending:
                code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
            except Exception:
                code = 1
                traceback.print_exc()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return subprocess.CompletedProcess(["mlops-kit", *words], code, out.getvalue(), err.getvalue())
