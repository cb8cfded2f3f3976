"""What a render may hold: images wherever pods or declared paths hold them, and the kinds of the application's project."""

import copy
from typing import Any

import pytest

from setpoint.core.errors import ConfigError, Finding
from setpoint.promotion.config import parse_environment, parse_setpoint
from setpoint.promotion.model import PinnedArtifact
from setpoint.reconcile.allowed import Allowed, allowed_in, refuse_outside
from setpoint.reconcile.images import images_of, substitute

DIGEST = "sha256:" + "d" * 64
PINNED = {"web": PinnedArtifact("hello/web", DIGEST)}
OURS = f"hello/web@{DIGEST}"
POD = {"containers": [{"name": "a", "image": "web"}]}
FULL = {
    "initContainers": [{"name": "i", "image": "web"}],
    "containers": [{"name": "c", "image": "web"}],
    "ephemeralContainers": [{"name": "e", "image": "web"}],
    "volumes": [{"name": "v", "image": {"reference": "web"}}, {"name": "n", "emptyDir": {}}],
}
ROLLOUT = ("Rollout.argoproj.io", ("spec.template.spec",))
PROMETHEUS = ("Prometheus.monitoring.coreos.com", ("spec.image", "spec.containers", "spec.sidecars[].image"))


def manifest(kind: str, version: str, **rest: Any) -> dict[str, Any]:
    """Return an object."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **rest}


def template(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a workload around a pod spec."""
    return {"template": {"spec": spec}}


def faults(value: dict[str, Any], allowed: Allowed = Allowed()) -> list[Finding]:  # noqa: B008 - frozen
    """Return what is found against an object."""
    try:
        substitute([value], PINNED, allowed, {"Rollout/x": "apps/x/rollout.yaml:3"})
    except ConfigError as error:
        return list(error.findings)
    return []


@pytest.mark.parametrize(
    "value",
    [
        manifest("Pod", "v1", spec=FULL),
        manifest("PodTemplate", "v1", template={"spec": FULL}),
        manifest("ReplicationController", "v1", spec=template(FULL)),
        manifest("Deployment", "apps/v1", spec=template(FULL)),
        manifest("StatefulSet", "apps/v1", spec=template(FULL)),
        manifest("DaemonSet", "apps/v1", spec=template(FULL)),
        manifest("ReplicaSet", "apps/v1", spec=template(FULL)),
        manifest("Job", "batch/v1", spec=template(FULL)),
        manifest("CronJob", "batch/v1", spec={"jobTemplate": {"spec": template(FULL)}}),
    ],
    ids=lambda value: str(value["kind"]),
)
def test_every_image_of_every_kind_with_pods_moves_by_digest(value: dict[str, Any]) -> None:
    """Init, plain and ephemeral containers and image volumes are substituted in each kind, and each is refused when it is not ours."""
    (found,) = substitute([value], PINNED, Allowed())
    assert images_of(found, Allowed()) == (OURS,) * 4
    assert len(images_of(value, Allowed())) == 4
    with pytest.raises(ConfigError) as caught:
        substitute([value], {}, Allowed())
    assert [finding.code for finding in caught.value.findings] == ["SP621"] * 4


def test_a_custom_resource_that_seems_to_hold_images_is_refused_until_its_paths_are_declared() -> None:
    """The finding names object, place, path and what an owner declares; with that, the same object has its digests."""
    value = manifest("Rollout", "argoproj.io/v1alpha1", spec=template(POD))
    (finding,) = faults(value)
    assert (finding.code, finding.path) == ("SP627", "apps/x/rollout.yaml:3")
    assert "`spec.template.spec.containers[].image` looks like an image" in finding.what
    assert "imagePaths: {Rollout.argoproj.io: [spec.template.spec]}" in finding.fix
    for paths in (ROLLOUT[1], ("spec.template.spec.containers[].image",), ("spec",)):
        (found,) = substitute([value], PINNED, Allowed(image_paths=((ROLLOUT[0], paths),)))
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == OURS


def test_what_is_suggested_covers_every_image_once() -> None:
    """A pod spec stands for its containers and volumes, not for an image beside them; declared as told, every image is judged once."""
    pod = {
        "containers": [{"image": "web"}],
        "initContainers": [{"image": "web"}],
        "volumes": [{"image": {"reference": "web"}}],
        "image": "web",
    }
    spec = {**pod, "steps": [{"spec": {"containers": [{"image": "web"}]}}], "other": [{"volumes": [{"image": {"reference": "web"}}]}]}
    value = manifest("Thing", "example.com/v1", spec=spec, more={"volumes": [{"image": {"reference": "web"}}]})
    (finding,) = faults(value)
    told = finding.fix.partition("[")[2].partition("]}`")[0]
    assert told == "spec, spec.image, more.volumes[].image.reference"
    paths = tuple(told.split(", "))
    (found,) = substitute([value], PINNED, Allowed(image_paths=(("Thing.example.com", paths),)))
    assert images_of(found, Allowed(image_paths=(("Thing.example.com", paths),))) == (OURS,) * 7


