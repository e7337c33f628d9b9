"""Every fault has its place in one tree, and what is raised beside it has a reason."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_kit import errors

PACKAGE = Path(__file__).parents[2] / "mlops_kit"
TREE = {name: each for name, each in vars(errors).items() if inspect.isclass(each)}
TREE = {name: each for name, each in TREE.items() if issubclass(each, errors.KitError)}

# Signals inside the package, which never reach a user.
INNER = {
    "CannotForkError": "the answer of the zygote, on which a cold kernel starts",
    "LocalError": "a broken cache of the GitOps repository, on which it is made anew",
    "Stopped": "a signal that ends the command, as Ctrl-C does",
    "TensorValueError": "a value off its datatype, said again as a RequestError with its column",
    "NotebookFormatError": "what nbformat found, said again as a NotebookError",
}
# Exceptions that Python or a library gives a meaning of their own, by module.
BUILTINS = {
    "__init__.py": {"AttributeError": "the protocol of a module's __getattr__"},
    "jupyter/forms.py": {
        "TimeoutError": "as waiting for a thread says it, to who gave the seconds"
    },
    "jupyter/live_view.py": {
        "TimeoutError": "as waiting for a thread says it, to who gave the seconds",
        "self._error": "what the run itself raised",
    },
    "models/costs.py": {"ValueError": "pydantic's protocol, as of the gates"},
    "models/booster_estimators.py": {
        "NotImplementedError": "scikit-learn asks for a fit(), which a loaded booster hasn't"
    },
    "models/booster_files.py": {"ValueError": "said again as an UntrustedModelError by boosters"},
    "models/boosters.py": {"ValueError": "said again as an UntrustedModelError by its callers"},
    "models/catboost_probe.py": {"ValueError": "ends the process, which its caller says"},
    "models/skops_file.py": {"ValueError": "said again as an UntrustedModelError by loads"},
    "models/tree_bounds.py": {"ValueError": "said again as an UntrustedModelError by skops_file"},
    "models/gates.py": {"ValueError": "pydantic's protocol: settings say it as a SettingsError"},
    "lint/yaml_documents.py": {"ValueError": "caught in the same module: it is a finding"},
    "kernels/provisioner.py": {
        "FileNotFoundError": "as a cold kernel's Popen, for a folder that isn't there",
    },
    "kernels/kernel_client.py": {
        "RuntimeError": "as jupyter_client's wait_for_ready, whose callers expect it",
    },
    "pipelines/papermill/engine.py": {
        "DeadKernelError": "nbclient's own, for a kernel that ended: said as a StepError above"
    },
    "pipelines/walk.py": {"KeyboardInterrupt": "a cancelled run ends as Ctrl-C ends it"},
    "pipelines/parameters.py": {"ValueError": "inside the reader of annotations, caught there"},
    "pipelines/values.py": {"ValueError": "a cached file that changed, so that the step runs"},
    "kernels/runtime_dir.py": {"PermissionError": "caught by its callers, which go on cold"},
    "kernels/preload.py": {
        "AttributeError": "the protocol of a module's __getattr__",
        "ModuleNotFoundError": "as import, for a module that isn't there",
    },
    "releases/dora.py": {"ValueError": "the command says it as a ParameterError"},
    "releases/release_yaml.py": {"yaml.YAMLError": "caught a line later, with PyYAML's own"},
    "releases/ledger.py": {"ValueError": "said again as a GitOpsError by gitops"},
    "examples/load.py": {"ValueError": "the command says it as a ParameterError"},
    "rollouts/power_analysis.py": {"ValueError": "the command says it as a ParameterError"},
    "lock.py": {"BlockingIOError": "each caller says who holds it, by an error of its own"},
    "rollouts/policy.py": {"ValueError": "pydantic's protocol: settings say it as a SettingsError"},
    "rollouts/sequential_tests.py": {"ValueError": "counts that can't be: a programmer's mistake"},
    "serving/fast_trees.py": {
        "ValueError": "caught by scoring, which takes scikit-learn's own way"
    },
    "serving/fast_linear.py": {
        "ValueError": "the same, and while serving as scikit-learn raises it"
    },
    "serving/fast_columns.py": {
        "ValueError": "the same",
        "LookupError": "caught by scoring, which takes the library's own way",
    },
    "serving/fast_ensembles.py": {"ValueError": "the same as of trees"},
    "serving/fast_fused.py": {"ValueError": "the same as of trees"},
    "serving/fast_lightgbm.py": {"ValueError": "the same as of trees"},
    "serving/fast_steps.py": {"ValueError": "the same as of trees"},
    "serving/fast_ways.py": {"ValueError": "the same as of linear models"},
    "serving/fast_xgboost.py": {"ValueError": "the same as of trees"},
    "serving/rows.py": {"ValueError": "a row of the log that its reader counts as unreadable"},
    "serving/model_loader.py": {
        "ValueError": "caught a line later, with the other faults of a file"
    },
    "serving/mlserver_runtime.py": {
        "MLServerError": "MLServer's protocol: REST and gRPC answer with its status",
    },
    "serving/options.py": {"ValueError": "pydantic's protocol, as of the rollout's policy"},
    "pytest_plugin.py": {"KeyError": "the protocol of a mapping"},
    "serving/predictor.py": {"ValueError": "as a model raises: the service counts and answers it"},
    "serving/fast_scores.py": {"ValueError": "caught in the same module, as of leaves"},
    "reporting/charts/charts.py": {"NotImplementedError": "a base class's method"},
    "reporting/charts/series.py": {
        "ValueError": "series of different lengths: a programmer's mistake"
    },
    "reporting/notebooks/git_safe.py": {
        "ValueError": "said again as a NotebookError, in the same module"
    },
    "releases/bare_repository.py": {
        "ValueError": "caught in the same module: files that say nothing"
    },
    "project/rollouts.py": {"KeyboardInterrupt": "a cancelled watch ends as Ctrl-C ends it"},
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "template" not in path.parts:
            yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())


def drawn() -> dict[str, str]:
    """Return each class of the tree in the docstring with its parent there."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)( {2,}\S.*)?$", line)
        if found:
            depth, name = len(found[1]), found[2]
            above = [each for each in above if each[0] < depth]
            parents[name] = above[-1][1] if above else "Exception"
            above.append((depth, name))
    return parents


