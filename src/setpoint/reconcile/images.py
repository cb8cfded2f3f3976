"""Images of rendered objects, of containers and of volumes: an artifact's bare name becomes its pinned digest, others must be listed.

Called after every render, before the target looks at the objects (law 1: only digests move; law 2: nothing else gets in); pure.
In objects of Kubernetes images lie in pods only, so every container and image volume is found, however deep. In a custom resource the
environment's `imagePaths:` says where images are; one that looks as if it held any and is not declared is refused.
"""

import copy
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from setpoint.core import kinds
from setpoint.core.errors import ConfigError, Finding
from setpoint.core.field_paths import places
from setpoint.promotion.model import PinnedArtifact
from setpoint.reconcile.allowed import Allowed
from setpoint.reconcile.model import identity

_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
_IMAGE_KEY: Final = re.compile(r"image|imageName|[A-Za-z0-9]+Image")
_IN_POD: Final = re.compile(r"(.+)\.(?:(containers|initContainers|ephemeralContainers)\[\]\.image|volumes\[\]\.image\.reference)")
_PARTS: Final = ("reference", "repository", "name")
_SHOWN: Final = 8
UNLISTED: Final = "SP621"
UNDECLARED: Final = "SP627"
_Image = tuple[Any, Any, str]
"""(what holds it, under which key, field path)"""


def substitute(
    objects: Sequence[dict[str, Any]],
    artifacts: Mapping[str, PinnedArtifact],
    allowed: Allowed,
    sources: Mapping[str, str] | None = None,
    files: Collection[str] = (),
) -> tuple[dict[str, Any], ...]:
    """Return copies of the objects in which every image of a container, a volume or a declared path is named by digest.

    sources are `Rendered.sources`, for the places of findings; files are the artifacts that are no images: they can be mounted, not run.

    Raises:
        ConfigError: every image that is neither an artifact nor allowed, or cannot be run (SP621), and every custom resource whose
            images nobody declared (SP627).
    """
    result = tuple(copy.deepcopy(value) for value in objects)
    findings: list[Finding] = []
    for value in result:
        path = (sources or {}).get(identity(value), identity(value))
        found, faults = _images(value, allowed)
        findings += [Finding(UNDECLARED, f"{identity(value)}: {what}", path, fix=fix) for what, fix in faults]
        for holder, key, field in found:
            image = _written(holder, key)
            if isinstance(image, str) and image in artifacts and not (key == "image" and image in files):
                pinned = artifacts[image]
                holder[key] = f"{pinned.oci_repository}@{pinned.digest}"
            elif isinstance(image, str) and image in artifacts:
                what = f"{identity(value)}: `{field}` is `{image}`, an artifact that is a file and cannot be run"
                findings.append(
                    Finding(UNLISTED, what, path, fix=f"mount it: `volumes: [{{name: {image}, image: {{reference: {image}}}}}]`")
                )
            elif not isinstance(image, str) or image not in allowed.images:
                what = f"{identity(value)}: `{field}` is {image!r}, which is neither an artifact of the application nor allowed here"
                findings.append(Finding(UNLISTED, what, path, fix=_fix(image, artifacts, allowed.images)))
    if findings:
        raise ConfigError(findings)
    return result


def images_of(value: dict[str, Any], allowed: Allowed) -> tuple[str, ...]:
    """Return the images of an object as they are written in it."""
    found, _ = _images(value, allowed)
    texts = (_written(holder, key) for holder, key, _path in found)
    return tuple(text for text in texts if isinstance(text, str))


