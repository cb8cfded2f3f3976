"""Whether a branch of a bare repository may have moved, seen from its files alone: hundreds of repositories cost milliseconds.

Called by the store for the control loop's glance, once a second; it never reads a ref or an object, and decides nothing.
"""

import os
from pathlib import Path


def heads_picture(folder: Path) -> list[object]:
    """Return what differs after a branch moved.

    Git and libgit2 move a branch by renaming a new file over the old one (gitrepository-layout(5)), so its inode and time change.
    """
    found: list[object] = []
    try:
        packed = (folder / "packed-refs").stat()
        found.append((packed.st_ino, packed.st_mtime_ns))
    except FileNotFoundError:
        pass
    todo = [str(folder / "refs" / "heads")]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        found.append((entry.path, entry.inode(), entry.stat(follow_symlinks=False).st_mtime_ns))
        except FileNotFoundError:
            continue
    return found
