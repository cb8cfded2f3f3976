"""Images assembled into the real store: reproducible, complete, pullable, on the host and on another base."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.oci.pull import RegistryPull
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.artifact.files import is_files
from setpoint.artifact.model import CONFIG, EMPTY, FILE, FILES, FOLDER_DIGEST, FOLDER_UNPACK, LAYER, MANIFEST, TITLE, ArtifactAssembled
from setpoint.artifact.recipe import CopyRule, FileRecipe, ImageRecipe
from setpoint.artifact.service import ArtifactService, AssembleRequest
from setpoint.core.digest import sha256
from setpoint.core.errors import ConfigError, UserError
from setpoint.pipeline.model import ToolchainFacts

FACTS = ToolchainFacts("sha256:" + "f" * 64, "3.11.2", "linux/amd64", 300)
SOURCE = [
    ("setpoint.yaml", 0o100644, b"delivery"),
    ("src/hello/__main__.py", 0o100644, b"print('hello')\n"),
    ("src/run", 0o100755, b"#!/bin/sh\n"),
    ("src/link", 0o120000, b"hello/__main__.py"),
    ("tests/test_x.py", 0o100644, b"assert True\n"),
]
RECIPE = ImageRecipe("host", (CopyRule("", "src/", "/app/"), CopyRule("deps", "vendor/", "/app/vendor/")), ("python3", "-m", "hello"))


def _outputs(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode, member.mtime = kind, link, mode, 12345
    return member


@pytest.fixture
def deps(tmp_path: Path) -> Path:
    """The outputs of a task: folder, file, hard link, program and empty folder."""
    members = [
        (_member("vendor", tarfile.DIRTYPE), b""),
        (_member("./vendor/six.py"), b"six = 6\n"),
        (_member("vendor/same.py", tarfile.LNKTYPE, "./vendor/six.py"), b""),
        (_member("vendor/bin/tool", mode=0o700), b"tool"),
        (_member("vendor/empty", tarfile.DIRTYPE), b""),
    ]
    return _outputs(tmp_path / "deps.tar", members)


@pytest.fixture
def store(tmp_path: Path) -> OciStoreFolder:
    """An empty store."""
    return OciStoreFolder(tmp_path / "registry")


def _assemble(
    store: OciStoreFolder,
    tmp_path: Path,
    recipe: ImageRecipe | FileRecipe,
    outputs: Mapping[str, Path],
    source: Iterable[tuple[str, int, bytes]] = SOURCE,
) -> ArtifactAssembled:
    service = ArtifactService(store, RegistryPull(store))
    made = service.assemble(AssembleRequest("shop/web", recipe, iter(source), outputs, FACTS, tmp_path, tag="v1"))
    assert not list(tmp_path.glob("assemble-*"))
    return made


def _layer(store: OciStoreFolder, made: ArtifactAssembled) -> dict[str, tuple[int, bytes | str]]:
    """Return {path: (mode, content or link)} of our own layer."""
    plain = gzip.decompress(store.read_blob("shop/web", made.layers[-1].digest))
    assert sha256(plain) == made.diff_ids[-1]
    found: dict[str, tuple[int, bytes | str]] = {}
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            found[member.name] = (member.mode, file.read() if file else member.linkname)
    return found


def test_a_host_image_holds_exactly_what_its_recipe_copies(store: OciStoreFolder, tmp_path: Path, deps: Path) -> None:
    """Source and outputs are at their places with plain modes, and all of it can be read back from the registry by tag."""
    made = _assemble(store, tmp_path, RECIPE, {"deps": deps})
    assert _layer(store, made) == {
        "app": (0o755, ""),
        "app/hello": (0o755, ""),
        "app/hello/__main__.py": (0o644, b"print('hello')\n"),
        "app/link": (0o777, "hello/__main__.py"),
        "app/run": (0o755, b"#!/bin/sh\n"),
        "app/vendor": (0o755, ""),
        "app/vendor/bin": (0o755, ""),
        "app/vendor/bin/tool": (0o755, b"tool"),
        "app/vendor/empty": (0o755, ""),
        "app/vendor/same.py": (0o644, b"six = 6\n"),
        "app/vendor/six.py": (0o644, b"six = 6\n"),
    }
    assert made.source_paths == ("src/hello/__main__.py", "src/link", "src/run")
    assert (made.tasks, made.base) == (("deps",), "host")
    stored = store.manifest("shop/web", "v1")
    assert stored is not None
    assert stored.digest == made.descriptor.digest
    config = json.loads(store.read_blob("shop/web", json.loads(stored.data)["config"]["digest"]))
    assert config["config"]["WorkingDir"] == "/app"
    assert config["rootfs"]["diff_ids"] == list(made.diff_ids)


def _manifest(store: OciStoreFolder, made: ArtifactAssembled) -> dict[str, Any]:
    stored = store.manifest("shop/web", made.descriptor.digest)
    assert stored is not None
    found: dict[str, Any] = json.loads(stored.data)
    return found


def test_a_file_is_stored_as_it_is_under_its_title(store: OciStoreFolder, tmp_path: Path, deps: Path) -> None:
    """One layer of exactly the file's bytes, an empty config, the file's name as the title: what oras pushes and pulls."""
    made = _assemble(store, tmp_path, FileRecipe.of("deps:vendor/six.py", "model"), {"deps": deps})
    manifest = _manifest(store, made)
    (layer,) = manifest["layers"]
    assert store.read_blob("shop/web", layer["digest"]) == b"six = 6\n"
    assert (layer["mediaType"], layer["size"], layer["annotations"]) == (FILE, 8, {TITLE: "six.py"})
    assert (manifest["artifactType"], manifest["config"]["mediaType"]) == (FILES, EMPTY)
    assert store.read_blob("shop/web", manifest["config"]["digest"]) == b"{}"
    assert (made.base, made.tasks, made.source_paths, made.compressor) == ("", ("deps",), (), "")
    assert is_files(store, "shop/web", made.descriptor.digest)
    image = _assemble(store, tmp_path, RECIPE, {"deps": deps})
    assert not is_files(store, "shop/web", image.descriptor.digest)
    assert not is_files(store, "shop/web", "sha256:" + "0" * 64)


def test_a_folder_is_a_tar_that_unpacks_under_its_name(store: OciStoreFolder, tmp_path: Path, deps: Path) -> None:
    """A folder's tar holds everything below the folder's name, and carries the annotations by which oras unpacks it."""
    made = _assemble(store, tmp_path, FileRecipe.of("deps:vendor/", "model"), {"deps": deps})
    (layer,) = _manifest(store, made)["layers"]
    assert layer["annotations"] == {TITLE: "vendor", FOLDER_DIGEST: made.diff_ids[0], FOLDER_UNPACK: "true"}
    assert _layer(store, made) == {
        "vendor": (0o755, ""),
        "vendor/bin": (0o755, ""),
        "vendor/bin/tool": (0o755, b"tool"),
        "vendor/empty": (0o755, ""),
        "vendor/same.py": (0o644, b"six = 6\n"),
        "vendor/six.py": (0o644, b"six = 6\n"),
    }
    source = _assemble(store, tmp_path, FileRecipe.of("src/", "code"), {})
    assert source.source_paths == ("src/hello/__main__.py", "src/link", "src/run")


def test_the_same_file_is_the_same_artifact(tmp_path: Path, deps: Path) -> None:
    """Neither the store nor what lies beside the file changes the digest."""
    one, two = (OciStoreFolder(tmp_path / name) for name in ("one", "two"))
    for source in ("src/run", "deps:vendor/six.py", "deps:vendor/"):
        recipe = FileRecipe.of(source, "m")
        assert _assemble(one, tmp_path, recipe, {"deps": deps}) == _assemble(two, tmp_path, recipe, {"deps": deps}, reversed(SOURCE))


@pytest.mark.parametrize(
    ("source", "code"), [("src", "SP311"), ("src/gone", "SP311"), ("src/link", "SP314"), ("deps:vendor", "SP311"), ("src/run/", "SP311")]
)
def test_a_file_that_cannot_be_an_artifact_is_refused(store: OciStoreFolder, tmp_path: Path, deps: Path, source: str, code: str) -> None:
    """A folder without a slash, a file with one, what is not there and a symbolic link are each a clear error, and nothing is stored."""
    with pytest.raises(ConfigError) as caught:
        _assemble(store, tmp_path, FileRecipe.of(source, "m"), {"deps": deps})
    assert [finding.code for finding in caught.value.findings] == [code]
    assert store.repositories() == []


def test_the_same_request_makes_the_same_artifact(store: OciStoreFolder, tmp_path: Path, deps: Path) -> None:
    """Order of files and a second store change nothing; one changed byte changes the digest."""
    first = _assemble(store, tmp_path, RECIPE, {"deps": deps})
    again = _assemble(OciStoreFolder(tmp_path / "other"), tmp_path, RECIPE, {"deps": deps}, reversed(SOURCE))
    assert first == again
    changed = [(path, mode, data + b"#" if path == "src/run" else data) for path, mode, data in SOURCE]
    assert _assemble(store, tmp_path, RECIPE, {"deps": deps}, changed).descriptor.digest != first.descriptor.digest


def test_a_foreign_base_lies_below_our_layer(store: OciStoreFolder, tmp_path: Path) -> None:
    """The base's layers and settings are inherited, and its folders are not stated anew."""
    layer = store.put_blob("lib/base", b"base layer", LAYER)
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + "2" * 64]}
    text = json.dumps({"os": "linux", "architecture": "amd64", "config": {"User": "app", "Cmd": ["sh"]}, "rootfs": rootfs}).encode()
    config = store.put_blob("lib/base", text, CONFIG)
    parts: list[dict[str, Any]] = [
        {"mediaType": part.media_type, "digest": part.digest, "size": part.size_bytes} for part in (config, layer)
    ]
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}
    base = store.put_manifest("lib/base", json.dumps(value).encode(), MANIFEST)
    made = _assemble(store, tmp_path, ImageRecipe(f"lib/base@{base.digest}", (CopyRule("", "src/run", "/usr/bin/run"),)), {})
    assert made.base == base.digest
    assert made.layers[0] == layer
    assert list(_layer(store, made)) == ["usr/bin/run"]
    merged = json.loads(store.read_blob("shop/web", made.config.digest))["config"]
    assert (merged["User"], merged["Cmd"], merged["WorkingDir"]) == ("app", ["sh"], "/")
    assert merged["Labels"]["dev.setpoint.base"] == base.digest


