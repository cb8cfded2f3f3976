"""Images of rendered objects, of containers and of volumes: an artifact's bare name becomes its pinned digest, others must be listed.

Called after every render, before the target looks at the objects (law 1: only digests move); pure.
"""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from setpoint.core.errors import ConfigError, Finding
from setpoint.promotion.model import PinnedArtifact
from setpoint.reconcile.model import identity

_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")


def substitute(
    objects: Sequence[dict[str, Any]],
    artifacts: Mapping[str, PinnedArtifact],
    allowed: Collection[str],
    sources: Mapping[str, str] | None = None,
    files: Collection[str] = (),
) -> tuple[dict[str, Any], ...]:
    """Return copies of the objects in which every image of a container or volume is named by digest.

    allowed is the environment's `images:`; sources are `Rendered.sources`, for the places of findings; files are the artifacts that are
    no images: they can be mounted, not run.

    Raises:
        ConfigError: every image that is neither an artifact nor allowed, or cannot be run (SP621).
    """
    result = tuple(copy.deepcopy(value) for value in objects)
    findings: list[Finding] = []
    for value in result:
        path = (sources or {}).get(identity(value), identity(value))
        for holder, key, field in _images(value, ""):
            image = holder.get(key)
            if isinstance(image, str) and image in artifacts and not (key == "image" and image in files):
                pinned = artifacts[image]
                holder[key] = f"{pinned.oci_repository}@{pinned.digest}"
            elif isinstance(image, str) and image in artifacts:
                what = f"{identity(value)}: `{field}` is `{image}`, an artifact that is a file and cannot be run"
                findings.append(
                    Finding("SP621", what, path, fix=f"mount it: `volumes: [{{name: {image}, image: {{reference: {image}}}}}]`")
                )
            elif not isinstance(image, str) or image not in allowed:
                what = f"{identity(value)}: `{field}` is {image!r}, which is neither an artifact of the application nor allowed here"
                findings.append(Finding("SP621", what, path, fix=_fix(image, artifacts, allowed)))
    if findings:
        raise ConfigError(findings)
    return result


def _images(value: Any, path: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield (mapping, key, field path) of every image of an object, wherever a pod template lies in it."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _images(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{path}.{key}" if path else str(key)
            if key in _CONTAINERS and isinstance(item, list):
                yield from ((child, "image", f"{inner}[{index}].image") for index, child in enumerate(item) if isinstance(child, dict))
            elif key == "volumes" and isinstance(item, list):
                yield from _volumes(item, inner)
            else:
                yield from _images(item, inner)


def _volumes(volumes: list[Any], path: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    for index, volume in enumerate(volumes):
        image = volume.get("image") if isinstance(volume, dict) else None
        if isinstance(image, dict):
            yield image, "reference", f"{path}[{index}].image.reference"


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
