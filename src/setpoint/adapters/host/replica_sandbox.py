"""What a replica sees and runs: mounts of its image, its environment and its command line, as Kubernetes would work them out.

Called by the host runtime when it writes a shim's spec; pure except for looking at the unpacked rootfs, and never starts anything.
"""

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setpoint.adapters.host.unpack import UnpackedImage
from setpoint.adapters.sandbox import Mount, sandbox_argv, system_mounts
from setpoint.artifact.model import LABEL_BASE, LABEL_PYTHON
from setpoint.core.errors import UserError
from setpoint.pipeline.model import ToolchainFacts
from setpoint.reconcile.model import Container, EmptyDir, ImageMount, ReplicaSpec

_TOOLCHAIN: Final = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_PRIVATE: Final = ("proc", "dev", "sys", "tmp")
_NETWORK_FILES: Final = ("/etc/resolv.conf", "/etc/hosts")
_TRUST: Final = ("/etc/ssl", "/etc/ca-certificates", "/etc/pki")
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_USERS: Final = "root:x:0:0:root:/:/usr/sbin/nologin\nsetpoint:x:1000:1000:replica:/tmp:/usr/sbin/nologin\n"
TMP_BYTES: Final = 512 << 20
"""What a replica's /tmp holds at most; it is memory."""
SCRATCH: Final = "scratch"
"""Where in a replica's folder its emptyDir volumes on disk lie."""
_NAMED: Final = 10
"""How many names of a volume an error lists."""
_REFERENCE: Final = re.compile(r"\$\$|\$\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """What the shim starts: bubblewrap's options, the program, and the files that have to lie in the replica's folder first."""

    options: tuple[str, ...]
    last_options: tuple[str, ...]
    """What follows the files of Secrets, which the shim puts in from its memory."""
    program: tuple[str, ...]
    files: dict[str, str]
    """name in the replica's `files` folder -> content"""
    modes: dict[str, int]
    """name in the replica's `files` folder -> permission bits, where they are written"""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` where NAME is known; `$$` is a `$` (Kubernetes, third_party/forked/golang/expansion)."""

    def one(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group(0))

    return _REFERENCE.sub(one, text)


def identity_variables(spec: ReplicaSpec) -> dict[str, str]:
    """Return the variables that tell a replica who it is and where to listen."""
    who = spec.identity
    return {
        **({"PORT": str(spec.port)} if spec.port else {}),
        "SETPOINT_APP": who.app,
        "SETPOINT_ENVIRONMENT": who.environment,
        "SETPOINT_REVISION": who.revision,
        "SETPOINT_DIGEST": who.digest,
        "SETPOINT_PROMOTION": who.promotion,
        "SETPOINT_VERSION": who.version,
        "SETPOINT_REPLICA": spec.replica,
    }


def expanded(environment: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return a container's own variables with `$(NAME)` replaced by what was defined before, as in Kubernetes, or is the runtime's."""
    result: dict[str, str] = {}
    for name, text in environment.items():
        result[name] = expand(text, {**result, **variables})
    return result


def command_line(container: Container, image: UnpackedImage, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return what to execute: `command` replaces entrypoint and command of the image, `args` replaces its command.

    Raises:
        UserError: nothing is left to execute (SP631).
    """
    if container.command:
        words = (*container.command, *(container.args or ()))
    else:
        words = (*image.entrypoint, *(image.command if container.args is None else container.args))
    if not words:
        raise UserError("SP631", "neither the container nor its image says what to execute", where=image.image, fix="set `command:`")
    return tuple(expand(word, variables) for word in words)


def check_host_match(image: UnpackedImage, facts: ToolchainFacts) -> None:
    """Refuse an image that was made for another interpreter or platform than this host's.

    Raises:
        UserError: another Python minor version or platform (SP631).
    """
    labels = dict(image.labels)
    if image.platform and image.platform != facts.platform:
        fix = f"build the artifact for {facts.platform}"
        raise UserError("SP631", f"the image is for {image.platform}, this host is {facts.platform}", where=image.image, fix=fix)
    python = labels.get(LABEL_PYTHON, "")
    if is_host_based(image) and python and _minor(python) != _minor(facts.python):
        what = f"the image was made with Python {_minor(python)}, this host has {_minor(facts.python)}"
        raise UserError("SP631", what, where=image.image, fix="build the artifact again on this host (`base: host` uses the host's Python)")


def is_host_based(image: UnpackedImage) -> bool:
    """Say whether the image needs the host's /usr."""
    return dict(image.labels).get(LABEL_BASE) == "host"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def plan(spec: ReplicaSpec, image: UnpackedImage, folder: Path, volumes: Mapping[str, Path]) -> SandboxPlan:
    """Return everything the shim needs to start a replica; folder is its own, volumes are the unpacked images that it mounts.

    Raises:
        UserError: the image shadows the host's toolchain, or something cannot be mounted where it should (SP631).
    """
    files_folder = folder / "files"
    files, modes, inserts = _files(spec.container, image, files_folder)
    inserts.update({mount.path: _volume(mount, image, volumes[mount.image]) for mount in spec.container.mounts})
    inserts.update({place.path: _scratch(place, image, folder) for place in spec.container.scratch})
    for target in spec.container.secret_files:
        _check_target(target, image)
    if is_host_based(image):
        system = [*system_mounts(), *_existing(_NETWORK_FILES), *_existing(_TRUST)]
        files["passwd"] = _USERS
        system.append(Mount("ro", str(files_folder / "passwd"), "/etc/passwd"))
    else:
        system = _existing(_NETWORK_FILES)
    inserts = {**{mount.target: mount for mount in system}, **inserts}
    mounts = [*_image_mounts(image, {*inserts, *spec.container.secret_files}), *inserts.values()]
    variables = identity_variables(spec)
    environment = {"PATH": _PATH, "HOME": "/tmp"}  # noqa: S108 - inside the sandbox
    environment.update(image.environment)
    own = {**expanded(spec.container.environment, variables), **variables}
    environment.update(own)
    program = command_line(spec.container, image, own)
    cwd = spec.container.workdir or image.workdir or "/"
    for text in (*program, *environment, *environment.values(), cwd):
        if "\0" in text:
            raise UserError("SP631", "a NUL byte stands in the command or environment", where=spec.replica, fix="remove it")
    argv = sandbox_argv(program, mounts, environment, cwd=cwd, network=True, tmp_bytes=TMP_BYTES)
    options = argv[1 : len(argv) - len(program) - 1]
    return SandboxPlan(tuple(options[:-2]), ("--remount-ro", "/", *options[-2:]), program, files, modes)


def _scratch(place: EmptyDir, image: UnpackedImage, folder: Path) -> Mount:
    """Return a folder to write to: memory, or a folder of the replica's own on disk."""
    _check_target(place.path, image)
    if place.in_memory:
        return Mount("tmpfs", str(place.size_bytes or ""), place.path)
    return Mount("rw", str(folder / SCRATCH / place.volume), place.path)


def _existing(paths: tuple[str, ...]) -> list[Mount]:
    return [Mount("ro", path, path) for path in paths if Path(path).exists()]


def _files(container: Container, image: UnpackedImage, folder: Path) -> tuple[dict[str, str], dict[str, int], dict[str, Mount]]:
    """Return the ConfigMap files and their modes by their names on disk, and their mounts by target."""
    files: dict[str, str] = {}
    modes: dict[str, int] = {}
    mounts: dict[str, Mount] = {}
    for number, (target, content) in enumerate(sorted(container.files.items())):
        _check_target(target, image)
        name = f"config-{number}"
        files[name] = content
        modes.update({name: container.modes[target]} if target in container.modes else {})
        mounts[target] = Mount("ro", str(folder / name), target)
    return files, modes, mounts


def _check_target(target: str, image: UnpackedImage) -> None:
    top = target.split("/")[1] if target.startswith("/") else ""
    reserved = ("proc", "dev", "sys", *(_TOOLCHAIN if is_host_based(image) else ()))
    if posixpath.normpath(target) != target or top in ("", *reserved):
        fix = "mount it at a plain absolute path, such as /config/app.yaml"
        raise UserError("SP631", f"nothing can be mounted at {target}", where=image.image, fix=fix)


def _volume(mount: ImageMount, image: UnpackedImage, root: Path) -> Mount:
    """Return the read-only mount of an artifact, or of what `subPath` names in it."""
    _check_target(mount.path, image)
    source = root / mount.sub_path if mount.sub_path else root
    try:
        inside = source.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        held = ", ".join(sorted(entry.name for entry in os.scandir(root))[:_NAMED])
        raise UserError("SP631", f"{mount.image} has no {mount.sub_path}", where=mount.path, fix=f"it holds {held or 'nothing'}")
    return Mount("ro", str(source.resolve()), mount.path)


def _image_mounts(image: UnpackedImage, inserts: set[str]) -> list[Mount]:
    """Return the image's top-level entries read-only; a folder that something is put into is shown entry by entry."""
    mounts: list[Mount] = []
    for entry in sorted(os.scandir(image.rootfs), key=lambda entry: entry.name):
        if entry.name in _PRIVATE:
            continue
        if is_host_based(image) and entry.name in _TOOLCHAIN:
            what = f"an image with `base: host` may not bring its own /{entry.name}"
            raise UserError("SP631", what, where=image.image, fix=f"copy to another folder than /{entry.name}/")
        mounts.extend(_show(entry, f"/{entry.name}", inserts, image))
    return mounts


def _show(entry: os.DirEntry[str], target: str, inserts: set[str], image: UnpackedImage) -> list[Mount]:
    """Return the mounts of one entry; links are made anew inside, never followed out here."""
    if target in inserts:
        return []
    below = any(insert.startswith(target + "/") for insert in inserts)
    if below and not entry.is_dir(follow_symlinks=False):
        raise UserError("SP631", f"a file cannot be mounted below {target}: it is no folder", where=image.image, fix="mount it elsewhere")
    if entry.is_symlink():
        return [Mount("symlink", os.readlink(entry.path), target)]  # noqa: PTH115 - an os.DirEntry, thousands of them
    if not below:
        return [Mount("ro", entry.path, target)]
    mounts: list[Mount] = []
    for child in sorted(os.scandir(entry.path), key=lambda child: child.name):
        mounts.extend(_show(child, f"{target}/{child.name}", inserts, image))
    return mounts
