"""What kind of source an application is in an environment, and which of the pinned files its render reads.

Called by rendering before anything is run: the render's key is made of exactly these files, and it sees no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, Literal

from setpoint.core.errors import ConfigError, Finding
from setpoint.reconcile.sources import chart, kustomization
from setpoint.reconcile.sources.chart import MANIFESTS, ChartRun
from setpoint.reconcile.sources.files import below, refuse_outside

SKIPPED: Final = "SP606"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The source of one render."""

    kind: Literal["plain", "kustomize", "helm"]
    layers: tuple[str, str]
    """The application's folder and the environment's."""
    paths: tuple[str, ...]
    """Every pinned file that the render reads, sorted."""
    folder: str = ""
    """What Kustomize builds."""
    chart: ChartRun | None = None

    def everything(self, files: Mapping[str, bytes]) -> "Inputs":
        """Return the same source with every pinned file as its input."""
        return replace(self, paths=tuple(sorted(files)))


def inputs_of(files: Mapping[str, bytes], app: str, environment: str, includes: Sequence[str] = ()) -> Inputs:
    """Return the source of an application in an environment; includes are the other folders that are pinned with it.

    Raises:
        ConfigError: files that would be ignored (SP606), and every fault of a chart's own files.
        UserError: a file lies in none of the pinned folders (SP605).
    """
    layers = (f"apps/{app}", f"environments/{environment}/{app}")
    refuse_outside(files, (*layers, *includes))
    built = [layer for layer in layers if kustomization.is_kustomization(files, layer)]
    if chart.is_chart(files, layers):
        if built:
            what = f"{built[-1]}/ is a kustomization, and the application is a chart: one of them would be ignored"
            fix = "keep one; plain manifests beside values.yaml replace the chart's objects of the same name"
            raise ConfigError([Finding(SKIPPED, what, f"{built[-1]}/", fix=fix)])
        run = chart.chart_run(files, layers)
        paths = {*chart.helm_files(files, layers).values(), *run.files, *run.values, *run.manifests[0], *run.manifests[1]}
        return Inputs("helm", layers, tuple(sorted(paths)), chart=run)
    if built:
        _refuse_skipped(files, layers, built[-1])
        return Inputs("kustomize", layers, tuple(sorted(kustomization.reads(files, built[-1]))), folder=built[-1])
    plain = [path for layer in layers for path in below(files, layer) if path.endswith(MANIFESTS)]
    return Inputs("plain", layers, tuple(sorted(plain)))


def _refuse_skipped(files: Mapping[str, bytes], layers: tuple[str, str], folder: str) -> None:
    """Refuse plain manifests of the environment that the application's kustomization would skip in silence."""
    if folder != layers[0]:
        return
    skipped = [path for path in below(files, layers[1]) if path.endswith(MANIFESTS)]
    if skipped:
        base = "../" * (len(PurePosixPath(layers[1]).parts)) + layers[0]
        fix = f"add {layers[1]}/kustomization.yaml with `resources: [{base}]` and these files as resources or patches"
        what = f"{layers[0]}/ is a kustomization, so manifests next to it in {layers[1]}/ would be ignored"
        raise ConfigError([Finding(SKIPPED, what, path, fix=fix) for path in skipped])
