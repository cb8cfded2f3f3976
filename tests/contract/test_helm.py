"""Stock Helm in its sandbox: it renders what is pinned and nothing else, says where a template is wrong, and is bounded."""

import gzip
import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.helm import HelmBinary, explain
from setpoint.adapters.kustomize import KustomizeBinary
from setpoint.adapters.renderer_process import Bounds
from setpoint.core.errors import ConfigError, UserError, WorldError
from setpoint.reconcile.model import Rendered
from setpoint.reconcile.ports import ChartRelease
from setpoint.reconcile.render import Place, Renderers, render
from setpoint.reconcile.sources import chart_output
from setpoint.reconcile.sources.registry_charts import NoCharts
from setpoint.reconcile.subset import to_host
from stock_helm import helm, stock_helm

pytestmark = pytest.mark.sandbox

CHART: dict[str, bytes] = {
    "apps/web/Chart.yaml": b"apiVersion: v2\nname: web\nversion: 0.1.0\nappVersion: '7'\n",
    "apps/web/values.yaml": b"color: red\nsize: 1\n",
    "apps/web/templates/_help.tpl": b'{{- define "web.name" }}{{ .Release.Name }}-{{ .Release.Namespace }}{{ end }}',
    "apps/web/templates/config.yaml": b"""apiVersion: v1
kind: ConfigMap
metadata: {name: {{ include "web.name" . }}}
data: {color: {{ .Values.color }}, size: "{{ .Values.size }}", version: "{{ .Chart.AppVersion }}"}
""",
}


def template(text: str) -> dict[str, bytes]:
    """Return the chart with one more template."""
    return {**CHART, "apps/web/templates/more.yaml": text.encode()}


@pytest.fixture
def rendered(tmp_path: Path) -> Any:
    """Return what renders files with stock Helm."""
    program = helm()

    def run(files: Mapping[str, bytes], includes: tuple[str, ...] = ()) -> Rendered:
        scratch = tmp_path / str(time.monotonic_ns())
        scratch.mkdir()
        return render(files, Place("web", "prod"), Renderers(KustomizeBinary(), program, NoCharts()), scratch, includes)

    return run


def one(found: Rendered) -> dict[str, Any]:
    """Return the only object."""
    (value,) = found.objects
    return value


def refused(rendered: Any, files: Mapping[str, bytes]) -> UserError:
    """Return why a render is refused."""
    with pytest.raises(UserError) as caught:
        rendered(files)
    return caught.value


def test_a_chart_is_rendered_with_the_environments_values(rendered: Any) -> None:
    """The release is the application, the namespace the environment, its values.yaml lies over the chart's; the place is the template."""
    found = rendered({**CHART, "environments/prod/web/values.yaml": b"color: blue\n"})
    assert one(found)["metadata"]["name"] == "web-prod"
    assert one(found)["data"] == {"color": "blue", "size": "1", "version": "7"}
    assert found.sources == {"ConfigMap/web-prod": "apps/web/templates/config.yaml"}
    assert rendered(CHART).digest != found.digest
    assert rendered({**CHART, "environments/prod/web/values.yaml": b"color: blue\n"}).digest == found.digest


def test_values_files_are_taken_in_their_order(rendered: Any) -> None:
    """What helm.yaml lists is taken, the application's before the environment's, later over earlier, also with odd names."""
    own = b"apiVersion: setpoint.dev/v1alpha1\nkind: Helm\n"
    found = rendered(
        {
            **CHART,
            "apps/web/helm.yaml": own + b"values: [common.yaml]\n",
            "apps/web/common.yaml": b"color: green\nsize: 2\n",
            "environments/prod/web/helm.yaml": own + b"values: ['a,b.yaml', /environments/prod/web/last.yaml]\n",
            "environments/prod/web/a,b.yaml": b"color: black\nsize: 3\n",
            "environments/prod/web/last.yaml": b"color: white\n",
            "environments/prod/web/values.yaml": b"color: never\n",
        }
    )
    assert one(found)["data"] == {"color": "white", "size": "3", "version": "7"}