def test_all_faults_of_a_recipe_are_told_at_once_and_nothing_is_stored(store: OciStoreFolder, tmp_path: Path) -> None:
    """A misspelt path and a task without outputs are two findings, and no manifest appears."""
    with pytest.raises(ConfigError) as caught:
        _assemble(store, tmp_path, ImageRecipe("host", (CopyRule("", "scr/", "/app/"), CopyRule("deps", "vendor/", "/app/"))), {})
    assert [finding.code for finding in caught.value.findings] == ["SP311", "SP311"]
    assert store.repositories() == []


@pytest.mark.parametrize(
    "member",
    [
        _member("vendor/../../x"),
        _member("/etc/passwd"),
        _member("vendor/fifo", tarfile.FIFOTYPE),
        _member("vendor/hard", tarfile.LNKTYPE, "nowhere"),
    ],
    ids=["climbs", "absolute", "fifo", "dangling"],
)
def test_outputs_that_no_task_should_leave_are_refused(store: OciStoreFolder, tmp_path: Path, member: tarfile.TarInfo) -> None:
    """Paths that leave, devices and hard links to nothing are SP315."""
    outputs = {"deps": _outputs(tmp_path / "bad.tar", [(member, b"")])}
    with pytest.raises(UserError, match="SP315"):
        _assemble(store, tmp_path, ImageRecipe("host", (CopyRule("deps", "./", "/app/"),)), outputs)


def test_a_damaged_archive_is_refused(store: OciStoreFolder, tmp_path: Path, deps: Path) -> None:
    """An archive that is no tar, or cut in the middle, is SP315."""
    for data in (b"no tar at all" * 100, deps.read_bytes()[:1300]):
        bad = tmp_path / "cut.tar"
        bad.write_bytes(data)
        with pytest.raises(UserError, match="SP315"):
            _assemble(store, tmp_path, ImageRecipe("host", (CopyRule("deps", "vendor/", "/app/"),)), {"deps": bad})


def test_a_recipe_that_copies_nothing_still_makes_an_image(store: OciStoreFolder, tmp_path: Path) -> None:
    """A command of the host's own is enough."""
    made = _assemble(store, tmp_path, ImageRecipe("host", (), ("python3", "-m", "http.server")), {})
    assert _layer(store, made) == {}
