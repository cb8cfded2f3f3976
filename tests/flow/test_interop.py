"""Stock clients against the running server: cosign verifies the bundles, oras reads and writes the registry (`make interop` builds both).

A client that is neither on PATH nor in the cache makes its test say so, loudly; dated results are in docs/interop.md.
"""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from live_home import LiveHome

ROOT = Path(__file__).resolve().parents[2]
Client = Callable[..., "subprocess.CompletedProcess[str]"]


def program(name: str) -> str:
    """Return a client's path, or skip."""
    cache = Path(os.environ.get("SETPOINT_CACHE", ROOT / ".cache"))
    built = sorted(cache.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
    found = shutil.which(name) or (str(built[-1]) if built else None)
    if found is None:
        pytest.skip(f"INCOMPLETE: needs {name} (make interop builds it)")
    return found


@pytest.fixture(scope="module")
def client(live: LiveHome) -> Client:
    """Run a stock client that is logged in to the home's registry, with its Docker configuration in a folder of the test."""
    folder = live.work / "docker"
    folder.mkdir()
    auth = base64.b64encode(f"anybody:{live.ready['token']}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {live.ready["registry"]: {"auth": auth}}}))

    def run(name: str, *argv: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(live.work), "DOCKER_CONFIG": str(folder)}
        return subprocess.run([program(name), *argv], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture(scope="module")
def image(live: LiveHome) -> str:
    """The reference of an image that staging serves, with provenance, test results and a gate statement."""
    live.release("interop")
    cell = live.serves("staging", "interop")
    return f"{live.ready['registry']}/hello/web@{cell['artifacts']['web']}"


def _key(live: LiveHome, role: str) -> str:
    """Write a role's public key, as the journal's first entry has it, to a file."""
    path = live.work / f"{role}.pub"
    path.write_text(live.api().get("/api/v1/events", {"after": "-1", "limit": "1000"})[0]["body"]["keys"][role])
    return str(path)


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("builder", "slsaprovenance1"),
        ("scanner", "https://in-toto.io/attestation/test-result/v0.1"),
        ("gate", "https://slsa.dev/verification_summary/v1"),
    ],
)
def test_cosign_accepts_what_each_role_signed(live: LiveHome, client: Client, image: str, role: str, kind: str) -> None:
    """Stock cosign verifies every kind of statement with the key of its role."""
    done = client("cosign", "verify-attestation", "--key", _key(live, role), "--insecure-ignore-tlog=true", "--type", kind, image)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("role", "kind"), [("scanner", "slsaprovenance1"), ("builder", "https://slsa.dev/verification_summary/v1")])
def test_cosign_refuses_the_key_of_another_role(live: LiveHome, client: Client, image: str, role: str, kind: str) -> None:
    """One role's key does not open another role's statement."""
    done = client("cosign", "verify-attestation", "--key", _key(live, role), "--insecure-ignore-tlog=true", "--type", kind, image)
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("policy", "role", "kind"),
    [
        ("gate", "gate", "https://slsa.dev/verification_summary/v1"),
        ("tests", "scanner", "https://in-toto.io/attestation/test-result/v0.1"),
        ("built", "builder", "slsaprovenance1"),
    ],
)
def test_cosign_with_the_documented_policies(live: LiveHome, client: Client, image: str, policy: str, role: str, kind: str) -> None:
    """A signature is no approval: the policies of docs/security.md pass what says PASSED, and the same text turned to FAILED does not."""
    page = (ROOT / "docs" / "security.md").read_text()
    found = re.search(rf"cat >{policy}\.cue <<'CUE'\n(.*?)\nCUE", page, re.DOTALL)
    assert found is not None
    text = found.group(1).replace("/gate/production", "/gate/staging").replace("p-7d2kq4ma", live.cell("staging")["promotion"])
    argv = ["verify-attestation", "--key", _key(live, role), "--insecure-ignore-tlog=true", "--type", kind, "--policy"]
    for words, accepted in ((text, True), (text.replace("PASSED", "FAILED").replace("/sandbox/", "/local/"), False)):
        file = live.work / f"{policy}.cue"
        file.write_text(words)
        done = client("cosign", *argv, str(file), image)
        assert (done.returncode == 0) is accepted, done.stderr


def test_oras_discovers_the_evidence(client: Client, image: str) -> None:
    """`oras discover` lists the bundles as referrers of the image."""
    done = client("oras", "discover", "--plain-http", "--format", "json", image)
    assert done.returncode == 0, done.stderr
    types = {entry["artifactType"] for entry in json.loads(done.stdout)["referrers"]}
    assert types == {"application/vnd.dev.sigstore.bundle.v0.3+json"}


def test_oras_pushes_and_pulls(live: LiveHome, client: Client) -> None:
    """What oras pushes it can pull again, byte for byte."""
    folder = live.work / "docker"
    (folder / "note.txt").write_text("hello, registry\n")
    reference = f"{live.ready['registry']}/notes/hello:v1"
    pushed = client("oras", "push", "--plain-http", reference, "note.txt:text/plain")
    assert pushed.returncode == 0, pushed.stderr
    (folder / "note.txt").unlink()
    pulled = client("oras", "pull", "--plain-http", reference)
    assert pulled.returncode == 0, pulled.stderr
    assert (folder / "note.txt").read_text() == "hello, registry\n"
