"""A manifest of the store becomes a folder that a sandbox can show: `<images>/<hex>/{rootfs,image.json}`, once, in one step.

Called by the host runtime before a replica starts, for its image and for every artifact that it mounts (files, under their titles).
Every byte is checked against its digest, and nothing that a layer says can make a file outside of the rootfs: names with `..`, absolute
names and links that climb out are refused. It never runs anything of the image.
Layers and whiteouts after the OCI image specification 1.1 (layer.md).
"""

import contextlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from setpoint.adapters.host import integrity, processes, shim_state
from setpoint.adapters.host.layers import LayerReader, Limits
from setpoint.adapters.oci.pull import ImageReference
from setpoint.artifact.model import CONFIG, EMPTY, FOLDER_UNPACK, INDEX, LAYER, MANIFEST, TITLE
from setpoint.artifact.ports import OciStore
from setpoint.core.digest import is_digest, sha256
from setpoint.core.errors import NotFoundError, UserError
from setpoint.retention.model import Thing

_DOCKER: Final = "application/vnd.docker."
_MANIFESTS: Final = (MANIFEST, _DOCKER + "distribution.manifest.v2+json")
_INDEXES: Final = (INDEX, _DOCKER + "distribution.manifest.list.v2+json")
_CONFIGS: Final = (CONFIG, _DOCKER + "container.image.v1+json")
_GZIP_LAYERS: Final = (LAYER, _DOCKER + "image.rootfs.diff.tar.gzip")
_PLAIN_LAYERS: Final = ("application/vnd.oci.image.layer.v1.tar", _DOCKER + "image.rootfs.diff.tar")
_CONFIG_LIMIT_BYTES: Final = 8 << 20
_MAX_LAYERS: Final = 256
_ASIDE: Final = ".old-"


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """An image on disk: its rootfs and what its configuration says about running it."""

    image: str
    rootfs: Path
    environment: tuple[tuple[str, str], ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    workdir: str
    labels: tuple[tuple[str, str], ...]
    platform: str
    """`linux/amd64`; empty when the configuration does not say."""
    generation: str = ""
    """Another one each time that it is unpacked."""


class ImageFolder:
    """All unpacked images of a home, by manifest digest."""

    def __init__(self, folder: Path, store: OciStore, platform: Callable[[], str], uid: int | None, limits: Limits | None = None) -> None:
        """Platform returns what an index is resolved to, `linux/amd64`; as root everything unpacked belongs to uid."""
        self._folder = folder
        self._store = store
        self._platform = platform
        self._uid = uid
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._swept = False
        self._generations: dict[str, str] = {}
        """folder -> the generation that lies there"""

    def unpack(self, image: str) -> UnpackedImage:
        """Return the unpacked image of `<oci repository>@<digest>`, unpacking it when it is not there.

        An image unpacked before this boot is unpacked again, for a power cut may have lost file contents that were never synced.

        Raises:
            UserError: the reference, the manifest or a layer is faulty (SP633).
            NotFoundError: the store does not have it (SP634).
        """
        final = self.place(image)
        with self._lock:
            if shim_state.read_json(final / "image.json").get("boot_id") != processes.boot_id():
                self._sweep_once()
                self._install(final, self._build(image))
            os.utime(final / "image.json")  # garbage collection goes by the last use
        return _load(image, final)

    def place(self, image: str) -> Path:
        """Return the folder where an image is unpacked to, whether or not it is.

        Raises:
            UserError: the reference is faulty (SP633).
        """
        repository, _, digest = image.rpartition("@")
        if not repository or not is_digest(digest):
            raise UserError("SP633", f"{image!r} is not <repository>@<digest>", fix="pin the image by its digest")
        return self._folder / digest.partition(":")[2]

    def generation(self, image: str) -> str:
        """Return which unpacking of an image lies in its place; empty for none, or one of an earlier release of Setpoint."""
        final = self.place(image)
        if final.name not in self._generations:
            self._generations[final.name] = str(shim_state.read_json(final / "image.json").get("generation") or "")
        return self._generations[final.name]

    def build(self, image: str) -> Path:
        """Unpack an image beside its place, and return that folder: for `install`, or to compare and delete; raises as `unpack`."""
        with self._lock:
            self._sweep_once()
        return self._build(image)

    def install(self, image: str, scratch: Path) -> None:
        """Put a built folder in an image's place in one step; what was there is set aside, for replicas may run from it."""
        with self._lock:
            self._install(self.place(image), scratch)

    def sweep(self, in_use: Callable[[], set[str]]) -> None:
        """Delete folders that were set aside and whose generation no replica was started from."""
        aside = list(self._folder.glob(f"{_ASIDE}*"))
        used = in_use() if aside else set()
        for folder in aside:
            if folder.name.rpartition("-")[2].replace("none", "") not in used:
                shutil.rmtree(folder, ignore_errors=True)

    def things(self) -> list[Thing]:
        """Return every unpacked image with its size and last use (garbage collection)."""
        found: list[Thing] = []
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if not folder.name.startswith("."):
                    found.append(Thing(folder.name, _size(folder), (folder / "image.json").stat().st_mtime))
        return found

    def drop(self, name: str, unused_since: float) -> int | None:
        """Delete an unpacked image unless it was used since; returns its bytes."""
        folder, gone = self._folder / name, self._folder / f".tmp-gone-{secrets.token_hex(8)}"
        with self._lock, contextlib.suppress(FileNotFoundError):
            if (folder / "image.json").stat().st_mtime >= unused_since:
                return None
            folder.rename(gone)
            self._generations.pop(name, None)
        if not gone.exists():
            return None
        size = _size(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return size

    def _sweep_once(self) -> None:
        """Delete what an earlier server left half-built."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            for left in self._folder.glob(".tmp-*"):
                shutil.rmtree(left, ignore_errors=True)

    def _install(self, final: Path, scratch: Path) -> None:
        if final.exists():
            before = shim_state.read_json(final / "image.json").get("generation") or "none"
            final.rename(self._folder / f"{_ASIDE}{final.name[:16]}-{secrets.token_hex(4)}-{before}")
        scratch.rename(final)
        self._generations.pop(final.name, None)

    def _build(self, image: str) -> Path:
        repository, _, digest = image.rpartition("@")
        if ":" in repository or self._store.manifest(repository, digest) is None:
            repository = ImageReference.parse(image).name  # an outside image lies in the embedded registry under its name without the host
        generation = secrets.token_hex(8)
        scratch = self._folder / f".tmp-{generation}"
        rootfs = scratch / "rootfs"
        rootfs.mkdir(parents=True)
        try:
            manifest = self._manifest(repository, digest)
            if (manifest.get("config") or {}).get("mediaType") == EMPTY:
                config = {}
                self._files(image, repository, manifest, rootfs)
            else:
                config = self._config(repository, manifest)
                self._layers(image, repository, manifest, rootfs)
            document = {"version": 1, "boot_id": processes.boot_id(), "generation": generation, "config": config}
            (scratch / "image.json").write_text(json.dumps(document), encoding="utf-8")
            self._hand_over(scratch)
            integrity.write(scratch, integrity.catalogue(rootfs))
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return scratch

    def _hand_over(self, scratch: Path) -> None:
        """Give the rootfs to the replicas' uid; what Setpoint reads itself stays its own."""
        scratch.chmod(0o755)
        if self._uid is None:
            return
        for folder, _folders, names in os.walk(scratch / "rootfs"):
            for path in (folder, *[str(Path(folder) / name) for name in names]):
                os.chown(path, self._uid, self._uid, follow_symlinks=False)
            for name in _folders:
                os.chown(Path(folder) / name, self._uid, self._uid, follow_symlinks=False)

    def _manifest(self, repository: str, digest: str) -> dict[str, Any]:
        stored = self._store.manifest(repository, digest)
        if stored is None:
            fix = "push the image to the embedded registry, or build the artifact again"
            raise NotFoundError("SP634", f"the registry has no {digest} in {repository}", where=f"{repository}@{digest}", fix=fix)
        if digest.startswith("sha256:") and sha256(stored.data) != digest:
            raise UserError("SP633", "the manifest's bytes do not match its digest", where=f"{repository}@{digest}", fix="push it again")
        document = _object(stored.data, f"{repository}@{digest}")
        kind = str(document.get("mediaType") or stored.media_type)
        if kind in _INDEXES:
            return self._manifest(repository, self._choose(document, f"{repository}@{digest}"))
        if kind not in _MANIFESTS:
            raise UserError("SP633", f"{kind} is not an image manifest", where=f"{repository}@{digest}", fix="name an image")
        return document

    def _choose(self, index: dict[str, Any], where: str) -> str:
        """Return the digest of an index's manifest for this platform."""
        wanted = self._platform()
        offered = []
        for entry in index.get("manifests") or []:
            platform = entry.get("platform") or {}
            name = f"{platform.get('os')}/{platform.get('architecture')}"
            digest = str(entry.get("digest"))
            if name == wanted and is_digest(digest) and entry.get("mediaType") in _MANIFESTS:
                return digest
            offered.append(name)
        fix = f"build it for {wanted}"
        raise UserError("SP631", f"the image is for {', '.join(offered) or 'nothing'}, this host is {wanted}", where=where, fix=fix)

    def _config(self, repository: str, manifest: dict[str, Any]) -> dict[str, Any]:
        entry = manifest.get("config") or {}
        digest = str(entry.get("digest"))
        where = f"{repository}@{digest}"
        if entry.get("mediaType") not in _CONFIGS or not is_digest(digest):
            raise UserError("SP633", "the manifest has no image configuration", where=where, fix="name an image, not another artifact")
        data = self._store.read_blob(repository, digest, _CONFIG_LIMIT_BYTES)
        if digest.startswith("sha256:") and sha256(data) != digest:
            raise UserError("SP633", "the configuration's bytes do not match its digest", where=where, fix="push the image again")
        return _object(data, where)

    def _listed(self, image: str, manifest: dict[str, Any]) -> list[dict[str, Any]]:
        layers = manifest.get("layers") or []
        if len(layers) > _MAX_LAYERS:
            raise UserError("SP633", f"{len(layers)} layers are more than {_MAX_LAYERS}", where=image, fix="squash the image")
        return list(layers)

    def _files(self, image: str, repository: str, manifest: dict[str, Any], rootfs: Path) -> None:
        """Place the files of an artifact that is no image under their titles; a layer that oras would unpack is unpacked."""
        reader = LayerReader(rootfs, image, self._limits)
        for layer in self._listed(image, manifest):
            digest, notes = str(layer.get("digest")), layer.get("annotations") or {}
            if not is_digest(digest) or not isinstance(notes.get(TITLE), str):
                raise UserError("SP633", f"layer {digest} has no title, so no name", where=image, fix="push it with oras, or build it here")
            with contextlib.closing(self._store.open_blob(repository, digest)) as stream:
                if notes.get(FOLDER_UNPACK) == "true":
                    reader.apply(stream, digest, gzipped=True)
                else:
                    reader.place(stream, digest, notes[TITLE])

    def _layers(self, image: str, repository: str, manifest: dict[str, Any], rootfs: Path) -> None:
        reader = LayerReader(rootfs, image, self._limits)
        for layer in self._listed(image, manifest):
            kind, digest = str(layer.get("mediaType")), str(layer.get("digest"))
            if kind not in (*_GZIP_LAYERS, *_PLAIN_LAYERS) or not is_digest(digest):
                fix = "build it with gzip or uncompressed layers"
                raise UserError("SP633", f"layer {digest} has type {kind}", where=image, fix=fix)
            with contextlib.closing(self._store.open_blob(repository, digest)) as stream:
                reader.apply(stream, digest, gzipped=kind in _GZIP_LAYERS)


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UserError("SP633", "not a JSON object", where=where, fix="push the image again")
    return value


def _size(folder: Path) -> int:
    paths = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_size for path in paths)


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(word) for word in value) if isinstance(value, list) else ()


def _load(image: str, folder: Path) -> UnpackedImage:
    document = shim_state.read_json(folder / "image.json")
    config = document.get("config") or {}
    run = config.get("config") or {}
    pairs = [entry.partition("=") for entry in _words(run.get("Env"))]
    platform = f"{config.get('os')}/{config.get('architecture')}" if config.get("architecture") else ""
    return UnpackedImage(
        image=image,
        rootfs=folder / "rootfs",
        environment=tuple((name, value) for name, _, value in pairs if name),
        entrypoint=_words(run.get("Entrypoint")),
        command=_words(run.get("Cmd")),
        workdir=str(run.get("WorkingDir") or ""),
        labels=tuple((str(name), str(value)) for name, value in (run.get("Labels") or {}).items()),
        platform=platform,
        generation=str(document.get("generation") or ""),
    )
