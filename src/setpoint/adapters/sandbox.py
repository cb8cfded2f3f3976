"""The bubblewrap sandbox that tasks, replicas and renderers run in: only what is mounted exists.

Called by the runner, the shim's spec and Kustomize; builds argument lists and probes, and never starts project code itself.
Flags after bubblewrap 0.8's manual: own user, pid, ipc, uts (and net) namespaces, all capabilities dropped, no nested user namespaces.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

_PROBE_TIMEOUT_S = 10
LIMITER: Final = "prlimit"
"""Of util-linux; bounds what runs inside from inside, where nothing else of the user counts."""
INSTALL_HINT = "install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"


@dataclass(frozen=True, slots=True)
class Mount:
    """Something of the host that exists inside."""

    kind: Literal["ro", "rw", "tmpfs", "symlink"]
    source: str
    """Host path; the link's text for `symlink`; the size in bytes for `tmpfs`, empty for as much as the kernel gives."""
    target: str


def system_mounts() -> list[Mount]:
    """Return the toolchain: /usr read-only with the merged-usr links, and the few files of /etc that programs expect."""
    mounts = [Mount("ro", "/usr", "/usr")]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            mounts.append(Mount("symlink", str(path.readlink()), str(path)))
        elif path.is_dir():
            mounts.append(Mount("ro", str(path), str(path)))
    optional = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/mime.types", "/etc/localtime", "/etc/nsswitch.conf")
    mounts.extend(Mount("ro", path, path) for path in optional if Path(path).exists())
    return mounts


def sandbox_argv(
    program: Sequence[str],
    mounts: Sequence[Mount],
    environment: Mapping[str, str],
    *,
    cwd: str,
    network: bool,
    tmp_bytes: int | None = None,
) -> list[str]:
    """Return the bwrap command line that runs program with only mounts, a private /tmp, /proc and /dev, and only environment.

    It dies with its parent; network False gives it an empty network namespace; tmp_bytes is how much /tmp holds at most.
    """
    argv = ["bwrap", "--unshare-user", "--uid", "1000", "--gid", "1000", "--disable-userns"]
    argv += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "setpoint"]
    argv += ["--cap-drop", "ALL", "--new-session", "--die-with-parent", "--clearenv"]
    if not network:
        argv.append("--unshare-net")
    argv += ["--proc", "/proc", "--dev", "/dev", *_tmpfs("/tmp", str(tmp_bytes or "")), "--dir", "/etc"]  # noqa: S108 - inside the sandbox
    flags = {"ro": "--ro-bind", "rw": "--bind", "symlink": "--symlink"}
    for mount in mounts:
        argv += _tmpfs(mount.target, mount.source) if mount.kind == "tmpfs" else [flags[mount.kind], mount.source, mount.target]
    for name, value in sorted(environment.items()):
        argv += ["--setenv", name, value]
    return [*argv, "--chdir", cwd, "--", *program]


def _tmpfs(target: str, size_bytes: str) -> list[str]:
    return [*(("--size", size_bytes) if size_bytes else ()), "--tmpfs", target]


_KERNEL: Final = Path("/proc/sys")
_FORBIDDEN: Final = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor forbids unprivileged user namespaces", "0"),
    ("kernel/unprivileged_userns_clone", "0", "the kernel forbids unprivileged user namespaces", "1"),
    ("user/max_user_namespaces", "0", "the kernel allows no user namespaces", "15000"),
)
"""(file below /proc/sys, the value that forbids, what it means, the value that allows)"""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why no sandbox can be made here."""

    why: str
    fix: str
    """One line that a person can follow."""


def obstacle(stderr: str, kernel: Path = _KERNEL) -> Obstacle:
    """Return what stands in the way of a bubblewrap that is installed and failed with these words."""
    for name, forbids, why, allows in _FORBIDDEN:
        try:
            found = (kernel / name).read_text().strip()
        except OSError:
            continue
        if found == forbids:
            setting = name.replace("/", ".")
            keep = f"; to keep it over a restart: echo '{setting}={allows}' > /etc/sysctl.d/60-setpoint.conf"
            return Obstacle(f"{why} ({setting}={forbids})", f"as root: sysctl -w {setting}={allows}{keep}")
    if "Operation not permitted" in stderr or "Permission denied" in stderr:
        fix = "in a container, allow it there: --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or --privileged"
        return Obstacle(f"something around this process (a container?) forbids user namespaces: {stderr}", fix)
    return Obstacle(f"bubblewrap fails: {stderr}", "run it by hand to see more: bwrap --ro-bind / / true")


@cache
def obstacle_here() -> Obstacle | None:
    """Return why no sandbox can be made on this machine; None when one can (asked once per process)."""
    if shutil.which("bwrap") is None:
        return Obstacle("bubblewrap is not installed", INSTALL_HINT)
    argv = sandbox_argv(["/usr/bin/true"], system_mounts(), {}, cwd="/", network=False)
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Obstacle(f"bubblewrap does not run: {error}", INSTALL_HINT)
    return None if done.returncode == 0 else obstacle(done.stderr.decode(errors="replace").strip())


def probe() -> str:
    """Return an empty string when sandboxes work here, else one sentence that says why not and what to do."""
    found = obstacle_here()
    return "" if found is None else f"{found.why}; {found.fix}"
