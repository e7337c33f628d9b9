"""A corpus of hostile model files: each is refused, and none runs what it carries.

- pickles in every coat: plain, compressed, joblib's, in the model's place, in an array's
- published ways around skops' audit: CVE-2024-37065, CVE-2025-54412, CVE-2025-54413,
  CVE-2025-54886, and the older kinds of node
- archives: bombs, entries twice, links, absolute paths, sizes that lie
- JSON with names twice, other types, too deep
- arrays that declare more than they have, hold objects, or send compiled code out of bounds
"""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import json
import lzma
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter, itemgetter, methodcaller
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
import skops.io
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from mlops_kit.models import artifacts, skops_file
from tests.failures import fails

ROWS = np.random.default_rng(0).normal(size=(80, 3))
LABELS = (ROWS[:, 0] > 0).astype(int)


class Marks:
    """Unpickling one makes a folder."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "what the file carried was run"


def refused(content: bytes, *facts: object) -> None:
    with fails("registry.untrusted", "v1", *facts):
        artifacts.load(content, "v1")


def archive(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as made:
        for name, inside in files.items():
            made.writestr(name, inside)
    return content.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        return {name: made.read(name) for name in made.namelist()}


def edited(model: Any, edit: Callable[[Any], Any]) -> bytes:
    """Return a model's file, with its schema edited in place."""
    files = unpacked(skops.io.dumps(model))
    schema = json.loads(files["schema.json"])
    edit(schema)
    return archive({**files, "schema.json": json.dumps(schema).encode()})


def linear() -> LogisticRegression:
    return LogisticRegression().fit(ROWS, LABELS)


def attributes(schema: Any) -> Any:
    return schema["content"]["content"]


def json_node(value: Any) -> dict[str, Any]:
    return {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": json.dumps(value),
        "is_json": True,
    }


def list_node(*values: Any, kind: str = "tuple") -> dict[str, Any]:
    loader = {"tuple": "TupleNode", "list": "ListNode"}[kind]
    return {"__class__": kind, "__module__": "builtins", "__loader__": loader, "content": [*values]}


def test_pickles_in_every_coat_are_refused(canary: Path) -> None:
    plain = pickle.dumps(Marks(canary))
    by_joblib = io.BytesIO()
    joblib.dump(Marks(canary), by_joblib)
    array = io.BytesIO()
    np.save(array, np.array([Marks(canary)], dtype=object), allow_pickle=True)
    coats = [gzip.compress, bz2.compress, lzma.compress, zlib.compress]
    contents = [plain, by_joblib.getvalue(), array.getvalue(), *(coat(plain) for coat in coats)]
    contents += [archive({"schema.json": each}) for each in contents]
    contents += [archive({"model.pkl": plain}), archive({"data.pkl": plain, "schema.json": b"{}"})]
    for content in contents:
        refused(content)
    refused(plain + skops.io.dumps(linear()), "before")


def test_a_pickle_in_the_place_of_an_array_is_refused(canary: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.array([Marks(canary)], dtype=object), allow_pickle=True)
    files = unpacked(skops.io.dumps(linear()))
    (name, *_) = (each for each in files if each.endswith(".npy"))
    for content in (pickle.dumps(Marks(canary)), array.getvalue()):
        refused(archive({**files, name: content}))


def test_files_beside_the_model_are_not_run(canary: Path, tmp_path: Path) -> None:
    (tmp_path / "artifact").mkdir()
    artifacts.dump(linear(), tmp_path / "artifact")
    files = artifacts.contents(tmp_path / "artifact")
    pickled = pickle.dumps(Marks(canary))
    for name in ("model.pkl", "python_model.pkl", "code/sitecustomize.py", "booster-0.txt"):
        artifacts.open_contents({**files, name: pickled}, "v1")
    with fails("registry.untrusted", "trusted.json"):
        artifacts.open_contents({**files, "trusted.json": pickled}, "v1")
    with fails("registry.untrusted", "table.json"):
        artifacts.open_contents({**files, "table.json": b'{"schema_version": 1}'}, "v1")


CALLABLES: dict[str, Callable[[Path], Any]] = {
    "a function": lambda path: os.mkdir,
    "a partial": lambda path: partial(os.mkdir, str(path)),
    "a method": lambda path: path.mkdir,
    "a caller of methods": lambda path: methodcaller("mkdir"),
    "a getter": lambda path: attrgetter("__class__.__base__"),
    "an item": lambda path: itemgetter(0),
    "evaluation": lambda path: eval,
}


