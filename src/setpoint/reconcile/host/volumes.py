"""Volumes of a pod and where a container mounts them: files of ConfigMaps and Secrets, artifacts (image volumes), folders to write to.

Called by the pod reader. What an image volume holds is not known here: a `subPath` that is not in it is found when a replica starts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from setpoint.reconcile.host.fields import BAD_VALUE, REFERENCE, UNSUPPORTED, Fields
from setpoint.reconcile.host.resources import size_bytes
from setpoint.reconcile.host.secrets import keys_of
from setpoint.reconcile.host.sources import Sources
from setpoint.reconcile.model import EmptyDir, ImageMount, SecretKey

T = TypeVar("T")

_OF_THE_HOST: Final = ("/proc", "/dev", "/sys", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


@dataclass(frozen=True, slots=True)
class Volume:
    """What may be mounted under a name: files, an image, or a folder to write to."""

    files: dict[str, str | SecretKey] = field(default_factory=dict)
    """relative path -> content, or which key of a Secret is its content"""
    modes: dict[str, int] = field(default_factory=dict)
    """relative path -> permission bits, where they are written"""
    image: str = ""
    """`<oci repository>@<digest>`; empty when it is no image."""
    scratch: EmptyDir | None = None
    """Without its path."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a container mounts, by absolute path."""

    files: dict[str, str]
    secrets: dict[str, SecretKey]
    modes: dict[str, int]
    images: tuple[ImageMount, ...]
    scratch: tuple[EmptyDir, ...]


def volumes(pod: Fields, sources: Sources) -> dict[str, Volume]:
    """Return the pod's volumes by name."""
    result: dict[str, Volume] = {}
    for volume in pod.entries("volumes"):
        name = volume.text("name")
        if name in result:
            volume.bad("name", f"`{name}` is used twice")
        result[name] = _volume(volume, name, sources)
        volume.close()
    return result


def _volume(volume: Fields, name: str, sources: Sources) -> Volume:
    if volume.has("configMap"):
        source = volume.mapping("configMap")
        return _items(source, sources.maps.take(source), "ConfigMap")
    if volume.has("secret"):
        source = volume.mapping("secret")
        secret = sources.secrets.take(source, "secretName")
        return _items(source, keys_of(secret) if secret is not None else None, "Secret")
    if volume.has("image"):
        image = volume.mapping("image")
        reference = image.text("reference")
        image.without_effect("pullPolicy", "IfNotPresent", "Always")
        image.close()
        return Volume(image=reference)
    if volume.has("emptyDir"):
        return Volume(scratch=_scratch(volume.mapping("emptyDir"), name))
    return Volume()


def _scratch(source: Fields, name: str) -> EmptyDir:
    """Read an `emptyDir`: on disk its size cannot be bounded here, in memory it can."""
    medium = source.text("medium", "")
    if medium not in {"", "Memory"}:
        source.bad("medium", f"may only be Memory or left out, not `{medium[:60]}`", "write Memory, or leave it out", UNSUPPORTED)
    size = size_bytes(source, "sizeLimit", 4096)
    if size is not None and medium != "Memory":
        source.bad("sizeLimit", "cannot be enforced on disk by the host", "add `medium: Memory`, or remove it", UNSUPPORTED)
    source.close()
    return EmptyDir(name, "", medium == "Memory", size)


def _items(source: Fields, data: Mapping[str, str | SecretKey] | None, kind: str) -> Volume:
    """Return the files of a volume: all keys, or the listed ones under their paths."""
    usual = _mode(source, "defaultMode")
    files: dict[str, str | SecretKey] = {}
    modes: dict[str, int] = {}
    if not source.has("items"):
        source.raw("items")
        files = dict(data or {})
    for item in source.entries("items"):
        key, path = item.text("key"), item.text("path")
        own = _mode(item, "mode")
        if data is not None and key not in data:
            item.bad("key", f"refers to key `{key}`, which that {kind} does not have", f"its keys: {', '.join(sorted(data))}", REFERENCE)
        if path and not _relative(path):
            item.bad("path", f"`{path}` leaves the volume", "write a path without a leading slash and without `..`")
        elif data is not None and key in data:
            files[path] = data[key]
            modes.update({path: own} if own is not None else {})
        item.close()
    source.close()
    return Volume(files, {**(dict.fromkeys(files, usual) if usual is not None else {}), **modes})


