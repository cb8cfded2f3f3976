"""The contract of `pipeline.ports.TaskCache`."""

from dataclasses import replace
from pathlib import Path

import pytest

from setpoint.adapters.task_cache import TaskCacheFolder
from setpoint.core import digest
from setpoint.core.errors import BugError
from setpoint.pipeline.model import KeyManifest, StoredFile, TaskResult, TaskState
from setpoint.pipeline.ports import TaskCache

KEY = digest.sha256(b"key")
MANIFEST = KeyManifest(1, ("/bin/sh",), {"A": "b"}, KEY, {"deps": KEY}, ("out/",), "fp", "linux/amd64", network=False, trust="trusted")
GREEN = TaskResult("r-1", "test", TaskState.PASSED, KEY, MANIFEST, 0, outputs=StoredFile(KEY, 3), reports={"tests": StoredFile(KEY, 4)})


@pytest.fixture
def cache(tmp_path: Path) -> TaskCache:
    """Give an empty cache."""
    return TaskCacheFolder(tmp_path)


def test_a_green_result_comes_back_in_its_trust_domain_only(cache: TaskCache) -> None:
    """The record is whole, the newest wins, and another trust domain never reads it."""
    cache.put("trusted", GREEN)
    newer = replace(GREEN, run="r-2")
    cache.put("trusted", newer)
    assert cache.get("trusted", KEY) == newer
    assert cache.get("untrusted", KEY) is None
    assert cache.get("trusted", digest.sha256(b"other")) is None


def test_only_green_results_of_the_domain_are_kept(cache: TaskCache) -> None:
    """A failure is SP244; a result of another trust domain, or a place that is none, is SP245."""
    with pytest.raises(BugError, match="SP244"):
        cache.put("trusted", replace(GREEN, state=TaskState.FAILED))
    with pytest.raises(BugError, match="SP245"):
        cache.put("untrusted", GREEN)
    with pytest.raises(BugError, match="SP245"):
        cache.get("../trusted", KEY)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version":2,"result":{}}', b'{"version":1,"result":{"run":1}}', b"[]", b"\xff"])
def test_a_damaged_entry_is_a_miss(tmp_path: Path, damage: bytes) -> None:
    """A torn, foreign or newer file is no entry, and the next green result replaces it."""
    cache = TaskCacheFolder(tmp_path)
    cache.put("trusted", GREEN)
    (entry,) = tmp_path.rglob("*.json")
    entry.write_bytes(damage)
    assert cache.get("trusted", KEY) is None
    cache.put("trusted", GREEN)
    assert cache.get("trusted", KEY) == GREEN


def test_an_entry_under_a_foreign_name_is_a_miss(tmp_path: Path) -> None:
    """A file that was copied to another key proves nothing about that key."""
    cache = TaskCacheFolder(tmp_path)
    cache.put("trusted", GREEN)
    (entry,) = tmp_path.rglob("*.json")
    other = "0" * 64
    (tmp_path / "trusted" / "00").mkdir()
    entry.rename(tmp_path / "trusted" / "00" / f"{other}.json")
    assert cache.get("trusted", f"sha256:{other}") is None


def test_what_is_kept_in_memory_never_outlives_its_file(tmp_path: Path) -> None:
    """A result read before is not read again while its file is the same; a file that is gone or another writer's is seen at once."""
    cache, other = TaskCacheFolder(tmp_path), TaskCacheFolder(tmp_path)
    cache.put("trusted", GREEN)
    first = cache.get("trusted", KEY)
    assert first is cache.get("trusted", KEY)
    newer = replace(GREEN, run="r-2")
    other.put("trusted", newer)
    assert cache.get("trusted", KEY) == newer
    (entry,) = tmp_path.rglob("*.json")
    entry.unlink()
    assert cache.get("trusted", KEY) is None