def test_a_chart_from_an_included_folder(rendered: Any) -> None:
    """The chart may lie in another pinned folder; plain manifests beside the values join its objects and replace those of their name."""
    files = {path.replace("apps/web/", "charts/base/"): data for path, data in CHART.items()}
    files |= {
        "apps/web/helm.yaml": b"apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nchart: ../../charts/base\n",
        "apps/web/values.yaml": b"color: app\n",
        "apps/web/extra.yaml": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n",
        "environments/prod/web/own.yaml": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-prod}\ndata: {mine: '1'}\n",
    }
    found = rendered(files, ("charts/base",))
    assert found.sources == {"ConfigMap/extra": "apps/web/extra.yaml:1", "ConfigMap/web-prod": "environments/prod/web/own.yaml:1"}
    assert [value.get("data") for value in found.objects] == [None, {"mine": "1"}]
    del files["environments/prod/web/own.yaml"]
    assert rendered(files, ("charts/base",)).objects[1]["data"]["color"] == "app"


def test_what_is_vendored_is_used_and_what_is_not_is_an_error_at_its_line(rendered: Any) -> None:
    """A dependency lies in charts/, as a folder or an archive; else the line of Chart.yaml and the command to run are named."""
    needs = CHART["apps/web/Chart.yaml"] + b"dependencies:\n- {name: db, version: 1.0.0, repository: 'https://charts.example.com'}\n"
    lacking = {**CHART, "apps/web/Chart.yaml": needs}
    error = refused(rendered, lacking)
    assert isinstance(error, ConfigError)
    assert (error.findings[0].code, error.findings[0].place) == ("SP615", "apps/web/Chart.yaml:6:10")
    assert "helm dependency build apps/web" in error.findings[0].fix
    whole = {
        **lacking,
        "apps/web/charts/db/Chart.yaml": b"apiVersion: v2\nname: db\nversion: 1.0.0\n",
        "apps/web/charts/db/templates/a.yaml": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: db}\ndata: {of: {{ .Chart.Name }}}\n",
    }
    assert rendered(whole).sources["ConfigMap/db"] == "apps/web/charts/db/templates/a.yaml"


def test_hooks_and_crds_are_kept_and_tests_are_not(rendered: Any) -> None:
    """A hook keeps its annotation, and the host says that it has none; a CRD of the chart is rendered; a test of Helm is no part of it."""
    hook = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {}\n  annotations: {{helm.sh/hook: {}}}\n"
    crd = b"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: shops.example.com}\n"
    files = {**template(hook.format("before", "pre-install")), "apps/web/templates/tests/t.yaml": hook.format("t", "test").encode()}
    found = rendered({**files, "apps/web/crds/shop.yaml": crd})
    assert set(found.sources) == {"ConfigMap/before", "ConfigMap/web-prod", "CustomResourceDefinition/shops.example.com"}
    with pytest.raises(ConfigError, match=r"helm\.sh/hook") as caught:
        to_host(rendered(files).objects, "web", "prod", found.sources)
    assert caught.value.findings[0].code == "SP622"
    assert "Job" in caught.value.findings[0].fix


@pytest.mark.parametrize(
    ("text", "code", "place", "word"),
    [
        ("{{ .Values.missing.key }}", "SP614", "apps/web/templates/more.yaml:1:11", "nil pointer"),
        ("a: b\n{{ end }}", "SP614", "apps/web/templates/more.yaml:2", "unexpected"),
        ('{{ fail "say why" }}', "SP614", "apps/web/templates/more.yaml:1:4", "say why"),
        ('{{ include "no.such" . }}', "SP614", "apps/web/templates/more.yaml:1:4", "no.such"),
        ("kind: [", "SP614", "apps/web/", "more.yaml"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: '1', a: '2'}\n", "SP602", "apps/web/templates/more.yaml", "`a`"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-prod}\n", "SP607", "apps/web/templates/more.yaml", "already defined"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: other}\n", "SP608", "apps/web/templates/more.yaml", "other"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ randAlphaNum 9 | quote }}}\n", "SP616",
         "apps/web/templates/more.yaml", "another one"),
        ('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ now | date "15:04:05" | quote }}}\n', "SP616",
         "apps/web/templates/more.yaml", "another one"),
        ('{{- define "a" }}{{ include "b" . }}{{ end }}{{ define "b" }}{{ include "a" . }}{{ end }}{{ include "a" . }}', "SP614",
         "apps/web/templates/more.yaml:1", "nested"),
    ],
)  # fmt: skip
def test_a_faulty_template_is_one_error_at_its_place(rendered: Any, text: str, code: str, place: str, word: str) -> None:
    """Whatever is wrong with a template, the error names the file, what happened and a way out, and no path of the sandbox."""
    error = refused(rendered, template(text))
    shown = error.findings[0] if isinstance(error, ConfigError) else error
    assert shown.code == code
    assert (shown.place if hasattr(shown, "place") else error.where).startswith(place)
    assert word in shown.what
    assert shown.fix
    assert "/work" not in error.render()


