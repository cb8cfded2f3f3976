"""The `live` fixture: one home with a running server per test module."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from live_home import LiveHome, new_home
from setpoint.adapters import sandbox


@pytest.fixture(scope="module")
def live() -> Iterator[LiveHome]:
    """A home whose server runs, with an empty source repository and a registered delivery repository."""
    problem = sandbox.probe()
    if problem:
        pytest.skip(f"INCOMPLETE: needs a sandbox: {problem}")
    folder = Path(tempfile.mkdtemp(prefix="setpoint-flow-"))
    folder.chmod(0o711)
    found = new_home(folder)
    try:
        yield found
    finally:
        found.down()
        shutil.rmtree(folder, ignore_errors=True)
