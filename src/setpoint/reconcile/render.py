"""Pinned trees to Kubernetes objects: Kustomize where there is a kustomization, else plain files, the environment's over the application's.

Called by the reconciler and, before a promotion is decided, by promotion's Renderer port: both see the same bytes and the same digest.
It reads nothing but the files it is handed; images are left as written (`reconcile.images` substitutes them).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from setpoint.core import canonical, digest
from setpoint.core.errors import ConfigError, Finding, UserError
from setpoint.reconcile import manifests
from setpoint.reconcile.manifests import Manifest
from setpoint.reconcile.model import Rendered, identity
from setpoint.reconcile.ports import Kustomize

_KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_MANIFESTS: Final = (".yaml", ".yml", ".json")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MAX_NAME: Final = 253


def render(files: Mapping[str, bytes], app: str, environment: str, kustomize: Kustomize, scratch: Path) -> Rendered:
    """Return the objects of an application in an environment.

    files are the pinned trees by repository path, below `apps/<app>/` and `environments/<env>/<app>/` only; scratch is an empty folder
    for Kustomize's input, used only when there is a kustomization.

    Raises:
        ConfigError: faulty manifests, with places (SP601 to SP608).
        UserError: Kustomize's own message (SP611), or nothing to render (SP604).
    """
    layers = (f"apps/{app}", f"environments/{environment}/{app}")
    _only_below(files, layers)
    kustomized = [folder for folder in layers if any(f"{folder}/{name}" in files for name in _KUSTOMIZATIONS)]
    found = _build(files, layers, kustomized[-1], kustomize, scratch) if kustomized else _layered(files, layers)
    if not found:
        fix = f"put manifests (*.yaml, *.yml, *.json) or a kustomization.yaml into {layers[0]}/"
        raise UserError("SP604", f"there is nothing to render for {app} in {environment}", where=f"{layers[0]}/", fix=fix)
    findings = [finding for manifest in found for finding in _identity_faults(manifest, environment)]
    if findings:
        raise ConfigError(findings)
    objects = sorted((manifest.value for manifest in found), key=_sort_key)
    sources = {identity(manifest.value): f"{manifest.path}:{manifest.line}" if manifest.line else manifest.path for manifest in found}
    return Rendered(tuple(objects), digest_of(objects), sources)


def digest_of(objects: Sequence[Mapping[str, Any]]) -> str:
    """Return the render digest: sha256 over the canonical JSON of all objects, sorted by identity."""
    return digest.sha256(canonical.dumps(sorted(objects, key=_sort_key)))


def _sort_key(value: Mapping[str, Any]) -> tuple[str, str]:
    return identity(dict(value)), str(value.get("apiVersion", ""))


def _only_below(files: Mapping[str, bytes], layers: tuple[str, str]) -> None:
    for path in files:
        inside = any(path.startswith(layer + "/") for layer in layers)
        if not inside or ".." in PurePosixPath(path).parts or "\0" in path:
            raise UserError("SP605", "a file outside of the pinned trees cannot be rendered", where=path)


def _build(files: Mapping[str, bytes], layers: tuple[str, str], folder: str, kustomize: Kustomize, scratch: Path) -> list[Manifest]:
    """Run Kustomize over the trees; plain manifests that the kustomization would silently skip are an error."""
    if folder == layers[0]:
        skipped = sorted(path for path in files if path.startswith(layers[1] + "/") and path.endswith(_MANIFESTS))
        if skipped:
            base = "../" * (len(PurePosixPath(layers[1]).parts)) + layers[0]
            fix = f"add {layers[1]}/kustomization.yaml with `resources: [{base}]` and these files as resources or patches"
            what = f"{layers[0]}/ is a kustomization, so manifests next to it in {layers[1]}/ would be ignored"
            raise ConfigError([Finding("SP606", what, path, fix=fix) for path in skipped])
    for path, data in files.items():
        target = scratch / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    built = manifests.load(kustomize.build(scratch, folder), f"{folder} (rendered by Kustomize)")
    found: dict[str, Manifest] = {}
    for manifest in built:
        _add(found, Manifest(manifest.value, f"{folder}/", 0))
    return list(found.values())


def _layered(files: Mapping[str, bytes], layers: tuple[str, str]) -> list[Manifest]:
    """Read plain manifests; an object of the environment replaces the application's whole object of the same kind and name."""
    result: dict[str, Manifest] = {}
    findings: list[Finding] = []
    for layer in layers:
        own: dict[str, Manifest] = {}
        for path in sorted(files):
            if path.startswith(layer + "/") and path.endswith(_MANIFESTS):
                try:
                    for manifest in manifests.load(files[path], path):
                        _add(own, manifest)
                except ConfigError as error:
                    findings += error.findings
        result.update(own)
    if findings:
        raise ConfigError(findings)
    return list(result.values())


def _add(found: dict[str, Manifest], manifest: Manifest) -> None:
    """Take an object in, unless its layer already has one of that name.

    Raises:
        ConfigError: it has (SP607).
    """
    name = identity(manifest.value)
    first = found.setdefault(name, manifest)
    if first is not manifest:
        what = f"{name} is already defined in {first.path}" + (f":{first.line}" if first.line else "")
        raise ConfigError(
            [Finding("SP607", what, manifest.path, manifest.line, 1 if manifest.line else 0, fix="rename or remove one of them")]
        )


def _identity_faults(manifest: Manifest, environment: str) -> list[Finding]:
    meta = manifest.value["metadata"]
    name, namespace = meta["name"], meta.get("namespace")
    column = 1 if manifest.line else 0
    place = (manifest.path, manifest.line, column)
    found = []
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        what = f"{identity(manifest.value)}: `metadata.name` is no Kubernetes name"
        found.append(Finding("SP603", what, *place, fix="lower-case letters, digits, dashes and dots"))
    if namespace is not None and namespace != environment:
        what = f"{identity(manifest.value)}: `metadata.namespace` is {namespace!r}, but the environment is `{environment}`"
        found.append(Finding("SP608", what, *place, fix="remove the line: an environment is one namespace"))
    return found