def test_a_chart_without_chance_is_not_rendered_twice(rendered: Any) -> None:
    """Words that only look like functions of chance cost a second render, and no error when the result is the same."""
    assert one(rendered({**CHART, "apps/web/templates/_x.tpl": b"{{/* call it now */}}"}))["data"]["color"] == "red"


def test_chance_is_looked_for_where_it_can_be(rendered: Any) -> None:
    """Actions of templates, values and other files count, those of vendored archives too; prose does not."""
    assert not chart_output.may_vary({**CHART, "apps/web/README.md": b"{{ now }}", "apps/web/templates/NOTES.txt": b"{{ now }} now"})
    assert not chart_output.may_vary({"a/values.yaml": b"now: {a: randAlphaNum}", "a/templates/b.yaml": b"{{ .Values.nowhere }} now"})
    assert chart_output.may_vary({"a/values.yaml": b'a: "{{ dict "}" 1 | now }}"'})
    dependency = _archive({"db/Chart.yaml": b"apiVersion: v2\nname: db\nversion: 1.0.0\n", "db/templates/a.yaml": CHANCE})
    needs = CHART["apps/web/Chart.yaml"] + b"dependencies:\n- {name: db, version: 1.0.0, repository: 'https://charts.example.com'}\n"
    error = refused(rendered, {**CHART, "apps/web/Chart.yaml": needs, "apps/web/charts/db-1.0.0.tgz": dependency})
    assert isinstance(error, ConfigError)
    assert (error.findings[0].code, error.findings[0].path) == ("SP616", "apps/web/charts/db/templates/a.yaml")
    for odd in (b"no archive", gzip.compress(b"x" * 99)[:-9], _archive({"db/charts/x.tgz": b""})):
        assert chart_output.may_vary({"a/charts/db.tgz": odd})


CHANCE = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: db}\ndata: {a: {{ randAlphaNum 9 | quote }}}\n"


