"""What policies see of a render, and what the Pod Security Standards say of it beyond Kubernetes' own vectors."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.policy import CelPolicy
from setpoint.core.errors import ConfigError
from setpoint.promotion import policy_names
from setpoint.promotion.facts import policy_facts
from setpoint.promotion.model import Candidate, RenderFacts
from setpoint.promotion.pod_standard import standard_of
from setpoint.promotion.render_content import LIMIT, NAMES, RenderContent
from setpoint.reconcile.allowed import Allowed
from setpoint.reconcile.contents import contents
from setpoint.reconcile.images import substitute
from setpoint.reconcile.model import Rendered
from setpoint.reconcile.pod_security.decide import judge
from setpoint.reconcile.pod_specs import pod_specs

GATES = Path(__file__).resolve().parents[3] / "docs" / "gates.md"
ROLLOUT = Allowed(image_paths=(("Rollout.argoproj.io", ("spec.template.spec",)),), on_host=False)
KUBERNETES = Allowed(on_host=False)
BAD_CONTAINER: dict[str, Any] = {
    "name": "app",
    "image": "x@sha256:1",
    "securityContext": {"privileged": True, "capabilities": {"add": ["NET_ADMIN"]}},
    "ports": [{"containerPort": 80, "hostPort": 80}],
}
GOOD_CONTAINER: dict[str, Any] = {
    "name": "app",
    "image": "y@sha256:2",
    "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    "resources": {"limits": {"memory": "1Gi", "cpu": 1}},
    "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
    "livenessProbe": {"tcpSocket": {"port": 80}},
}
GOOD = {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}, "containers": [GOOD_CONTAINER]}
BAD = {
    "hostNetwork": True,
    "hostPID": True,
    "hostIPC": True,
    "containers": [BAD_CONTAINER],
    "initContainers": [{"name": "init", "image": "z@sha256:3"}],
    "volumes": [{"name": "disk", "hostPath": {"path": "/"}}],
}


def workload(kind: str, spec: dict[str, Any], version: str = "apps/v1", **rest: Any) -> dict[str, Any]:
    """Return a workload around a pod spec."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": {"template": {"spec": spec}, **rest}}


def rendered(*objects: dict[str, Any]) -> Rendered:
    """Return a render."""
    return Rendered(objects, "", {"Deployment/x": "apps/x/web.yaml:3"})


def test_every_fact_names_who_it_is_about() -> None:
    """A bad Deployment is in every list, by container, volume or pod; a good one is in none."""
    bad = contents([workload("Deployment", BAD, replicas=3)], KUBERNETES)
    both = ("Deployment/x/app", "Deployment/x/init")
    assert bad == RenderContent(
        kinds=("Deployment",),
        images=("x@sha256:1", "z@sha256:3"),
        replicas=3,
        pods=("Deployment/x",),
        privileged=("Deployment/x/app",),
        host_network=("Deployment/x",),
        host_pid=("Deployment/x",),
        host_ipc=("Deployment/x",),
        host_paths=("Deployment/x/disk",),
        host_ports=("Deployment/x/app",),
        capabilities=("NET_ADMIN",),
        may_be_root=both,
        may_escalate=both,
        no_seccomp=both,
        writable_root=both,
        no_memory_limit=both,
        no_cpu_limit=both,
        no_requests=both,
        no_readiness=("Deployment/x/app",),
        no_liveness=("Deployment/x/app",),
    )
    assert contents([workload("StatefulSet", GOOD)], KUBERNETES) == RenderContent(
        kinds=("StatefulSet",), images=("y@sha256:2",), replicas=1, pods=("StatefulSet/x",)
    )


def test_jobs_need_no_probes_and_count_no_replicas() -> None:
    """What ends by itself is asked for no probe; a sidecar of an init container is."""
    job = contents([workload("Job", BAD, "batch/v1")], KUBERNETES)
    assert (job.replicas, job.no_readiness, job.no_liveness) == (0, (), ())
    sidecar = {**GOOD, "initContainers": [{"name": "side", "image": "z", "restartPolicy": "Always"}]}
    assert contents([workload("DaemonSet", sidecar)], KUBERNETES).no_readiness == ("DaemonSet/x/side",)


def test_what_is_no_boolean_is_told_rather_than_passed_over() -> None:
    """A text in place of a boolean, or a scalar in place of a list, is no way around a fact or a control."""
    sly: dict[str, Any] = {"hostNetwork": "true", "containers": [{"name": "a", "securityContext": {"privileged": "yes"}}]}
    sly["containers"][0]["securityContext"]["capabilities"] = {"add": "SYS_ADMIN"}
    sly["containers"][0]["securityContext"]["runAsNonRoot"] = 1
    found = contents([workload("Deployment", sly)], KUBERNETES)
    assert (found.host_network, found.privileged, found.capabilities) == (("Deployment/x",), ("Deployment/x/a",), ("SYS_ADMIN",))
    assert found.may_be_root == ("Deployment/x/a",)
    controls = {fault.control for fault in judge(rendered(workload("Deployment", sly)), standard_of("baseline"), KUBERNETES).faults}
    assert controls == {"hostNamespaces", "privileged", "capabilities_baseline"}


