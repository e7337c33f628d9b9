from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import papermill.exceptions
import psutil
import pytest
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from mlops_kit.kernels import provisioner, shared_zygote
from tests.failures import fails

ALLOWED = {"tags": ["raises-exception"]}
# What a notebook may look at and a kernel could get wrong, one question a cell.
FIDELITY: list[str | tuple[str, dict[str, Any]]] = [
    "import os, sys, time, random, logging, warnings\nimport numpy as np\nimport pandas as pd\n"
    "import pandera.pandas  # which adds to the environment",
    "np.random.seed(7); random.seed(7)\nnp.random.rand(3), random.random()",
    "os.getcwd(), sys.path[0], sys.argv[0], sys.argv[1], __name__, sys.flags",
    "os.environ['COLOUR'], time.tzname, time.strftime('%H', time.gmtime(0)), time.localtime(0)",
    "print(os.getpgrp() == os.getpid(), oct(os.umask(0o22)), sys.stdin.read())",
    "import signal, threading\nsignal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGCHLD), "
    "threading.current_thread() is threading.main_thread(), threading.active_count()",
    "type(get_ipython()).__name__, type(get_ipython().kernel).__name__, len(In)",
    "from tqdm.auto import tqdm\ntqdm.__module__",
    "import matplotlib, matplotlib.pyplot as plt\nplt.plot([1, 3, 2]);",
    "matplotlib.get_backend(), plt.isinteractive(), get_ipython().events.callbacks.keys()",
    "import plotly.express as px, plotly.io as pio\nprint(pio.renderers.default)\n"
    "px.scatter(x=[1, 2], y=[3, 4])",
    "logging.basicConfig(); logging.getLogger('mine').warning('to the notebook')",
    "warnings.warn('a warning')",
    "(np.ones((300, 300)) @ np.ones((300, 300))).sum()",
    "from sklearn.ensemble import HistGradientBoostingClassifier\n"
    "x = np.arange(400.0).reshape(-1, 1)\n"
    "HistGradientBoostingClassifier(max_iter=5).fit(x, x[:, 0] > 200).predict(x).sum()",
    "from threadpoolctl import threadpool_info\n"
    "sorted((p['user_api'], p['internal_api'], p['num_threads']) for p in threadpool_info())",
    "from joblib import Parallel, delayed\nParallel(n_jobs=2)(delayed(abs)(-n) for n in range(4))",
    "import multiprocessing\n"
    "with multiprocessing.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, -2]))",
    "import asyncio\nawait asyncio.sleep(0, 'awaited')",
    "%env COLOUR",
    "%%bash\necho from bash; echo $COLOUR",
    "!echo from a shell",
    "{name: pd.get_option(name) for name in pd._config.config._registered_options}",
    "pd.DataFrame(np.arange(60).reshape(2, 30))",
    "from IPython.display import HTML, display\nh = display(HTML('<b>1</b>'), display_id='d')\n"
    "h.update(HTML('<b>2</b>'))",
    "import pickle\nclass Mine: pass\ntype(pickle.loads(pickle.dumps(Mine()))) is Mine",
    "import cloudpickle\ncloudpickle.loads(cloudpickle.dumps(lambda: len(In)))()",
    "import uuid, tempfile\nuuid.uuid4().version, tempfile.gettempdir()",
    "print(*sorted(os.environ), sep='\\n')",
    ("1 / 0", ALLOWED),
    ("def broken(:", ALLOWED),
    ("input('?')", ALLOWED),
    "import atexit\natexit.register(lambda: open('at_exit.txt', 'w').write('ran'))\n"
    "left_open = open('left_open.txt', 'w'); left_open.write('flushed');",
]


def book(*cells: str | tuple[str, dict[str, Any]]) -> Any:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    for cell in cells:
        source, metadata = (cell, {}) if isinstance(cell, str) else cell
        notebook.cells.append(nbformat.v4.new_code_cell(source, metadata=metadata))
    return notebook


def run(notebook: Any, manager: provisioner.WarmKernelManager, **options: Any) -> list[Any]:
    """Execute; return each cell's outputs."""
    with manager:
        nbclient.NotebookClient(notebook, km=manager, **options).execute()
    return [cell.outputs for cell in notebook.cells]


def processes() -> set[int]:
    """The processes below this one."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def descriptors() -> int:
    gc.collect()  # what tests before this one left to it
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One for the module, whose HOME has matplotlib's fonts already."""
    own = str(tmp_path_factory.mktemp("ipython"))
    kept = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    # Read at import by its name, so that no other process's zygote is taken for this one's.
    return {**kept, "IPYTHONDIR": own, "COLOUR": "blue", "TZ": "Asia/Tokyo", "LC_OWN": own}