@pytest.mark.parametrize(
    "spec",
    [
        {"image": "redis:7"},
        {"imageName": "postgres:16"},
        {"baseImage": "quay.io/x:1"},
        {"image": {"repository": "redis", "tag": "7"}},
        {"deep": [{"volumes": [{"image": {"reference": "x:1"}}]}]},
        {"steps": [{"image": "x:1"}]},
    ],
    ids=str,
)
def test_what_looks_like_an_image_in_a_custom_resource(spec: dict[str, Any]) -> None:
    """A text under image, imageName or ...Image, a split image and an image volume are seen; an empty declaration is the owner's word."""
    value = manifest("Thing", "example.com/v1", spec=spec)
    assert [finding.code for finding in faults(value)] == ["SP627"]
    assert faults(value, Allowed(image_paths=(("Thing.example.com", ()),))) == []
    assert [finding.code for finding in faults(value, Allowed(image_paths=(("Thing.other.com", ()),)))] == ["SP627"]


def test_a_group_that_only_looks_like_kubernetes_own_is_a_custom_one() -> None:
    """Anybody may define a CRD below k8s.io by calling it unapproved: its images have to be declared, and its kind has its group."""
    value = manifest("Deployment", "evil.k8s.io/v1", spec={"image": "redis:7"})
    assert [finding.code for finding in faults(value)] == ["SP627"]
    with pytest.raises(ConfigError, match="SP628"):
        refuse_outside([value], Allowed(project="shop", kinds=("Deployment",)), {})


def test_custom_resources_without_images_need_no_declaration() -> None:
    """A custom resource that holds nothing like an image passes, and is left as it is."""
    value = manifest("Certificate", "cert-manager.io/v1", spec={"secretName": "tls", "dnsNames": ["a"], "imagePullPolicy": "Always"})
    assert substitute([value], PINNED, Allowed()) == (value,)


def test_declared_paths_of_a_custom_resource_are_judged_like_containers() -> None:
    """Every declared image is an artifact or listed; a path that leads to neither an image nor a pod is a fault of its own."""
    spec = {"image": "prom:v2", "containers": [{"image": "web"}], "sidecars": [{"image": "web"}, {"image": "other"}]}
    value = manifest("Prometheus", "monitoring.coreos.com/v1", spec=spec)
    before = copy.deepcopy(value)
    found = faults(value, Allowed(image_paths=(PROMETHEUS,)))
    assert [finding.code for finding in found] == ["SP621", "SP621"]
    assert "`spec.image` is 'prom:v2'" in found[0].what
    assert "`spec.sidecars[1].image` is 'other'" in found[1].what
    assert value == before
    odd: Any
    for odd in ({"repository": "redis", "tag": "7"}, 5, []):
        value = manifest("Prometheus", "monitoring.coreos.com/v1", spec={"image": odd})
        assert [finding.code for finding in faults(value, Allowed(image_paths=(PROMETHEUS,)))] == ["SP627"]


def test_the_environment_declares_paths_and_nobody_else() -> None:
    """`imagePaths` is a key of environment.yaml, with kinds and paths that are told when they are mistyped."""
    head = "apiVersion: setpoint.dev/v1alpha1\nkind: Environment\ntarget: {host: {listen: '127.0.0.1:7501'}}\n"
    text = head + "imagePaths: {Rollout.argoproj.io: [spec.template.spec], Picture.example.com: []}\n"
    setpoint = parse_setpoint(b"apiVersion: setpoint.dev/v1alpha1\nkind: Setpoint\napps: {web: {}}\n").model
    allowed = allowed_in(setpoint, parse_environment(text.encode(), "e").model, "web")
    assert allowed.paths_of("Rollout.argoproj.io") == ("spec.template.spec",)
    assert allowed.paths_of("Picture.example.com") == ()
    assert allowed.paths_of("Other.example.com") is None
    for paths, word in (
        ("{Deployment: [spec]}", "is a kind of Kubernetes"),
        ("{Rollout: [spec]}", "is no kind"),
        ("{rollout.argoproj.io: [spec]}", "is no kind"),
        ("{Thing.apps: [spec]}", "is no kind"),
        ("{Rollout.argoproj.io: ['spec..image']}", "no path"),
        ("{Rollout.argoproj.io: ['$.spec']}", "no path"),
    ):
        with pytest.raises(ConfigError) as caught:
            parse_environment(f"{head}imagePaths: {paths}\n".encode(), "e")
        assert [(f.code, f.line) for f in caught.value.findings] == [("SP539", 4)], paths
        assert word in caught.value.findings[0].what


SETPOINT = """apiVersion: setpoint.dev/v1alpha1
kind: Setpoint
apps: {web: {project: shop}, job: {}, db: {}}
projects:
  shop: {kinds: [Deployment, Service, Rollout.argoproj.io]}
"""


