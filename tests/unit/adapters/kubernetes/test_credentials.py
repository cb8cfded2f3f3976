"""Proofs of who we are: renewed when they run out, told without the secret when they fail."""

import asyncio
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.adapters.kubernetes.credentials import Credentials, Proof
from setpoint.adapters.kubernetes.kubeconfig import Credential, ExecPlugin
from setpoint.core.errors import WorldError

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


def plugin(tmp_path: Path, script: str) -> Credential:
    """Return a credential whose plugin is a shell script."""
    path = tmp_path / "login"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Credential(plugin=ExecPlugin(str(path), environment={"REGION": "eu"}))


def ask(credentials: Credentials) -> Proof:
    """Return the proof as of now."""
    return asyncio.run(credentials.proof())


def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    """A rotated token is used within a minute, and an old one until then."""
    file, clock = tmp_path / "token", Hands()
    file.write_text("one\n")
    credentials = Credentials(Credential(token_file=file), clock)
    assert ask(credentials).token == "one"
    file.write_text("two\n")
    assert ask(credentials).token == "one"
    clock.now += timedelta(seconds=61)
    assert ask(credentials).token == "two"


def test_a_plugin_is_asked_once_until_its_credential_runs_out(tmp_path: Path) -> None:
    """A plugin gets its environment and the protocol's version, and is asked anew shortly before the end that it named."""
    ends = (NOW + timedelta(minutes=10)).isoformat().replace("+00:00", "Z")
    answer = json.dumps({"kind": "ExecCredential", "status": {"token": "t-$REGION", "expirationTimestamp": ends}}).replace('"', '\\"')
    clock = Hands()
    credentials = Credentials(plugin(tmp_path, f'echo asked >> {tmp_path}/asked\necho "{answer}"'), clock)
    assert [ask(credentials).token for _ in range(3)] == ["t-eu"] * 3
    clock.now += timedelta(minutes=9, seconds=40)
    ask(credentials)
    assert (tmp_path / "asked").read_text().count("asked") == 2


def test_a_refused_proof_is_asked_for_anew(tmp_path: Path) -> None:
    """When the server refuses a credential the next call does not repeat it from memory."""
    credentials = Credentials(plugin(tmp_path, f'echo x >> {tmp_path}/asked; echo \'{{"status": {{"token": "t"}}}}\''), Hands())
    ask(credentials)
    credentials.refused()
    ask(credentials)
    assert (tmp_path / "asked").read_text().count("x") == 2


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no luck >&2; exit 3", "exit status 3: no luck"),
        ("echo hello", "no ExecCredential"),
        ("echo '{\"status\": {}}'", "neither a token"),
    ],
)
def test_a_plugin_that_fails_is_told_with_what_it_said(tmp_path: Path, script: str, says: str) -> None:
    """A failing plugin is an error that may pass, naming the program."""
    with pytest.raises(WorldError) as caught:
        ask(Credentials(plugin(tmp_path, script), Hands()))
    assert caught.value.code == "SP681"
    assert says in caught.value.what
    assert caught.value.where.endswith("login")


def test_a_token_file_that_is_gone_is_told(tmp_path: Path) -> None:
    """A token that cannot be read is an error that names the file."""
    with pytest.raises(WorldError) as caught:
        ask(Credentials(Credential(token_file=tmp_path / "gone"), Hands()))
    assert caught.value.where == str(tmp_path / "gone")
