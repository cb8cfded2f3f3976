"""The OCI store on disk: what it takes, what it refuses, and that a second, reading process sees it whole."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha512
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.artifact.model import CONFIG, EMPTY, EMPTY_BYTES, INDEX, LAYER, MANIFEST, Descriptor
from setpoint.artifact.ports import OciStore
from setpoint.core.digest import sha256
from setpoint.core.errors import BugError, NotFoundError, SetpointError, UserError, WorldError

MISSING = "sha256:" + "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> OciStoreFolder:
    """An empty store."""
    return OciStoreFolder(tmp_path / "registry")


def _wire(part: Descriptor) -> dict[str, Any]:
    return {"mediaType": part.media_type, "digest": part.digest, "size": part.size_bytes}


def _image(store: OciStoreFolder, repository: str = "shop/web", **members: Any) -> bytes:
    config = store.put_blob(repository, b"{}", CONFIG)
    layer = store.put_blob(repository, b"layer", LAYER)
    return json.dumps({"schemaVersion": 2, "config": _wire(config), "layers": [_wire(layer)], **members}).encode()


def test_the_folder_fills_the_port(store: OciStoreFolder) -> None:
    """What wiring hands to the stages is the port's type, and reads back what was put."""
    port: OciStore = store
    blob = port.put_blob("shop/web", b"bytes")
    assert blob == Descriptor("application/octet-stream", sha256(b"bytes"), 5)
    manifest = port.put_manifest("shop/web", _image(store), MANIFEST, "v1")
    found = port.manifest("shop/web", "v1")
    assert found is not None
    assert (found.digest, found.media_type) == (manifest.digest, MANIFEST)
    assert port.manifest("shop/web", manifest.digest) == found
    assert port.read_blob("shop/web", blob.digest) == b"bytes"
    assert port.repositories() == ["shop/web"]


def test_a_blob_belongs_only_to_the_repositories_that_link_it(store: OciStoreFolder) -> None:
    """Another repository gets it by a mount, from a named repository or from any."""
    digest = store.put_blob("one", b"bytes").digest
    assert not store.has_blob("two", digest)
    with pytest.raises(NotFoundError, match="SP302"):
        store.open_blob("two", digest)
    assert not store.mount("two", digest, "three")
    assert store.mount("two", digest, "one")
    assert store.mount("three", digest)
    assert store.delete_blob("one", digest)
    assert (store.has_blob("one", digest), store.has_blob("two", digest), store.has_blob("three", digest)) == (False, True, True)


def test_a_finished_file_is_moved_in_under_the_digest_it_must_have(store: OciStoreFolder, tmp_path: Path) -> None:
    """sha256 and sha512 are both names; another digest than expected is SP301 and links nothing."""
    path = tmp_path / "layer"
    path.write_bytes(b"layer")
    wanted = "sha512:" + sha512(b"layer").hexdigest()
    with pytest.raises(UserError, match="SP301"):
        store.put_blob_file("web", path, LAYER, expected=MISSING)
    assert store.put_blob_file("web", path, LAYER, expected=wanted) == Descriptor(LAYER, wanted, 5)
    assert not path.exists()
    assert store.read_blob("web", wanted) == b"layer"


@pytest.mark.parametrize("name", ["../x", "a/../b", "A", "a//b", "/a", "a/", "_tags", "a/_tags", ".a", "", "a" * 256, "a\n", "a\0"])
def test_a_repository_name_cannot_leave_or_mix_with_links(store: OciStoreFolder, name: str, tmp_path: Path) -> None:
    """Names outside of the spec's grammar are SP308 and touch nothing."""
    with pytest.raises(UserError, match="SP308"):
        store.put_blob(name, b"x")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("tag", ["../x", ".", "a/b", "", "a" * 129, "a\n"])
def test_a_tag_cannot_leave_its_folder(store: OciStoreFolder, tag: str) -> None:
    """Tags outside of the spec's grammar are SP308, on the way in and on the way out."""
    data = _image(store)
    for call in (lambda: store.put_manifest("shop/web", data, MANIFEST, tag), lambda: store.manifest("shop/web", tag)):
        with pytest.raises(UserError, match="SP308"):
            call()
    assert store.tags("shop/web") == []


