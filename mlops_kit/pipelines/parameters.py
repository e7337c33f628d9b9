"""Read a notebook's typed parameters from the annotations in its parameters cell."""

from __future__ import annotations

import ast
import io
import json
import logging
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from types import GenericAlias, NoneType
from typing import TYPE_CHECKING, Any, Literal

from mlops_kit import notebook_file
from mlops_kit.errors import NotebookError, ParameterError
from mlops_kit.formatting import did_you_mean
from mlops_kit.pipelines import yaml_text
from mlops_kit.pipelines.definition import as_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

TAG = "parameters"
_LOG = logging.getLogger(__name__)
_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "dict": dict,
    "Path": Path,
    "Any": Any,
    "None": NoneType,
}


@dataclass(frozen=True)
class Parameter:
    """One assignment of the parameters cell; `help` is its trailing comment."""

    name: str
    annotation: str
    default: Any
    help: str

    @cached_property
    def type(self) -> Any:
        """The annotation as a type."""
        return _type_of(ast.parse(self.annotation, mode="eval").body)

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """The validator of values. Cached, because building it is slow."""
        import pydantic

        return pydantic.TypeAdapter(self.type, config=None)

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a Literal; otherwise empty."""
        return tuple(getattr(self.type, "__args__", ())) if "Literal" in self.annotation else ()


def signature(cells: list[dict[str, Any]], *, notebook: str) -> tuple[Parameter, ...]:
    """Return the parameters that a notebook declares; none without a parameters cell.

    A parameter without an annotation, as in papermill, takes its type from its default. Raises
    NotebookError unless each line of the cell is one assignment.
    """
    cell = next((c for c in cells if notebook_file.has_tag(c, TAG)), None)
    if cell is None:
        return ()
    source = notebook_file.source(cell)
    try:
        body = ast.parse(source).body
        comments = _comments(source)
    except (SyntaxError, tokenize.TokenError) as error:
        raise NotebookError(f"{notebook}: the parameters cell isn't Python: {error}.") from error
    body = [node for node in body if not _is_import(node)]
    untyped = tuple(name for node in body if (name := _untyped_name(node)))
    if untyped:
        _tell_untyped(notebook, untyped)
    return tuple(_parameter(node, comments, notebook) for node in body)


@cache
def _tell_untyped(notebook: str, names: tuple[str, ...]) -> None:
    _LOG.warning(
        "%s: no annotation for %s; taking each type from the default.",
        notebook,
        ", ".join(names),
    )


def _untyped_name(node: ast.stmt) -> str:
    """Return the name in papermill's plain `name = value`; otherwise empty."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def _typed_by_default(node: ast.stmt) -> ast.stmt:
    """Add to `name = value` the annotation that the value implies."""
    if not (isinstance(node, ast.Assign) and _untyped_name(node)):
        return node
    try:
        kind = type(ast.literal_eval(node.value)).__name__
    except (ValueError, TypeError):
        return node  # rejected later, like any line that isn't a parameter
    annotation = ast.Name(id=kind if kind in _TYPES else "Any", ctx=ast.Load())
    target = ast.Name(id=_untyped_name(node), ctx=ast.Store())
    made = ast.AnnAssign(target=target, annotation=annotation, value=node.value, simple=1)
    return ast.copy_location(made, node)


