"""Plain rendering: layers, replacement, faults; and the images of what was rendered (Kustomize is held to kubectl in tests/contract)."""

from pathlib import Path
from typing import Any

import pytest

from setpoint.core.errors import ConfigError, UserError
from setpoint.promotion.model import PinnedArtifact
from setpoint.reconcile.allowed import Allowed
from setpoint.reconcile.images import substitute
from setpoint.reconcile.model import Rendered
from setpoint.reconcile.ports import ChartRelease
from setpoint.reconcile.render import Place, Renderers, digest_of, render
from setpoint.reconcile.sources.registry_charts import NoCharts

DIGEST = "sha256:" + "a" * 64
REDIS = "registry.example/redis@sha256:" + "b" * 64


class NoKustomize:
    """A Kustomize that must not be asked."""

    def version(self) -> str:
        """Fail."""
        raise AssertionError

    def build(self, root: Path, folder: str) -> bytes:
        """Fail."""
        raise AssertionError(f"{root} {folder}")


class NoHelm:
    """A Helm that must not be asked."""

    def version(self) -> str:
        """Fail."""
        raise AssertionError

    def template(self, root: Path, release: ChartRelease, *, again: bool = False) -> bytes:
        """Fail."""
        raise AssertionError(f"{root} {release} {again}")


def config_map(name: str, value: str = "1", extra: str = "") -> bytes:
    """Return a manifest."""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{extra}}}\ndata: {{a: '{value}'}}\n".encode()


def plain(files: dict[str, bytes]) -> Rendered:
    """Render without a kustomization."""
    return render(files, Place("web", "prod"), Renderers(NoKustomize(), NoHelm(), NoCharts()), Path("/nonexistent"))


def test_the_environment_replaces_whole_objects() -> None:
    """An object of the environment's folder takes the place of the application's; the rest stays; other files are no manifests."""
    rendered = plain(
        {
            "apps/web/a.yaml": config_map("one") + b"---\n" + config_map("two"),
            "apps/web/deep/b.json": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"three"}}',
            "apps/web/README.md": b"not: [yaml",
            "environments/prod/web/a.yml": config_map("two", "9", ", namespace: prod"),
        }
    )
    assert [value["metadata"]["name"] for value in rendered.objects] == ["one", "three", "two"]
    assert rendered.objects[2]["data"] == {"a": "9"}
    assert rendered.sources == {
        "ConfigMap/one": "apps/web/a.yaml:1",
        "ConfigMap/two": "environments/prod/web/a.yml:1",
        "ConfigMap/three": "apps/web/deep/b.json:1",
    }


def test_the_digest_is_of_the_objects_alone() -> None:
    """Files, order and comments do not change the digest; a value does."""
    first = plain({"apps/web/a.yaml": config_map("one"), "apps/web/b.yaml": config_map("two")})
    second = plain({"apps/web/z.yaml": b"# other\n" + config_map("two") + b"---\n" + config_map("one")})
    assert first.digest == second.digest == digest_of(tuple(reversed(first.objects)))
    assert first.digest != plain({"apps/web/a.yaml": config_map("one"), "apps/web/b.yaml": config_map("two", "2")}).digest


def test_an_object_twice_in_one_layer_is_an_error() -> None:
    """Nobody could say which one is meant."""
    with pytest.raises(ConfigError, match="SP607") as caught:
        plain({"apps/web/a.yaml": config_map("one"), "apps/web/b.yaml": b"\n" + config_map("one")})
    assert "already defined in apps/web/a.yaml:1" in caught.value.findings[0].what
    assert (caught.value.findings[0].path, caught.value.findings[0].line) == ("apps/web/b.yaml", 2)


def test_every_faulty_file_is_reported() -> None:
    """Faults of several files and layers come at once."""
    with pytest.raises(ConfigError) as caught:
        plain({"apps/web/a.yaml": b"a: [", "apps/web/b.yaml": b"- x\n", "environments/prod/web/c.yaml": b"kind: A\n"})
    assert [finding.path for finding in caught.value.findings] == ["apps/web/a.yaml", "apps/web/b.yaml", "environments/prod/web/c.yaml"]