def test_a_project_bounds_the_kinds_of_its_applications() -> None:
    """An object of another kind is refused with place, project and what an owner would change; a custom namesake is another kind."""
    environment = parse_environment(
        b"apiVersion: setpoint.dev/v1alpha1\nkind: Environment\ntarget: {host: {listen: '127.0.0.1:7501'}}\n", "e"
    ).model
    allowed = allowed_in(parse_setpoint(SETPOINT.encode()).model, environment, "web")
    fine = [manifest("Deployment", "apps/v1"), manifest("Rollout", "argoproj.io/v1")]
    refuse_outside(fine, allowed, {})
    wrong = [manifest("ClusterRole", "rbac.authorization.k8s.io/v1"), manifest("Deployment", "evil.example.com/v1")]
    with pytest.raises(ConfigError) as caught:
        refuse_outside([*fine, *wrong], allowed, {"ClusterRole/x": "apps/web/role.yaml:1"})
    first, second = caught.value.findings
    assert (first.code, first.path) == ("SP628", "apps/web/role.yaml:1")
    assert "the project `shop` may not have a ClusterRole" in first.what
    assert "adds ClusterRole to `projects: {shop: {kinds: ...}}`" in first.fix
    assert "Deployment.evil.example.com" in second.what


def test_an_application_without_a_project_has_the_default_one() -> None:
    """Without a project nothing is bounded, unless there is one called `default`."""
    environment = parse_environment(
        b"apiVersion: setpoint.dev/v1alpha1\nkind: Environment\ntarget: {host: {listen: '127.0.0.1:7501'}}\n", "e"
    ).model
    assert allowed_in(parse_setpoint(SETPOINT.encode()).model, environment, "job").kinds is None
    closed = parse_setpoint(f"{SETPOINT}  default: {{kinds: [Job]}}\n".encode()).model
    assert allowed_in(closed, environment, "job").kinds == ("Job",)
    assert allowed_in(closed, environment, "web").kinds == ("Deployment", "Service", "Rollout.argoproj.io")


@pytest.mark.parametrize(
    ("old", "new", "code", "word"),
    [
        ("project: shop", "project: shpo", "SP542", "did you mean `shop`"),
        ("[Deployment,", "[Deploymnet,", "SP539", "did you mean `Deployment`"),
        ("Rollout.argoproj.io", "Gateway.gateway.networking.k8s.io", "SP539", "did you mean `Gateway`"),
        ("Rollout.argoproj.io", "Rollout", "SP539", "with its group"),
        ("[Deployment, Service, Rollout.argoproj.io]", "[]", "SP015", "at least 1"),
    ],
)
def test_projects_and_kinds_that_do_not_exist_have_a_place(old: str, new: str, code: str, word: str) -> None:
    """A mistyped project or kind is told with the line and the nearest right one."""
    with pytest.raises(ConfigError) as caught:
        parse_setpoint(SETPOINT.replace(old, new).encode())
    finding = caught.value.findings[0]
    assert (finding.code, finding.line > 0) == (code, True)
    assert word in f"{finding.what} {finding.fix}"


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ("", ""),
        ("clusters: [prod], namespaces: [shop]", ""),
        ("clusters: ['pr*'], namespaces: ['*']", ""),
        ("clusters: [eu, 'us-*']", "the project `shop` may not run in the cluster `prod`; it may be in eu, us-*"),
        ("namespaces: ['shop-*']", "the project `shop` may not run in the namespace `shop`; it may be in shop-*"),
    ],
)
def test_a_project_bounds_where_its_applications_run(bounds: str, said: str) -> None:
    """Nothing of an application is rendered for a cluster or namespace outside; the host runtime is no cluster."""
    head = "apiVersion: setpoint.dev/v1alpha1\nkind: "
    more = f", {bounds}" if bounds else ""
    text = f"{head}Setpoint\napps: {{web: {{project: shop}}}}\nprojects: {{shop: {{kinds: [Service]{more}}}}}\n"
    setpoint = parse_setpoint(text.encode()).model
    targets = ("{kubernetes: {cluster: prod, namespace: shop, registry: r.example.com}}", '{host: {listen: "127.0.0.1:1"}}')
    for target, expected in zip(targets, (said, ""), strict=True):
        file = f"{head}Environment\ntarget: {target}\nowners: [team:sre]\n"
        allowed = allowed_in(setpoint, parse_environment(file.encode(), "environments/e/environment.yaml").model, "web")
        found = ""
        try:
            refuse_outside([manifest("Service", "v1")], allowed, {})
        except ConfigError as error:
            (one,) = error.findings
            assert one.code == "SP565"
            found = one.what
        assert found == expected


def test_a_bound_is_a_name() -> None:
    """A mistyped one would bound everything or nothing."""
    text = "apiVersion: setpoint.dev/v1alpha1\nkind: Setpoint\nprojects: {shop: {kinds: [Service], clusters: ['Prod/x']}}\n"
    with pytest.raises(ConfigError, match="SP564"):
        parse_setpoint(text.encode())