def _archive(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def test_a_manifest_that_is_called_like_our_file_is_a_manifest(rendered: Any) -> None:
    """`helm.yaml` of another tool stays what it was: an object among the plain manifests."""
    found = rendered({"apps/web/helm.yaml": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: helm}\n"})
    assert found.sources == {"ConfigMap/helm": "apps/web/helm.yaml:1"}


@pytest.mark.parametrize(
    ("files", "code", "word"),
    [
        ({"apps/web/helm.yaml": b"apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nchart: ../../charts/none\n"}, "SP617", "charts/none"),
        ({"apps/web/helm.yaml": b"apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nchart: ../../../etc\n"}, "SP617", "no chart"),
        ({"apps/web/helm.yaml": b"apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nchart: oci://charts/web:1\n"}, "SP617", "digest"),
        ({"apps/web/helm.yaml": b"apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nchart: https://example.com/x.tgz\n"}, "SP617", "fetched"),
        ({**CHART, "apps/web/helm.yaml": b"apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nvalues: [nope.yaml]\n"}, "SP617", "nope.yaml"),
        ({**CHART, "apps/web/helm.yaml": b"apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nvalue: [a]\n"}, "SP013", "value"),
        ({**CHART, "environments/prod/web/values.yaml": b"a: 1\na: 2\n"}, "SP602", "`a`"),
        ({**CHART, "environments/prod/web/values.yaml": b"- a\n"}, "SP603", "mapping"),
        ({**CHART, "environments/prod/web/values.yaml": b"a: ENC[x]\nsops: {mac: x}\n"}, "SP618", "sealed"),
        ({**CHART, "environments/prod/web/kustomization.yaml": b"resources: [x]\n"}, "SP606", "kustomization"),
        ({**CHART, "environments/prod/web/other.yaml": b"color: blue\n"}, "SP603", "apiVersion"),
    ],
)  # fmt: skip
def test_faulty_files_around_a_chart(rendered: Any, files: dict[str, bytes], code: str, word: str) -> None:
    """A chart that is not there, a key that is not known, values that Helm would misread in silence: one finding with its place."""
    error = refused(rendered, files)
    assert isinstance(error, ConfigError)
    assert error.findings[0].code == code
    assert word in error.findings[0].what
    assert error.findings[0].fix


def test_a_chart_is_told_what_is_pinned_of_kubernetes(rendered: Any) -> None:
    """Version and kinds of the cluster come from helm.yaml, never from a cluster; `lookup` finds nothing."""
    files = {
        **template(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: told}\ndata:\n  version: {{ .Capabilities.KubeVersion.Version }}\n"
            '  route: "{{ .Capabilities.APIVersions.Has "example.com/v1/Shop" }}"\n  seen: "{{ lookup "v1" "Secret" "prod" "a" }}"\n'
        )
    }
    assert next(v for v in rendered(files).objects if v["metadata"]["name"] == "told")["data"] == {
        "version": "v1.34.0",
        "route": "false",
        "seen": "map[]",
    }
    files["apps/web/helm.yaml"] = (
        b"apiVersion: setpoint.dev/v1alpha1\nkind: Helm\nkubeVersion: 1.31.2\napiVersions: [example.com/v1/Shop]\n"
    )
    assert next(v for v in rendered(files).objects if v["metadata"]["name"] == "told")["data"] == {
        "version": "v1.31.2",
        "route": "true",
        "seen": "map[]",
    }


def test_nothing_of_the_machine_is_seen(rendered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither files nor the environment nor the network of the machine reach a template."""
    monkeypatch.setenv("SETPOINT_TEST_WORD", "seen")
    files = template('# {{ .Files.Get "/etc/passwd" }}{{ .Files.Get "../../../etc/passwd" }}\n')
    assert set(rendered(files).sources) == {"ConfigMap/web-prod"}
    schema = b'{"$schema": "https://json-schema.org/draft-07/schema#", "$ref": "https://example.com/values.json"}'
    error = refused(rendered, {**CHART, "apps/web/values.schema.json": schema})
    assert error.code == "SP614"
    assert refused(rendered, template('{{ env "HOME" }}')).code == "SP614"  # fmt: skip


def test_time_memory_and_output_are_bounded(tmp_path: Path) -> None:
    """A chart that loops, one that eats memory and one that writes without end are stopped; nothing is left behind."""
    program = stock_helm()

    def refusal(text: str, bounds: Bounds) -> UserError:
        root = tmp_path / str(time.monotonic_ns())
        for path, data in template(text).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        release = ChartRelease("web", "prod", "apps/web", (), "1.34.0", (), "apps/web")
        with pytest.raises(UserError) as caught:
            HelmBinary(program, bounds).template(root, release)
        return caught.value

    begun = time.monotonic()
    loop = "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}"
    assert "1 seconds of processor time" in (error := refusal(loop, Bounds(cpu_s=1))).what
    assert error.code == "SP612"
    eater = '{{ $a := list }}{{ range until 100 }}{{ $a = append $a (repeat 50000000 "x") }}{{ end }}{{ len $a }}'  # fmt: skip
    assert "memory" in (error := refusal(eater, Bounds(memory_bytes=600 << 20))).what
    assert error.code == "SP612"
    writer = "{{ range until 100000 }}# a line that is long enough to fill whatever is given to it\n{{ end }}a: b\n"
    assert "wrote more" in refusal(writer, Bounds(output_bytes=1 << 20)).what
    assert time.monotonic() - begun < 60


def test_a_missing_or_unknown_helm_is_a_fault_of_the_world(tmp_path: Path) -> None:
    """A machine without Helm, or with one that is not known, says what to install; it is tried again later."""
    release = ChartRelease("web", "prod", "apps/web", (), "1.34.0", (), "apps/web")
    with pytest.raises(WorldError, match="not installed") as caught:
        HelmBinary(tmp_path / "missing").template(tmp_path, release)
    assert caught.value.code == "SP613"
    old = tmp_path / "helm"
    old.write_text("#!/bin/sh\necho v2.17.0\n")
    old.chmod(0o755)
    with pytest.raises(WorldError, match=r"v2\.17\.0 is not known"):
        HelmBinary(old).version()


def test_messages_hold_no_control_characters() -> None:
    """What a chart makes Helm say cannot steer a terminal."""
    release = ChartRelease("web", "prod", "apps/web", (), "1.34.0", (), "apps/web")
    error = explain("Error: execution error at (web/templates/a.yaml:3:4): \x1b[31mx\n", release)
    assert error.what == "Helm: execution error at (web/templates/a.yaml:3:4): [31mx"
    assert error.where == "apps/web/templates/a.yaml:3:5"
