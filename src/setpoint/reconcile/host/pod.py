"""A pod template on the host: one container, what it mounts, may use and is told; called by the readers of Deployments and Jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from setpoint.reconcile.host import resources, variables, volumes
from setpoint.reconcile.host.fields import MISSING, UNSUPPORTED, Fields, Report
from setpoint.reconcile.host.probes import Port, http_get, probe
from setpoint.reconcile.host.sources import Sources
from setpoint.reconcile.host.volumes import Volume
from setpoint.reconcile.model import Container, PreStop, SecretKey

NO_PORT: Final = Port(0, "")
_HOST_ALWAYS: Final = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "setHostnameAsFQDN", "stdin", "stdinOnce", "tty")
"""Switches that Kubernetes leaves off: written as off they say nothing."""


@dataclass(frozen=True, slots=True)
class Pod:
    """What the readers of workloads need of a pod template."""

    labels: dict[str, str]
    container: Container
    port: Port
    grace_s: float
    restart_policy: str


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the parts of a pod are read with."""

    sources: Sources
    meta: Mapping[str, Mapping[str, str]]
    """`labels` and `annotations` of the template"""
    mounted: Mapping[str, Volume]
    serves: bool
    """A Deployment's container listens; that of a Job does not."""


def read(template: Fields, sources: Sources, restarts: tuple[str, ...], *, serves: bool) -> Pod:
    """Read `spec.template`; restarts are the restart policies that the workload can have, its default first."""
    meta = template.mapping("metadata")
    about = {"labels": meta.labels("labels"), "annotations": meta.labels("annotations", values_free=True)}
    meta.close()
    pod = template.mapping("spec")
    template.close()
    grace = pod.number("terminationGracePeriodSeconds", 30, 0, 3600)
    policy = pod.text("restartPolicy", restarts[0])
    if policy not in restarts:
        pod.bad("restartPolicy", f"may only be {' or '.join(restarts)} here, not `{policy[:60]}`", f"write {restarts[0]}", UNSUPPORTED)
    pod.without_effect("dnsPolicy", "ClusterFirst")
    pod.without_effect("automountServiceAccountToken", False)
    pod.without_effect("enableServiceLinks", False)
    for name in _HOST_ALWAYS[:5]:
        pod.without_effect(name, False)
    resources.pod_security(pod)
    reading = _Reading(sources, about, volumes.volumes(pod, sources), serves)
    containers = pod.entries("containers")
    pod.close()
    if len(containers) != 1:
        what = f"must hold exactly one container on the host, not {len(containers)}"
        pod.bad("containers", what, "split them into workloads of their own", UNSUPPORTED)
    first = containers[0] if containers else Fields({"name": "-", "image": "-"}, pod.at("containers[0]"), Report({}, {}))
    container, port = _container(first, reading)
    return Pod(dict(about["labels"]), container, port, float(grace), policy)


def _container(fields: Fields, reading: _Reading) -> tuple[Container, Port]:
    port = _port(fields) if reading.serves else NO_PORT
    fields.without_effect("imagePullPolicy", "IfNotPresent", "Always")
    fields.without_effect("terminationMessagePath", "/dev/termination-log")
    fields.without_effect("terminationMessagePolicy", "File")
    for name in _HOST_ALWAYS[5:]:
        fields.without_effect(name, False)
    resources.security(fields)
    workdir = fields.text("workingDir", "")
    if workdir and not workdir.startswith("/"):
        fields.bad("workingDir", "must be an absolute path")
    mounts = volumes.mounts(fields, reading.mounted)
    found = variables.variables(fields, reading.sources, reading.meta, port.number)
    plain = {name: value for name, value in found.items() if isinstance(value, str)}
    secret = {name: value for name, value in found.items() if isinstance(value, SecretKey)}
    command, args = fields.texts("command"), fields.texts("args")
    texts = {f"{name}[{index}]": text for name, words in (("command", command), ("args", args)) for index, text in enumerate(words or ())}
    variables.refuse_secret_words(fields, {**texts, **{f"env[{name}]": text for name, text in plain.items()}}, secret)
    container = Container(
        name=fields.text("name"),
        image=fields.text("image"),
        command=command,
        args=args,
        environment=plain,
        files=mounts.files,
        port=port.number,
        readiness=probe(fields, "readinessProbe", port) if reading.serves else None,
        liveness=probe(fields, "livenessProbe", port) if reading.serves else None,
        workdir=workdir,
        startup=probe(fields, "startupProbe", port) if reading.serves else None,
        mounts=mounts.images,
        resources=resources.resources(fields),
        pre_stop=_pre_stop(fields, port) if reading.serves else None,
        scratch=mounts.scratch,
        modes=mounts.modes,
        secret_environment=secret,
        secret_files=mounts.secrets,
        sealed=reading.sources.secrets.sealed(secret, mounts.secrets),
    )
    fields.close()
    return container, port


def _port(fields: Fields) -> Port:
    """Read the one containerPort that a container has on the host."""
    ports = fields.entries("ports")
    if len(ports) != 1:
        what = f"must name exactly one containerPort on the host, not {len(ports)}"
        fields.bad("ports", what, "the process listens on $PORT; write `ports: [{containerPort: 8080}]`", UNSUPPORTED if ports else MISSING)
    found = NO_PORT
    for number, entry in enumerate(ports):
        port = Port(entry.number("containerPort", None, 1, 65_535), entry.text("name", ""))
        entry.without_effect("protocol", "TCP")
        entry.close()
        found = port if number == 0 else found
    return found


def _pre_stop(fields: Fields, port: Port) -> PreStop | None:
    """Read `lifecycle.preStop`: a pause or an HTTP GET, before the process is asked to end and within its grace."""
    lifecycle = fields.mapping("lifecycle")
    hook = lifecycle.mapping("preStop")
    present = lifecycle.has("preStop")
    lifecycle.close()
    found = None
    if hook.has("sleep"):
        pause = hook.mapping("sleep")
        found = PreStop(float(pause.number("seconds", None, 0, 3600)))
        pause.close()
    elif hook.has("httpGet"):
        path, headers = http_get(hook.mapping("httpGet"), port)
        found = PreStop(0.0, path, headers)
    elif present and not hook.has("exec"):
        hook.bad("sleep", "is missing", "write `sleep: {seconds: 5}` or `httpGet: {path: /stop, port: http}`", MISSING)
    hook.close()
    return found