def typed(
    parameters: tuple[Parameter, ...], given: Mapping[str, object], *, notebook: str
) -> dict[str, Any]:
    """Convert values to the types of their annotations.

    Raises ParameterError for an unknown name or a value of the wrong type.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in given:
        if name not in known:
            raise ParameterError(
                f"{notebook} has no parameter {name!r}; it has {sorted(known)}."
                + did_you_mean(name, known),
                code="parameter.unknown",
            )
    return {name: convert(known[name], value, notebook=notebook) for name, value in given.items()}


def convert(parameter: Parameter, value: object, *, notebook: str) -> Any:
    """Convert one value to the type of its annotation; a path stays text.

    Raises ParameterError.
    """
    import pydantic

    candidates = [value]
    if isinstance(value, str) and _is_structured(parameter.type):
        # The second reading is for items that must stay text, as in list[str].
        candidates = [yaml_text.read(value), yaml_text.read_as_text(value)]
    # Text comes from a command line, a file or Argo, and is converted. Any other value must already
    # have the right type.
    strict = not isinstance(value, (str, list, dict))
    try:
        try:
            converted = parameter.adapter.validate_python(candidates[0], strict=strict)
        except pydantic.ValidationError:
            converted = parameter.adapter.validate_python(candidates[-1], strict=strict)
    except pydantic.ValidationError as error:
        reason = "; ".join(str(detail["msg"]) for detail in error.errors()[:3])
        raise ParameterError(
            f"{notebook}: parameter {parameter.name!r} is {_short(value)}; expected "
            f"{parameter.annotation}"
            + (f" ({parameter.help})" if parameter.help else "")
            + f". {reason}.",
            code="parameter.type",
        ) from error
    found = _plain(converted)
    _check_text(parameter, found, notebook)
    return found


def _check_text(parameter: Parameter, value: Any, notebook: str) -> None:
    """Reject text that UTF-8 can't encode, such as some file names: no notebook can hold it."""
    try:
        str(value).encode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ParameterError(
            f"{notebook}: parameter {parameter.name!r} is {_short(value)}, which isn't UTF-8.",
            code="parameter.undecodable",
        ) from error
    except (TypeError, ValueError):
        return


def text(value: Any) -> str:
    """Return a typed value as text that `convert` turns back into the same value."""
    if isinstance(value, (str, bool, int, float)):
        return as_text(value)
    return yaml_text.write(value)


def _plain(value: Any) -> Any:
    """Turn paths and YAML dates into text, nested ones too: JSON and papermill have neither."""
    if isinstance(value, (Path, date)):
        return str(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _parameter(node: ast.stmt, comments: Mapping[int, str], notebook: str) -> Parameter:
    node = _typed_by_default(node)
    match node:
        case ast.AnnAssign(
            target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value
        ):
            pass
        case _:
            raise NotebookError(
                f"{notebook}: line {node.lineno} of the parameters cell is {ast.unparse(node)!r}; "
                "expected one constant per line, as in 'rows: int = 1000  # rows to use'."
            )
    try:
        _type_of(annotation)
        default = ast.literal_eval(value)
    except (ValueError, TypeError) as error:
        raise NotebookError(
            f"{notebook}: parameter {name!r} is declared {ast.unparse(node)!r}; expected a type "
            f"from {sorted(_TYPES)} or Literal[…], and a constant as its default."
        ) from error
    parameter = Parameter(
        name, ast.unparse(annotation), default, comments.get(node.end_lineno or node.lineno, "")
    )
    try:
        convert(parameter, default, notebook=notebook)
    except ParameterError as error:
        # The default of a Path is written as text.
        if not (parameter.type is Path and isinstance(default, str)):
            raise NotebookError(f"The default doesn't match its annotation. {error}") from error
    return parameter


def _type_of(node: ast.expr) -> Any:
    """Return the type that an annotation names. Evaluates nothing but types."""
    match node:
        case ast.Name(id=name) if name in _TYPES:
            return _TYPES[name]
        case ast.Constant(value=None):
            return NoneType
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type_of(left) | _type_of(right)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _type_of(inner) | NoneType
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            value = ast.literal_eval(inner)
            return Literal[value]
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return GenericAlias(list, (_type_of(inner),))
        case ast.Subscript(
            value=ast.Name(id="dict"), slice=ast.Tuple(elts=[ast.expr() as key, ast.expr() as item])
        ):
            return GenericAlias(dict, (_type_of(key), _type_of(item)))
        case _:
            raise ValueError(ast.unparse(node))


def _is_structured(kind: Any) -> bool:
    """Return whether text for this type is YAML: a list, a mapping or an optional non-string."""
    members = getattr(kind, "__args__", ())
    origin = getattr(kind, "__origin__", kind)
    if origin in (list, dict):
        return True
    if origin is Literal:
        return not all(isinstance(member, str) for member in members)
    return bool(members) and str not in members and Path not in members


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def _is_import(node: ast.stmt) -> bool:
    # `from typing import Literal` may stand in the parameters cell.
    return isinstance(node, ast.ImportFrom) and node.module in {"typing", "pathlib"}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
