"""Files of a running server as tests see them: what goes away while it is looked at is left out, never an error.

Called by suites that look into a live home or into `/proc` of a live process. Never used to look for a file that must be there.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def descriptors(pid: int) -> list[str]:
    """Return where the open descriptors of a process lead, as the kernel writes it (proc_pid_fd(5)); none for a process that has ended."""
    found = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(str(link.readlink()))
    return found


def entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all that lies below a folder with its own state (links are not followed)."""
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(top, name)
            with contextlib.suppress(OSError):
                yield path, path.lstat()


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the regular files below a folder with what is in them."""
    for path, state in entries(folder):
        if stat.S_ISREG(state.st_mode):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.read_bytes()
