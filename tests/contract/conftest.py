"""What contract tests share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_builders import DictStore, Host, wait_for


@pytest.fixture
def host() -> Iterator[Host]:
    """A home's work folders that the replicas' uid can reach (pytest's own cannot be), emptied of everything that runs at the end."""
    folder = Path(tempfile.mkdtemp(prefix="setpoint-host-"))
    folder.chmod(0o711)
    found = Host(folder, DictStore())
    yield found
    runtime = found.runtime()
    for status in runtime.replicas():
        runtime.stop(status.spec.replica, 0)
    wait_for(lambda: not any(status.shim_alive for status in runtime.replicas()))
    for status in runtime.replicas():
        runtime.remove(status.spec.replica)
    shutil.rmtree(folder)
