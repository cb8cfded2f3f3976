"""The contract of `pipeline.ports.ContentStore`."""

import os
from pathlib import Path

import pytest

from setpoint.adapters.content import ContentFolder
from setpoint.core import digest
from setpoint.core.errors import NotFoundError, WorldError
from setpoint.pipeline.model import StoredFile
from setpoint.pipeline.ports import ContentStore


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    """Give an empty store."""
    return ContentFolder(tmp_path / "content")


def test_bytes_come_back_by_their_digest(store: ContentStore) -> None:
    """What is put is found under its digest, twice the same, and cannot be changed by accident."""
    kept = store.put(b"hello")
    assert kept == StoredFile(digest.sha256(b"hello"), 5) == store.put(b"hello")
    with store.open(kept.digest) as file:
        assert file.read() == b"hello"
    path = store.path(kept.digest)
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o400


def test_a_finished_file_is_moved_in(store: ContentStore) -> None:
    """A scratch file becomes content and is gone from where it was; scratch names never repeat."""
    scratch = store.scratch()
    assert scratch != store.scratch()
    scratch.write_bytes(b"x" * 3_000_000)
    kept = store.put_file(scratch)
    assert kept == StoredFile(digest.sha256(b"x" * 3_000_000), 3_000_000)
    assert not scratch.exists()
    assert store.path(kept.digest) is not None


@pytest.mark.parametrize("name", ["sha256:" + "0" * 64, "sha256:../../etc/passwd", "", "sha512:" + "0" * 128])
def test_what_is_not_here_is_none_or_sp214(store: ContentStore, name: str) -> None:
    """An unknown digest, or something that is none, is nowhere and never a path."""
    assert store.path(name) is None
    with pytest.raises(NotFoundError, match="SP214"):
        store.open(name)


def test_a_disk_that_refuses_is_sp219_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that did not reach the disk are not content."""
    store = ContentFolder(tmp_path)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(WorldError, match="SP219"):
        store.put(b"hello")
    assert store.path(digest.sha256(b"hello")) is None
    assert list((tmp_path / "scratch").iterdir()) == []


def test_sweep_deletes_unfinished_files(tmp_path: Path) -> None:
    """What a killed server left in scratch goes, content stays."""
    store = ContentFolder(tmp_path)
    kept = store.put(b"hello")
    store.scratch().write_bytes(b"half")
    assert store.sweep() == 1
    assert store.path(kept.digest) is not None
