"""One test a pitfall of forking a kernel that has everything imported."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from mlops_kit.kernels import provisioner, zygote_client

PRELOAD_FILE = Path(provisioner.__file__).with_name("preload.py")


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    own = str(tmp_path_factory.mktemp("ipython"))
    own_choice = ("PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS")
    kept = {n: v for n, v in os.environ.items() if n not in own_choice}
    return {**kept, "IPYTHONDIR": own}


@pytest.fixture(scope="module")
def zygote(environ: dict[str, str]) -> Iterator[provisioner.Zygote]:
    modules = ["threadpoolctl", "numpy.random", "scipy.linalg", "nbformat", "sklearn.utils"]
    with provisioner.Zygote.start(modules, environ=environ) as started:
        started.wait()
        yield started


@pytest.fixture
def warm(zygote: provisioner.Zygote, environ: dict[str, str]) -> Callable[..., Any]:
    return lambda **kw: provisioner.manager(**{"zygote": zygote, "env": environ, **kw})


def run(source: str, manager: provisioner.WarmKernelManager, *, is_warm: bool = True) -> Any:
    """Run one cell; return the value that it prints as JSON."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    with manager:
        nbclient.NotebookClient(notebook, km=manager).execute()
    assert (manager.cold_reason == "") is is_warm, manager.cold_reason
    outputs = notebook.cells[0].outputs
    assert [output.output_type for output in outputs] == ["stream"], outputs
    return json.loads(outputs[0].text)


def customized(environ: dict[str, str], folder: Path, source: str) -> dict[str, str]:
    """An environment whose zygotes run `source` before they import anything."""
    guarded = "import sys\nif any('zygote.py' in a for a in sys.orig_argv):\n"
    indented = "".join(f"    {line}\n" for line in source.splitlines())
    (folder / "sitecustomize.py").write_text(guarded + indented)
    return {**environ, "PYTHONPATH": str(folder)}


def python(source: str, **environ: str) -> str:
    command = [sys.executable, "-c", source]
    env = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def test_an_openmp_region_before_the_fork_does_not_hang_the_kernel(
    environ: dict[str, str], tmp_path: Path
) -> None:
    fit = (
        "import numpy as np\n"
        "from sklearn.ensemble import HistGradientBoostingClassifier\n"
        "x = np.arange(500.0).reshape(-1, 1)\n"
        "HistGradientBoostingClassifier(max_iter=5).fit(x, x[:, 0] > 9)"
    )
    env = customized(environ, tmp_path, fit)
    with provisioner.Zygote.start(["threadpoolctl"], environ=env) as fitted:
        source = f"{fit}\nprint(1)"
        assert run(source, provisioner.manager(zygote=fitted, env=env, threads=2)) == 1


def test_a_zygote_with_a_thread_refuses_to_fork(environ: dict[str, str], tmp_path: Path) -> None:
    thread = (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=[60], daemon=True).start()"
    )
    env = customized(environ, tmp_path, thread)
    with provisioner.Zygote.start([], environ=env) as threaded:
        manager = provisioner.manager(zygote=threaded, env=env)
        assert run("print(1)", manager, is_warm=False) == 1
        assert "1 extra threads" in manager.cold_reason


def test_a_zygote_with_a_connection_refuses_to_fork(
    environ: dict[str, str], tmp_path: Path
) -> None:
    env = customized(environ, tmp_path, "import socket\nkept = socket.socketpair()")
    with provisioner.Zygote.start([], environ=env) as connected:
        manager = provisioner.manager(zygote=connected, env=env)
        assert run("print(1)", manager, is_warm=False) == 1
        assert manager.cold_reason == "imports opened 2 connections"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a core alone imports first")
def test_a_kernel_that_is_asked_for_early_is_forked_from_what_is_there(
    environ: dict[str, str],
) -> None:
    source = "import gc, sys, json; print(json.dumps(['plotly.io' in sys.modules, gc.isenabled()]))"
    with provisioner.Zygote.start(environ=environ) as started:
        early = provisioner.manager(zygote=started, env=environ)
        assert run(source, early) == [False, True]
        assert started.wait()[1] == {}
        late = provisioner.manager(zygote=started, env=environ)
        assert run(source, late) == [True, True]


@pytest.mark.parametrize("threads", [1, 2, None])
def test_a_kernel_has_its_share_of_threads(threads: int | None, warm: Any) -> None:
    source = (
        "import json, os, sklearn.utils, scipy.linalg, threadpoolctl\n"
        "pools = [p['num_threads'] for p in threadpoolctl.threadpool_info()]\n"
        "print(json.dumps([pools, os.environ.get('OMP_NUM_THREADS')]))"
    )
    pools, variable = run(source, warm(threads=threads))
    assert set(pools) == {threads or len(os.sched_getaffinity(0))}
    assert variable == (None if threads is None else str(threads))
    assert len(pools) > 1


