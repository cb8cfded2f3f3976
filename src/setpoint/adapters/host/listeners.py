"""Who listens on an address, as far as /proc tells; called before a proxy asks for an address, and to explain one in use."""

import socket
from contextlib import closing, suppress
from pathlib import Path

_LISTEN = "0A"


def who_listens(port: int) -> tuple[int, str] | None:
    """Return the pid and command line of who listens on a TCP port of this network namespace; None when it cannot be seen."""
    inodes = _inodes(port)
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _holds(process, inodes):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return int(process.name), command
    return None


def can_listen(address: str) -> bool:
    """Say whether an IPv4 `host:port` could be listened on right now."""
    host, _, port = address.rpartition(":")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return False
    return True


def _inodes(port: int) -> set[str]:
    """Return the sockets that listen on a port (proc(5), net/tcp: local address, state, inode)."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{words[9]}]")
    return found


def _holds(process: Path, inodes: set[str]) -> bool:
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return False
    for link in links:
        with suppress(OSError):
            if str(link.readlink()) in inodes:
                return True
    return False
