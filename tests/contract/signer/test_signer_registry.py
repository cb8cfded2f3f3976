"""Our bundles as the registry serves them: the referrers API lists them, and stock cosign, where it is installed, accepts them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import urllib.request
from typing import TYPE_CHECKING

import pytest
import uvicorn

from setpoint.adapters.oci.registry import Registry
from setpoint.evidence.model import APPROVAL, BUNDLE, PROVENANCE, SUMMARY, TEST_RESULT
from setpoint.ground.identity.model import Principal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from contract.signer.conftest import Story


@pytest.fixture
def address(story: Story) -> Iterator[str]:
    """The story's registry, served on a loopback port to anybody."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(Registry(story.store, lambda _header: Principal("operator")), lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


def test_the_referrers_api_lists_every_bundle(story: Story, address: str) -> None:
    """What `oras discover` asks for: one descriptor per statement, with artifact type and predicate type."""
    artifact = story.released().candidate.artifacts["web"]
    with urllib.request.urlopen(f"http://{address}/v2/{artifact.oci_repository}/referrers/{artifact.digest}", timeout=10) as answer:
        listed = json.load(answer)["manifests"]
    assert {item["artifactType"] for item in listed} == {BUNDLE}
    types = {item["annotations"]["dev.sigstore.bundle.predicateType"] for item in listed}
    assert types == {PROVENANCE, TEST_RESULT, APPROVAL, SUMMARY}


@pytest.mark.skipif(shutil.which("cosign") is None, reason="skipped: needs cosign")
@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("builder", "slsaprovenance1"),
        ("scanner", TEST_RESULT),
        ("gate", SUMMARY),
        ("approval", APPROVAL),
    ],
)
def test_cosign_verifies_our_attestations(story: Story, address: str, tmp_path: Path, role: str, kind: str) -> None:
    """`cosign verify-attestation` finds each type under its role's key and under no other."""
    artifact = story.released().candidate.artifacts["web"]

    def verify(signer: str) -> int:
        key = tmp_path / f"{signer}.pub"
        key.write_text(story.trust.keys[signer])
        argv = ["cosign", "verify-attestation", "--key", str(key), "--insecure-ignore-tlog=true", "--type", kind]
        argv.append(f"{address}/{artifact.oci_repository}@{artifact.digest}")
        return subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode

    assert verify(role) == 0
    assert verify("journal") != 0
