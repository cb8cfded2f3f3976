"""Input that is too much or not meant: one error each, with its place and a way out, in little time and memory."""

import base64
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from setpoint.adapters.kustomize import KustomizeBinary
from setpoint.adapters.renderer_process import Bounds
from setpoint.core.errors import ConfigError, UserError
from setpoint.reconcile.render import MOST_OBJECTS, Place, Renderers, render
from setpoint.reconcile.sources.registry_charts import NoCharts
from stock_helm import helm

pytestmark = pytest.mark.sandbox

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m%s}\ndata: {a: b}\n"
MANY = "---\n".join(MAP % number for number in range(10_000)).encode()
SEALED = b"a: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\nsops: {mac: x}\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
CHART: dict[str, bytes] = {"apps/web/Chart.yaml": b"apiVersion: v2\nname: web\nversion: 0.1.0\n"}
CASES: dict[str, tuple[dict[str, bytes], str, str, str]] = {
    "a large file": ({"apps/web/a.yaml": b"# " + b"x" * (50 << 20)}, "SP601", "apps/web/a.yaml", "16 MiB"),
    "many lines": ({"apps/web/a.yaml": b"a:\n" + b"- 1\n" * 600_000}, "SP601", "apps/web/a.yaml", "500000 lines"),
    "a bomb": ({"apps/web/a.yaml": BOMB.encode()}, "SP601", "apps/web/a.yaml", "aliases"),
    "a deep one": ({"apps/web/a.yaml": b"[" * 50_000}, "SP601", "apps/web/a.yaml", "100 levels"),
    "many objects": ({"apps/web/a.yaml": MANY}, "SP612", "apps/web/", f"10000 objects, more than {MOST_OBJECTS}"),
    "many of Kustomize": (
        {"apps/web/kustomization.yaml": b"resources: [a.yaml]\n", "apps/web/a.yaml": MANY}, "SP612", "apps/web", "5 seconds of",
    ),
    "many of a chart": (
        {**CHART, "apps/web/templates/a.yaml": b"{{ range until 10000 }}---\n" + (MAP % "{{ . }}").encode() + b"{{ end }}"},
        "SP612", "apps/web", "10000 objects",
    ),
    "a bomb in values": ({**CHART, "environments/prod/web/values.yaml": BOMB.encode()}, "SP601", "environments/prod/web", "alias"),
    "a bomb in a chart": ({**CHART, "apps/web/templates/a.yaml": BOMB.encode()}, "SP614", "apps/web", "alias"),
    "a bomb in a kustomization": ({"apps/web/kustomization.yaml": BOMB.encode()}, "SP611", "apps/web", ""),
    "a generator over a sealed file": (
        {"apps/web/kustomization.yaml": b"secretGenerator: [{name: s, files: [x.yaml]}]\n", "apps/web/x.yaml": SEALED},
        "SP618", "apps/web/", "data.x.yaml",
    ),
    "a sealed file in a ConfigMap": (
        {"apps/web/kustomization.yaml": b"configMapGenerator: [{name: s, files: [x.yaml]}]\n", "apps/web/x.yaml": SEALED},
        "SP618", "apps/web/", "data.x.yaml",
    ),
    "a template over a sealed file": (
        {
            **CHART,
            "apps/web/x.yaml": SEALED,
            "apps/web/templates/s.yaml": b"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
            b'data: {x: {{ .Files.Get "x.yaml" | b64enc }}}\n',
        },
        "SP618", "apps/web/templates/s.yaml", "data.x",
    ),
    "a sealed value in clear text": (
        {"apps/web/a.yaml": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {b: 'ENC[AES256_GCM,data:x]'}\n"},
        "SP618", "apps/web/a.yaml:1", "data.b",
    ),
}  # fmt: skip
"""name -> (files, code, where it begins, a word of what happened)"""


def refuse(files: Mapping[str, bytes], scratch: Path) -> tuple[str, str, str, str]:
    """Return (code, place, what, fix) of the one error."""
    with pytest.raises(UserError) as caught:
        render(files, Place("web", "prod"), Renderers(KustomizeBinary(bounds=Bounds(cpu_s=5)), helm(), NoCharts()), scratch)
    error = caught.value
    if isinstance(error, ConfigError):
        (finding,) = error.findings
        return finding.code, finding.place, finding.what, finding.fix
    return error.code, error.where, error.what, error.fix


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_error_in_bounded_time(name: str, tmp_path: Path) -> None:
    """Code, place, words and a way out; and no more processor time than a person would wait."""
    files, code, where, word = CASES[name]
    begun = time.process_time()
    found = refuse(files, tmp_path)
    assert time.process_time() - begun < 20
    assert found[0] == code
    assert found[1].startswith(where)
    assert word in found[2]
    assert found[3]


@pytest.mark.parametrize("name", ["a large file", "many lines", "a bomb", "many objects", "many of a chart"])
def test_it_takes_bounded_memory(name: str, tmp_path: Path) -> None:
    """A process of its own stays below 700 MiB, with what Python and the input take anyway."""
    program = "import sys; sys.path[:0] = sys.argv[1:3]\nfrom pathlib import Path\nfrom contract.test_render_bounds import CASES, refuse\n"
    program += "refuse(CASES[sys.argv[3]][0], Path(sys.argv[4]))\n"
    tests = Path(__file__).resolve().parents[1]
    argv = [sys.executable, "-c", program, str(tests), str(tests.parent / "src"), name, str(tmp_path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) < 700 << 10


def test_what_is_no_ciphertext_passes(tmp_path: Path) -> None:
    """A Secret that sops wrote as a whole, and texts that only look a little like it, are left alone."""
    whole = b"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: 'ENC[AES256_GCM,data:x]'}\nsops: {mac: x}\n"
    plain = base64.b64encode(b"ENC[none").decode()
    other = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: t}}\ndata: {{a: {plain}, b: '***', c: 1}}\n".encode()
    rendered = render(
        {"apps/web/a.yaml": whole, "apps/web/b.yaml": other},
        Place("web", "prod"),
        Renderers(KustomizeBinary(), helm(), NoCharts()),
        tmp_path,
    )
    assert set(rendered.sources) == {"Secret/s", "Secret/t"}