@pytest.mark.parametrize("name", CALLABLES)
def test_a_callable_of_a_transformer_is_refused(name: str, canary: Path) -> None:
    model = FunctionTransformer(CALLABLES[name](canary))
    refused(skops.io.dumps(model))
    refused(skops.io.dumps(make_pipeline(model, linear())))


def test_an_operator_under_another_module_is_refused(canary: Path) -> None:
    """CVE-2025-54412: `call` of operator, behind the name of something harmless."""
    for module, name in [
        ("operator", "call"),
        ("builtins", "call"),
        ("sklearn.linear_model", "call"),
    ]:
        call = {
            "__class__": name,
            "__module__": module,
            "__loader__": "OperatorFuncNode",
            "attrs": list_node(
                {"__class__": "mkdir", "__module__": "os", "__loader__": "TypeNode"},
                json_node(str(canary)),
            ),
        }
        refused(edited(linear(), lambda schema, call=call: attributes(schema).update(C=call)))


def test_a_method_of_an_object_is_refused(canary: Path) -> None:
    """CVE-2025-54413: fields of an object by a dotted name."""
    for name in ("fit", "__class__.__init__.__globals__", "__reduce__"):
        method = {
            "__class__": "LogisticRegression",
            "__module__": "sklearn.linear_model._logistic",
            "__loader__": "MethodNode",
            "content": {
                "func": name,
                "obj": json.loads(unpacked(skops.io.dumps(linear()))["schema.json"]),
            },
        }
        refused(edited(linear(), lambda schema, m=method: attributes(schema).update(C=m)))


@pytest.mark.parametrize("protocol", [0, 1, -1, "0"])
def test_older_kinds_of_nodes_are_refused(protocol: Any, canary: Path) -> None:
    function = {
        "__class__": "ufunc",
        "__module__": "numpy",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "mkdir"},
    }

    def edit(schema: Any) -> None:
        schema["protocol"] = protocol
        attributes(schema)["C"] = function

    refused(edited(linear(), edit))


# The loaders call what they name: each with a type that is on the list as an object.
CALLING = ["ListNode", "SetNode", "ConstructorFromReduceNode", "NdArrayNode", "LossNode"]


@pytest.mark.parametrize("loader", [*CALLING, "PartialNode", "CachedNode", "NoNode", ""])
@pytest.mark.parametrize(
    "name",
    [
        "os.mkdir",
        "builtins.eval",
        "sklearn.utils._bunch.Bunch",
        "sklearn.metrics._ranking.roc_auc_score",
        "sklearn.linear_model._logistic.LogisticRegression",
    ],
)
def test_a_type_that_is_called_by_a_node_is_refused(loader: str, name: str, canary: Path) -> None:
    module, _, kind = name.rpartition(".")
    node = {
        "__class__": kind,
        "__module__": module,
        "__loader__": loader,
        "type": "json",
        "shape": list_node(json_node(1)),
        "content": [json_node(str(canary))],
        "__reduce__": {"args": list_node(json_node(str(canary)))},
    }
    if loader in ("ConstructorFromReduceNode", "LossNode"):
        node["content"] = list_node(json_node(str(canary)))  # type: ignore[assignment]
    refused(edited(linear(), lambda schema: attributes(schema).update(C=node)))


def test_keys_made_by_a_callable_are_refused(canary: Path) -> None:
    def edit(schema: Any) -> None:
        types = [{"__class__": "mkdir", "__module__": "os", "__loader__": "TypeNode"}]
        attributes(schema)["C"] = {
            "__class__": "dict",
            "__module__": "builtins",
            "__loader__": "DictNode",
            "key_types": list_node(*types, kind="list"),
            "content": {str(canary): json_node(1)},
        }

    refused(edited(linear(), edit), "mkdir")


def test_a_generator_of_another_kind_is_refused(canary: Path) -> None:
    model = linear()
    model.random_state = np.random.default_rng(0)
    skops_file.loads(skops.io.dumps(model), "v1")

    def edit(schema: Any) -> None:
        state = attributes(schema)["random_state"]["content"]["bit_generator"]["content"]
        state["bit_generator"] = json_node("seed")

    refused(edited(model, edit))


