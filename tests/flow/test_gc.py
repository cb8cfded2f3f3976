"""Garbage collection in a live home: old versions lose their bytes, and everything that ever was deployed can still be asked about."""

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from live_files import entries
from live_home import APP, PIPELINE, TESTS, LiveHome, wait_for
from setpoint.core.errors import ConflictError, NotAllowedError

OLD = 1_600_000_000


def _age(live: LiveHome) -> None:
    """Make everything that lies in the home old, as if months had passed."""
    folders = [live.home / name for name in ("registry", "content", "task-cache", "logs", "repositories")]
    images = (live.home.with_name("home.run") / "images").glob("*/image.json")
    for path in (*images, *(path for folder in folders for path, state in entries(folder) if stat.S_ISREG(state.st_mode))):
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (OLD, OLD))


def _release(live: LiveHome, text: str) -> None:
    """Push an app whose tests print something and leave a report of their own, so that each version has a log and content."""
    tests = TESTS.replace('name="t"', f'name="{text}"') + f"echo tests of {text}\n"
    live.commit("hello", {"app.py": APP % text, "tests.sh": tests, ".setpoint/pipeline.yaml": PIPELINE}, f"say {text}")


def _bytes(folder: Path) -> int:
    return sum(state.st_size for _, state in entries(folder) if stat.S_ISREG(state.st_mode))


def _collect(live: LiveHome) -> dict[str, Any]:
    begun = live.api().post("/api/v1/gc")

    def look() -> dict[str, Any] | None:
        report = live.api().get("/api/v1/gc")
        last = report["last"]
        return last if report["active"] is None and last is not None and last["gc"] == begun["gc"] else None

    return wait_for("the end of the collection", look)


@pytest.fixture(scope="module")
def aged(live: LiveHome) -> tuple[LiveHome, list[dict[str, Any]]]:
    """Four releases in staging, months old, in a home that keeps two; returns it with the pinned versions, oldest first."""
    live.stop()
    live.options = ("--keep-versions", "2", "--keep-days", "0", "--keep-log-days", "0", "--no-gc")
    live.start()
    cells = []
    for text in ("one", "two", "three", "four"):
        _release(live, text)
        cells.append(live.serves("staging", text))
    wait_for("the last old replica's end", lambda: len(_alive(live)) == 1)
    _age(live)
    return live, cells


def _alive(live: LiveHome) -> list[dict[str, Any]]:
    return [replica for replica in live.api().get("/api/v1/replicas") if replica["shim_alive"]]


def test_a_dry_run_says_what_and_why_and_only_the_operator_collects(aged: tuple[LiveHome, list[dict[str, Any]]]) -> None:
    """Anybody may look; nothing is deleted by looking."""
    live, _ = aged
    before = _bytes(live.home / "registry")
    plan = live.api("dana").get("/api/v1/gc/plan")
    assert plan["going"]["blobs"]["count"] > 0
    assert plan["size_bytes"] == sum(item["size_bytes"] for item in plan["items"])
    assert all(item["why"] for item in plan["items"])
    assert any(why.startswith("replica staging-hello-") for why in plan["reasons"]), plan["reasons"]
    assert "was pinned in staging" in plan["reasons"]
    with pytest.raises(NotAllowedError, match="SP804"):
        live.api("dana").post("/api/v1/gc")
    assert _bytes(live.home / "registry") == before


def test_after_a_collection_everything_that_was_deployed_can_still_be_asked_about(aged: tuple[LiveHome, list[dict[str, Any]]]) -> None:
    """Bytes, logs, content and unpacked images of expired versions are gone; status, why, trace, evidence and verify answer as before."""
    live, cells = aged
    digests = [next(iter(cell["artifacts"].values())) for cell in cells]
    proofs = [live.api().get("/api/v1/evidence", {"thing": digest}) for digest in digests]
    before, images = _bytes(live.home / "registry"), live.home.with_name("home.run") / "images"
    ended = _collect(live)
    assert ended["state"] == "done", ended
    assert {"blobs", "content", "logs", "images"} <= set(ended["gone"])
    assert _bytes(live.home / "registry") < before
    assert {path.name for path in images.iterdir() if not path.name.startswith(".")} == {digests[3][7:]}
    assert live.cell("staging")["health"] == "healthy"
    assert live.answer(live.staging)[0] == "four"
    assert "PIN_SIGNED" in live.codes("staging") or live.why("staging")["reasons"]
    for digest, proof in zip(digests, proofs, strict=True):
        assert live.api().get("/api/v1/evidence", {"thing": digest}) == proof
        verified = live.api().get("/api/v1/verify", {"thing": digest})
        failed = [line for line in verified["lines"] if not line["passed"]]
        assert [line["number"] for line in failed] == ([] if digest in digests[2:] else [2]), verified
        assert all("`setpoint gc` collects the layers" in line["detail"] for line in failed)
        assert live.api().get("/api/v1/trace", {"thing": digest})["steps"]
    pinned = live.api().get("/api/v1/verify", {"thing": "hello", "environment": "staging"})
    assert all(line["passed"] for line in pinned["lines"]), pinned
    assert [entry["kind"] for entry in live.journal() if entry["kind"].startswith("gc.")] == ["gc.started", "gc.done"]


def test_an_expired_version_cannot_come_back_and_says_why_and_a_kept_one_starts(aged: tuple[LiveHome, list[dict[str, Any]]]) -> None:
    """The message names the collection and the revision to build again; the version before is within the rule, and serves."""
    live, cells = aged
    sam = live.api("sam")
    with pytest.raises(ConflictError, match="SP513") as refused:
        sam.post("/api/v1/rollbacks", {"app": "hello", "environment": "staging", "to": cells[0]["version"]})
    assert "`setpoint gc` collected them" in refused.value.what
    assert cells[0]["revision"][:12] in refused.value.what
    sam.post("/api/v1/rollbacks", {"app": "hello", "environment": "staging"})
    live.serves("staging", "three")


def test_the_same_content_built_again_brings_the_bytes_back(aged: tuple[LiveHome, list[dict[str, Any]]]) -> None:
    """What was collected is made again under the same digest, and runs."""
    live, cells = aged
    _release(live, "two")
    cell = live.serves("staging", "two")
    assert cell["artifacts"] == cells[1]["artifacts"]
