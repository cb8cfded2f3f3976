"""An application that is a chart: where the chart lies, its values in their order, and which of the pinned files Helm reads for it.

Called by `sources.inputs`; pure. Dependencies must be vendored: nothing is fetched while rendering.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from setpoint.core import yaml_nodes
from setpoint.core.documents import Document, Loc
from setpoint.core.errors import ConfigError, Finding
from setpoint.core.yaml_nodes import SyntaxFaultError
from setpoint.reconcile import manifests
from setpoint.reconcile.sources import helm_file, helm_ignore
from setpoint.reconcile.sources.ciphertext import SEALED
from setpoint.reconcile.sources.files import below
from setpoint.reconcile.sources.helm_file import KUBE_VERSION, HelmFile, oci_parts

NOT_THERE: Final = "SP617"
NOT_VENDORED: Final = "SP615"
CHART_FILE: Final = "Chart.yaml"
VALUES: Final = "values.yaml"
MANIFESTS: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class ChartRun:
    """What Helm is asked to render."""

    folder: str
    """The chart's folder, by repository path; empty for one of the registry."""
    repository: str
    digest: str
    """Of a chart of the embedded registry; both empty for a folder."""
    files: tuple[str, ...]
    """The chart's files that Helm may read, by repository path; of a folder."""
    values: tuple[str, ...]
    """Values files by repository path, later ones over earlier ones."""
    kube_version: str
    api_versions: tuple[str, ...]
    manifests: tuple[tuple[str, ...], tuple[str, ...]]
    """Plain manifests beside it, of the application's folder and of the environment's: their objects replace the chart's of that name."""

    @property
    def label(self) -> str:
        """How messages name the chart."""
        return self.folder or f"oci://{self.repository}@{self.digest}"


def is_chart(files: Mapping[str, bytes], layers: tuple[str, str]) -> bool:
    """Say whether an application is a chart."""
    return f"{layers[0]}/{CHART_FILE}" in files or bool(helm_files(files, layers))


def helm_files(files: Mapping[str, bytes], layers: Sequence[str]) -> dict[str, str]:
    """Return {layer: path of its `helm.yaml`}."""
    paths = {layer: f"{layer}/{helm_file.NAME}" for layer in layers}
    return {layer: path for layer, path in paths.items() if path in files and helm_file.is_one(files[path])}


def chart_run(files: Mapping[str, bytes], layers: tuple[str, str]) -> ChartRun:
    """Return what Helm is to render for (application's folder, environment's folder).

    Raises:
        ConfigError: every fault of `helm.yaml`, a chart or values file that is not pinned (SP617), a dependency that is not vendored
            (SP615), values that are sealed (SP618) or no mapping.
    """
    own = _parsed(files, layers)
    named = [(layer, own[layer]) for layer in reversed(layers) if layer in own and own[layer].model.chart is not None]
    chart = _resolve(named[0][0], named[0][1].model.chart or "") if named else layers[0]
    oci = oci_parts(chart)
    folder = "" if oci else chart
    findings = [] if oci else list(_chart_faults(files, folder, named[0] if named else None))
    values: list[str] = []
    for layer in layers:
        paths, faults = _values(files, layer, own.get(layer), chart=folder)
        values += paths
        findings += faults
    own_values = [f"{folder}/{VALUES}"] if folder == layers[0] else []
    findings += [finding for path in (*own_values, *values) if path in files for finding in _value_faults(files[path], path)]
    if findings:
        raise ConfigError(findings)
    models = [own[layer].model for layer in layers if layer in own]
    wanted = [model.kubeVersion for model in models if model.kubeVersion is not None]
    return ChartRun(
        folder,
        *(oci or ("", "")),
        files=tuple(_chart_files(files, folder)) if folder else (),
        values=tuple(values),
        kube_version=wanted[-1] if wanted else KUBE_VERSION,
        api_versions=tuple(sorted({version for model in models for version in model.apiVersions})),
        manifests=(_manifests(files, layers[0], {*values}, folder), _manifests(files, layers[1], {*values}, folder)),
    )


def _parsed(files: Mapping[str, bytes], layers: Sequence[str]) -> dict[str, Document[HelmFile]]:
    """Return {layer: its helm.yaml}."""
    found: dict[str, Document[HelmFile]] = {}
    findings: list[Finding] = []
    for layer, path in helm_files(files, layers).items():
        try:
            found[layer] = helm_file.parse(files[path], path)
        except ConfigError as error:
            findings += error.findings
    if findings:
        raise ConfigError(findings)
    return found


def _resolve(folder: str, text: str) -> str:
    """Return a path of helm.yaml by the repository's root; one that leaves it begins with `..`."""
    if text.startswith("oci://"):
        return text
    return posixpath.normpath(text.lstrip("/") or ".") if text.startswith("/") else posixpath.normpath(posixpath.join(folder, text))


