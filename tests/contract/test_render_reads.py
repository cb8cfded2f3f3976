"""What the real programs open is what was counted: the kernel tells which files kubectl and helm read in their sandbox."""

import ctypes
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from setpoint.adapters.kustomize import KustomizeBinary
from setpoint.reconcile.ports import ChartRelease, Helm, Kustomize
from setpoint.reconcile.render import Place, Renderers, render
from setpoint.reconcile.sources.inputs import inputs_of
from setpoint.reconcile.sources.registry_charts import NoCharts
from stock_helm import helm

pytestmark = pytest.mark.sandbox

_IN_OPEN = 0x20
_IN_ISDIR = 0x4000_0000
_EVENT = struct.Struct("iIII")


class Opened:
    """Every file below a folder that is opened by anybody, as inotify(7) tells it."""

    def __init__(self, root: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._file = libc.inotify_init1(os.O_NONBLOCK)
        assert self._file >= 0
        self._folders = {
            libc.inotify_add_watch(self._file, os.fsencode(folder), _IN_OPEN): folder.relative_to(root)
            for folder in (root, *(path for path in root.rglob("*") if path.is_dir()))
        }

    def paths(self) -> set[str]:
        """Return the files opened so far, and stop looking."""
        found = set(self._events())
        os.close(self._file)
        return found

    def _events(self) -> Iterator[str]:
        while True:
            try:
                data = os.read(self._file, 1 << 20)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _cookie, length = _EVENT.unpack_from(data, at)
                name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0").decode()
                at += _EVENT.size + length
                assert watch in self._folders, "the queue overflowed"
                if name and not mask & _IN_ISDIR:
                    yield (self._folders[watch] / name).as_posix()


class Everything:
    """Stock programs that are shown all files, whatever was counted, and note what they open."""

    def __init__(self, files: Mapping[str, bytes], kustomize: Kustomize, program: Helm) -> None:
        self._files = files
        self._kustomize = kustomize
        self._helm = program
        self.opened: set[str] = set()

    def version(self) -> str:
        """Return any version."""
        return "v1"

    def build(self, root: Path, folder: str) -> bytes:
        """Build over all files."""
        watching = self._all(root)
        output = self._kustomize.build(root, folder)
        self.opened |= watching.paths()
        return output

    def template(self, root: Path, release: ChartRelease, *, again: bool = False) -> bytes:
        """Render over all files."""
        watching = self._all(root)
        output = self._helm.template(root, release, again=again)
        self.opened |= watching.paths()
        return output

    def _all(self, root: Path) -> Opened:
        for path, data in self._files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        return Opened(root)


MAP = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
DEPLOYMENT = b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {a: b}}\nspec: {replicas: 1}\n"
KUSTOMIZED: dict[str, bytes] = {
    "apps/web/kustomization.yaml": b"""resources: [web.yaml, ../web/sub]
patches: [{path: patch.yaml}, {patch: "- {op: add, path: /metadata/labels/x, value: y}", target: {kind: Deployment}}]
replacements: [{path: replace.yaml}]
configMapGenerator: [{name: settings, files: [settings.ini, key=other.txt], envs: [a.env], literals: ["unread.txt=1"]}]
transformers: [transform.yaml]
components: [part]
configurations: [names.yaml]
""",
    "apps/web/web.yaml": DEPLOYMENT,
    "apps/web/sub/kustomization.yml": b"resources: [in.yaml]\n",
    "apps/web/sub/in.yaml": MAP % b"inner",
    "apps/web/patch.yaml": b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 2}\n",
    "apps/web/replace.yaml": b"source: {kind: ConfigMap, name: inner, fieldPath: metadata.name}\n"
    b"targets: [{select: {kind: Deployment}, fieldPaths: [metadata.labels.a]}]\n",
    "apps/web/settings.ini": b"a=1\n",
    "apps/web/other.txt": b"x",
    "apps/web/a.env": b"A=1\n",
    "apps/web/transform.yaml": b"apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npath: patched.yaml\n"
    b"target: {kind: Deployment}\n",
    "apps/web/patched.yaml": b"- {op: add, path: /metadata/labels/z, value: z}\n",
    "apps/web/part/kustomization.yaml": b"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [../piece]\n",
    "apps/web/piece/kustomization.yaml": b"resources: [p.yaml]\n",
    "apps/web/piece/p.yaml": MAP % b"piece",
    "apps/web/names.yaml": b"nameReference: []\n",
    "apps/web/unread.txt": b"",
    "apps/web/README.md": b"# no\n",
    "environments/prod/web/notes.txt": b"",
    "environments/prod/web/kustomization.yaml": b"resources: [../../../apps/web]\nnamePrefix: a-\n",
}
CHART: dict[str, bytes] = {
    "apps/web/Chart.yaml": b"apiVersion: v2\nname: web\nversion: 0.1.0\n",
    "apps/web/values.yaml": b"a: 1\n",
    "apps/web/templates/a.yaml": MAP % b"{{ .Release.Name }}",
    "apps/web/templates/.hidden": b"",
    "apps/web/templates/sub/b.yaml": MAP % b"sub",
    "apps/web/files/notes.txt": b"",
    "apps/web/README.md": b"",
    "apps/web/x.swp": b"",
    "apps/web/ci/values.yaml": b"",
    "apps/web/deep/ci/kept.yaml": b"",
    "apps/web/old/one.txt": b"",
    "apps/web/old/one.md": b"",
    "apps/web/deep/build/x": b"",
    "apps/web/crds/README.txt": b"",
    "environments/prod/web/values.yaml": b"a: 2\n",
    "environments/prod/web/notes.txt": b"",
}


