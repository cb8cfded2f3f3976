"""Volumes of a pod and where a container mounts them: files of ConfigMaps, and artifacts shown read-only (Kubernetes' image volumes).

Called by the workload reader. What an image volume holds is not known here: a `subPath` that is not in it is found when a replica starts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from setpoint.reconcile.host.config_maps import ConfigMaps
from setpoint.reconcile.host.fields import BAD_VALUE, REFERENCE, Fields
from setpoint.reconcile.model import ImageMount

T = TypeVar("T")

_OF_THE_HOST: Final = ("/proc", "/dev", "/sys", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


@dataclass(frozen=True, slots=True)
class Volume:
    """What may be mounted under a name: files, or an image."""

    files: dict[str, str] = field(default_factory=dict)
    """relative path -> content"""
    image: str = ""
    """`<oci repository>@<digest>`; empty when it is no image."""


def volumes(pod: Fields, maps: ConfigMaps) -> dict[str, Volume]:
    """Return the pod's volumes by name."""
    result: dict[str, Volume] = {}
    for volume in pod.entries("volumes"):
        name = volume.text("name")
        if name in result:
            volume.bad("name", f"`{name}` is used twice")
        result[name] = Volume()
        if volume.has("configMap"):
            source = volume.mapping("configMap")
            data = maps.take(source)
            result[name] = Volume(_items(source, data or {}, known=data is not None))
            source.close()
        elif volume.has("image"):
            image = volume.mapping("image")
            result[name] = Volume(image=image.text("reference"))
            image.without_effect("pullPolicy", "IfNotPresent", "Always")
            image.close()
        volume.close()
    return result


def _items(source: Fields, data: dict[str, str], *, known: bool) -> dict[str, str]:
    """Return the files of a volume: all keys, or the listed ones under their paths."""
    if not source.has("items"):
        source.raw("items")
        return dict(data)
    result = {}
    for item in source.entries("items"):
        key, path = item.text("key"), item.text("path")
        if known and key not in data:
            item.bad("key", f"refers to key `{key}`, which that ConfigMap does not have", f"its keys: {', '.join(sorted(data))}", REFERENCE)
        if path and not _relative(path):
            item.bad("path", f"`{path}` leaves the volume", "write a path without a leading slash and without `..`")
        elif key in data:
            result[path] = data[key]
        item.close()
    return result


def _relative(path: str) -> bool:
    parts = path.split("/")
    return not path.startswith("/") and not {"", ".", ".."} & set(parts) and "\0" not in path


def mounts(container: Fields, pod_volumes: Mapping[str, Volume]) -> tuple[dict[str, str], tuple[ImageMount, ...]]:
    """Return what a container mounts: ({absolute path: content}, images by their path)."""
    files: dict[str, str] = {}
    images: dict[str, ImageMount] = {}
    for mount in container.entries("volumeMounts"):
        name, target, part = mount.text("name"), mount.text("mountPath").rstrip("/"), mount.text("subPath", "").rstrip("/")
        mount.flag("readOnly")  # ConfigMap and image volumes are read-only anyway, here and in Kubernetes
        mount.close()
        if not _may_mount(mount, name, target, pod_volumes):
            continue
        volume = pod_volumes[name]
        if volume.image and part and not _relative(part):
            mount.bad("subPath", f"`{part}` leaves the volume", "write a path without a leading slash and without `..`")
        elif volume.image:
            _put(container, images, target, ImageMount(target, volume.image, part))
        elif part and part not in volume.files:
            known = f"its files: {', '.join(sorted(volume.files)) or 'none'}"
            mount.bad("subPath", f"`{part}` is no file of volume `{name}`", known, REFERENCE)
        else:
            for path, text in [(target, volume.files[part])] if part else ((f"{target}/{p}", t) for p, t in volume.files.items()):
                _put(container, files, path, text)
    for outer, inner in _nested(images, files):
        what = f"mount `{inner}` into `{outer}`, which is an artifact and read-only"
        container.report.add(BAD_VALUE, container.at("volumeMounts"), what, "mount it beside it")
    return files, tuple(images[path] for path in sorted(images))


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