@pytest.mark.parametrize(
    "digest", ["sha256:../../x", "sha256:" + "A" * 64, "md5:" + "0" * 32, "sha256", "sha256:" + "0" * 63, "sha256:" + "0" * 64 + "\n"]
)
def test_what_is_no_digest_is_refused_everywhere(store: OciStoreFolder, digest: str) -> None:
    """Nothing that is not lower-case sha256 or sha512 becomes a path (SP301)."""
    calls: list[Callable[[], object]] = [lambda: store.has_blob("a", digest), lambda: store.referrers("a", digest)]
    for call in calls:
        with pytest.raises(UserError, match="SP301"):
            call()


def test_a_manifest_is_taken_only_when_all_it_names_is_there(store: OciStoreFolder) -> None:
    """A missing blob, one of another size, and a missing child manifest are SP304."""
    good = json.loads(_image(store))
    missing = {**good, "layers": [{**good["layers"][0], "digest": MISSING}]}
    resized = {**good, "layers": [{**good["layers"][0], "size": 6}]}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": MANIFEST, "digest": MISSING, "size": 2}]}
    for value, media_type, kind in ((missing, MANIFEST, NotFoundError), (resized, MANIFEST, UserError), (index, INDEX, NotFoundError)):
        with pytest.raises(kind, match="SP304"):
            store.put_manifest("shop/web", json.dumps(value).encode(), media_type, "v1")
    assert store.tags("shop/web") == []


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"[" * 100_000, b'{"schemaVersion":1}', b'{"schemaVersion":2}', b"{" + b" " * (5 << 20) + b"}"],
    ids=["empty", "list", "cut", "deep", "old", "bare", "large"],
)
def test_what_is_no_manifest_is_refused(store: OciStoreFolder, data: bytes) -> None:
    """Bad JSON, other versions and too large documents are SP304."""
    with pytest.raises(UserError, match="SP304"):
        store.put_manifest("web", data, MANIFEST)


@pytest.mark.parametrize("change", [{"manifests": []}, {"mediaType": INDEX}, {"subject": {}}, {"annotations": {"a": 1}}, {"layers": {}}])
def test_a_manifest_that_two_readers_could_take_for_two_things_is_refused(store: OciStoreFolder, change: dict[str, Any]) -> None:
    """Both layers and manifests, another media type than it was sent with, and malformed members are SP304."""
    with pytest.raises(UserError, match="SP304"):
        store.put_manifest("shop/web", _image(store, **change), MANIFEST)


def test_referrers_are_listed_filtered_and_forgotten(store: OciStoreFolder) -> None:
    """A subject makes a manifest a referrer, also before the subject is there; deleting it takes it from the list."""
    image = store.put_manifest("shop/web", _image(store), MANIFEST)
    subject = _wire(image)
    empty = _wire(store.put_blob("shop/web", EMPTY_BYTES, EMPTY))
    made = []
    for kind in ("application/x.one", "application/x.two"):
        value = {
            "schemaVersion": 2,
            "artifactType": kind,
            "config": empty,
            "layers": [empty],
            "subject": subject,
            "annotations": {"k": kind},
        }
        made.append(store.put_manifest("shop/web", json.dumps(value).encode(), MANIFEST))
    found = store.referrers("shop/web", image.digest)
    assert {item.digest for item in found} == {item.digest for item in made}
    assert store.referrers("shop/web", image.digest, "application/x.two") == [made[1]]
    assert made[1].annotations == (("k", "application/x.two"),)
    assert store.delete_manifest("shop/web", made[1].digest)
    assert store.referrers("shop/web", image.digest) == [made[0]]
    assert store.referrers("shop/web", MISSING) == []


def test_deleting_a_manifest_takes_its_tags_with_it(store: OciStoreFolder) -> None:
    """A tag never points to nothing."""
    data = _image(store)
    digest = store.put_manifest("shop/web", data, MANIFEST, "v1").digest
    store.put_manifest("shop/web", _image(store, annotations={"a": "b"}), MANIFEST, "v2")
    assert store.delete_manifest("shop/web", digest)
    assert not store.delete_manifest("shop/web", digest)
    assert store.tags("shop/web") == ["v2"]
    assert store.manifest("shop/web", "v1") is None
    assert store.delete_tag("shop/web", "v2")
    assert not store.delete_tag("shop/web", "v2")


