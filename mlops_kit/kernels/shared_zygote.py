"""Find a zygote for a kernel that wasn't given one."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from mlops_kit.kernels import runtime_dir
from mlops_kit.kernels.preload_key import PRELOAD, key
from mlops_kit.kernels.zygote_client import Zygote

_own: dict[tuple[int, str], Zygote] = {}
_own_lock = threading.Lock()


def nearest(environ: Mapping[str, str]) -> Zygote:
    """Return this user's running zygote for the environment; otherwise this process's own."""
    name = key(PRELOAD, environ)
    if (runtime_dir.runtime_folder() / f"{name}.sock").exists():
        shared = Zygote.start(idle=600.0, environ=environ)
        if shared.is_alive():
            return shared
    with _own_lock:
        if (os.getpid(), name) not in _own:
            _own[os.getpid(), name] = Zygote.start(environ=environ)
        return _own[os.getpid(), name]