def _counted_and_opened(files: Mapping[str, bytes], scratch: Path) -> tuple[set[str], set[str]]:
    scratch.mkdir()
    programs = Everything(files, KustomizeBinary(), helm())
    render(files, Place("web", "prod"), Renderers(programs, programs, NoCharts()), scratch)
    values = {f".values/{index:03d}.yaml": path for index, path in enumerate(sorted(path for path in files if path.startswith("env")))}
    opened = {values.get(path, path) for path in programs.opened}
    return set(inputs_of(files, "web", "prod").paths), {path for path in opened if path in files}


def test_what_is_read_is_what_was_counted(tmp_path: Path) -> None:
    """With every pinned file in the sandbox, kubectl opens exactly the files that the render is keyed on."""
    counted, opened = _counted_and_opened(KUSTOMIZED, tmp_path / "kustomize")
    assert opened == counted
    assert counted < KUSTOMIZED.keys()


@pytest.mark.parametrize(
    "ignore",
    [
        None,
        b"*.md\n",
        b"*.sw?\n/ci/\n",
        b"build/\nold/*.txt\n",
        b"# comment\n\n  *.md  \n",
        b"/old\n",
        b"ci\n",
        b"templates/sub\n",
        b"files/\nREADME*\n",
        b"deep/ci\n",
    ],
)
def test_what_a_chart_reads_is_what_was_counted(tmp_path: Path, ignore: bytes | None) -> None:
    """With every pinned file in the sandbox, helm opens exactly the files that the render is keyed on, whatever `.helmignore` says."""
    files = CHART | ({"apps/web/.helmignore": ignore} if ignore is not None else {})
    counted, opened = _counted_and_opened(files, tmp_path / "helm")
    assert opened == counted


@pytest.mark.parametrize("ignore", [b"!README.md\n", b"[a-c]*.md\n", b"**/x\n", b"*\n!Chart.yaml\n"])
def test_an_ignore_file_that_is_not_understood_never_takes_a_file_away(tmp_path: Path, ignore: bytes) -> None:
    """Patterns that we do not read, or that take something back, leave every file to Helm: too many are counted, never too few."""
    files = CHART | {"apps/web/.helmignore": ignore}
    try:
        counted, opened = _counted_and_opened(files, tmp_path / "helm")
    except Exception:  # noqa: BLE001 - Helm refuses some of them: what counts is that it was shown the files
        counted, opened = set(inputs_of(files, "web", "prod").paths), set()
    assert opened <= counted
    assert {path for path in files if path.startswith("apps/web/") and "/." not in path.removeprefix("apps/web")} <= counted
