"""Unpacking images: layers in order, whiteouts, and tars made by people who mean harm."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from setpoint.adapters.host.layers import Limits
from setpoint.adapters.host.unpack import ImageFolder, UnpackedImage
from setpoint.artifact.model import CONFIG, EMPTY, FOLDER_UNPACK, INDEX, LAYER, MANIFEST, TITLE, StoredManifest
from setpoint.artifact.ports import OciStore
from setpoint.core.errors import NotFoundError, UserError


@dataclass
class Blobs:
    """As much of an OciStore as reading an image needs; counts the blobs it opens."""

    held: dict[str, bytes] = field(default_factory=dict)
    opened: int = 0

    def add(self, data: bytes) -> str:
        """Hold bytes under their digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.held[digest] = data
        return digest

    def manifest(self, _repository: str, reference: str) -> StoredManifest | None:
        """Return a manifest by digest."""
        data = self.held.get(reference)
        return None if data is None else StoredManifest(json.loads(data).get("mediaType", ""), reference, data)

    def open_blob(self, _repository: str, digest: str) -> BinaryIO:
        """Open a blob."""
        self.opened += 1
        return io.BytesIO(self.held[digest])

    def read_blob(self, _repository: str, digest: str, _limit_bytes: int = 0) -> bytes:
        """Return a blob."""
        return self.held[digest]


Entry = tuple[str, str | bytes | None, dict[str, Any]]


def entry(name: str, content: str | None = None, **facts: Any) -> Entry:
    """A file (with content) or folder of a layer."""
    return (name, content, facts)


def layer(*entries: Entry) -> bytes:
    """A gzipped tar: text is a file, None a folder; facts set fields of the TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, content, facts in entries:
            member = tarfile.TarInfo(name)
            data = content.encode() if isinstance(content, str) else b""
            member.size, member.mode, member.mtime = len(data), 0o644, 1_700_000_000
            member.type = tarfile.REGTYPE if isinstance(content, str) else tarfile.DIRTYPE
            for key, value in facts.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def link(name: str, target: str) -> Entry:
    """A symbolic link of a layer."""
    return entry(name, None, type=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> Entry:
    """A hard link of a layer."""
    return entry(name, None, type=tarfile.LNKTYPE, linkname=target)


@dataclass
class Shelf:
    """A store, an images folder, and how to put an image in."""

    folder: Path
    blobs: Blobs = field(default_factory=Blobs)

    def images(self, **limits: int) -> ImageFolder:
        """The images folder, with these limits."""
        return ImageFolder(self.folder / "images", cast(OciStore, self.blobs), lambda: "linux/amd64", None, Limits(**limits))

    def put(self, *layers: bytes, config: dict[str, Any] | None = None, media_type: str = LAYER) -> str:
        """Store an image of these layers and return its reference."""
        manifest = {
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self.blobs.add(json.dumps(config or {}).encode())},
            "layers": [{"mediaType": media_type, "digest": self.blobs.add(data)} for data in layers],
        }
        return "app/web@" + self.blobs.add(json.dumps(manifest).encode())

    def put_files(self, *files: tuple[bytes, dict[str, str]]) -> str:
        """Store an artifact that is no image, of (bytes, annotations), and return its reference."""
        layers = [{"mediaType": "x/y", "digest": self.blobs.add(data), "annotations": notes} for data, notes in files]
        config = {"mediaType": EMPTY, "digest": self.blobs.add(b"{}")}
        manifest = {"mediaType": MANIFEST, "artifactType": "application/x", "config": config, "layers": layers}
        return "app/model@" + self.blobs.add(json.dumps(manifest).encode())

    def unpack(self, *layers: bytes) -> UnpackedImage:
        """Unpack an image of these layers."""
        return self.images().unpack(self.put(*layers))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty store beside a file that nobody may touch."""
    (tmp_path / "outside").write_text("safe")
    return Shelf(tmp_path)


