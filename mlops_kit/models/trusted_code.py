"""The code behind the project's own types and functions: found and hashed without running it."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from mlops_kit.errors import UntrustedModelError

# By the full name of a type or function: the digests of the modules that it may run.
TrustedCode = Mapping[str, Mapping[str, str]]

_INSTALLED = {
    Path(folder).resolve()
    for name, folder in sysconfig.get_paths().items()
    if name in ("purelib", "platlib", "stdlib", "platstdlib")
}
_NONE = "no digest"
# What this process took its modules from, as a file may change after its import.
_IMPORTED: dict[str, str] = {}


def modules_of(name: str) -> dict[str, str]:
    """Return the digests of the modules that a type or function by its full name may run.

    They are its own module, the packages around it, and what these import of the same package or,
    for a project's own folder, of the same folder. Modules are found by their imports' text and
    not imported. Raises UntrustedModelError for a name without a file of code.
    """
    importlib.invalidate_caches()
    module = name.rpartition(".")[0]
    home = _home(module)
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        each = waiting.pop()
        if each in found or not _is_near(each, module, home):
            continue
        spec = find_spec(each)
        content = _content(spec)
        if content is not None:
            found[each] = _digest(content)
            waiting += [*_around(each), *_imports(spec, content)]
    if module not in found:
        raise UntrustedModelError(
            f"{name!r} has no file of code to record; expected a type or function in a module "
            "that can be imported, not in a notebook."
        )
    return dict(sorted(found.items()))


def digests(code: TrustedCode) -> dict[str, str]:
    """Return one digest a name, over all of its modules, as a release gives it."""
    return {
        name: _digest(json.dumps(modules, sort_keys=True).encode())
        for name, modules in sorted(code.items())
    }


def check(code: TrustedCode, what: str) -> None:
    """Raise UntrustedModelError if an import would run other code than was registered.

    Nothing is imported for it. `what` names the model in the message.
    """
    importlib.invalidate_caches()
    expected: set[tuple[str, str]] = set()
    for name, modules in code.items():
        module = name.rpartition(".")[0]
        own = dict.fromkeys((*_around(module), module), _NONE)
        expected |= {*(own | dict(modules)).items()}
    for module, digest in sorted(expected):
        spec = find_spec(module)
        content = _content(spec)
        found = "nothing" if content is None else _digest(content)
        if found == digest or (content is None and digest == _NONE and spec is not None):
            _check_imported(module, found, what)
            continue
        where = spec.origin if spec is not None else "no folder of sys.path"
        raise UntrustedModelError(
            f"The model of {what} needs the module {module!r} with the digest {digest}; found "
            f"{found} in {where!r}. The code has changed since the model was registered. Restore "
            "the files of that revision, or train again by 'mlops-kit run' and promote the new "
            "version. To serve both at once, give the changed code another module's name.",
            code="registry.untrusted.code-changed",
        )


def _check_imported(module: str, found: str, what: str) -> None:
    if module not in sys.modules:
        _IMPORTED[module] = found
    elif _IMPORTED.setdefault(module, found) != found:
        raise UntrustedModelError(
            f"The model of {what} needs the module {module!r} with the digest {found}; this "
            f"process imported {_IMPORTED[module]} before the file changed. Restart it.",
            code="registry.untrusted.code-changed",
        )


def find_spec(module: str) -> ModuleSpec | None:
    """Return where an import would find a module, without importing the packages around it."""
    if module == "__main__":  # another one in each process
        return None
    loaded = sys.modules.get(module)
    if loaded is not None and getattr(loaded, "__spec__", None) is not None:
        return loaded.__spec__
    path: list[str] | None = None
    parent, _, child = module.rpartition(".")
    if parent:
        above = find_spec(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        path = [*above.submodule_search_locations]
    for finder in sys.meta_path:
        try:
            found: ModuleSpec | None = finder.find_spec(module, path)
        except KeyError:  # of folders without __init__.py inside one another
            return _folders(module, [str(Path(each) / child) for each in path or ()])
        if found is not None:
            return found
    return None


def _folders(module: str, paths: list[str]) -> ModuleSpec | None:
    spec = ModuleSpec(module, None, is_package=True)
    spec.submodule_search_locations = [each for each in paths if Path(each).is_dir()]
    return spec if spec.submodule_search_locations else None


def _content(spec: ModuleSpec | None) -> bytes | None:
    """Return the file that an import would read; None for what has none."""
    if spec is None or not spec.has_location or not spec.origin:
        return None
    loader: Any = spec.loader
    try:
        read = getattr(loader, "get_data", None)
        content = read(spec.origin) if read else Path(spec.origin).read_bytes()
    except OSError:
        return None
    return bytes(content)


def _home(module: str) -> Path | None:
    """Return the folder that a module is imported from; None for an installed library's."""
    spec = find_spec(module.partition(".")[0])
    if spec is None or not spec.origin or not spec.has_location:
        return None
    file = Path(spec.origin).resolve()
    home = file.parent.parent if spec.submodule_search_locations is not None else file.parent
    return None if home in _INSTALLED else home


def _is_near(module: str, of: str, home: Path | None) -> bool:
    """Tell whether a module is of the same package, or of the same folder of a project."""
    top = module.partition(".")[0]
    return top == of.partition(".")[0] or (home is not None and _home(top) == home)


def _around(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _imports(spec: ModuleSpec | None, content: bytes) -> Iterator[str]:
    """Yield the modules that a module's text may import."""
    if spec is None or not str(spec.origin).endswith(".py"):
        return
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, spec)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _base(node: ast.ImportFrom, spec: ModuleSpec) -> str:
    if not node.level:
        return node.module or ""
    is_package = spec.submodule_search_locations is not None
    package = spec.name if is_package else spec.name.rpartition(".")[0]
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