def raised(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what each `raise` names: a class, or a call or name in lower case."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            yield node.lineno, ast.unparse(what)


def makers(tree: ast.Module) -> set[str]:
    """Return the functions and the names that are or give one of the kit's errors."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and is_ours(node.returns):
            found.add(node.name)
        if isinstance(node, ast.AnnAssign) and is_ours(node.annotation):
            found.add(ast.unparse(node.target).rpartition(".")[2])
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=made)):
                if ast.unparse(made) in TREE:
                    found.add(name)
    return found


def kept(tree: ast.Module) -> set[str]:
    """Return the names that keep whichever exception another thread has caught."""
    return {
        ast.unparse(node.target).rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and ast.unparse(node.annotation) == "BaseException | None"
    }


def is_ours(annotation: ast.expr | None) -> bool:
    names = re.findall(r"\w+", ast.unparse(annotation)) if annotation else []
    return bool({*TREE, *INNER} & set(names))


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert drawn() == {name: each.__base__.__name__ for name, each in TREE.items() if each.__base__}


def test_the_tree_in_the_docstring_is_read_with_its_depth() -> None:
    assert drawn()["KitError"] == "Exception"
    assert drawn()["UntrustedModelError"] == "RegistryError"
    assert len(drawn()) > 20


@pytest.mark.parametrize("each", TREE.values(), ids=lambda each: each.__name__)
def test_every_error_says_what_it_is_for(each: type[errors.KitError]) -> None:
    assert each.__doc__
    assert each.exit_code > 0


def test_what_is_raised_is_a_fault_of_the_kit_or_has_a_reason() -> None:
    unexplained = [
        (module, line, name)
        for module, tree in modules()
        for line, name in raised(tree)
        if name.rpartition(".")[2] not in {*TREE, *INNER}
        and name not in BUILTINS.get(module, {})
        and not is_again(name, tree)
    ]
    assert unexplained == []


def is_again(name: str, tree: ast.Module) -> bool:
    """Whether a name in lower case is a caught error, or what gives one of the kit's."""
    # `type(error)(...)` says the same fault with more words.
    last = name.removeprefix("type(").removesuffix(")").rpartition(".")[2]
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}
    known = caught | kept(tree) | makers(tree)
    # A class with __call__, as `fault(...)` is, gives what its __call__ returns.
    return last in known or (last.islower() and "__call__" in known)


def test_every_reason_is_still_needed() -> None:
    found = {module: {name for _, name in raised(tree)} for module, tree in modules()}
    stale = [
        (module, name)
        for module, names in BUILTINS.items()
        for name in names
        if name not in found.get(module, set())
    ]
    assert stale == []


def test_no_module_makes_a_tree_of_its_own() -> None:
    made = {
        node.name
        for module, tree in modules()
        if module != "errors.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        if any(
            ast.unparse(base).endswith(("Error", "Exception", "Interrupt")) for base in node.bases
        )
    }
    assert made == set(INNER)


def test_nothing_is_caught_without_a_name_for_it() -> None:
    bare = [
        (module, node.lineno)
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert bare == []


def test_an_unexplained_exception_is_seen() -> None:
    tree = ast.parse("def f():\n    raise LookupError('x')\n")
    assert list(raised(tree)) == [(2, "LookupError")]
    assert not is_again("LookupError", tree)
    assert is_again("error", ast.parse("try:\n    f()\nexcept E as error:\n    raise error"))
    assert is_again("_no", ast.parse("def _no() -> ReleaseError: ...\nraise _no()"))
    assert not is_again("_no", ast.parse("def _no() -> LookupError: ...\nraise _no()"))
    assert is_again("self.fault", ast.parse("self.fault: BaseException | None = None"))
    assert is_again("too_large", ast.parse("too_large = RequestError('x')\nraise too_large"))
    assert not is_again("late", ast.parse("late = TimeoutError('x')\nraise late"))


def test_each_fault_has_a_stable_code_below_that_of_its_kind() -> None:
    codes = [kind.code for kind in TREE.values()]
    assert len(set(codes)) == len(codes)
    for kind in TREE.values():
        parent = kind.__mro__[1]
        if parent is not errors.KitError and issubclass(parent, errors.KitError):
            assert kind.code.startswith(f"{parent.code}."), kind
