"""The delivery repository is changed by path, past the server: renamed branches, moved heads. What runs goes on; the words are true."""

import subprocess
from pathlib import Path

import pytest

from live_home import LiveHome, wait_for
from setpoint.cli.main import run
from setpoint.core.errors import NotFoundError


def _bare(live: LiveHome, *words: str) -> str:
    folder = live.home / "repositories" / "delivery.git"
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout.strip()


def test_a_renamed_branch_is_told_and_can_be_named(live: LiveHome, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said which branch is gone and what to do, also after a restart; the operator names the other one, and all goes on."""
    live.release("one")
    live.serves("staging", "one")
    _bare(live, "branch", "-m", "main", "trunk")

    def gone() -> bool:
        try:
            live.why("staging")
        except NotFoundError as error:
            return (error.code, "no branch `main`" in error.what, "--branch trunk" in error.fix) == ("SP574", True, True)
        return False

    wait_for("its word", gone)
    live.stop()
    live.start()
    assert gone()
    (fault,) = live.api().get("/api/v1/status")["notices"]
    assert fault["code"] == "SP574"
    assert live.answer(live.staging)[0] == "one"
    where = ["--home", str(live.home)]
    assert run(["init", "--delivery", "delivery", "--branch", "trunk", *where]) == 0
    assert "trunk its branch" in capsys.readouterr().out
    live.release("two")
    live.serves("staging", "two")
    assert _bare(live, "log", "-1", "--format=%s", "trunk").startswith("Pin hello in staging")
    head = _bare(live, "rev-parse", "trunk")
    assert run(["init", "--accept", head, *where]) == 0
    assert "trunk its branch" in capsys.readouterr().out, "the branch that is registered stays when none is named"
    _bare(live, "branch", "-m", "trunk", "main")
    assert run(["init", "--delivery", "delivery", "--branch", "main", *where]) == 0
    wait_for("the word about staging", lambda: not gone())


def test_a_forced_push_by_path_is_refused_and_a_head_that_was_set_back_stops_nothing(live: LiveHome, tmp_path: Path) -> None:
    """Git itself refuses the push; whoever writes the ref past Git while the server is down takes pins away, and nothing that runs."""
    live.serves("staging", "two")
    bare = live.home / "repositories" / "delivery.git"
    first, head = _bare(live, "rev-list", "--max-parents=0", "main"), _bare(live, "rev-parse", "main")
    live.stop()
    subprocess.run(["git", "clone", "-q", str(bare), str(tmp_path / "clone")], check=True)
    pushed = subprocess.run(
        ["git", "-C", str(tmp_path / "clone"), "push", "-q", "-f", "origin", f"{first}:main"], capture_output=True, text=True, check=False
    )
    assert pushed.returncode
    assert "non-fast-forward" in pushed.stderr
    _bare(live, "update-ref", "refs/heads/main", first, head)
    live.start()
    live.release("three")
    live.serves("staging", "three")
    assert _bare(live, "log", "-1", "--format=%s", "main").startswith("Pin hello in staging")