def test_a_number_is_no_boolean() -> None:
    """0 is not false and false is not 0: a control that allows the one does not allow the other."""
    spec = {"hostNetwork": 0, "containers": [{"name": "a", "ports": [{"hostPort": False}]}]}
    found = judge(rendered(workload("Deployment", spec)), standard_of("baseline"), KUBERNETES).faults
    assert [fault.control for fault in found] == ["hostNamespaces", "hostPorts"]


def test_whatever_a_manifest_holds_is_judged_without_an_error() -> None:
    """Any value in place of any other, null and lists of scalars too: facts, standard and images give an answer or a finding."""
    whole = workload("Deployment", {**BAD, **GOOD, "ephemeralContainers": [BAD_CONTAINER], "containers": [BAD_CONTAINER, GOOD_CONTAINER]})
    strange: tuple[Any, ...] = (None, 5, True, "text", [], {}, [None], [5], ["x"], [[]], [{}], {"a": 1}, {"type": 5}, {"name": None})
    tried = 0
    for holder, key in places(whole):
        for value in strange:
            kept, holder[key] = holder[key], value
            contents([whole], KUBERNETES)
            judge(rendered(whole), standard_of("restricted"), KUBERNETES)
            with contextlib.suppress(ConfigError):
                substitute([whole], {}, KUBERNETES)
            holder[key] = kept
            tried += 1
    assert tried > 500


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (holder, key) of everything inside of a value, but not what names the object."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    for key in keys:
        if key not in ("apiVersion", "kind", "metadata"):
            yield value, key
            yield from places(value[key])


def test_a_render_cannot_exhaust_a_policy() -> None:
    """However many containers there are, a list holds at most 500 of them."""
    spec = {"containers": [{"name": f"c{index}", "image": "i"} for index in range(2_000)]}
    found = contents([workload("Deployment", spec)], KUBERNETES)
    assert len(found.may_be_root) == LIMIT
    engine = CelPolicy()
    facts = policy_facts(Candidate("web", "prod", {}, None, None), (), RenderFacts("", (), content=found))
    assert engine.evaluate("render.may_be_root.all(c, c.startsWith('Deployment/'))", facts).passed


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": GOOD}, "spec"),
        ({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": {"spec": GOOD}}, "template.spec"),
        (workload("DaemonSet", GOOD), "spec.template.spec"),
        (
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {"name": "x"},
                "spec": {"jobTemplate": {"spec": {"template": {"spec": GOOD}}}},
            },
            "spec.jobTemplate.spec.template.spec",
        ),
        (workload("Rollout", GOOD, "argoproj.io/v1alpha1"), "spec.template.spec"),
    ],
    ids=lambda value: str(value["kind"]) if isinstance(value, dict) else "",
)
def test_pods_are_found_in_every_kind_that_has_them(value: dict[str, Any], path: str) -> None:
    """The path is that of the pod spec, with the annotations of its template; a custom kind counts too."""
    assert [pod.path for pod in pod_specs([value])] == [path]


@pytest.mark.parametrize(
    "paths",
    [None, (), ("spec.template.spec.containers[].image",), ("spec.template.spec",), ("spec",), ("spec.template.spec.initContainers",)],
)
def test_how_images_are_declared_hides_no_pod(paths: tuple[str, ...] | None) -> None:
    """Whatever an owner says of a custom resource's images, its privileges are judged, and policies see them."""
    allowed = Allowed(image_paths=(("Rollout.argoproj.io", paths),) if paths is not None else (), on_host=False)
    value = workload("Rollout", BAD, "argoproj.io/v1alpha1")
    verdict = judge(rendered(value), standard_of("baseline"), allowed)
    assert verdict.pods == 1
    assert {"spec.template.spec.hostNetwork", "spec.template.spec.containers[0].securityContext.privileged"} <= {
        fault.field for fault in verdict.faults
    }
    found = contents([value], allowed)
    assert (found.pods, found.privileged, found.host_network) == (("Rollout/x",), ("Rollout/x/app",), ("Rollout/x",))


def test_pods_of_custom_resources_are_found_wherever_they_lie() -> None:
    """In lists, beside each other, inside of each other and at the top; a list of names is no pod, and annotations are the template's."""
    value = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "x"},
        "containers": [GOOD_CONTAINER],
        "spec": {
            "containers": [GOOD_CONTAINER],
            "jobs": [{"containers": [BAD_CONTAINER]}, {"template": {"metadata": {"annotations": {"a": "b"}}, "spec": GOOD}}],
            "watched": {"containers": ["app"]},
        },
    }
    found = list(pod_specs([value]))
    assert [pod.path for pod in found] == ["", "spec", "spec.jobs[0]", "spec.jobs[1].template.spec"]
    assert [dict(pod.annotations) for pod in found] == [{}, {}, {}, {"a": "b"}]
    assert found[3].meta_path == "spec.jobs[1].template.metadata.annotations"


