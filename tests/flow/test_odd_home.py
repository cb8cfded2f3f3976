"""A home at an odd place: a path with spaces, quotes and letters of other languages, longer than a Unix socket's, and no TMPDIR."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import live_home
from live_home import LiveHome, new_home
from setpoint.adapters import sandbox


def test_a_release_goes_through_in_a_home_with_a_long_and_odd_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git, sandbox, signer, replica and proxy work there; a Unix socket's address of 108 bytes limits nothing."""
    problem = sandbox.probe()
    if problem:
        pytest.skip(f"INCOMPLETE: needs a sandbox: {problem}")
    root = Path(tempfile.mkdtemp(prefix="setpoint-odd-"))
    work = root / "ein Häusle ☃ 'q\" $(x) %s" / ("x" * 120)
    work.mkdir(parents=True)
    for folder in (root, work.parent, work):
        folder.chmod(0o711)
    assert len(os.fsencode(work / "home")) > 150
    launch = {"env": {**os.environ, "TMPDIR": "/nonexistent", "HOME": "/nonexistent"}, "umask": 0}
    monkeypatch.setattr(live_home, "LiveHome", lambda folder, options=(): LiveHome(folder, launch=launch, options=options))
    live = new_home(work)
    try:
        live.release("odd")
        live.serves("staging", "odd")
        live.approve()
        live.serves("production", "odd")
        wide = [path for path in (live.home, live.home / "keys", live.home / "server.json") if path.stat().st_mode & 0o077]
        assert wide == [], "whatever the umask"
    finally:
        live.down()
        shutil.rmtree(root, ignore_errors=True)
