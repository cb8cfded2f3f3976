"""Stops everything of a home: the server, every replica, every proxy; called by `setpoint down`, works whether or not a server runs."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from setpoint.adapters.host.proxy import HaProxy
from setpoint.adapters.host.runtime import HostFolders, HostRuntime
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.runner.client import dedicated_uid
from setpoint.adapters.toolchain import HostToolchain
from setpoint.app.home import Home
from setpoint.app.lock import HomeLock
from setpoint.core.errors import WorldError

_SERVER_S = 20.0
_REPLICA_S = 45.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was stopped."""

    server: bool
    replicas: int
    proxies: int


def stop_all(home: Home) -> Stopped:
    """Stop the server first, so that nothing is started again, then proxies and replicas.

    Raises:
        UserError: the home is somebody else's (SP803).
        WorldError: something did not end in time (SP808).
    """
    home.require_access()
    if not home.root.exists():
        return Stopped(server=False, replicas=0, proxies=0)
    server = _stop_server(home)
    proxies = _stop_proxies(home)
    return Stopped(server, _stop_replicas(home), proxies)


def _stop_server(home: Home) -> bool:
    pid = HomeLock.holder(home.lock)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    _wait(lambda: HomeLock.holder(home.lock) is None, _SERVER_S, f"the server (pid {pid})")
    home.server_file.unlink(missing_ok=True)
    return True


def _stop_proxies(home: Home) -> int:
    """Stop every proxy and forget its folder, so that a second `down` has nothing to say."""
    proxy = HaProxy(home.proxies, dedicated_uid())
    folders = [folder for folder in home.proxies.iterdir() if folder.is_dir()] if home.proxies.exists() else []
    for folder in folders:
        proxy.stop(folder.name)
        shutil.rmtree(folder, ignore_errors=True)
    return len(folders)


def _stop_replicas(home: Home) -> int:
    if not home.replicas.exists():
        return 0
    folders = HostFolders(home.replicas, home.images)
    runtime = HostRuntime(folders, OciStoreFolder(home.registry), HostToolchain().facts, dedicated_uid())
    found = runtime.replicas()
    for replica in found:
        runtime.stop(replica.spec.replica, min(replica.spec.grace_s, 10.0))
    _wait(lambda: not any(replica.shim_alive for replica in runtime.replicas()), _REPLICA_S, "the replicas")
    for replica in found:
        runtime.remove(replica.spec.replica)
    return len(found)


def _wait(done: Callable[[], bool], limit_s: float, what: str) -> None:
    """Wait until done() or raise."""
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise WorldError("SP808", f"{what} did not stop within {int(limit_s)} s", fix="look with `ps`, then run setpoint down again")
        time.sleep(0.05)
