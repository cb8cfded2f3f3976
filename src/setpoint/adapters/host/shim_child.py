"""One start of a replica's sandbox, as its shim makes it: pipes, pids, secrets in memory, limits taken before anything of the image runs.

Called by `shim` only, inside the shim's process: standard library alone, and nothing is imported later. It never writes a file.

bubblewrap's monitor -> its init (pid 1 inside) -> the application. bubblewrap waits before it starts the application until the shim has
bounded the number of processes of the new user namespace (RLIMIT_NPROC counts there per namespace, Linux 5.14 and newer).
"""

import base64
import contextlib
import ctypes
import json
import os
import resource
import signal
import time
from typing import Any, Final

PROCESSES: Final = 1024
"""Processes and threads that one replica may have."""
_PR_SET_PDEATHSIG: Final = 1

# Nothing may be imported after root is dropped, for the interpreter may lie where only root can read: so utf-8 only, ascii is a lazy codec.
libc = ctypes.CDLL(None, use_errno=True)


def start_time(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot (proc(5), stat field 22); None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - no pathlib: start-up time
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123 - as above
        return file.read().strip()


def children(pid: int) -> list[int]:
    """Return a process's children, oldest first; by a scan of /proc where the kernel lists none (CONFIG_PROC_CHILDREN)."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:  # noqa: PTH123 - as above
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        pass
    except OSError:
        return []
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - as above
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as above
                    if int(file.read().rpartition(")")[2].split()[1]) == pid:
                        found.append(int(name))
            except (OSError, ValueError, IndexError):
                continue
    return sorted(found)


class Groups:
    """The control groups that the runtime made for a replica, opened while the shim may still be root."""

    def __init__(self, folders: list[str]) -> None:
        self.procs = [os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for folder in folders]
        self._counts = []
        for folder in folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    self._counts.append(os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC))

    def join(self) -> None:
        """Put the calling process into them; what it starts later is in them as well."""
        for descriptor in self.procs:
            os.write(descriptor, b"0")

    def killed(self) -> int:
        """Return how many processes the kernel has killed for want of memory (`oom_kill`, cgroup v2 and v1)."""
        total = 0
        for descriptor in self._counts:
            with contextlib.suppress(OSError, ValueError, IndexError):
                for line in os.pread(descriptor, 4096, 0).decode("utf-8").splitlines():
                    if line.startswith("oom_kill "):
                        total += int(line.split()[1])
        return total


class Child:
    """One start of the sandbox: its pids, its pipes, and when it began."""

    def __init__(self, spec: dict[str, Any], secrets: dict[str, Any], groups: Groups) -> None:
        self.started = time.monotonic()
        self.init: int | None = None
        self.app: int | None = None
        self.fault = ""
        """What could not be bounded."""
        self._info = b""
        self.output, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.info, info_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        block, self._release = os.pipe2(os.O_CLOEXEC)
        files = [(_memory(base64.b64decode(file["data"])), file) for file in secrets.get("files", [])]
        options = _memory("".join(f"{word}\0" for word in _options(spec, secrets, files)).encode())
        argv = [spec["bwrap"], "--args", str(options), "--info-fd", str(info_write), "--block-fd", str(block), "--", *spec["program"]]
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(argv, shim, groups, (write, info_write, block))
        for descriptor in (write, info_write, block, options, *(descriptor for descriptor, _ in files)):
            os.close(descriptor)
        self.start_time = start_time(self.pid)

    def read_info(self) -> None:
        """Take what bubblewrap says about its init, bound its processes and let the application start."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.info, 4096)
            if not data:
                os.close(self.info)
                self.info = -1
        self._info += data
        if self.init is None:
            with contextlib.suppress(ValueError):
                self.init = int(json.loads(self._info)["child-pid"])
                self._let_go(self.init)

    def _let_go(self, init: int) -> None:
        try:
            resource.prlimit(init, resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
        except (OSError, ValueError) as error:
            self.fault = f"the number of processes is not bounded: {error}"
        with contextlib.suppress(OSError):
            os.write(self._release, b"1")

    def look(self) -> bool:
        """Look for the application below bubblewrap's init; True when it was found just now."""
        if self.app is None and self.init is not None:
            found = children(self.init)
            if found:
                self.app = found[0]
                return True
        return False

    def close(self) -> None:
        """Close the pipes."""
        os.close(self.output)
        os.close(self._release)
        if self.info >= 0:
            os.close(self.info)


def _memory(data: bytes) -> int:
    """Return a descriptor of bytes that lie in memory only, to be read from the beginning (memfd_create(2))."""
    descriptor = os.memfd_create("setpoint", 0)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _options(spec: dict[str, Any], secrets: dict[str, Any], files: list[tuple[int, dict[str, Any]]]) -> list[str]:
    """Return bubblewrap's options with the secrets among them: a command line everybody can read, this descriptor nobody else."""
    words = list(spec["options"])
    for descriptor, file in files:
        words += ["--perms", f"{int(file['mode']):04o}", "--ro-bind-data", str(descriptor), file["target"]]
    for name, value in secrets.get("environment", {}).items():
        words += ["--setenv", name, value]
    return [*words, *spec["last_options"]]


def _become(argv: list[str], shim: int, groups: Groups, pipes: tuple[int, int, int]) -> None:
    """Turn the forked child into bubblewrap, inside its control groups; never returns."""
    output, info, block = pipes
    try:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != shim:
            os._exit(1)
        groups.join()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, and an ignored signal stays ignored over exec
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.set_blocking(output, True)  # this end of the pipe belongs to the application
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(info, True)
        os.set_inheritable(block, True)
        os.execve(argv[0], argv, {"PATH": "/usr/bin:/bin"})  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(2, f"setpoint shim: cannot start {argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)