def test_plots_show_although_the_backend_was_imported_before_the_shell(
    environ: dict[str, str],
) -> None:
    with provisioner.Zygote.start(["matplotlib_inline.backend_inline"], environ=environ) as inline:
        notebook = nbformat.v4.new_notebook()
        for source in ("import matplotlib.pyplot as plt", "plt.plot([1, 2]);"):
            notebook.cells.append(nbformat.v4.new_code_cell(source))
        with provisioner.manager(zygote=inline, env=environ) as manager:
            nbclient.NotebookClient(notebook, km=manager).execute()
            assert manager.cold_reason == ""
        assert notebook.cells[0].outputs == []
        assert [output.output_type for output in notebook.cells[1].outputs] == ["display_data"]
        assert "image/png" in notebook.cells[1].outputs[0].data


def test_a_stream_that_was_kept_at_import_follows_to_the_notebook(tmp_path: Path) -> None:
    (tmp_path / "keeper.py").write_text("import logging\nhandler = logging.StreamHandler()\n")
    script = f"""
import importlib.util, io, sys
spec = importlib.util.spec_from_file_location("preload", {str(PRELOAD_FILE)!r})
preload = importlib.util.module_from_spec(spec); spec.loader.exec_module(preload)
with preload.as_in_a_kernel(preload.ShellToCome()):
    import keeper
sys.stderr = io.StringIO()
keeper.handler.stream.write("kept"); keeper.handler.stream.flush()
print(sys.stderr.getvalue(), "get_ipython" in dir(__builtins__))
"""
    assert python(script, PYTHONPATH=str(tmp_path)) == "kept False\n"


def test_forks_of_one_zygote_draw_different_numbers_but_hash_alike(warm: Any) -> None:
    source = (
        "import json, random, uuid, secrets, numpy as np\n"
        "print(json.dumps([hash('a'), np.random.rand(), random.random(), str(uuid.uuid4()),"
        " secrets.token_hex(), np.random.default_rng().random()]))"
    )
    first, second = (run(source, warm()) for _ in range(2))
    assert first[0] == second[0]
    assert all(one != other for one, other in zip(first[1:], second[1:], strict=True))


def test_only_what_was_asked_for_is_loaded(warm: Any) -> None:
    source = (
        "import sys, json\n"
        "names = ('mlflow', 'plotly', 'mlops_kit', 'preload')\n"
        "print(json.dumps([name in sys.modules for name in names]))"
    )
    assert run(source, warm()) == [False] * 4