def test_archives_that_lie_are_refused(tmp_path: Path) -> None:
    content = skops.io.dumps(linear())
    files = unpacked(content)
    (name, *_) = (each for each in files if each.endswith(".npy"))
    bomb = archive({**files, name: bytes(300 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 2**20
    refused(bomb)
    twice = io.BytesIO(content)
    with zipfile.ZipFile(twice, "a") as made, pytest.warns(UserWarning, match="Duplicate"):
        made.writestr("schema.json", files["schema.json"])
    refused(twice.getvalue(), "twice")
    refused(archive({f"{number}": b"" for number in range(200_001)}), "too many")
    many = {**files, "large": bytes(2**20)}
    schema = json.loads(files["schema.json"])
    attributes(schema)["C"] = list_node(*[{"file": "large"}] * 5_000)
    refused(archive({**many, "schema.json": json.dumps(schema).encode()}), "too often")


@pytest.mark.parametrize("place", ["../../outside.npy", "/etc/passwd", "C:\\outside.npy"])
def test_paths_out_of_the_archive_are_not_followed(place: str) -> None:
    def edit(schema: Any) -> None:
        attributes(schema)["coef_"]["file"] = place

    refused(edited(linear(), edit))


def test_a_link_out_of_the_artifact_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    artifacts.dump(linear(), folder)
    (tmp_path / "secret").write_text("secret")
    (folder / "inside").symlink_to("model.skops")
    assert artifacts.contents(folder)["inside"] == artifacts.contents(folder)["model.skops"]
    for target in (tmp_path / "secret", tmp_path, Path("/dev/zero"), Path("gone")):
        (folder / "link").symlink_to(target)
        with fails("registry.untrusted", "link"):
            artifacts.contents(folder)
        (folder / "link").unlink()


def test_edited_json_is_refused() -> None:
    files = unpacked(skops.io.dumps(linear()))
    schema = files["schema.json"]
    twice = schema.replace(b'"__class__"', b'"__class__": "Ridge", "__class__"', 1)
    deep = b"[" * 200_000
    inner = schema.replace(
        b'"protocol"', b'"x": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b', "protocol"'
    )
    for content in (twice, deep, inner, schema[:-40], b"", b"null", b"[]", b"\xff\xfe"):
        refused(archive({**files, "schema.json": content}))
    for number in (b"NaN", b'"text"', b"{}"):
        refused(archive({**files, "schema.json": b'{"content": %s}' % number}))


def npy(shape: tuple[int, ...], dtype: str, data: bytes = b"") -> bytes:
    content = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(content, header)
    return content.getvalue() + data


ARRAYS = {
    "huge": npy((2**45,), "<f8"),
    "of many dimensions": npy((2**20, 2**20, 2**20), "<f8", bytes(8)),
    "longer than its data": npy((3,), "<f8", bytes(16)),
    "shorter than its data": npy((1,), "<f8", bytes(16)),
    "of objects": npy((1,), "|O", pickle.dumps(0)),
    "of a negative length": npy((-1,), "<f8", bytes(8)),
    "without a header": b"\x93NUMPY",
    "an archive": archive({"a.npy": npy((1,), "<f8", bytes(8))}),
    "empty": b"",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_is_not_what_it_says_is_refused(name: str) -> None:
    files = unpacked(skops.io.dumps(linear()))
    (place, *_) = (each for each in files if each.endswith(".npy"))
    refused(archive({**files, place: ARRAYS[name]}))


def test_a_sparse_matrix_with_places_outside_is_refused() -> None:
    model = linear()
    model.extra = scipy.sparse.random(4, 5, 0.5, "csr", random_state=0)
    skops_file.loads(skops.io.dumps(model), "v1")
    model.extra.indices[0] = 9_999
    refused(skops.io.dumps(model))
    model.extra = scipy.sparse.random(4, 5, 0.5, "coo", random_state=0)
    refused(skops.io.dumps(model))


def tree() -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=3, random_state=0).fit(ROWS, LABELS)


def with_nodes(model: Any, **fields: int) -> Any:
    """Return a model whose first tree's root has other fields."""
    made = copy.deepcopy(model)
    owner = made
    while not hasattr(owner, "tree_"):
        owner = np.ravel(owner.estimators_)[0]
    kind, arguments, state = owner.tree_.__reduce__()
    for field, value in fields.items():
        state["nodes"][field][0] = value
    changed = kind(*arguments)
    changed.__setstate__(state)
    owner.tree_ = changed
    return made


ROOTS: dict[str, dict[str, int]] = {
    "a feature outside": {"feature": 3},
    "a far feature": {"feature": 2**40},
    "a negative feature": {"feature": -1},
    "a child outside": {"left_child": 10**9},
    "a negative child": {"right_child": -7},
    "a cycle": {"left_child": 0},
    "two parents": {"left_child": 2, "right_child": 2},
}


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(
    "make",
    [
        tree,
        lambda: RandomForestClassifier(3, random_state=0).fit(ROWS, LABELS),
        lambda: GradientBoostingClassifier(n_estimators=3).fit(ROWS, LABELS),
    ],
    ids=["tree", "forest", "boosting"],
)
def test_a_tree_that_leaves_its_arrays_is_refused(make: Callable[[], Any], root: str) -> None:
    model = make()
    loaded = skops_file.loads(skops.io.dumps(model), "v1")
    assert loaded.predict_proba(ROWS).tobytes() == model.predict_proba(ROWS).tobytes()
    refused(skops.io.dumps(with_nodes(model, **ROOTS[root])))


def tree_node(schema: Any) -> Any:
    return attributes(schema)["tree_"]


TREES: dict[str, Callable[[Any], Any]] = {
    "more nodes": lambda s: tree_node(s)["content"]["content"].update(node_count=json_node(10**6)),
    "fewer features": lambda s: tree_node(s)["__reduce__"]["args"]["content"].__setitem__(
        0, json_node(1)
    ),
    "more features": lambda s: tree_node(s)["__reduce__"]["args"]["content"].__setitem__(
        0, json_node(10**6)
    ),
    "more outputs": lambda s: tree_node(s)["__reduce__"]["args"]["content"].__setitem__(
        2, json_node(10**6)
    ),
    "a text of features": lambda s: tree_node(s)["__reduce__"]["args"]["content"].__setitem__(
        0, json_node("3")
    ),
    "no values": lambda s: tree_node(s)["content"]["content"].pop("values"),
    "values of another array": lambda s: tree_node(s)["content"]["content"].update(
        values=attributes(s)["classes_"]
    ),
    "another type": lambda s: tree_node(s).update(__class__="mkdir", __module__="os"),
    "more features of its owner": lambda s: attributes(s).update(n_features_in_=json_node(50)),
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_of_other_sizes_is_refused(name: str) -> None:
    refused(edited(tree(), TREES[name]))


HISTOGRAMS: dict[str, Callable[[Any], Any]] = {
    "a feature outside": lambda m: m._predictors[0][0].nodes["feature_idx"].__setitem__(0, 3),
    "a child outside": lambda m: m._predictors[0][0].nodes["left"].__setitem__(0, 10**6),
    "a cycle": lambda m: m._predictors[0][0].nodes["right"].__setitem__(0, 0),
    "categories outside": lambda m: (
        m._predictors[0][0].nodes["is_categorical"].__setitem__(0, 1),
        m._predictors[0][0].nodes["bitset_idx"].__setitem__(0, 10**6),
    ),
    "more trees a stage": lambda m: m._predictors[0].append(m._predictors[0][0]),
    "fewer bins": lambda m: setattr(
        m._bin_mapper, "is_categorical_", m._bin_mapper.is_categorical_[:1]
    ),
}


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_a_histogram_tree_that_leaves_its_arrays_is_refused(name: str) -> None:
    model = HistGradientBoostingClassifier(max_iter=3).fit(ROWS, LABELS)
    skops_file.loads(skops.io.dumps(model), "v1")
    HISTOGRAMS[name](model)
    refused(skops.io.dumps(model))


def test_other_native_arrays_that_do_not_fit_are_refused() -> None:
    machine = SVC().fit(ROWS, LABELS)
    skops_file.loads(skops.io.dumps(machine), "v1")
    machine._n_support = machine._n_support + 1_000
    refused(skops.io.dumps(machine))
    spline = SplineTransformer().fit(ROWS)
    skops_file.loads(skops.io.dumps(spline), "v1")
    spline.bsplines_[0].c = spline.bsplines_[0].c[:1]
    refused(skops.io.dumps(spline))
    boosting = GradientBoostingClassifier(n_estimators=3).fit(ROWS, np.arange(80) % 3)
    boosting.n_trees_per_iteration_ = 1
    refused(skops.io.dumps(boosting))
    words = CountVectorizer().fit(["one two", "three"])
    skops_file.loads(skops.io.dumps(words), "v1")
    words.vocabulary_["one"] = 10**9
    refused(skops.io.dumps(words))
    encoder = OneHotEncoder(min_frequency=30).fit(ROWS.round())
    skops_file.loads(skops.io.dumps(encoder), "v1")
    encoder._n_features_outs = [1, 1, 1]
    refused(skops.io.dumps(encoder))
    centres = KMeans(2).fit(ROWS)
    centres.cluster_centers_ = centres.cluster_centers_[:, :1]
    refused(skops.io.dumps(centres))
    brute = KNeighborsClassifier(algorithm="brute").fit(ROWS, LABELS)
    skops_file.loads(skops.io.dumps(brute), "v1")
    brute._y = brute._y + 1_000_000
    refused(skops.io.dumps(brute))
    neighbours = KNeighborsClassifier(algorithm="kd_tree").fit(ROWS, LABELS)
    refused(skops.io.dumps(neighbours), "algorithm='brute'")
