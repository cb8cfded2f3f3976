"""Where everything of a home lies; the one place that knows the folder layout (docs/state.md).

Called by wiring, by the processes the server starts, and by the CLI; it makes folders with their modes and never reads contents.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setpoint.core.errors import UserError

SHARED: Final = Path("/var/lib/setpoint-run")
LONGEST_BYTES: Final = 480
"""SQLite opens no file whose path has more than 512 bytes, its own endings included (os_unix.c, MAX_PATHNAME)."""


_OTHER: Final = "call as its owner, or choose another home: --home DIR or SETPOINT_HOME"


def default_home() -> Path:
    """Return $SETPOINT_HOME, else `setpoint` under the user's state folder (XDG base directory specification)."""
    explicit = os.environ.get("SETPOINT_HOME")
    if explicit:
        return Path(explicit)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "setpoint"


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one home: `root` (0700) is the server's, `work` (`<root>.run`, 0711) is the runner's."""

    root: Path

    @property
    def work(self) -> Path:
        """Workspaces, unpacked images, replicas and proxies; never the keys.

        Normally `<root>.run` itself; when the server is root and nobody else may enter the folder above, that name is a link to
        a folder under SHARED, for tasks and replicas run as a user of their own.
        """
        folder = self.root.with_name(self.root.name + ".run")
        return folder.resolve() if folder.is_symlink() else folder

    @property
    def journal(self) -> Path:
        """Segments of the journal."""
        return self.root / "journal"

    @property
    def keys(self) -> Path:
        """Role keys; read by the signer only."""
        return self.root / "keys"

    @property
    def pods_key(self) -> Path:
        """What tokens of tasks' pods are made from; read by the server."""
        return self.root / "pods.key"

    @property
    def age_key(self) -> Path:
        """What opens the Secrets of delivery repositories; read by the server."""
        return self.keys / "age.key"

    @property
    def repositories(self) -> Path:
        """Hosted bare repositories."""
        return self.root / "repositories"

    @property
    def registry(self) -> Path:
        """The OCI store."""
        return self.root / "registry"

    @property
    def content(self) -> Path:
        """Task outputs and reports by digest."""
        return self.root / "content"

    @property
    def task_cache(self) -> Path:
        """Claims of green results by trust domain and key."""
        return self.root / "task-cache"

    @property
    def renders(self) -> Path:
        """What was rendered, by what was read for it: a cache."""
        return self.root / "renders"

    @property
    def logs(self) -> Path:
        """Task logs."""
        return self.root / "logs"

    @property
    def database(self) -> Path:
        """The projection; may be deleted while the server is down."""
        return self.root / "setpoint.db"

    @property
    def tokens(self) -> Path:
        """Hashed tokens."""
        return self.root / "tokens.json"

    @property
    def secrets(self) -> Path:
        """Values of secrets, 0600; names and versions are in the journal."""
        return self.root / "secrets"

    @property
    def registries(self) -> Path:
        """Passwords and authorities of logins to other registries, 0600; hosts and users are in the journal."""
        return self.root / "registries"

    @property
    def clusters(self) -> Path:
        """Kubeconfigs, 0600; names and addresses are in the journal."""
        return self.root / "clusters"

    @property
    def inbox(self) -> Path:
        """What `init` asked for while no server ran; done and removed at the next `up`."""
        return self.root / "inbox"

    @property
    def server_file(self) -> Path:
        """The running server's {url, token, registry, git, pid}, 0600; how the command line finds it."""
        return self.root / "server.json"

    @property
    def lock(self) -> Path:
        """Held (flock) by the one server of this home."""
        return self.root / "lock"

    @property
    def workspaces(self) -> Path:
        """Where tasks work."""
        return self.work / "workspaces"

    @property
    def images(self) -> Path:
        """Unpacked images, by manifest digest."""
        return self.work / "images"

    @property
    def replicas(self) -> Path:
        """One folder per replica: spec, state, log."""
        return self.work / "replicas"

    @property
    def proxies(self) -> Path:
        """One folder per environment's proxy."""
        return self.work / "proxies"

    def require_access(self) -> None:
        """Refuse a home whose folder is there and closed to whoever calls.

        Raises:
            UserError: it is somebody else's (SP803).
        """
        try:
            owner = self.root.stat().st_uid
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError("SP803", f"the home cannot be looked at: {error.strerror}", where=str(self.root), fix=_OTHER) from error
        if not os.access(self.root, os.R_OK | os.W_OK | os.X_OK):
            what = (
                "the home's folder is closed to its own user"
                if owner == os.geteuid()
                else f"the home belongs to somebody else (uid {owner})"
            )
            fix = f"chmod 700 {self.root}" if owner == os.geteuid() else _OTHER
            raise UserError("SP803", what, where=str(self.root), fix=fix)

    def prepare(self) -> None:
        """Create the folders with their modes.

        Raises:
            UserError: the home lies inside a work tree (SP802), cannot be made or has too long a path (SP803).
        """
        self.require_access()
        root = self.root.resolve()
        length = len(os.fsencode(root))
        if length > LONGEST_BYTES:
            what = f"the path of the home has {length} bytes, more than {LONGEST_BYTES}: the database could not be opened there"
            raise UserError("SP803", what, where=str(root), fix="choose a shorter one: --home DIR or SETPOINT_HOME")
        try:
            for parent in (root, *root.parents):
                if (parent / ".git").exists():
                    fix = "choose a folder outside of it: --home DIR or SETPOINT_HOME"
                    raise UserError("SP802", f"the home would lie in the work tree {parent}", where=str(root), fix=fix)
            for folder in (root, self.journal, self.keys, self.repositories, self.registry, self.content):
                _make(folder, 0o700)
            for folder in (self.task_cache, self.logs, self.inbox, self.secrets, self.registries, self.clusters):
                _make(folder, 0o700)
            self._make_reachable()
            for folder in (self.work, self.workspaces, self.images, self.replicas, self.proxies):
                _make(folder, 0o711)
        except OSError as error:
            fix = "make its parent writable, or choose another home"
            raise UserError("SP803", f"cannot prepare the home: {error.strerror}", where=str(root), fix=fix) from error

    def fresh_scratch(self) -> Path:
        """Return an empty folder on the registry's file system; what a killed server left in it is removed."""
        folder = self.registry / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _make_reachable(self) -> None:
        """As root, give the runner's user a way in: a closed parent (a 0700 folder of root's) would shut it out."""
        link = self.root.with_name(self.root.name + ".run")
        if os.geteuid() != 0 or link.exists() or _open_to_all(link.parent):
            return
        target = SHARED / f"home-{hashlib.sha256(os.fsencode(self.root.absolute())).hexdigest()[:16]}"
        for folder in (SHARED, target):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def _open_to_all(folder: Path) -> bool:
    """Say whether every folder on the way may be entered by any user."""
    resolved = folder.resolve()
    return all(parent.stat().st_mode & 0o001 for parent in (resolved, *resolved.parents) if parent.exists())


def _make(folder: Path, mode: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o777 != mode:
        folder.chmod(mode)