def tree(folder: Path) -> dict[str, str]:
    """Every file and link below a folder, with its text or target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
    return found


def test_layers_lie_over_each_other_in_order(shelf: Shelf) -> None:
    """Later files replace earlier ones, whiteouts hide one entry, opaque folders hide all that came from below."""
    lower = layer(
        entry("a/one", "1"), entry("a/two", "2"), entry("b/x", "x"), entry("b/c/deep", "d"), entry("kind", "file"), link("l", "a")
    )
    upper = layer(
        entry("a/.wh.one", ""),
        entry("a/two", "new"),
        entry("b/c/mine", "m"),
        entry("b/.wh..wh..opq", ""),
        entry("kind/now", "folder"),
        entry("l/three", "3"),
    )
    assert tree(shelf.unpack(lower, upper).rootfs) == {"a/two": "new", "a/three": "3", "b/c/mine": "m", "kind/now": "folder", "l": "-> a"}


def test_an_image_is_unpacked_once_and_its_configuration_is_told(shelf: Shelf) -> None:
    """A second unpack reads no layer; modes keep their execute bit and lose set-uid; times stay."""
    run = {"Env": ["A=1", "B=x=y"], "Entrypoint": ["run"], "Cmd": ["it"], "WorkingDir": "/app", "Labels": {"k": "v"}}
    config = {"os": "linux", "architecture": "amd64", "config": run}
    image = shelf.put(layer(entry("app/run", "#!", mode=0o4755), hard("app/same", "app/run")), config=config)
    first = shelf.images().unpack(image)
    assert (first.environment, first.entrypoint, first.command) == ((("A", "1"), ("B", "x=y")), ("run",), ("it",))
    assert (first.workdir, first.labels, first.platform) == ("/app", (("k", "v"),), "linux/amd64")
    facts = (first.rootfs / "app/run").stat()
    assert (facts.st_mode & 0o7777, facts.st_mtime) == (0o755, 1_700_000_000)
    assert (first.rootfs / "app/same").stat().st_ino == facts.st_ino
    opened = shelf.blobs.opened
    assert shelf.images().unpack(image) == first
    assert shelf.blobs.opened == opened
    assert [path.name for path in (shelf.folder / "images").iterdir()] == [image.partition("sha256:")[2]]


def test_an_unpacked_image_goes_when_it_is_old_and_stays_when_a_replica_starts_from_it(shelf: Shelf) -> None:
    """Unpacking again, also of what is there, counts as a use; what was dropped is unpacked anew when it is wanted."""
    images, image = shelf.images(), shelf.put(layer(entry("a", "alpha")))
    record = images.unpack(image).rootfs.parent / "image.json"
    (thing,) = images.things()
    assert (thing.name, thing.size_bytes > 5) == (record.parent.name, True)
    os.utime(record, (1, 1))
    images.unpack(image)
    assert images.drop(thing.name, unused_since=2) is None
    os.utime(record, (1, 1))
    assert images.drop(thing.name, unused_since=2) == thing.size_bytes
    assert images.things() == []
    assert list(record.parents[1].iterdir()) == []
    assert images.drop(thing.name, unused_since=2) is None
    assert tree(images.unpack(image).rootfs) == {"a": "alpha"}


def test_files_are_placed_under_their_titles(shelf: Shelf) -> None:
    """A file artifact, of ours or pushed with oras, becomes its files; a folder layer is unpacked; once, like an image."""
    packed = layer(entry("vocab", None), entry("vocab/words", "a b", mode=0o755))
    reference = shelf.put_files(
        (b"weights", {TITLE: "model.bin"}), (b"x", {TITLE: "deep/x"}), (packed, {TITLE: "vocab", FOLDER_UNPACK: "true"})
    )
    found = shelf.images().unpack(reference)
    assert tree(found.rootfs) == {"model.bin": "weights", "deep/x": "x", "vocab/words": "a b"}
    assert (found.rootfs / "model.bin").stat().st_mode & 0o777 == 0o644
    opened = shelf.blobs.opened
    assert shelf.images().unpack(reference) == found
    assert shelf.blobs.opened == opened


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("../outside", "climbs out"),
        ("/etc/x", "absolute"),
        ("a/../../x", "climbs out"),
        (".", "no name"),
        ("", "no name"),
        (None, "no title"),
    ],
)
def test_a_file_cannot_be_placed_outside(shelf: Shelf, title: str | None, text: str) -> None:
    """A title is a plain relative name; anything else is refused and nothing is left."""
    with pytest.raises(UserError, match="SP633") as caught:
        shelf.images().unpack(shelf.put_files((b"x", {} if title is None else {TITLE: title})))
    assert text in caught.value.what
    assert (shelf.folder / "outside").read_text() == "safe"
    assert list((shelf.folder / "images").iterdir()) == []


def test_a_damaged_or_overlarge_file_is_refused(shelf: Shelf) -> None:
    """The bytes are checked against the digest while they are copied, and the limits of an image hold."""
    reference = shelf.put_files((b"weights", {TITLE: "model.bin"}))
    with pytest.raises(UserError, match="more than 3 bytes"):
        shelf.images(total_bytes=3).unpack(reference)
    shelf.blobs.held["sha256:" + hashlib.sha256(b"weights").hexdigest()] = b"changed"
    with pytest.raises(UserError, match="do not match"):
        shelf.images().unpack(reference)


def test_an_image_of_an_earlier_boot_is_unpacked_again(shelf: Shelf) -> None:
    """What a power cut may have torn is made anew, and what a crash left half made is swept away."""
    image = shelf.put(layer(entry("a", "whole")))
    unpacked = shelf.images().unpack(image)
    (unpacked.rootfs / "a").write_text("torn")
    (unpacked.rootfs.parent / "image.json").write_text('{"boot_id": "another", "config": {}}')
    (shelf.folder / "images" / ".tmp-1-1").mkdir()
    assert tree(shelf.images().unpack(image).rootfs) == {"a": "whole"}


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([entry("../outside", "x")], "climbs out"),
        ([entry("a/../../outside", "x")], "climbs out"),
        ([entry("/outside", "x")], "absolute"),
        ([link("l", "../.."), entry("l/outside", "x")], "leaves the image"),
        ([link("a/l", "../../.."), entry("a/l/outside", "x")], "leaves the image"),
        ([link("l", "l"), entry("l/x", "x")], "too many links"),
        ([link("l", "../../outside"), hard("h", "l")], "no file of the image"),
        ([hard("h", "../../outside")], "climbs out"),
        ([hard("h", "/etc/passwd")], "absolute"),
        ([hard("h", "missing")], "no file of the image"),
        ([entry(".wh...", "")], "names no entry"),
        ([entry("n" * 300, "x")], "cannot be unpacked"),
    ],
)
def test_a_layer_cannot_reach_outside_of_its_image(shelf: Shelf, entries: list[Entry], text: str) -> None:
    """Names and links that would leave the rootfs are refused, nothing is left behind, and nothing outside changed."""
    with pytest.raises(UserError, match="SP633") as caught:
        shelf.unpack(layer(*entries))
    assert text in caught.value.what
    assert (shelf.folder / "outside").read_text() == "safe"
    assert list((shelf.folder / "images").iterdir()) == []


def test_absolute_links_are_walked_inside_the_image(shelf: Shelf) -> None:
    """A link to /data means the image's own /data, as it will for the replica; a file over a link replaces the link."""
    unpacked = shelf.unpack(
        layer(link("l", "/data"), link("f", str(shelf.folder / "outside"))), layer(entry("l/x", "in"), entry("f", "file"))
    )
    assert tree(unpacked.rootfs) == {"data/x": "in", "f": "file", "l": "-> /data"}
    assert (shelf.folder / "outside").read_text() == "safe"


