"""What a running home shows to others: its files are the owner's alone, it listens on loopback only, and tokens are kept as hashes."""

import os
import stat
from pathlib import Path

from live_files import contents, descriptors, entries
from live_home import LiveHome, wait_for

LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
"""127.0.0.1 and ::1 as the kernel writes them."""
ANYBODY = {"server.json"}
"""The one file with a token in it: the operator's own, by which the command line finds the server."""


def _processes(live: LiveHome) -> list[int]:
    """Return the server, its children, and every process that works in the home's folders: shims, replicas, proxies."""
    assert live.process is not None
    found, marks = {live.process.pid}, (str(live.home), str(live.home.with_name("home.run")))
    for _ in range(3):  # children of children
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_text()
            except (OSError, ValueError):
                continue
            if (parent in found or any(mark in words for mark in marks)) and int(folder.name) != os.getpid():
                found.add(int(folder.name))
    return sorted(found)


def _listening(pids: list[int]) -> set[str]:
    """Return the addresses on which processes listen, as the kernel writes them."""
    inodes = {target for pid in pids for target in descriptors(pid)}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(fields[1].partition(":")[0])
    return found


def test_only_the_owner_reads_a_home(live: LiveHome) -> None:
    """After a release every folder of the home is 0700 or closer and every file 0600 or closer; so are logs, keys, blobs and Git's own."""
    live.release("one")
    live.serves("staging", "one")
    mine = live.home / "repositories" / "delivery.git"  # this one was pushed by path, with the pusher's own umask
    open_to_others = [
        f"{stat.filemode(state.st_mode)} {path}"
        for path, state in ((live.home, live.home.lstat()), *entries(live.home))
        if not stat.S_ISLNK(state.st_mode) and state.st_mode & 0o077 and not path.is_relative_to(mine)
    ]
    assert open_to_others == []


def test_others_may_pass_through_the_work_folder_but_read_nothing_of_the_home(live: LiveHome) -> None:
    """The folders that the tasks' and replicas' user needs can be entered and not listed, and hold no key, token or journal."""
    work = live.home.with_name("home.run")
    assert stat.S_IMODE(work.stat().st_mode) & 0o066 == 0
    assert not [path for path, _ in entries(work) if path.name in {"keys", "tokens", "journal", "server.json"}]


def test_it_listens_on_loopback_only(live: LiveHome) -> None:
    """Server, proxies and replicas listen on 127.0.0.1 and nowhere else, unless somebody asks for another address."""
    seen = wait_for("listeners", lambda: _listening(_processes(live)))
    assert seen <= LOOPBACK
    assert seen


def test_tokens_are_kept_as_hashes(live: LiveHome) -> None:
    """No token that was ever made stands in the home, in its work folder or in a log, but the operator's in its own connection file."""
    tokens = [live.ready["token"], live.api("sam").connection.token, live.api("dana").connection.token]
    login = live.api("sam").post("/api/v1/login-links", {})["path"].partition("login=")[2]
    files = [file for folder in (live.home, live.home.with_name("home.run")) for file in contents(folder)]
    files.append((live.work / "server.log", (live.work / "server.log").read_bytes()))
    found = {path.name for path, data in files for token in [*tokens, login] if token.encode() in data}
    assert found <= ANYBODY
