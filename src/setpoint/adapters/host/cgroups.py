"""Limits of memory and processor for replicas: one control group each, where this machine lets the server make them.

Called by the runtime, which makes a group before a shim starts and removes it after; the shim only joins it. Version 2 is used below the
nearest group that the server may write and that hands the controllers on, version 1 (also beside version 2) below the server's own group.
Kernel documentation: admin-guide/cgroup-v2 (memory.max, cpu.max, "no internal processes") and cgroup-v1/memory, scheduler/sched-bwc.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setpoint.core.errors import WorldError
from setpoint.reconcile.model import Resources

_MOUNT: Final = Path("/sys/fs/cgroup")
_PERIOD_US: Final = 100_000
_CONTROLLERS: Final = ("memory", "cpu")


@dataclass(frozen=True, slots=True)
class _Place:
    """A group of the server's in which replicas get theirs."""

    version: int
    folder: Path
    controllers: tuple[str, ...]


class ControlGroups:
    """The control groups of one home's replicas."""

    def __init__(self, name: str, mount: Path = _MOUNT, own: Path = Path("/proc/self/cgroup")) -> None:
        """Name is the home's, for two homes may share a machine."""
        self._name = name
        self._places = tuple(_places(mount, own))

    def missing(self, wanted: Resources) -> str:
        """Return a sentence when a limit cannot be enforced on this machine, else nothing."""
        have = {controller for place in self._places for controller in place.controllers}
        asked = {"memory": wanted.memory_bytes is not None, "cpu": wanted.cpu_millis is not None}
        lacking = [controller for controller in _CONTROLLERS if asked[controller] and controller not in have]
        if not lacking:
            return ""
        return f"limits of {' and '.join(lacking)} are not enforced on this machine: {self.why_not()}"

    def why_not(self) -> str:
        """Return what is missing for limits, for `doctor`; empty when nothing is."""
        have = {controller for place in self._places for controller in place.controllers}
        if have >= set(_CONTROLLERS):
            return ""
        lacking = " and ".join(controller for controller in _CONTROLLERS if controller not in have)
        return f"no control group with the {lacking} controller that uid {os.geteuid()} may write"

    def make(self, replica: str, wanted: Resources) -> tuple[str, ...]:
        """Return the folders of the groups that hold a replica to its limits; what cannot be enforced is left out.

        Raises:
            WorldError: the kernel refuses a group or a limit (SP645).
        """
        made = []
        for place in self._places:
            settings = list(_settings(place, wanted))
            if not settings:
                continue
            folder = place.folder / self._name / replica
            try:
                self._hand_on(place)
                folder.mkdir(parents=True, exist_ok=True)
                for file, text in settings:
                    (folder / file).write_text(text, encoding="ascii")
            except OSError as error:
                what = f"a limit cannot be set: {error.strerror} ({error.filename})"
                raise WorldError(
                    "SP645", what, where=replica, fix="look at the limits of the container, and at `setpoint doctor`"
                ) from error
            made.append(str(folder))
        return tuple(made)

    def remove(self, replica: str) -> None:
        """Remove the groups of a replica that has ended; one that is still in use stays for the next time."""
        for place in self._places:
            with contextlib.suppress(OSError):
                (place.folder / self._name / replica).rmdir()

    def _hand_on(self, place: _Place) -> None:
        """Make the home's group, and let it hand the controllers on to replicas (version 2)."""
        home = place.folder / self._name
        home.mkdir(exist_ok=True)
        if place.version == 2:
            (home / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in place.controllers), encoding="ascii")


def _settings(place: _Place, wanted: Resources) -> Iterator[tuple[str, str]]:
    """Yield the files of a group and what has to be written into them; without swap, which would only hide the limit."""
    memory = wanted.memory_bytes if "memory" in place.controllers else None
    if memory is not None and place.version == 2:
        yield "memory.max", str(memory)
        yield from ((name, text) for name, text in (("memory.swap.max", "0"), ("memory.oom.group", "1")) if _offers(place, name))
    elif memory is not None:
        yield "memory.limit_in_bytes", str(memory)
        if _offers(place, "memory.memsw.limit_in_bytes"):
            yield "memory.memsw.limit_in_bytes", str(memory)
    if wanted.cpu_millis is not None and "cpu" in place.controllers:
        quota = max(1000, wanted.cpu_millis * _PERIOD_US // 1000)
        yield ("cpu.max", f"{quota} {_PERIOD_US}") if place.version == 2 else ("cpu.cfs_quota_us", str(quota))


def _offers(place: _Place, name: str) -> bool:
    """Say whether the kernel has this file; the root group of version 2 never shows limits, so there it is asked of a child's name."""
    return (place.folder / name).exists() or (place.version == 2 and any(place.folder.glob(f"*/{name}")))


def _places(mount: Path, own: Path) -> Iterator[_Place]:
    """Yield where groups can be made, version 2 first; a controller is taken from one of them only (cgroups(7))."""
    taken: set[str] = set()
    lines = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    for line in sorted(lines, key=lambda text: not text.startswith("0::")):
        number, controllers, path = line.split(":", 2)
        place = _version_2(mount, path) if number == "0" else _version_1(mount, controllers.split(","), path)
        if place is not None and not taken & set(place.controllers):
            taken |= set(place.controllers)
            yield place


def _version_1(mount: Path, controllers: list[str], path: str) -> _Place | None:
    wanted = tuple(name for name in _CONTROLLERS if name in controllers)
    if not wanted:
        return None
    for name in (",".join(controllers), *wanted):
        for folder in (mount / name / path.lstrip("/"), mount / name):  # a container may see its own group as the root
            if (folder / "cgroup.procs").is_file() and os.access(folder, os.W_OK | os.X_OK):
                return _Place(1, folder, wanted)
    return None


def _version_2(mount: Path, path: str) -> _Place | None:
    """Return the nearest group upwards that may be written and hands the controllers on; processes may only be in its children."""
    root = mount if (mount / "cgroup.controllers").is_file() else mount / "unified"
    folder = root / path.lstrip("/")
    for candidate in (folder, *folder.parents):
        if not candidate.is_relative_to(root):
            return None
        try:
            handed = (candidate / "cgroup.subtree_control").read_text(encoding="ascii").split()
        except OSError:
            continue
        wanted = tuple(name for name in _CONTROLLERS if name in handed)
        if wanted and os.access(candidate, os.W_OK | os.X_OK) and os.access(candidate / "cgroup.procs", os.W_OK):
            return _Place(2, candidate, wanted)
    return None
