"""Write a commit's objects by plumbing commands, with an index of its own and no work tree."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlops_kit.releases import git_process
from mlops_kit.releases.snapshot import checked_path


def write(
    folder: Path,
    base: str | None,
    files: Mapping[str, bytes],
    deleted: Iterable[str],
    *,
    message: str,
    who: Mapping[str, str],
) -> str:
    """Write a commit that nothing names yet, and return its revision; raises LocalError.

    It is signed where the person's git settings say so (`commit.gpgSign`).

    Args:
        folder: a bare repository.
        base: the parent's revision; None for a first commit.
        files: their bytes, by path.
        deleted: the paths to delete.
        message: the commit's.
        who: git's variables for author and committer.
    """
    lines = [f"0 {'0' * 40}\t{checked_path(path)}\0" for path in sorted(deleted)]
    for path, content in sorted(files.items()):
        words = ("hash-object", "-w", "--stdin")
        blob = git_process.check(folder, *words, stdin=content).decode().strip()
        lines.append(f"100644 {blob}\t{checked_path(path)}\0")
    with tempfile.TemporaryDirectory(prefix="mlops-kit-") as scratch:
        env = {**who, "GIT_INDEX_FILE": str(Path(scratch, "index"))}

        def run(*words: str, stdin: str = "") -> str:
            data = stdin.encode(errors="replace")
            return git_process.check(folder, *words, stdin=data, env=env).decode().strip()

        run("read-tree", base or "--empty")
        run("update-index", "-z", "--add", "--index-info", stdin="".join(lines))
        tree = run("write-tree")
        # `git commit` reads this setting, `git commit-tree` doesn't.
        signs = run("config", "--type=bool", "--default=false", "commit.gpgSign") == "true"
        options = [*(["-p", base] if base else []), *(["-S"] if signs else [])]
        return run("commit-tree", tree, *options, "-F", "-", stdin=message)
