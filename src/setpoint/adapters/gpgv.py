"""OpenPGP signatures, checked by stock gpgv in a sandbox that holds the keys that count, the signature, the signed bytes, and nothing else.

Called by the check of commit signatures. No network, no home, no agent, no key server, no other keyring; time and output are bounded.
What gpgv says is read from its status lines (GnuPG doc/DETAILS): one good signature by a key that is neither expired nor revoked, or none.
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from setpoint.adapters.sandbox import INSTALL_HINT, Mount, sandbox_argv, system_mounts
from setpoint.core.errors import WorldError

GPG_HINT: Final = "install gpgv (Debian, Ubuntu: apt-get install gpgv; Fedora: dnf install gnupg2)"
_TIMEOUT_S: Final = 20.0
_LIMIT_BYTES: Final = 64 << 10
_ROOT: Final = "/work"
_WHY: Final = {
    "BADSIG": "the signature does not fit the commit",
    "EXPKEYSIG": "the key has expired",
    "EXPSIG": "the signature has expired",
    "REVKEYSIG": "the key is revoked",
    "NO_PUBKEY": "",
    "ERRSIG": "the signature cannot be read, or uses an algorithm that does not count",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What gpgv says."""

    state: Literal["good", "bad", "unknown"]
    """`unknown`: by none of the keys."""
    key: str
    """Fingerprint of the primary key of a good signature; else the key id or fingerprint that it names, where it does."""
    why: str = ""


class Gpgv:
    """Runs gpgv."""

    def __init__(self, program: Path | None = None, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._program = program
        self._timeout_s = timeout_s

    def check(self, payload: bytes, armored: bytes, keys: bytes) -> Checked:
        """Return what a detached signature over payload is; keys are the packets of every OpenPGP key that counts.

        Raises:
            WorldError: gpgv or bubblewrap is missing, or does not answer in time (SP690).
        """
        if len(armored) > _LIMIT_BYTES:
            return Checked("bad", "", f"the signature is longer than {_LIMIT_BYTES >> 10} KiB")
        found = self._program or (Path(path) if (path := shutil.which("gpgv")) else None)
        if found is None:
            raise WorldError("SP690", "gpgv is not installed", fix=GPG_HINT, retry_after_s=60)
        with tempfile.TemporaryDirectory(prefix="setpoint-gpgv-") as folder:
            for name, data in (("keys.gpg", keys), ("commit", payload), ("commit.asc", armored)):
                (Path(folder) / name).write_bytes(data)
            status, text = self._run(found.resolve(), folder)
        return _read(status, text)

    def _run(self, program: Path, folder: str) -> tuple[int, str]:
        mounts = [*system_mounts(), Mount("ro", folder, _ROOT)]
        if not program.is_relative_to("/usr"):
            mounts.append(Mount("ro", str(program), str(program)))
        argv = [str(program), "--homedir", "/tmp", "--status-fd", "1", "--weak-digest", "SHA1"]  # noqa: S108 - inside the sandbox
        argv += ["--keyring", f"{_ROOT}/keys.gpg", f"{_ROOT}/commit.asc", f"{_ROOT}/commit"]
        inside = sandbox_argv(argv, mounts, {"LC_ALL": "C", "HOME": "/tmp"}, cwd=_ROOT, network=False)  # noqa: S108 - inside the sandbox
        try:
            done = subprocess.run(inside, stdin=subprocess.DEVNULL, capture_output=True, timeout=self._timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise WorldError("SP690", f"gpgv did not answer within {self._timeout_s:g} seconds", retry_after_s=60) from error
        except OSError as error:
            raise WorldError("SP690", f"the sandbox of gpgv does not start: {error.strerror}", fix=INSTALL_HINT) from error
        message = done.stderr[:_LIMIT_BYTES].decode(errors="replace")
        if message.startswith("bwrap:"):
            raise WorldError("SP690", f"the sandbox of gpgv does not start: {message.strip()[:400]}", fix=INSTALL_HINT)
        return done.returncode, done.stdout[:_LIMIT_BYTES].decode(errors="replace")


def _read(status: int, text: str) -> Checked:
    """Return what the status lines say; only one good and valid signature beside nothing else is good."""
    lines = [line.removeprefix("[GNUPG:] ").split() for line in text.splitlines() if line.startswith("[GNUPG:] ")]
    words = [(line[0], line[1:]) for line in lines if line]
    valid = [rest for word, rest in words if word == "VALIDSIG"]
    bad = next(((word, rest) for word, rest in words if word in _WHY and word != "ERRSIG"), None)
    bad = bad or next(((word, rest) for word, rest in words if word in _WHY), None)
    if bad is not None:
        key = bad[1][0] if bad[1] else ""
        return Checked("unknown" if bad[0] == "NO_PUBKEY" else "bad", key, _WHY[bad[0]])
    if status == 0 and len(valid) == 1 and sum(word == "GOODSIG" for word, _rest in words) == 1 and len(valid[0]) >= 10:
        return Checked("good", valid[0][9])
    return Checked("bad", "", "gpgv does not call it a good signature")