def test_namespaces_and_names() -> None:
    """An environment is one namespace, and names are Kubernetes names."""
    with pytest.raises(ConfigError) as caught:
        plain({"apps/web/a.yaml": config_map("one", extra=", namespace: other") + b"---\n" + config_map("../x")})
    assert [finding.code for finding in caught.value.findings] == ["SP608", "SP603"]
    assert (caught.value.findings[1].line, caught.value.findings[1].column) == (6, 1)


def test_nothing_to_render_is_an_error() -> None:
    """An empty render would mean that everything is to be deleted."""
    for files in ({}, {"apps/web/README.md": b"x"}, {"apps/web/a.yaml": b"# empty\n"}):
        with pytest.raises(UserError, match="SP604"):
            plain(files)


@pytest.mark.parametrize("path", ["apps/other/a.yaml", "apps/web/../other/a.yaml", "/etc/passwd", "apps/webber/a.yaml", "setpoint.yaml"])
def test_only_the_pinned_trees_are_read(path: str) -> None:
    """A path outside of the two trees is refused, however it is written."""
    with pytest.raises(UserError, match="SP605"):
        plain({path: config_map("one")})


def deployment(*images: object) -> dict[str, Any]:
    """Return a Deployment with these images."""
    containers = [{"name": f"c{index}", "image": image} for index, image in enumerate(images)]
    spec = {"template": {"spec": {"containers": containers}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def test_images_move_by_digest_only() -> None:
    """An artifact's bare name gets its pinned digest, a listed outside image stays, and the given objects are left alone."""
    given = deployment("web", REDIS)
    (found,) = substitute([given], {"web": PinnedArtifact("hello/web", DIGEST)}, Allowed((REDIS,)))
    images = [container["image"] for container in found["spec"]["template"]["spec"]["containers"]]
    assert images == [f"hello/web@{DIGEST}", REDIS]
    assert given == deployment("web", REDIS)


def test_an_artifact_that_is_a_file_is_mounted_by_digest_and_never_run() -> None:
    """A volume's image reference is substituted like a container's image; a file as a container's image is an error with the way out."""
    artifacts = {"web": PinnedArtifact("hello/web", DIGEST), "model": PinnedArtifact("hello/model", DIGEST)}
    given: dict[str, Any] = deployment("web")
    given["spec"]["template"]["spec"]["volumes"] = [{"name": "m", "image": {"reference": "model"}}, {"name": "c", "configMap": {}}]
    (found,) = substitute([given], artifacts, Allowed(), files=["model"])
    assert found["spec"]["template"]["spec"]["volumes"][0] == {"name": "m", "image": {"reference": f"hello/model@{DIGEST}"}}
    with pytest.raises(ConfigError) as caught:
        substitute([deployment("model")], artifacts, Allowed(), files=["model"])
    assert "cannot be run" in caught.value.findings[0].what
    given["spec"]["template"]["spec"]["volumes"][0]["image"]["reference"] = "other"
    with pytest.raises(ConfigError) as caught:
        substitute([given], artifacts, Allowed(), files=["model"])
    assert "`spec.template.spec.volumes[0].image.reference` is 'other'" in caught.value.findings[0].what


def test_every_other_image_is_refused_with_a_way_out() -> None:
    """Tags, unlisted digests and missing images are all reported, each with what to write."""
    others = ["web:latest", "registry.example/redis:7", "nginx@sha256:" + "c" * 64, "postgres:16", None, 5]
    job = {"kind": "CronJob", "metadata": {"name": "j"}, "spec": {"jobTemplate": {"spec": {"initContainers": [{"image": "x"}]}}}}
    with pytest.raises(ConfigError) as caught:
        substitute(
            [deployment(*others), job],
            {"web": PinnedArtifact("hello/web", DIGEST)},
            Allowed((REDIS,)),
            {"Deployment/web": "apps/web/a.yaml:3"},
        )
    findings = caught.value.findings
    assert len(findings) == 7
    assert {finding.code for finding in findings} == {"SP621"}
    assert findings[0].path == "apps/web/a.yaml:3"
    assert "`spec.template.spec.containers[0].image` is 'web:latest'" in findings[0].what
    assert findings[0].fix.startswith("write `image: web`")
    assert findings[1].fix == f"write the digest that is listed: {REDIS}"
    assert findings[2].fix.startswith("add it to `images:`")
    assert "name it by digest" in findings[3].fix
    assert "jobTemplate.spec.initContainers[0].image" in findings[6].what
