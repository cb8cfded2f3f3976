"""Helm as it is installed on the machine, run in a sandbox that holds only the chart and the values it was given.

Fills reconcile.ports.Helm. No network, no plugins, no repositories, no cluster: `lookup` finds nothing, a dependency that is not vendored
or a remote schema fails here, with Helm's message in our words and the template it speaks of.
"""

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from setpoint.adapters import renderer_process
from setpoint.adapters.program_version import version_of
from setpoint.adapters.renderer_process import NOT_THERE, ROOT, Bounds, RendererProcess
from setpoint.core.errors import UserError, WorldError
from setpoint.reconcile.ports import ChartRelease

REFUSED: Final = "SP614"
_MEND: Final = "make the chart or its values smaller; look for a template that calls itself or a long `range`"
_VERSION: Final = ("version", "--template={{.Version}}")
_KNOWN: Final = re.compile(r"v(3\.(1[4-9]|[2-9][0-9])|4\.[0-9]+)\.")
"""Versions whose `template` takes these options and means the same by them."""
_INSTALL: Final = "install Helm 3.14 or newer: https://helm.sh/docs/intro/install"
_VALUES: Final = ".values"
"""Where values files lie inside, under names without commas or quotes: Helm splits the option at commas."""
_HOMES: Final = {
    "HELM_CACHE_HOME": "/tmp/helm/cache",  # noqa: S108 - inside the sandbox
    "HELM_CONFIG_HOME": "/tmp/helm/config",  # noqa: S108
    "HELM_DATA_HOME": "/tmp/helm/data",  # noqa: S108
    "HELM_PLUGINS": "/nonexistent",
    "HELM_REGISTRY_CONFIG": "/nonexistent",
    "HELM_REPOSITORY_CONFIG": "/nonexistent",
}
_PLACE: Final = re.compile(r"[\w.-]+/(?P<path>(?:charts/[^:\s]+/)*templates/[^:\s)]+):(?P<line>\d+)(?::(?P<column>\d+))?")


def find_helm() -> Path | None:
    """Return the system's Helm, if there is one."""
    found = shutil.which("helm")
    return Path(found).resolve() if found else None


class HelmBinary:
    """Runs `helm template`."""

    def __init__(self, program: Path | None = None, bounds: Bounds | None = None) -> None:
        self._program = program
        self._process = RendererProcess("Helm", _MEND, bounds or Bounds())

    def version(self) -> str:
        """Return the version that Helm prints.

        Raises:
            WorldError: it is missing, does not run, or is one whose output is not known to be the same (SP613).
        """
        found = version_of(self._found(), _VERSION)
        if not _KNOWN.match(found):
            raise WorldError(NOT_THERE, f"Helm {found or 'without a version'} is not known here", fix=_INSTALL, retry_after_s=60)
        return found

    def template(self, root: Path, release: ChartRelease, *, again: bool = False) -> bytes:
        """Return the YAML of a chart with its hooks and CRDs and without its tests, run with only `root` readable and no network.

        Raises:
            UserError: Helm's message with the template's place (SP614), or output, memory or time beyond the bound (SP612).
            WorldError: Helm or bubblewrap is missing, or the machine is too busy (SP613).
        """
        self.version()
        if again:
            time.sleep(1.0 - time.time() % 1.0)
        values = self._lay_out_values(root, release.values)
        argv = ["template", release.name, f"{ROOT}/{release.chart}", "--namespace", release.namespace]
        argv += ["--include-crds", "--skip-tests", "--kube-version", release.kube_version]
        argv += [part for version in release.api_versions for part in ("--api-versions", version)]
        argv += [part for name in values for part in ("--values", f"{ROOT}/{_VALUES}/{name}")]
        outcome = self._process.run(self._found(), argv, root, release.label, _HOMES)
        if outcome.status != 0:
            message = outcome.message
            for name, path in values.items():
                message = message.replace(f"{_VALUES}/{name}", path)
            raise explain(message, release)
        return outcome.output

    def _lay_out_values(self, root: Path, paths: Sequence[str]) -> dict[str, str]:
        """Return {name below `.values`: path} of the values files, in their order."""
        folder = root / _VALUES
        folder.mkdir(exist_ok=True)
        names = {f"{index:03d}.yaml": path for index, path in enumerate(paths)}
        for name, path in names.items():
            (folder / name).write_bytes((root / path).read_bytes())
        return names

    def _found(self) -> Path:
        program = self._program or find_helm()
        if program is None or not program.exists():
            raise WorldError(NOT_THERE, "this application is a Helm chart, and Helm is not installed", fix=_INSTALL, retry_after_s=60)
        return program


_HINTS: Final = (
    (re.compile(r"missing in charts/ directory"), "helm dependency build FOLDER && git add -f FOLDER/charts"),
    (re.compile(r"nil pointer evaluating"), "a value that the template reads is not set: set it in values.yaml"),
    (re.compile(r"values don't meet the specifications of the schema"), "the chart's values.schema.json says what it takes"),
    (re.compile(r"chart requires kubeVersion"), "set `kubeVersion:` in helm.yaml, or take a version of the chart for it"),
    (
        re.compile(r"no template .* associated|function .* not defined"),
        "the template comes from a chart that is not vendored, or is misspelt",
    ),
    (re.compile(r"dial tcp|lookup .* on|no such host|connection refused"), "nothing is fetched while rendering: vendor what it asks for"),
    (
        re.compile(r"error converting YAML|YAML parse error|cannot unmarshal|did not find expected|mapping values"),
        "see the YAML of that place",
    ),
)


def explain(message: str, release: ChartRelease) -> UserError:
    """Return Helm's message as an error at the template it speaks of, without paths of the sandbox and control characters."""
    text = renderer_process.plain(message).removeprefix("Error: ").replace(release.chart, release.label)
    match = _PLACE.search(text)
    where = f"{release.label}/"
    if match:
        column = f":{int(match['column']) + 1}" if match["column"] else ""
        where = f"{release.label}/{PurePosixPath(match['path'])}:{match['line']}{column}"
    fix = next((hint for pattern, hint in _HINTS if pattern.search(text)), "run `helm template` on the folder to reproduce it")
    return UserError(REFUSED, f"Helm: {text or 'failed without a message'}", where=where, fix=fix.replace("FOLDER", release.label))
