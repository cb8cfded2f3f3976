"""The preStop hook of a replica: a pause, or one HTTP GET, in a process of its own so that the shim never waits.

Called by `shim` only, inside the shim's process; whatever the hook does, the application is asked to end afterwards, and the grace of the
stop goes on meanwhile, as in Kubernetes.
"""

import contextlib
import os
import time
from _socket import AF_INET, SOCK_STREAM, socket  # `socket` itself would cost the start of every shim milliseconds
from typing import Any

_ADDRESS = "127.0.0.1"


def start(hook: dict[str, Any], limit_s: float) -> int:
    """Begin a hook and return the pid of its process, which ends with it; limit_s is the grace of the stop."""
    pid = os.fork()
    if pid == 0:
        try:
            if hook["path"]:
                _get(hook, limit_s)
            else:
                time.sleep(min(hook["sleep_s"], limit_s))
        finally:
            os._exit(0)
    return pid


def _get(hook: dict[str, Any], limit_s: float) -> None:
    """Ask once and wait for the end of the answer; a failing hook stops nothing."""
    deadline = time.monotonic() + limit_s
    lines = [f"GET {hook['path']} HTTP/1.0", *(f"{name}: {value}" for name, value in hook["headers"])]
    if not any(name.lower() == "host" for name, _ in hook["headers"]):
        lines.append(f"Host: {_ADDRESS}:{hook['port']}")
    connection = socket(AF_INET, SOCK_STREAM)
    with contextlib.suppress(OSError):
        connection.settimeout(limit_s)
        connection.connect((_ADDRESS, hook["port"]))
        connection.sendall("\r\n".join([*lines, "", ""]).encode("utf-8"))
        while (left_s := deadline - time.monotonic()) > 0:
            connection.settimeout(left_s)
            if not connection.recv(1 << 16):
                return
