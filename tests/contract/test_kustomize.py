"""Kustomize in its sandbox: it renders what is pinned, sees nothing else, and its messages are in our words."""

import time
from pathlib import Path

import pytest

from setpoint.adapters.helm import HelmBinary
from setpoint.adapters.kustomize import KustomizeBinary, explain, find_kubectl
from setpoint.adapters.renderer_process import Bounds
from setpoint.core.errors import ConfigError, UserError, WorldError
from setpoint.reconcile.model import Rendered
from setpoint.reconcile.ports import Kustomize
from setpoint.reconcile.render import Place, Renderers
from setpoint.reconcile.render import render as render_with
from setpoint.reconcile.sources.registry_charts import NoCharts

pytestmark = pytest.mark.sandbox

DEPLOYMENT = b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1}\n"
BASE = {
    "apps/hello/kustomization.yaml": b"resources: [web.yaml]\nconfigMapGenerator: [{name: settings, literals: [A=1]}]\n",
    "apps/hello/web.yaml": DEPLOYMENT,
}
OVERLAY = {"environments/p/hello/kustomization.yaml": b"resources: [../../../apps/hello]\nreplicas: [{name: web, count: 3}]\n"}


@pytest.fixture(scope="module")
def kustomize() -> Kustomize:
    """The adapter under test, seen through its port."""
    return KustomizeBinary()


def render(files: dict[str, bytes], app: str, environment: str, kustomize: Kustomize, scratch: Path) -> Rendered:
    """Render with this Kustomize and nothing else."""
    return render_with(files, Place(app, environment), Renderers(kustomize, HelmBinary(Path("/nonexistent")), NoCharts()), scratch)


def write(root: Path, files: dict[str, bytes]) -> Path:
    """Lay files out below a folder."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def refused(kustomize: Kustomize, root: Path, folder: str = "apps/hello") -> UserError:
    """Return why a build is refused."""
    with pytest.raises(UserError) as caught:
        kustomize.build(root, folder)
    return caught.value


def test_an_overlay_is_built_over_its_base(kustomize: Kustomize, tmp_path: Path) -> None:
    """The environment's kustomization wins, generated names and patches come from the real program."""
    rendered = render({**BASE, **OVERLAY}, "hello", "p", kustomize, tmp_path)
    kinds = {value["kind"]: value for value in rendered.objects}
    assert kinds["Deployment"]["spec"]["replicas"] == 3
    assert kinds["ConfigMap"]["metadata"]["name"].startswith("settings-")
    assert rendered.sources["Deployment/web"] == "environments/p/hello/"


def test_without_an_overlay_the_base_is_built_and_the_digest_is_stable(kustomize: Kustomize, tmp_path: Path) -> None:
    """The same trees give the same digest, in another folder, too."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    assert render(BASE, "hello", "p", kustomize, first).digest == render(BASE, "hello", "p", kustomize, second).digest


def test_manifests_that_a_kustomization_would_skip_are_an_error(kustomize: Kustomize, tmp_path: Path) -> None:
    """Plain files of the environment next to the application's kustomization are never silently ignored."""
    with pytest.raises(ConfigError, match="SP606") as caught:
        render({**BASE, "environments/p/hello/web.yaml": DEPLOYMENT}, "hello", "p", kustomize, tmp_path)
    assert "../../../apps/hello" in caught.value.findings[0].fix


@pytest.mark.parametrize(
    ("kustomization", "word"),
    [
        (b"resources: [nope.yaml]\n", "nope.yaml"),
        (b"resources: [../../../etc]\n", "etc"),
        (b"resources: [/etc/passwd]\n", "/etc/passwd"),
        (b"resources: ['https://example.com/x.yaml']\n", "example.com"),
        (b"resources: ['https://example.com/x.git//base?ref=main']\n", "example.com"),
        (b"resourcez: [web.yaml]\n", "resourcez"),
        (b"helmCharts: [{name: x, repo: 'https://example.com'}]\n", "helm"),
        (b"generators: [plugin.yaml]\n", "plugin.yaml"),
        (b"configMapGenerator: [{name: a, files: [/proc/self/environ]}]\n", "/proc/self/environ"),
        (b"resources: [web.yaml\n", "yaml"),
    ],
)
def test_what_lies_outside_is_not_reached(kustomize: Kustomize, tmp_path: Path, kustomization: bytes, word: str) -> None:
    """Missing files, files of the host, remote resources, charts and plugins fail with a message that shows no path of the sandbox."""
    error = refused(kustomize, write(tmp_path, {**BASE, "apps/hello/kustomization.yaml": kustomization}))
    assert error.code == "SP611"
    assert word in error.what
    assert "/work" not in error.what
    assert str(tmp_path) not in error.render()
    assert error.fix


def test_a_link_out_of_the_trees_leads_nowhere(kustomize: Kustomize, tmp_path: Path) -> None:
    """A symbolic link to a file of the host has no target in the sandbox."""
    outside = tmp_path / "secret.yaml"
    outside.write_bytes(DEPLOYMENT)
    root = write(tmp_path / "root", BASE)
    (root / "apps/hello/web.yaml").unlink()
    (root / "apps/hello/web.yaml").symlink_to(outside)
    assert refused(kustomize, root).code == "SP611"


def test_folders_that_leave_the_root_are_refused_without_running(tmp_path: Path) -> None:
    """A folder that looks like an option or a way out is an error before any process starts."""
    kustomize = KustomizeBinary(tmp_path / "missing")
    for folder in ("../x", "/etc", "--enable-helm"):
        assert "outside" in refused(kustomize, tmp_path, folder).what


def test_output_and_time_are_bounded(tmp_path: Path) -> None:
    """Too much output ends the process at once; when a busy machine does not let it end, that is no fault of the files."""
    root = write(tmp_path, BASE)
    assert refused(KustomizeBinary(bounds=Bounds(output_bytes=10)), root).code == "SP612"
    begun = time.monotonic()
    with pytest.raises(WorldError, match="no chance to finish"):
        KustomizeBinary(bounds=Bounds(wall_s=0.001)).build(root, "apps/hello")
    assert time.monotonic() - begun < 10


def test_a_missing_program_is_a_fault_of_the_world(tmp_path: Path) -> None:
    """A machine without kubectl says what to install, and a retry may help."""
    with pytest.raises(WorldError, match="SP613"):
        KustomizeBinary(tmp_path / "missing").build(write(tmp_path, BASE), "apps/hello")


def test_messages_hold_no_control_characters() -> None:
    """A file name cannot steer the terminal of who reads the error."""
    what, fix = explain("error: open /work/apps/\x1b[31mx: no such file or directory\n")
    assert what == "Kustomize: open apps/ [31mx: no such file or directory"
    assert "pinned trees" in fix


def test_kubectl_comes_from_its_wheel() -> None:
    """The program that is used exists."""
    program = find_kubectl()
    assert program is not None
    assert program.is_file()