@pytest.fixture(scope="module")
def zygote(environ: dict[str, str]) -> provisioner.Zygote:
    """This process's own, as a kernel's name finds it; it ends with the process."""
    found = shared_zygote.nearest(environ)
    found.wait()
    return found


@pytest.fixture
def warm(zygote: provisioner.Zygote, environ: dict[str, str]) -> Callable[..., Any]:
    return lambda **kw: provisioner.manager(**{"zygote": zygote, "env": environ, **kw})


def masked(outputs: Any, folder: Path) -> Any:
    """Outputs without what differs from run to run: addresses, cells' files, pieces of a stream."""
    whole: list[Any] = []
    for output in outputs or []:
        if whole and output.get("name") and whole[-1].get("name") == output["name"]:
            whole[-1] = {**whole[-1], "text": whole[-1]["text"] + output["text"]}
        else:
            whole.append(output)
    text = json.dumps(whole).replace(str(folder), "<folder>")
    text = re.sub(r"0x[0-9a-f]{6,}", "<address>", text)
    text = re.sub(r"ipykernel_\d+/\d+", "<cell>", text)
    return json.loads(text)


def test_a_warm_notebook_equals_one_that_stock_papermill_ran(
    tmp_path: Path, warm: Any, environ: dict[str, str]
) -> None:
    results = {}
    for way in ("stock", "warm"):
        folder = tmp_path / way
        folder.mkdir()
        nbformat.write(book(*FIDELITY), folder / "in.ipynb")
        extra: dict[str, Any] = {}
        before = dict(os.environ), Path.cwd()
        try:
            os.environ.clear()
            os.environ.update(environ)
            time.tzset()
            os.chdir(folder)
            if way == "warm":
                extra["km"] = warm(cwd=folder)
            # papermill raises for an error output even where its cell may raise, once all has run.
            with pytest.raises(papermill.exceptions.PapermillExecutionError):
                papermill.execute_notebook(
                    "in.ipynb", "out.ipynb", kernel_name="python3", progress_bar=False, **extra
                )
            if way == "warm":
                assert extra["km"].cold_reason == ""
                extra["km"].stop()
        finally:
            os.chdir(before[1])
            os.environ.clear()
            os.environ.update(before[0])
            time.tzset()
        results[way] = nbformat.read(folder / "out.ipynb", 4)
    # Stock runs no exit handler once joblib has had workers.
    assert (tmp_path / "warm" / "at_exit.txt").read_text() == "ran"
    assert (tmp_path / "warm" / "left_open.txt").read_text() == "flushed"
    for stock, other in zip(results["stock"].cells, results["warm"].cells, strict=True):
        assert other.source == stock.source
        got, wanted = (
            masked(cell.get("outputs"), tmp_path / way)
            for cell, way in ((other, "warm"), (stock, "stock"))
        )
        assert got == wanted, stock.source
        assert other.get("execution_count") == stock.get("execution_count")
        assert other.metadata.keys() == stock.metadata.keys()
        if other.cell_type == "markdown":  # papermill's own, about the error
            continue
        assert other.metadata.papermill.keys() == stock.metadata.papermill.keys()
    assert results["warm"].metadata.language_info == results["stock"].metadata.language_info
    assert results["warm"].metadata.keys() == results["stock"].metadata.keys()


