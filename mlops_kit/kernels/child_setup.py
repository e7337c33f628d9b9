"""Turn a fork of the zygote into a kernel.

Imports only the standard library and ipykernel: the zygote loads this file by its path.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

FLUSH_TIMEOUT_SECONDS = 5.0  # how long the control thread may take to end


def raise_threads(controller: Any, environ: Mapping[str, str]) -> None:
    """Set the threads that the environment names; by default one per core, as in a cold kernel."""
    cores = str(len(os.sched_getaffinity(0)))
    openmp = environ.get("OMP_NUM_THREADS", cores)
    wanted = {
        "openblas": environ.get("OPENBLAS_NUM_THREADS", openmp),
        "mkl": environ.get("MKL_NUM_THREADS", openmp),
    }
    for library in controller.lib_controllers if controller else ():
        threads = wanted.get(library.internal_api, openmp)
        if threads.isdecimal() and int(threads) != library.num_threads:
            library.set_num_threads(int(threads))


def renew(request: dict[str, Any], files: list[int], added: Mapping[str, str]) -> None:
    """Reset what a new process has fresh: session, signals, streams, environment, folder, seeds."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate(files):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update({**added, **request["env"]})
    time.tzset()
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    sys.argv = [str(importlib.util.find_spec("ipykernel_launcher").origin), *request["argv"]]  # type: ignore[union-attr]
    importlib.invalidate_caches()
    if "tempfile" in sys.modules:  # it caches TMPDIR on first use
        vars(sys.modules["tempfile"])["tempdir"] = None
    if "numpy.random" in sys.modules:  # `random` and `uuid` reseed themselves
        sys.modules["numpy.random"].seed()


def stop_workers() -> None:
    """Stop joblib's workers; ipykernel would try to signal them for seconds."""
    pool = sys.modules.get("joblib.externals.loky.reusable_executor")
    if pool is not None and pool._executor is not None:
        # joblib's own executor also removes its folder of shared arrays.
        end = getattr(pool._executor, "terminate", pool._executor.shutdown)
        ending = threading.Thread(target=end, kwargs={"kill_workers": True}, daemon=True)
        ending.start()
        ending.join(1.0)


def trackers() -> set[int]:
    """Return the processes that clean up after this one: they ignore signals and end with it."""
    names = ("joblib.externals.loky.backend", "multiprocessing")
    modules = [sys.modules.get(f"{name}.resource_tracker") for name in names]
    return {module._resource_tracker._pid for module in modules if module is not None}


class SysOfAKernel:
    """`sys` as ipykernel sees it at start: with only the modules of a cold kernel.

    ipykernel lists their files for the debugger to step over. Thousands more would be touched, and
    so copied from the zygote's memory, and nobody could step into pandas.
    """

    def __init__(self, modules: Iterable[str]) -> None:
        """Take the modules' names."""
        self.modules = {name: sys.modules[name] for name in modules if name in sys.modules}

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def run_kernel(
    argv: list[str],
    own: Iterable[str],
    become: Callable[[Any], None],
    bound: Callable[[], None],
) -> None:
    """Run ipykernel's application until it is told to stop; `own` names ipykernel's modules."""
    from ipykernel import ipkernel
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import IPKernelApp

    class Kernel(IPythonKernel):  # type: ignore[misc]
        async def _at_shutdown(self) -> None:
            stop_workers()
            await super()._at_shutdown()

        def _process_children(self) -> list[Any]:
            return [c for c in super()._process_children() if c.pid not in trackers()]

    Kernel.__name__ = Kernel.__qualname__ = "IPythonKernel"
    app = IPKernelApp.instance(parent_handle=os.getppid(), kernel_class=Kernel)
    vars(ipkernel)["sys"] = SysOfAKernel(own)
    app.initialize(argv)
    vars(ipkernel)["sys"] = sys
    become(app.shell)
    bound()
    app.start()
    # At exit, ipykernel stops the IOPub thread first. A control thread still flushing to it would
    # wait for ten seconds, and exit handlers would never run.
    app.control_thread.stop()
    app.control_thread.join(FLUSH_TIMEOUT_SECONDS)


def leave() -> NoReturn:
    """Exit as the interpreter does, but skip the half second of tearing down modules."""
    vars(threading)["_shutdown"]()
    atexit._run_exitfuncs()
    gc.collect()  # flushes files that only a reference cycle holds
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0)