def _mode(source: Fields, name: str) -> int | None:
    """Return permission bits; whoever runs in the sandbox owns the file, so they have to let the owner read."""
    if not source.has(name):
        source.raw(name)
        return None
    mode = source.number(name, None, 0, 0o777)
    if not mode & 0o400:
        source.bad(name, "does not let the program read it", "write 0400, 0440 or 0444")
    return mode


def _relative(path: str) -> bool:
    parts = path.split("/")
    return not path.startswith("/") and not {"", ".", ".."} & set(parts) and "\0" not in path


def mounts(container: Fields, pod_volumes: Mapping[str, Volume]) -> Mounted:
    """Return what a container mounts."""
    files: dict[str, str | SecretKey] = {}
    modes: dict[str, int] = {}
    images: dict[str, ImageMount] = {}
    scratch: dict[str, EmptyDir] = {}
    for mount in container.entries("volumeMounts"):
        name, target, part = mount.text("name"), mount.text("mountPath").rstrip("/"), mount.text("subPath", "").rstrip("/")
        read_only = mount.flag("readOnly")  # files and images are read-only anyway, here and in Kubernetes
        mount.without_effect("mountPropagation", "None")
        mount.without_effect("recursiveReadOnly", "Disabled")
        mount.close()
        if not _may_mount(mount, name, target, pod_volumes):
            continue
        volume = pod_volumes[name]
        if volume.scratch is not None:
            _put(container, scratch, target, replace(volume.scratch, path=target))
            if part or read_only:
                which = "subPath" if part else "readOnly"
                mount.bad(which, "is not supported on the host for an emptyDir", "mount the whole volume, writable", UNSUPPORTED)
        elif volume.image and part and not _relative(part):
            mount.bad("subPath", f"`{part}` leaves the volume", "write a path without a leading slash and without `..`")
        elif volume.image:
            _put(container, images, target, ImageMount(target, volume.image, part))
        elif part and part not in volume.files:
            known = f"its files: {', '.join(sorted(volume.files)) or 'none'}"
            mount.bad("subPath", f"`{part}` is no file of volume `{name}`", known, REFERENCE)
        else:
            for inner, path in [(part, target)] if part else [(inner, f"{target}/{inner}") for inner in volume.files]:
                _put(container, files, path, volume.files[inner])
                modes.update({path: volume.modes[inner]} if inner in volume.modes else {})
    for outer, inner in _nested([*images, *scratch], files):
        what = f"mount `{inner}` into `{outer}`, which is a volume of its own"
        container.report.add(BAD_VALUE, container.at("volumeMounts"), what, "mount it beside it")
    _once_in_memory(container, scratch)
    return Mounted(
        files={path: text for path, text in files.items() if isinstance(text, str)},
        secrets={path: key for path, key in files.items() if isinstance(key, SecretKey)},
        modes=modes,
        images=tuple(images[path] for path in sorted(images)),
        scratch=tuple(scratch[path] for path in sorted(scratch)),
    )


def _once_in_memory(container: Fields, scratch: Mapping[str, EmptyDir]) -> None:
    seen: set[str] = set()
    for place in scratch.values():
        if place.in_memory and place.volume in seen:
            what = f"mount the memory of `{place.volume}` twice, which the host cannot share"
            container.report.add(UNSUPPORTED, container.at("volumeMounts"), what, "mount it once, or leave `medium` out")
        seen.add(place.volume)


def _may_mount(mount: Fields, name: str, target: str, pod_volumes: Mapping[str, Volume]) -> bool:
    if name not in pod_volumes:
        mount.bad("name", f"`{name}` is no volume of this pod", f"volumes: {', '.join(sorted(pod_volumes)) or 'none'}", REFERENCE)
    elif not target.startswith("/") or not _relative(target[1:]):
        mount.bad("mountPath", f"`{target}` is no absolute path below /")
    elif any(target == folder or target.startswith(folder + "/") for folder in _OF_THE_HOST):
        mount.bad("mountPath", f"`{target}` belongs to the host's own system", "mount below /etc, /app or another folder of yours")
    else:
        return True
    return False


def _put(container: Fields, places: dict[str, T], path: str, value: T) -> None:
    if path in places:
        container.report.add(BAD_VALUE, container.at("volumeMounts"), f"put two things at `{path}`")
    places[path] = value


def _nested(images: Iterable[str], files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (image's mount path, path in or at it) for everything that would have to be put into a read-only mount."""
    for outer in sorted(images):
        for inner in sorted(images):
            if inner.startswith(outer + "/"):
                yield outer, inner
        for inner in sorted(files):
            if inner == outer or inner.startswith(outer + "/") or outer.startswith(inner + "/"):
                yield outer, inner
