"""Pinned files to Kubernetes objects: a chart, a kustomization, or plain files, the environment's over the application's.

Called by the reconciler and, before a promotion is decided, by promotion's Renderer port: both see the same bytes and the same digest.
A renderer sees exactly the files that `sources.inputs` named; images are left as written (`reconcile.images` substitutes them).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from setpoint.core import canonical, digest
from setpoint.core.errors import ConfigError, Finding, UserError
from setpoint.reconcile import manifests
from setpoint.reconcile.manifests import Manifest
from setpoint.reconcile.model import Rendered, identity
from setpoint.reconcile.ports import ChartRelease, ChartStore, Helm, Kustomize
from setpoint.reconcile.sources import chart_output, ciphertext
from setpoint.reconcile.sources.chart import ChartRun
from setpoint.reconcile.sources.inputs import Inputs, inputs_of

MOST_OBJECTS: Final = 5_000
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MAX_NAME: Final = 253
_CHART: Final = ".chart"
"""Where a chart of the registry lies in the scratch folder; no pinned path begins with it, for all lie in a folder."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is rendered, and for where."""

    app: str
    environment: str
    namespace: str = ""
    """Of the target; empty where it is called like the environment."""

    @property
    def where(self) -> str:
        """The namespace that the objects land in."""
        return self.namespace or self.environment


@dataclass(frozen=True, slots=True)
class Renderers:
    """The programs that render, and where charts of the registry come from."""

    kustomize: Kustomize
    helm: Helm
    charts: ChartStore


def render(files: Mapping[str, bytes], place: Place, tools: Renderers, scratch: Path, includes: Sequence[str] = ()) -> Rendered:
    """Return the objects of an application in an environment.

    files are the pinned trees by repository path: the two folders and those that the application includes; scratch is an empty folder
    for what a renderer reads.

    Raises:
        ConfigError: faulty files, with places (SP601 to SP608, SP615 to SP618).
        UserError: a renderer's own message (SP611, SP614), or nothing to render (SP604).
    """
    found = inputs_of(files, place.app, place.environment, includes)
    return attempt(files, found, lambda inputs: render_inputs(files, inputs, place, tools, scratch))


def attempt(files: Mapping[str, bytes], inputs: Inputs, run: Callable[[Inputs], Rendered]) -> Rendered:
    """Run a render of its inputs and, when Kustomize misses a file, once more with all that is pinned.

    What its kustomization names was found by following names; should one have been missed, this answer is the true one.
    """
    try:
        return run(inputs)
    except UserError as error:
        if error.code != "SP611" or len(inputs.paths) == len(files):
            raise
    return run(inputs.everything(files))


def render_inputs(files: Mapping[str, bytes], inputs: Inputs, place: Place, tools: Renderers, scratch: Path) -> Rendered:
    """Return the objects that exactly these inputs give; raises what `render` raises."""
    app = place.app
    if inputs.kind == "helm" and inputs.chart is not None:
        layers = [_chart(files, inputs.chart, place, tools, scratch), *(_plain(files, paths) for paths in inputs.chart.manifests)]
    elif inputs.kind == "kustomize":
        layers = [_kustomized(files, inputs, tools.kustomize, scratch)]
    else:
        layers = [_plain(files, [path for path in inputs.paths if path.startswith(layer + "/")]) for layer in inputs.layers]
    findings = [finding for _found, faults in layers for finding in faults]
    if findings:
        raise ConfigError(findings)
    found = list({name: manifest for objects, _faults in layers for name, manifest in objects.items()}.values())
    if not found:
        fix = f"put manifests (*.yaml, *.yml, *.json), a kustomization.yaml or a chart into apps/{app}/"
        raise UserError("SP604", f"there is nothing to render for {app} in {place.environment}", where=f"apps/{app}/", fix=fix)
    if len(found) > MOST_OBJECTS:
        fix = "make several applications of it: each is planned, rolled out and sent back as a whole"
        raise UserError("SP612", f"{len(found)} objects, more than {MOST_OBJECTS} in one application", where=f"apps/{app}/", fix=fix)
    findings = [finding for manifest in found for finding in _identity_faults(manifest, place.where)]
    findings += ciphertext.findings(found)
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


_Layer = tuple[dict[str, Manifest], list[Finding]]
"""({identity: object}, what is wrong with the files)"""


def _kustomized(files: Mapping[str, bytes], inputs: Inputs, kustomize: Kustomize, scratch: Path) -> _Layer:
    _lay_out({path: files[path] for path in inputs.paths}, scratch)
    built = manifests.load(kustomize.build(scratch, inputs.folder), f"{inputs.folder} (rendered by Kustomize)")
    return _layer(Manifest(manifest.value, f"{inputs.folder}/", 0) for manifest in built)


def _chart(files: Mapping[str, bytes], run: ChartRun, place: Place, tools: Renderers, scratch: Path) -> _Layer:
    wanted = {path: files[path] for path in (*run.files, *run.values)}
    if run.repository:
        fetched = tools.charts.chart(run.repository, run.digest)
        wanted.update({f"{_CHART}/{path}": data for path, data in fetched.items()})
    _lay_out(wanted, scratch)
    release = ChartRelease(place.app, place.where, run.folder or _CHART, run.values, run.kube_version, run.api_versions, run.label)
    output = tools.helm.template(scratch, release)
    if chart_output.may_vary(wanted):
        chart_output.refuse_varying(output, tools.helm.template(scratch, release, again=True), run.label)
    return _layer(chart_output.read(output, run.label))


def _plain(files: Mapping[str, bytes], paths: Iterable[str]) -> _Layer:
    found: list[Manifest] = []
    findings: list[Finding] = []
    for path in paths:
        try:
            found += manifests.load(files[path], path)
        except ConfigError as error:
            findings += error.findings
    objects, faults = _layer(found)
    return objects, findings + faults


def _layer(found: Iterable[Manifest]) -> _Layer:
    """Return objects by identity, with a finding for each that has been there before."""
    objects: dict[str, Manifest] = {}
    findings = []
    for manifest in found:
        name = identity(manifest.value)
        first = objects.setdefault(name, manifest)
        if first is not manifest:
            what = f"{name} is already defined in {first.path}" + (f":{first.line}" if first.line else "")
            place = (manifest.path, manifest.line, 1 if manifest.line else 0)
            findings.append(Finding("SP607", what, *place, fix="rename or remove one of them"))
    return objects, findings


def _lay_out(wanted: Mapping[str, bytes], scratch: Path) -> None:
    for path, data in wanted.items():
        target = scratch / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _identity_faults(manifest: Manifest, wanted: str) -> list[Finding]:
    meta = manifest.value["metadata"]
    name, namespace = meta["name"], meta.get("namespace")
    column = 1 if manifest.line else 0
    place = (manifest.path, manifest.line, column)
    found = []
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        what = f"{identity(manifest.value)}: `metadata.name` is no Kubernetes name"
        found.append(Finding("SP603", what, *place, fix="lower-case letters, digits, dashes and dots"))
    if namespace is not None and namespace != wanted:
        what = f"{identity(manifest.value)}: `metadata.namespace` is {namespace!r}, but the environment is `{wanted}`"
        found.append(Finding("SP608", what, *place, fix="remove the line: an environment is one namespace"))
    return found
