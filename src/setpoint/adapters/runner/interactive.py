"""A person's shell in a task's sandbox: the same inside as the task's, on a pseudo-terminal of its own.

Called by `app.local_shell` for `setpoint run --shell`, never by a server. The shell's terminal is not the person's: what runs inside can
neither type into theirs (TIOCSTI) nor change its modes; bytes are carried between the two, and the size of the window.
"""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from setpoint.adapters.runner.inside import inside, memory_file
from setpoint.adapters.runner.process import become
from setpoint.adapters.sandbox import probe, sandbox_argv
from setpoint.core.errors import WorldError
from setpoint.pipeline.model import TaskCommand

_CHUNK_BYTES: Final = 1 << 16
_NOT_STARTED: Final = 127
_ORDINARY: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE, signal.SIGXFSZ)
"""What a shell and its children expect to mean what it means: Python ignores two of them, and whoever started us may ignore others."""
_WITH_TERMINAL: Final = ("setsid", "--ctty", "--wait")
"""util-linux; the same /usr is inside."""


def interact(command: TaskCommand, work: Path, uid: int | None) -> int:
    """Run the command's argv in its workspace below work until it ends, as uid when this is root; returns its exit status.

    Standard input and output have to be a terminal.

    Raises:
        WorldError: no sandbox can be made here (SP241).
    """
    problem = probe()
    bubblewrap = shutil.which("bwrap")
    if problem or bubblewrap is None:
        raise WorldError("SP241", f"the sandbox cannot be made: {problem}", fix="`setpoint doctor` looks at what a sandbox needs")
    argv, descriptors = _argv(command, work, bubblewrap)
    master, terminal = os.openpty()
    try:
        pid = os.fork()
        if pid == 0:
            _become_sandbox(argv, (terminal, descriptors), uid)
    finally:
        for descriptor in (terminal, *descriptors):
            os.close(descriptor)
    try:
        _relay(master)
    finally:
        os.close(master)  # whoever still reads from it inside is hung up
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _argv(command: TaskCommand, work: Path, bubblewrap: str) -> tuple[list[str], list[int]]:
    """Return bubblewrap's command line and the descriptors it reads: options go through one, never as arguments that `ps` shows."""
    own = inside(work, command.task_id, {**command.environment, "TERM": os.environ.get("TERM", "dumb")}, network=command.network)
    # The sandbox is a session without a terminal; setsid gives it this one, or there would be no Ctrl-C and no job control.
    program = [*(_WITH_TERMINAL if shutil.which(_WITH_TERMINAL[0]) else ()), *command.argv]
    argv = sandbox_argv(program, own.mounts, own.environment, cwd="/work", network=command.network)
    options = argv[1 : -len(program) - 1]
    descriptors = []
    for path, text in own.files.items():
        descriptors.append(memory_file(text.encode()))
        options += ["--ro-bind-data", str(descriptors[-1]), path]
    descriptors.append(memory_file(b"".join(option.encode() + b"\0" for option in options)))
    return [bubblewrap, "--args", str(descriptors[-1]), "--", *program], descriptors


def _become_sandbox(argv: Sequence[str], passed: tuple[int, Sequence[int]], uid: int | None) -> None:
    """In the child: leave the person's session, give up root, and turn into bubblewrap with (terminal, descriptors); never returns."""
    terminal, descriptors = passed
    try:
        for number in _ORDINARY:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        for standard in range(3):
            os.dup2(terminal, standard)
        if uid is not None:
            become(uid)
        os.umask(0o022)
        os.chdir("/")
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        os.execve(argv[0], list(argv), {})  # noqa: S606 - no shell is what is wanted
    finally:
        os._exit(_NOT_STARTED)


def _relay(master: int) -> None:
    """Carry bytes between the person's terminal and the shell's until the shell has ended."""
    source, sink = sys.stdin.fileno(), sys.stdout.fileno()
    watched = [source, master]
    with _raw(source), _same_size(source, master):
        while True:
            ready, _, _ = select.select(watched, [], [])
            if master in ready:
                try:
                    data = os.read(master, _CHUNK_BYTES)
                except OSError:  # EIO: nobody has the other end any more
                    return
                if not data:
                    return
                _write(sink, data)
            if source in ready:
                data = os.read(source, _CHUNK_BYTES)
                if data:
                    _write(master, data)
                else:
                    watched.remove(source)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Let every key reach the shell, Ctrl-C too, and give the terminal back as it was."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


@contextmanager
def _same_size(terminal: int, master: int) -> Iterator[None]:
    """Keep the shell's window as large as the person's."""

    def copy(_number: int = 0, _frame: FrameType | None = None) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8))

    before = signal.signal(signal.SIGWINCH, copy)
    copy()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