def test_nothing_that_the_kit_preloads_makes_a_fork_unsafe(
    zygote: provisioner.Zygote, warm: Any
) -> None:
    assert zygote.wait()[1] == {}
    manager = warm()
    source = "import sys; 'mlflow.store.tracking.sqlalchemy_store' in sys.modules"
    assert run(book(source), manager)[0][0]["data"] == {"text/plain": "True"}
    assert manager.cold_reason == ""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 / 0", CellExecutionError),
        ("import time; time.sleep(30)", CellTimeoutError),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", DeadKernelError),
        ("import ctypes; ctypes.string_at(0)", DeadKernelError),
    ],
)
def test_a_failure_is_the_exception_that_stock_gives(
    source: str, expected: type[Exception], warm: Any
) -> None:
    timeout = 1 if "sleep" in source else None
    with pytest.raises(expected) as cold:
        nbclient.NotebookClient(book(source), kernel_name="python3", timeout=timeout).execute()
    start = time.monotonic()
    with pytest.raises(expected) as warmly:
        run(book(source), warm(), timeout=timeout)
    assert time.monotonic() - start < 20  # far from the 30 s that a cell may sleep
    assert type(warmly.value) is type(cold.value)
    address = re.compile(r"ipykernel_\d+/\d+|0x[0-9a-f]+")
    assert address.sub("", str(warmly.value)) == address.sub("", str(cold.value))


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_dead_kernel_tells_how_it_died(is_warm: bool, warm: Any) -> None:
    manager = warm() if is_warm else warm(zygote=None)
    with pytest.raises(DeadKernelError):
        run(book("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), manager)
    assert manager.death.signal == signal.SIGKILL
    assert str(manager.death).startswith("killed by SIGKILL")


def test_a_death_is_called_out_of_memory_only_where_the_control_group_counted_one() -> None:
    def said(is_out: bool | None) -> str:
        return str(provisioner.Death(code=None, signal=9, out_of_memory=is_out))

    assert said(True) == "killed by SIGKILL, out of memory"
    assert said(None) == "killed by SIGKILL, likely out of memory"
    assert said(False) == "killed by SIGKILL"
    assert (
        str(provisioner.Death(code=3, signal=None, out_of_memory=None)) == "ended with exit code 3"
    )


def test_a_trivial_notebook_is_quicker_warm_than_cold(warm: Any) -> None:
    def seconds(**kw: Any) -> float:
        start = time.perf_counter()
        run(book("1 + 1"), warm(**kw))
        return time.perf_counter() - start

    # A ratio of the same run: seconds would be the machine's.
    assert min(seconds() for _ in range(4)) < min(seconds(zygote=None) for _ in range(2))


def test_many_kernels_two_at_once_neither_fail_nor_stall(warm: Any) -> None:
    def one(number: int) -> tuple[str, float]:
        start = time.perf_counter()
        outputs = run(book(f"{number} * 2"), warm())
        return outputs[0][0]["data"]["text/plain"], time.perf_counter() - start

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(one, range(24)))
    assert [text for text, _ in results] == [str(2 * number) for number in range(24)]
    assert max(seconds for _, seconds in results) < 10  # none waits for a thread that has gone


def test_nothing_is_left_behind(environ: dict[str, str]) -> None:
    def use() -> int:
        with provisioner.Zygote.start(["numpy.random"], environ=environ) as own:
            for given in (own, None):
                manager = provisioner.manager(zygote=given, env=environ)
                run(book("1"), manager)
                assert not Path(manager.ip).parent.exists()
        return descriptors()

    before = processes()
    opened = use()  # with what asyncio keeps for this thread
    assert use() == opened
    assert wait_until(lambda: processes() <= before)


DRIVER = """
import asyncio, os, sys
from mlops_kit.kernels import provisioner
async def main():
    zygote = provisioner.Zygote.start(["numpy.random"])
    manager = provisioner.manager(zygote=zygote)
    await manager.start_kernel()
    print(zygote.wait()[0], manager.provisioner.pid, manager.ip, flush=True)
    await asyncio.sleep(float(sys.argv[1]))
asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, None])
def test_the_zygote_and_its_kernel_end_with_the_driver(end: signal.Signals | None) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, "60" if end else "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert driver.stdout is not None
    zygote, kernel, address = driver.stdout.readline().split()
    assert is_running(int(kernel))
    if end:
        driver.send_signal(end)
    driver.wait()
    driver.stdout.close()
    assert wait_until(lambda: not is_running(int(kernel)), 1.0)
    assert wait_until(lambda: not is_running(int(zygote)), 1.5)
    assert wait_until(lambda: not Path(address).parent.exists())


def test_an_idle_zygote_is_found_by_another_process_and_ends_by_itself(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    folder = tmp_path / "run"

    def start() -> provisioner.Zygote:
        return provisioner.Zygote.start(["numpy.random"], idle=1.0, folder=folder, environ=environ)

    script = (
        "import os, pathlib, sys\n"
        "from mlops_kit.kernels import provisioner\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "z = provisioner.Zygote.start(['numpy.random'], idle=1.0, folder=folder)\n"
        "print(z.wait()[0])"
    )
    command = [sys.executable, "-c", script, str(folder)]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    ours = start()
    assert ours.wait()[0] == int(theirs.stdout)
    assert ours.path is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert ours.path.stat().st_mode & 0o777 == 0o600
    assert run(book("6 * 7"), provisioner.manager(zygote=ours, env=environ))[0][0]["data"] == {
        "text/plain": "42"
    }
    assert wait_until(lambda: not folder.exists(), 6.0)
    assert wait_until(lambda: not is_running(int(theirs.stdout)))
    assert start().wait()[0] != int(theirs.stdout)
    start().stop()
    assert wait_until(lambda: not folder.exists())


def test_somebody_elses_folder_is_not_trusted(
    tmp_path: Path, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    zygote = provisioner.Zygote.start(["numpy.random"], idle=1.0, folder=folder, environ=environ)
    manager = provisioner.manager(zygote=zygote, env=environ)
    run(book("1"), manager)
    assert str(folder) in manager.cold_reason
    assert not list(folder.iterdir())


def test_plain_papermill_uses_it_by_its_kernels_name(
    tmp_path: Path, zygote: provisioner.Zygote, environ: dict[str, str]
) -> None:
    os.environ.update(environ)
    source = "import os, sys; print('skops.io' in sys.modules, os.getppid())"
    nbformat.write(book(source), tmp_path / "in.ipynb")
    done = papermill.execute_notebook(
        tmp_path / "in.ipynb", tmp_path / "out.ipynb", kernel_name="mlops-kit", progress_bar=False
    )
    assert done.cells[0].outputs[0].text == f"True {zygote.wait()[0]}\n"


def cold(manager: Any, caplog: pytest.LogCaptureFixture) -> str:
    """Run a notebook; return why its kernel was cold, which has to have been said once."""
    caplog.clear()
    assert run(book("6 * 7"), manager)[0][0]["data"] == {"text/plain": "42"}
    said = [r.getMessage() for r in caplog.records if r.name == provisioner.__name__]
    assert said == [f"This kernel starts cold: {manager.cold_reason}."]
    return str(manager.cold_reason)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("MPLBACKEND", "agg"),
        ("PLOTLY_RENDERER", "json"),
        ("PYTHONHASHSEED", "1"),
        ("LD_LIBRARY_PATH", "/nowhere"),
        ("ARROW_DEFAULT_MEMORY_POOL", "system"),
    ],
)
def test_a_variable_that_is_read_at_import_is_honoured_by_a_cold_kernel(
    name: str, value: str, zygote: provisioner.Zygote, environ: dict[str, str]
) -> None:
    # Asked of the zygote itself: six cold kernels would show no more.
    with fails("kit", name):
        zygote.fork(["-f", "x"], env={**environ, name: value}, cwd=Path("/"), stdio=[0, 1, 2])


def test_a_fallback_is_said_once_with_its_reason(
    warm: Any, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    reason = cold(warm(env={**environ, "PYTHONHASHSEED": "1"}), caplog)
    assert "PYTHONHASHSEED" in reason
    caplog.clear()
    asked = warm(zygote=None)
    run(book("1"), asked)
    assert asked.cold_reason
    assert not caplog.records


def test_where_fork_is_not_safe_kernels_are_cold(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    zygote = provisioner.Zygote.start(["numpy.random"], environ=environ, platform="darwin")
    assert not zygote.is_alive()
    reason = cold(provisioner.manager(zygote=zygote, env=environ), caplog)
    assert "'darwin'" in reason


def test_a_killed_zygote_is_started_again_once_and_then_no_more(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with provisioner.Zygote.start(["numpy.random"], environ=environ) as mortal:
        manager = provisioner.manager(zygote=mortal, env=environ)
        pid = mortal.wait()[0]
        threading.Timer(0.7, os.kill, (pid, signal.SIGKILL)).start()
        start = time.monotonic()
        with pytest.raises(DeadKernelError):
            run(book("import time; time.sleep(30)"), manager)
        assert time.monotonic() - start < 20
        again = provisioner.manager(zygote=mortal, env=environ)
        run(book("1"), again)
        assert again.cold_reason == ""
        assert mortal.wait()[0] != pid
        os.kill(mortal.wait()[0], signal.SIGKILL)
        reason = cold(provisioner.manager(zygote=mortal, env=environ), caplog)
        assert reason == mortal.cold_reason != ""


def test_a_kernel_can_be_interrupted_and_restarted(warm: Any) -> None:
    import asyncio

    async def answer(client: Any, source: str) -> dict[str, Any]:
        request = client.execute(source)
        while True:
            reply = await client.get_shell_msg(timeout=10)
            if reply["parent_header"].get("msg_id") == request:
                return dict(reply["content"])

    async def main() -> None:
        manager = warm()
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=10)
        asyncio.get_running_loop().call_later(
            0.3, lambda: asyncio.ensure_future(manager.interrupt_kernel())
        )
        reply = await answer(client, "import time; time.sleep(30)")
        assert reply["ename"] == "KeyboardInterrupt"
        await answer(client, "kept = 1")
        await manager.restart_kernel()
        await client.wait_for_ready(timeout=10)
        assert (await answer(client, "kept"))["ename"] == "NameError"
        assert manager.cold_reason == ""
        await manager._async_stop()

    asyncio.run(main())


def test_importing_the_handle_takes_no_heavy_library() -> None:
    script = "import sys, mlops_kit.kernels.zygote_client; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"jupyter_client", "zmq", "numpy", "IPython", "traitlets"}
    assert not heavy & set(out.stdout.split())