def test_devices_and_pipes_are_left_out(shelf: Shelf) -> None:
    """No layer makes a device."""
    unpacked = shelf.unpack(layer(entry("p", None, type=tarfile.FIFOTYPE), entry("d", None, type=tarfile.CHRTYPE), entry("f", "1")))
    assert sorted(path.name for path in unpacked.rootfs.iterdir()) == ["f"]


def test_sizes_and_counts_are_bounded(shelf: Shelf) -> None:
    """A small blob cannot fill the disk."""
    image = shelf.put(layer(entry("zeros", "0" * 100_000), entry("b", "x")))
    with pytest.raises(UserError, match="more than 5000 bytes"):
        shelf.images(total_bytes=5000).unpack(image)
    with pytest.raises(UserError, match="more than 1 entries"):
        shelf.images(entries=1).unpack(image)


def test_bytes_that_do_not_match_their_digest_are_refused(shelf: Shelf) -> None:
    """A layer, configuration or manifest that was changed on disk is never shown to a replica."""
    good = layer(entry("a", "1"))
    image = shelf.put(good, config={"os": "linux"})
    for digest in list(shelf.blobs.held):
        kept = shelf.blobs.held[digest]
        shelf.blobs.held[digest] = layer(entry("a", "2")) if kept == good else kept + b" "
        with pytest.raises(UserError, match="do not match"):
            shelf.images().unpack(image)
        shelf.blobs.held[digest] = kept
    assert tree(shelf.images().unpack(image).rootfs) == {"a": "1"}


def test_faulty_images_are_refused_with_a_reason(shelf: Shelf) -> None:
    """Missing, unpinned, truncated, wrongly typed: each is a user's error and no crash."""
    images = shelf.images()
    with pytest.raises(NotFoundError, match="SP634"):
        images.unpack("app/web@sha256:" + "0" * 64)
    cut = gzip.compress(os.urandom(4096))[:-100]
    for image in (
        "app/web:latest",
        shelf.put(b"no tar"),
        shelf.put(cut),
        shelf.put(layer(), media_type="application/vnd.oci.image.layer.v1.tar+zstd"),
    ):
        with pytest.raises(UserError, match="SP633"):
            images.unpack(image)


def test_an_index_is_resolved_for_this_platform(shelf: Shelf) -> None:
    """The manifest of this platform is taken; an index without one is refused with what it offers."""
    image = shelf.put(layer(entry("a", "amd64")))
    inner = {"mediaType": MANIFEST, "digest": image.partition("@")[2], "platform": {"os": "linux", "architecture": "amd64"}}
    index = shelf.blobs.add(json.dumps({"mediaType": INDEX, "manifests": [inner]}).encode())
    assert tree(shelf.images().unpack(f"app/web@{index}").rootfs) == {"a": "amd64"}
    inner["platform"] = {"os": "linux", "architecture": "s390x"}
    other = shelf.blobs.add(json.dumps({"mediaType": INDEX, "manifests": [inner]}).encode())
    with pytest.raises(UserError, match="linux/s390x"):
        shelf.images().unpack(f"app/web@{other}")