def test_damaged_bytes_are_never_handed_out(store: OciStoreFolder, tmp_path: Path) -> None:
    """What the disk changed is an error where it is read, and pushing the same content again mends it."""
    blob = store.put_blob("web", b"right")
    path = tmp_path / "registry/blobs" / blob.digest.replace(":", "/")
    path.write_bytes(b"wrong")
    with pytest.raises(BugError, match="SP310"):
        store.read_blob("web", blob.digest)
    store.put_blob("web", b"right")
    assert store.read_blob("web", blob.digest) == b"right"
    with pytest.raises(UserError, match="SP303"):
        store.read_blob("web", blob.digest, limit_bytes=4)


def test_everything_is_synced_before_a_put_returns(store: OciStoreFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and the folder that names it are fsynced, for the bytes and for each link."""
    data = _image(store)
    synced: list[str] = []
    real = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    digest = store.put_manifest("shop/web", data, MANIFEST, "v1").digest
    folders = [path for path in synced if Path(path).is_dir()]
    for wanted in ("blobs/sha256", "shop/web/_manifests/sha256", "shop/web/_tags"):
        assert any(path.endswith(wanted) for path in folders), wanted
    assert len(synced) - len(folders) == 3
    assert store.manifest("shop/web", digest) is not None


def test_a_full_disk_leaves_nothing_behind(store: OciStoreFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a sync fails the caller hears SP309, nothing is linked and no scratch file stays."""
    store.put_blob("web", b"first")

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(WorldError, match="SP309"):
        store.put_blob("web", b"second")
    monkeypatch.undo()
    assert not store.has_blob("web", sha256(b"second"))
    assert list(store.scratch().parent.iterdir()) == []


def test_many_threads_put_the_same_and_different_content(store: OciStoreFolder) -> None:
    """Concurrent puts of blobs, manifests and tags all succeed and all are there."""
    data = _image(store)

    def work(number: int) -> None:
        store.put_blob("shop/web", b"shared")
        store.put_blob("shop/web", str(number).encode())
        store.put_manifest("shop/web", data, MANIFEST, f"v{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(32)))
    assert len(store.tags("shop/web")) == 32
    assert all(store.has_blob("shop/web", sha256(str(number).encode())) for number in range(32))


def test_a_second_process_reads_without_writing(store: OciStoreFolder, tmp_path: Path) -> None:
    """The signer's process reads manifests, blobs and referrers of a store and leaves no trace, whatever it looks for."""
    digest = store.put_manifest("shop/web", _image(store), MANIFEST, "v1").digest
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "registry").rglob("*")}
    program = """
import sys
from pathlib import Path
from setpoint.adapters.oci.store import OciStoreFolder
store = OciStoreFolder(Path(sys.argv[1]))
found = store.manifest("shop/web", "v1")
assert store.manifest("nothing", "v1") is None and store.referrers("nothing", found.digest) == [] and store.tags("no") == []
print(found.digest)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "registry")], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "registry").rglob("*")} == before


def test_forgotten_uploads_are_swept_by_age(store: OciStoreFolder) -> None:
    """Only what nothing was added to for the given time goes; later it is unknown (SP316)."""
    session = store.uploads.start("web")
    store.uploads.append(session, 0, b"part")
    store.scratch().write_bytes(b"scratch")
    now = datetime.now(UTC)
    assert store.sweep(now, 60) == 0
    assert store.uploads.find("web", session.session).size_bytes == 4
    assert store.sweep(now + timedelta(seconds=61), 60) == 2
    with pytest.raises(NotFoundError, match="SP316"):
        store.uploads.find("web", session.session)


def test_a_session_has_one_writer_and_one_repository(store: OciStoreFolder) -> None:
    """A chunk that does not start at the end is SP317, and another repository does not know the session."""
    session = store.uploads.start("web")
    assert store.uploads.append(session, 0, b"part") == 4
    with pytest.raises(SetpointError, match="SP317"):
        store.uploads.append(session, 0, b"again")
    for repository, name in (("other", session.session), ("web", "../" + session.session), ("web", "0" * 32)):
        with pytest.raises(NotFoundError, match="SP316"):
            store.uploads.find(repository, name)
