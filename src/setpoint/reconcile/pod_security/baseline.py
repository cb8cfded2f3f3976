"""The controls of the level `baseline`: what lets a container out of its box; called by `decide`, pure.

Source: kubernetes.io/docs/concepts/security/pod-security-standards, with the versions of k8s.io/pod-security-admission v0.36; its own test
data is run against this in tests/contract/test_pod_security.py. A value of a wrong type is none of the allowed ones.
"""

from collections.abc import Iterator
from typing import Any, Final

from setpoint.promotion.pod_standard import PodStandard
from setpoint.reconcile.pod_security.model import Control, Found, allow, container_contexts, contexts, own_users
from setpoint.reconcile.pod_specs import PodSpec, items, part

_CAPABILITIES: Final = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
_SYSCTLS: Final = (
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
)
"""(minor version that allows it, name)"""
_SELINUX: Final = ((0, "container_t"), (0, "container_init_t"), (0, "container_kvm_t"), (31, "container_engine_t"))
_PROFILES: Final = ("RuntimeDefault", "Localhost")
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS: Final = ("postStart", "preStop")


def _host_process(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for path, context in contexts(pod):
        value = part(context, "windowsOptions").get("hostProcess")
        yield from allow(f"{path}.windowsOptions.hostProcess", value, (False,), "not a process of the host")


def _host_namespaces(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        yield from allow(f"{pod.path}.{key}", pod.spec.get(key), (False,), "no namespaces of the host")


def _privileged(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for path, context in container_contexts(pod):
        yield from allow(f"{path}.privileged", context.get("privileged"), (False,), "no privileged container")


def _capabilities(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for path, context in container_contexts(pod):
        for index, name in enumerate(listed(part(context, "capabilities").get("add"))):
            wanted = f"only {', '.join(_CAPABILITIES)}"
            yield from allow(f"{path}.capabilities.add[{index}]", name, _CAPABILITIES, wanted)


def _host_paths(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for index, volume in enumerate(items(pod.spec, "volumes")):
        value = volume.get("hostPath")
        shown = value.get("path", "a folder") if isinstance(value, dict) else value
        yield from allow(f"{pod.path}.volumes[{index}].hostPath", shown, (), "no folder of the host", "use another kind of volume")


def _host_ports(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for path, container in pod.containers():
        for index, port in enumerate(items(container, "ports")):
            yield from allow(f"{path}.ports[{index}].hostPort", port.get("hostPort"), (0,), "no port of the host", "use a Service")


def _host_of_probes(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for path, container in pod.containers():
        for holder in (*_PROBES, *(f"lifecycle.{hook}" for hook in _HOOKS)):
            for action in ("httpGet", "tcpSocket"):
                value = part(container, *holder.split("."), action).get("host")
                yield from allow(f"{path}.{holder}.{action}.host", value, ("",), "the container itself is asked")


def _apparmor(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for path, context in contexts(pod):
        yield from profile(f"{path}.appArmorProfile", context.get("appArmorProfile"))
    for key, value in pod.annotations.items():
        if key.startswith(_APPARMOR) and not (value in ("", "runtime/default") or str(value).startswith("localhost/")):
            yield Found(f"{pod.meta_path}['{key}']", value, "runtime/default or localhost/...", "remove it")


def _selinux(pod: PodSpec, standard: PodStandard) -> Iterator[Found]:
    types = ("", *(name for since, name in _SELINUX if standard.minor >= since))
    for path, context in contexts(pod):
        options = part(context, "seLinuxOptions")
        yield from allow(f"{path}.seLinuxOptions.type", options.get("type"), types, f"only {', '.join(types[1:])}")
        for key in ("user", "role"):
            yield from allow(f"{path}.seLinuxOptions.{key}", options.get(key), ("",), "not set")


def _proc_mount(pod: PodSpec, standard: PodStandard) -> Iterator[Found]:
    if not own_users(pod, standard):
        yield from proc_mount(pod, standard)


def proc_mount(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    """Yield every mask of /proc that is not the default one."""
    for path, context in container_contexts(pod):
        yield from allow(f"{path}.procMount", context.get("procMount"), ("Default",), "`Default`")


def _seccomp(pod: PodSpec, _standard: PodStandard) -> Iterator[Found]:
    for path, context in contexts(pod):
        yield from profile(f"{path}.seccompProfile", context.get("seccompProfile"))


def _sysctls(pod: PodSpec, standard: PodStandard) -> Iterator[Found]:
    allowed = tuple(name for since, name in _SYSCTLS if standard.minor >= since)
    for index, sysctl in enumerate(items(part(pod.spec, "securityContext"), "sysctls")):
        field = f"{pod.path}.securityContext.sysctls[{index}].name"
        yield from allow(field, sysctl.get("name"), allowed, f"only {', '.join(allowed)}")


def profile(field: str, value: Any) -> Iterator[Found]:
    """Yield a fault when a profile (of seccomp or AppArmor) is there and is not one that confines."""
    if value is not None:
        kind = value.get("type") if isinstance(value, dict) else value
        yield from allow(f"{field}.type", kind or "", _PROFILES, "RuntimeDefault or Localhost", "write `type: RuntimeDefault`")


def listed(value: Any) -> list[Any]:
    """Return a list; empty when it is not there, and the value alone when it is none."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


PROC_MOUNT: Final = "procMount"
SECCOMP: Final = "seccompProfile_baseline"
CAPABILITIES: Final = "capabilities_baseline"
HOST_PATHS: Final = "hostPathVolumes"
CONTROLS: Final = (
    Control("windowsHostProcess", _host_process),
    Control("hostNamespaces", _host_namespaces),
    Control("privileged", _privileged),
    Control(CAPABILITIES, _capabilities),
    Control(HOST_PATHS, _host_paths),
    Control("hostPorts", _host_ports),
    Control("hostProbesAndHostLifecycle", _host_of_probes, since=34),
    Control("appArmorProfile", _apparmor),
    Control("seLinuxOptions", _selinux),
    Control(PROC_MOUNT, _proc_mount),
    Control(SECCOMP, _seccomp),
    Control("sysctls", _sysctls),
)
