"""A skops file becomes a model, if the kit vouches for each part of it.

skops rebuilds an object from a tree of nodes, each with a type's name. Its own audit asks for the
names alone. The kit also asks which kind of node builds a type, as some call what they name, and
looks into the arrays that compiled code walks unchecked.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from mlops_kit.errors import UntrustedModelError
from mlops_kit.models import tree_bounds
from mlops_kit.models.trusted_types import ADVICE, ALL, BUILT_BY, PARTIAL

MAX_FILE_BYTES = 512 * 2**20
MAX_UNPACKED_BYTES = 2 * 2**30
_MAX_ENTRIES = 200_000
_MAX_HEADER = 10_000
SCHEMA = "schema.json"


def dumps(model: Any, what: str) -> bytes:
    """Return a model as a skops file; raises UntrustedModelError for what skops can't store."""
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    try:
        content: bytes = skops.io.dumps(model)
    except (UnsupportedTypeException, TypeError, ValueError, AttributeError) as error:
        said = str(error).rstrip(".")
        raise UntrustedModelError(
            f"{what} can't be stored so that it loads without running code: {said}. Expected "
            "scikit-learn's own estimators, LightGBM's, XGBoost's or CatBoost's."
        ) from error
    return content


def loads(content: bytes, what: str, trusted: Collection[str] = ()) -> Any:
    """Return the model in a skops file.

    `trusted` are names of types and functions beyond the kit's own list. Raises
    UntrustedModelError for any other, and for a file that isn't sound.
    """
    from skops.io import _audit, _utils

    names = sorted({*ALL, *trusted})
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_archive(archive, what)
            schema, context = _utils.read_schema(archive)
            tree = _audit.get_tree(schema, context, trusted=names)
        untrusted = tree.get_unsafe_set() - set(names)
        if untrusted:
            raise _untrusted(untrusted, what)
        for node in _nodes(tree):
            _check_node(node, trusted)
        model = tree.construct()
        for each in objects(model):
            tree_bounds.check_owner(each)
        return model
    except UntrustedModelError:
        raise
    except Exception as error:  # a tampered file may break anywhere in the reader
        raise UntrustedModelError(f"{what} is no sound skops file: {error!r:.500}.") from error


def types_in(content: bytes) -> set[str]:
    """Return the names of the types in a file that skops itself doesn't vouch for."""
    import skops.io

    return set(skops.io.get_untrusted_types(data=content))


def objects(model: Any) -> Iterator[Any]:
    """Yield a model and each object in it that has attributes, once."""
    waiting, seen = [model], {}
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        if isinstance(each, (list, tuple, set)):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, np.ndarray):
            waiting += each.ravel().tolist() if each.dtype == object else ()
        elif hasattr(each, "__dict__") and not isinstance(each, type):
            waiting += vars(each).values()
            yield each


def _check_archive(archive: zipfile.ZipFile, what: str) -> None:
    entries = archive.infolist()
    if not entries or min(entry.header_offset for entry in entries) != 0:
        raise ValueError("something is there before the archive")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES:
        raise UntrustedModelError(
            f"{what} unpacks to {unpacked} bytes; the limit is {MAX_UNPACKED_BYTES}."
        )
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names) or len(names) > _MAX_ENTRIES:
        raise ValueError("an entry is there twice, or there are too many")
    schema = json.loads(archive.read(SCHEMA), object_pairs_hook=_once)
    sizes = {entry.filename: entry.file_size for entry in entries}
    # One entry may be read by many nodes.
    if sum(sizes.get(name, 0) for name in _files(schema)) > 2 * MAX_UNPACKED_BYTES:
        raise ValueError("its entries are read too often")


def _files(schema: Any) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
            if isinstance(each.get("file"), str):
                yield each["file"]
        elif isinstance(each, list):
            waiting += each


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _untrusted(names: Collection[str], what: str) -> UntrustedModelError:
    advice = [ADVICE[name] for name in sorted(names) if name in ADVICE]
    expected = advice or [
        "Expected scikit-learn's own estimators, or the project's own types by name in "
        "[models.NAME] trusted."
    ]
    return UntrustedModelError(
        f"{what} holds {sorted(names)}, which the kit doesn't vouch for. {' '.join(expected)}"
    )


def _nodes(tree: Any) -> Iterator[Any]:
    """Yield each node once; skops refers to one in several places."""
    waiting, seen = [tree], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not hasattr(node, "children"):
            continue
        seen.add(id(node))
        yield node
        for child in node.children.values():
            if isinstance(child, list):
                waiting += child
            elif isinstance(child, dict):
                waiting += child.values()
            else:
                waiting.append(child)


def _check_node(node: Any, trusted: Collection[str]) -> None:
    """Check that a type is built by the kind of node that skops builds it by, and its arrays."""
    kind = type(node).__name__
    name = f"{node.module_name}.{node.class_name}"
    # Older kinds of node audit less; the kit's own files never have them.
    if type(node).__module__.startswith("skops.io.old") or kind not in _ALLOWED:
        raise ValueError(f"{name} is built by a {kind}")
    by_project = name in trusted and kind in ("ObjectNode", "FunctionNode")
    if (name in ALL or name in trusted) and not (by_project or name in BUILT_BY.get(kind, ())):
        raise ValueError(f"{name} is built by a {kind}")
    if kind == "NdArrayNode" and node.type == "numpy":
        _check_array(node.children["content"])
    if kind == "SparseMatrixNode":
        _check_sparse(node)
    if kind == "PartialNode":
        function = node.children["func"]
        if f"{function.module_name}.{function.class_name}" != PARTIAL:
            raise ValueError(f"{function.class_name} is called with arguments")
    if kind == "TreeNode":
        parts = (node.children["args"], node.children["attrs"])
        for inner in (*_nodes(parts[0]), *_nodes(parts[1])):
            _check_node(inner, trusted)
        tree_bounds.check_sklearn_tree(*(part.construct() for part in parts))


def _check_sparse(node: Any) -> None:
    content = node.children["content"]
    with zipfile.ZipFile(content) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED_BYTES:
            raise ValueError("a sparse matrix is too large")
        for entry in archive.infolist():
            _check_array(io.BytesIO(archive.read(entry)))
    content.seek(0)
    matrix = node.construct()
    if matrix.format not in ("csr", "csc"):
        raise ValueError(f"a sparse matrix is in the form {matrix.format!r}")
    matrix.check_format(full_check=True)


def _check_array(content: io.BytesIO) -> None:
    """Check that an array's header declares as many bytes as follow, and no objects."""
    content.seek(0)
    version = np.lib.format.read_magic(content)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"an array is of the version {version}")
    shape, _, dtype = read[version](content, max_header_size=_MAX_HEADER)
    size = dtype.itemsize
    for length in shape:
        size *= length
    given = len(content.getbuffer()) - content.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or size != given:
        raise ValueError(f"an array of {shape} and {dtype} has other bytes")
    content.seek(0)


_ALLOWED = frozenset(
    {
        *("DictNode", "DefaultDictNode", "ListNode", "SetNode", "TupleNode", "SliceNode"),
        *("JsonNode", "BytesNode", "NdArrayNode", "MaskedArrayNode", "DTypeNode"),
        *("SparseMatrixNode", "RandomStateNode", "RandomGeneratorNode", "ObjectNode"),
        "PartialNode",
        *("ConstructorFromReduceNode", "FunctionNode", "TypeNode", "LossNode", "TreeNode"),
    }
)