def test_local_and_editable_code_is_never_preloaded(
    environ: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    module = tmp_path / "ours.py"
    module.write_text("value = 1")
    env = {**environ, "PYTHONPATH": str(tmp_path)}
    modules = ["ours", "mlops_kit", "no_such_module", "colorsys", "antigravity.nothing"]
    with provisioner.Zygote.start(modules, environ=env) as started:
        skipped = started.wait()[1]
        assert "stale" in skipped["ours"]
        assert "stale" in skipped["mlops_kit"]
        assert "No module named 'no_such_module'" in skipped["no_such_module"]
        assert "colorsys" not in skipped
        for value in (1, 22):
            module.write_text(f"value = {value}")
            manager = provisioner.manager(zygote=started, env=env)
            assert run("import ours; print(ours.value)", manager) == value
        said = [r.args[0] for r in caplog.records if r.name == zygote_client.__name__ and r.args]
        assert said == sorted(skipped, key=modules.index), "each once, however many kernels"


def test_each_kernel_has_short_socket_paths_of_its_own_in_a_private_folder(
    environ: dict[str, str], tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 40)
    deep.mkdir(parents=True)
    source = """
import asyncio, json, os, stat, sys
from mlops_kit.kernels import provisioner
async def main():
    managers = [provisioner.manager(zygote=None) for _ in range(2)]
    await asyncio.gather(*(m.start_kernel() for m in managers))
    modes = [stat.S_IMODE(os.stat(os.path.dirname(m.ip)).st_mode) for m in managers]
    print(json.dumps([[m.ip for m in managers], modes]))
    await asyncio.gather(*(m.shutdown_kernel(now=True) for m in managers))
asyncio.run(main())
"""
    paths, modes = json.loads(python(source, TMPDIR=str(deep)))
    assert len(set(paths)) == 2
    assert [mode & 0o777 for mode in modes] == [0o700, 0o700]
    for path in paths:
        assert len(f"{path}-5") <= 107
        assert not Path(path).parent.exists()


def test_the_grammar_that_takes_a_second_is_built_only_when_it_is_used(warm: Any) -> None:
    pytest.importorskip("rfc3987_syntax", reason="comes with JupyterLab")
    source = (
        "import sys, json, nbformat, jsonschema, skops.io\n"
        "before = 'lark' in sys.modules\n"
        "check = jsonschema.FormatChecker().conforms\n"
        "results = [check('http://a/\\u00e9', 'iri'), check('no iri', 'iri')]\n"
        "import rfc3987_syntax\n"
        "results.append(hasattr(rfc3987_syntax, 'is_valid_syntax_iri'))\n"
        "print(json.dumps([before, *results, 'lark' in sys.modules]))"
    )
    before, good, bad, _, after = run(source, warm())
    assert (before, good, bad, after) == (False, True, False, True)


def test_what_is_registered_for_the_exit_runs_each_time_and_soon(warm: Any, tmp_path: Path) -> None:
    for number in range(5):
        source = (
            "import atexit, pathlib, threading, time\n"
            f"atexit.register(pathlib.Path('{number}').touch)\n"
            "late = lambda: (time.sleep(0.05), pathlib.Path('late').touch())\n"
            "threading.Thread(target=late).start()\n"
            "print(1)"
        )
        run(source, warm(cwd=tmp_path))
        # In ipykernel's race the kernel is ended after 2.5 s, and the files are missing.
        assert (tmp_path / str(number)).exists()
        assert (tmp_path / "late").exists()


def test_workers_of_joblib_do_not_delay_the_end(warm: Any, tmp_path: Path) -> None:
    source = (
        "import atexit, pathlib, time, joblib\n"
        "joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-n) for n in range(4))\n"
        "atexit.register(pathlib.Path('ran').touch)\n"
        "print(time.time())"
    )
    used = run(source, warm(cwd=tmp_path))
    assert time.time() - used < 2
    assert (tmp_path / "ran").exists()


def test_an_idle_kernel_is_not_interrupted_when_it_is_told_to_stop(
    warm: Any, tmp_path: Path
) -> None:
    source = (
        "import pathlib, signal\n"
        "signal.signal(signal.SIGINT, lambda *_: pathlib.Path('interrupted').touch())\n"
        "print(1)"
    )
    manager = warm(cwd=tmp_path)
    run(source, manager)
    assert not (tmp_path / "interrupted").exists()
    assert str(manager.death) == "ended with exit code 0"


def test_a_busy_kernel_is_interrupted_and_still_ends_in_order(warm: Any, tmp_path: Path) -> None:
    async def main() -> None:
        manager = warm(cwd=tmp_path)
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=10)
        client.execute(
            "import atexit, pathlib, time\n"
            "atexit.register(pathlib.Path('ran').touch)\n"
            "pathlib.Path('started').touch()\ntime.sleep(30)"
        )
        while not (tmp_path / "started").exists():
            await asyncio.sleep(0.02)
        start = time.monotonic()
        await manager.shutdown_kernel()
        assert time.monotonic() - start < 20
        client.stop_channels()

    asyncio.run(main())
    assert (tmp_path / "ran").exists()


def test_a_kernel_sees_its_own_environment_not_the_zygotes(
    warm: Any, environ: dict[str, str], tmp_path: Path
) -> None:
    source = (
        "import json, os, tempfile, time\n"
        "print(json.dumps([os.environ.get('MINE'), tempfile.gettempdir(), time.tzname[0],"
        " os.getcwd(), os.environ.get('PYDEVD_DISABLE_FILE_VALIDATION')]))"
    )
    env = {**environ, "MINE": "1", "TMPDIR": str(tmp_path), "TZ": "Asia/Tokyo"}
    seen = run(source, warm(env=env, cwd=tmp_path))
    assert seen == ["1", str(tmp_path), "JST", str(tmp_path), None]
    assert run(source, warm())[0] is None


def test_a_matplotlibrc_beside_the_notebook_is_read(warm: Any, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 7")
    manager = warm(cwd=tmp_path)
    source = "import matplotlib; print(matplotlib.rcParams['lines.linewidth'])"
    assert run(source, manager, is_warm=False) == 7.0
    assert "matplotlibrc" in manager.cold_reason


def test_a_folder_that_is_not_there_is_the_error_that_popen_gives(
    warm: Any, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run("print(1)", warm(cwd=tmp_path / "nowhere"))


def test_a_kernel_can_be_killed_from_another_thread(warm: Any) -> None:
    manager = warm()
    threading.Timer(1.0, manager.kill).start()
    with pytest.raises(nbclient.exceptions.DeadKernelError):
        run("import time; time.sleep(30)", manager)
    assert manager.death.signal == signal.SIGKILL
