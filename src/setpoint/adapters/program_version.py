"""What a program on this machine calls itself, asked once for each file that it is.

Called by the renderers' adapters (the version is part of a render's key) and by `doctor`; it runs the program with fixed arguments only.
"""

import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from setpoint.core.errors import WorldError

_PROBE_S: Final = 20
_SHOWN: Final = 400


def version_of(program: Path, arguments: Sequence[str]) -> str:
    """Return what `program arguments` prints, as one line; asked again when the file is another one.

    Raises:
        WorldError: it does not run (SP613).
    """
    try:
        info = program.stat()
    except OSError as error:
        raise _not_run(program, error.strerror or str(error)) from error
    return _asked(str(program), tuple(arguments), (info.st_size, info.st_mtime_ns, info.st_ino))


@lru_cache(maxsize=64)
def _asked(program: str, arguments: tuple[str, ...], _stamp: tuple[int, int, int]) -> str:
    environment = {"HOME": "/nonexistent", "KUBECONFIG": "/dev/null", "PATH": "/usr/bin:/bin"}
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, timeout=_PROBE_S, check=False, stdin=subprocess.DEVNULL, env=environment
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _not_run(Path(program), str(error)) from error
    if done.returncode != 0:
        raise _not_run(Path(program), done.stderr.decode(errors="replace").strip()[:_SHOWN] or f"status {done.returncode}")
    return " ".join(done.stdout.decode(errors="replace").split())[:_SHOWN]


def _not_run(program: Path, why: str) -> WorldError:
    return WorldError("SP613", f"{program.name} does not run: {why}", fix="see what it says by hand", retry_after_s=60)