def test_annotations_of_the_template_are_judged() -> None:
    """AppArmor's old annotation counts where pods get it from: the template, not the workload."""
    key = "container.apparmor.security.beta.kubernetes.io/app"
    value = workload("Deployment", GOOD)
    value["metadata"]["annotations"] = {key: "unconfined"}
    assert judge(rendered(value), standard_of("baseline"), KUBERNETES).faults == ()
    value["spec"]["template"]["metadata"] = {"annotations": {key: "unconfined"}}
    (fault,) = judge(rendered(value), standard_of("baseline"), KUBERNETES).faults
    assert fault.field == f"spec.template.metadata.annotations['{key}']"


def test_a_fault_has_object_field_place_and_fix() -> None:
    """Each field that is not allowed is told once, with where its object is written and what to write."""
    verdict = judge(rendered(workload("Deployment", BAD)), standard_of("restricted:v1.34"), KUBERNETES)
    first = verdict.faults[0]
    assert (first.control, first.object, first.field) == ("hostNamespaces", "Deployment/x", "spec.template.spec.hostNetwork")
    assert (first.found, first.fix, first.place) == ("is `true`", "remove it", "apps/x/web.yaml:3")
    fixes = {fault.field.rpartition("].")[2]: fault.fix for fault in verdict.faults}
    assert fixes["securityContext.allowPrivilegeEscalation"] == "write `allowPrivilegeEscalation: false`"
    assert fixes["securityContext.capabilities.drop"] == "write `capabilities: {drop: [ALL]}`"
    assert len({(fault.control, fault.field) for fault in verdict.faults}) == len(verdict.faults)


def test_the_host_is_not_asked_for_what_it_does_not_have() -> None:
    """On the host runtime `restricted` leaves its seccomp control out, and says so; on Kubernetes it is judged."""
    spec = {"securityContext": {"runAsNonRoot": True}, "containers": [GOOD_CONTAINER]}
    on_host = judge(rendered(workload("Deployment", spec)), standard_of("restricted"), Allowed())
    assert (on_host.faults, on_host.exempt) == ((), ("seccompProfile_restricted",))
    there = judge(rendered(workload("Deployment", spec)), standard_of("restricted"), KUBERNETES)
    assert ([fault.control for fault in there.faults], there.exempt) == (["seccompProfile_restricted"], ())
    assert judge(rendered(workload("Deployment", spec)), standard_of("baseline"), Allowed()).exempt == ()


def test_the_page_lists_what_a_policy_sees() -> None:
    """docs/gates.md names every fact of the render, and no other."""
    listed = {
        name
        for row in re.findall(r"^\| (`render\.[^|]*) \|", GATES.read_text(), re.MULTILINE)
        for name in re.findall(r"render\.(\w+)", row)
    }
    assert listed == {"digest", "objects", "losses", *NAMES}


def test_a_policy_reads_the_render_and_its_reason_names_who() -> None:
    """A false policy shows the containers it is about; a mistyped name denies with the nearest one."""
    found = contents([workload("Deployment", BAD)], KUBERNETES)
    facts = policy_facts(Candidate("web", "prod", {}, None, None), (), RenderFacts("r", (), content=found), ("Job/x: gone",))
    engine = CelPolicy()
    result = engine.evaluate("render.privileged == [] && render.losses == []", facts)
    assert not result.passed
    assert 'render.privileged = ["Deployment/x/app"]' in result.detail
    assert 'render.losses = ["Job/x: gone"]' in result.detail
    wrong = engine.evaluate("render.privilged == []", facts)
    assert not wrong.passed
    assert "there is no render.privilged, did you mean `privileged`?" in wrong.detail


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("render.images.all(i, i.contains('@'))", []),
        ("evidence.tests.failed == 0 && evidence.lint.report.x == 1", []),
        ("'render.nothing' == environment", []),
        ("candidate.trees.apps != ''", ["candidate.trees.apps"]),
        ("evidence.tests.fail == 0 || render.image == []", ["evidence.tests.fail", "render.image"]),
        ("has(render.wrong)", ["render.wrong"]),
        ("artifacts.exists(render, render.name == 'web')", []),
    ],
)
def test_names_that_no_policy_sees_are_found(expression: str, names: list[str]) -> None:
    """Names inside of texts, reports and methods are none; the offset points at the name."""
    found = policy_names.unknown(expression)
    assert [one.name for one in found] == names
    assert all(expression[one.offset :].startswith(one.name.rpartition(".")[2]) for one in found)
