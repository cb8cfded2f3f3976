"""The `newcomer` fixture: a fresh user with a clean clone, for all end-to-end tests."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from newcomer import Newcomer
from setpoint.adapters import sandbox

ROOT = Path(__file__).resolve().parents[2]
PORTS = (7420, 7501, 7502)


@pytest.fixture(scope="session")
def newcomer() -> Iterator[Newcomer]:
    """A fresh user with a clean clone; as root a real account is made and removed again."""
    problem = sandbox.probe()
    if problem:
        pytest.skip(f"INCOMPLETE: needs a sandbox: {problem}")
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"INCOMPLETE: needs port {port} of the page's commands, which is in use")
    folder = Path(tempfile.mkdtemp(prefix="setpoint-newcomer-"))
    prefix: tuple[str, ...] = ()
    name = f"setpoint-{secrets.token_hex(3)}"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(folder / "setpoint")], check=True)
    if os.geteuid() == 0:
        subprocess.run(["useradd", "--home-dir", str(folder), "--no-create-home", "--shell", "/bin/bash", name], check=True)
        user = pwd.getpwnam(name)
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", str(folder)], check=True)
        prefix = ("setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups")
    try:
        yield Newcomer(folder, folder / "setpoint", prefix)
    finally:
        Newcomer(folder, folder / "setpoint", prefix).run("setpoint/.venv/bin/setpoint down || true")
        if prefix:
            subprocess.run(["userdel", name], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