def _chart_files(files: Mapping[str, bytes], folder: str) -> Iterator[str]:
    paths = [path.removeprefix(f"{folder}/") for path in below(files, folder)]
    ignore = files.get(f"{folder}/{helm_ignore.NAME}")
    yield from (f"{folder}/{path}" for path in helm_ignore.kept(paths, ignore))


def _chart_faults(files: Mapping[str, bytes], folder: str, named: tuple[str, Document[HelmFile]] | None) -> Iterator[Finding]:
    """Yield why a folder is no chart that can be rendered here."""
    if f"{folder}/{CHART_FILE}" in files:
        yield from _missing_dependencies(files, folder)
        return
    what = f"there is no chart in {folder}/: it has no Chart.yaml among the pinned files"
    fix = "name a folder with a Chart.yaml in `chart:`; one outside of the application's two folders is listed in its `includes:`"
    if named is None:
        yield Finding(NOT_THERE, what, f"{folder}/", fix=fix)
    else:
        yield named[1].finding(("chart",), NOT_THERE, what, fix)


def _values(files: Mapping[str, bytes], layer: str, own: Document[HelmFile] | None, *, chart: str) -> tuple[list[str], list[Finding]]:
    """Return the values files of a layer and what is wrong with them; the chart's own `values.yaml` is none of them."""
    if own is None or own.model.values is None:
        path = f"{layer}/{VALUES}"
        return ([path] if path in files and layer != chart else []), []
    found, findings = [], []
    for index, text in enumerate(own.model.values):
        path, loc = _resolve(layer, text), ("values", index)
        found.append(path)
        if path not in files:
            findings.append(_absent(own, loc, path))
    return found, findings


def _absent(own: Document[HelmFile], loc: Loc, path: str) -> Finding:
    fix = "write it from this folder, or with a leading slash from the root; outside of the two folders list its folder in `includes:`"
    return own.finding(loc, NOT_THERE, f"there is no {path} among the pinned files", fix)


def _value_faults(data: bytes, path: str) -> Iterator[Finding]:
    """Yield what Helm would take in silence: a key twice, a file that sops has sealed, something that is no mapping."""
    try:
        for value in manifests.values(data, path):
            if isinstance(value, dict) and isinstance(value.get("sops"), dict):
                what = "Helm cannot open values that sops has sealed: the objects would hold ciphertext"
                yield Finding(SEALED, what, path, fix="put the whole Secret as a manifest beside values.yaml, and seal that")
            elif value is not None and not isinstance(value, dict):
                yield Finding(manifests.BAD_OBJECT, "values are a mapping of keys to values", path, 1, 1, fix="begin with `key: value`")
    except ConfigError as error:
        yield from error.findings


def _missing_dependencies(files: Mapping[str, bytes], folder: str) -> Iterator[Finding]:
    """Yield a finding for each dependency of Chart.yaml that does not lie in charts/."""
    path = f"{folder}/{CHART_FILE}"
    try:
        source = yaml_nodes.decode(files[path], path, manifests.SYNTAX)
        roots = list(yaml_nodes.compose_all(source, manifests.SYNTAX))
    except SyntaxFaultError as fault:
        yield fault.finding
        return
    vendored = {name.removeprefix(f"{folder}/charts/").partition("/")[0] for name in files if name.startswith(f"{folder}/charts/")}
    for node in _names(roots[0]) if roots else ():
        name = node.value
        if name not in vendored and not any(one.startswith(f"{name}-") and one.endswith(".tgz") for one in vendored):
            what = f"the dependency `{name}` is not in {folder}/charts/, and nothing is fetched while rendering"
            fix = f"helm dependency build {folder} && git add -f {folder}/charts"
            yield source.finding(NOT_VENDORED, what, yaml_nodes.span(node), fix)


def _names(root: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Yield the nodes of the dependencies' names."""
    for entry in _under(root, "dependencies"):
        for item in entry.value if isinstance(entry, yaml.SequenceNode) else ():
            yield from (node for node in _under(item, "name") if isinstance(node, yaml.ScalarNode))


def _under(node: yaml.Node, key: str) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        yield from (value for name, value in node.value if name.value == key)


def _manifests(files: Mapping[str, bytes], layer: str, values: set[str], chart: str) -> tuple[str, ...]:
    """Return the plain manifests of a layer; none when the chart is the layer, for then they are the chart's."""
    if layer == chart:
        return ()
    own = {*helm_files(files, [layer]).values(), f"{layer}/{VALUES}", *values}
    inside = f"{chart}/" if chart else "\0"
    return tuple(path for path in below(files, layer) if path.endswith(MANIFESTS) and path not in own and not path.startswith(inside))