def _images(value: dict[str, Any], allowed: Allowed) -> tuple[list[_Image], list[tuple[str, str]]]:
    """Return the images of an object, and (what, fix) of what cannot be said of it."""
    if kinds.is_kubernetes(kinds.group_of(value)):
        return list(_in_pods(value, "")), []
    kind = kinds.kind_of(value)
    declared = allowed.paths_of(kind)
    if declared is None:
        seen = list(dict.fromkeys(_resembling(value, "")))
        told = ", ".join(islice(_to_declare(seen), _SHOWN))
        fix = f"an owner of the environment adds `imagePaths: {{{kind}: [{told}]}}` to environment.yaml; `[]` says: no images"
        return [], [(f"`{seen[0]}` looks like an image, and nobody said where a {kind} holds images", fix)] if seen else []
    found: list[_Image] = []
    faults: list[tuple[str, str]] = []
    for place in (place for path in declared for place in places(value, path) if place.value is not None):
        last, before = place.path.rpartition(".")[2], place.path.rpartition(".")[0]
        here = [(place.holder, place.key, place.path)] if isinstance(place.value, str) else list(_in_pods({last: place.value}, before))
        found += here
        if not here:
            fix = f"an owner of the environment corrects `imagePaths: {{{kind}: ...}}` in environment.yaml"
            faults.append((f"`{place.path}` is declared to be an image or a pod spec, and is neither", fix))
    return found, faults


def _written(holder: Any, key: Any) -> Any:
    return holder.get(key) if isinstance(holder, dict) else holder[key]


def _in_pods(value: Any, path: str) -> Iterator[_Image]:
    """Yield every image of containers and volumes, wherever a pod template lies."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _in_pods(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{path}.{key}" if path else str(key)
            if key in _CONTAINERS and isinstance(item, list):
                yield from ((child, "image", f"{inner}[{index}].image") for index, child in enumerate(item) if isinstance(child, dict))
            elif key == "volumes" and isinstance(item, list):
                yield from _volumes(item, inner)
            else:
                yield from _in_pods(item, inner)


def _volumes(volumes: list[Any], path: str) -> Iterator[_Image]:
    for index, volume in enumerate(volumes):
        image = volume.get("image") if isinstance(volume, dict) else None
        if isinstance(image, dict):
            yield image, "reference", f"{path}[{index}].image.reference"


def _resembling(value: Any, path: str) -> Iterator[str]:
    """Yield the path, as it would be declared, of everything in a custom resource that looks like an image.

    That is a text under `image`, `imageName` or `...Image`, an image volume's reference, and an image split into repository and tag.
    """
    if isinstance(value, list):
        for item in value:
            yield from _resembling(item, f"{path}[]")
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{path}.{key}".removeprefix(".")
            if isinstance(item, str) and _IMAGE_KEY.fullmatch(str(key)):
                yield inner
            elif key == "image" and isinstance(item, dict) and (part := next((p for p in _PARTS if isinstance(item.get(p), str)), "")):
                yield f"{inner}.{part}"
            else:
                yield from _resembling(item, inner)


def _to_declare(seen: Sequence[str]) -> Iterator[str]:
    """Yield what to declare for paths that look like images: a pod spec as a whole instead of the images in it, and each path once."""
    pods = {found[1] for path in seen if (found := _IN_POD.fullmatch(path)) and found[2] in _CONTAINERS}
    outer = {pod for pod in pods if not any(pod.startswith((f"{other}.", f"{other}[")) for other in pods)}
    told: set[str] = set()
    for path in seen:
        found = _IN_POD.fullmatch(path)
        holder = next((pod for pod in outer if found and f"{found[1]}.".startswith((f"{pod}.", f"{pod}["))), path)
        if holder not in told:
            told.add(holder)
            yield holder


def _fix(image: object, artifacts: Mapping[str, PinnedArtifact], allowed: Collection[str]) -> str:
    """Say what to write instead: the artifact's bare name, the listed digest, or an entry of `images:`."""
    names = ", ".join(f"`{name}`" for name in sorted(artifacts))
    if not isinstance(image, str) or not image:
        return f"write the name of an artifact: {names}" if names else "write an image that the environment's `images:` lists"
    repository = image.partition("@")[0].rpartition(":")[0] or image.partition("@")[0]
    last = repository.rpartition("/")[2]
    if last in artifacts:
        return f"write `image: {last}`: the pinned digest is filled in"
    listed = sorted(entry for entry in allowed if entry.partition("@")[0] in {repository, image.partition("@")[0]})
    if listed:
        return f"write the digest that is listed: {listed[0]}"
    if "@sha256:" in image:
        return "add it to `images:` of the environment's environment.yaml"
    return (
        f"write the name of an artifact ({names}), or " if names else ""
    ) + "name it by digest and add that to `images:` of environment.yaml"
