"""The signer as a process of its own: start, protocol, death and rebirth, and who may read its memory."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from setpoint.adapters.signer import protocol
from setpoint.adapters.signer.client import SignerClient, SignerPaths
from setpoint.core.errors import BugError, ConflictError, UserError, WorldError
from setpoint.evidence.ports import Signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract.signer.conftest import Story


@pytest.fixture
def client(story: Story) -> Iterator[SignerClient]:
    """A running signer of the story's home."""
    made = SignerClient.spawn(story.paths)
    yield made
    made.close()


def test_the_process_signs_what_the_journal_holds(story: Story, client: SignerClient) -> None:
    """It sees entries that were appended after it started, and gives exactly what the desk composes."""
    story.build(story.run("r-1"))
    assert client.sign("run", "r-1") == story.sign("run", "r-1")
    assert client.public_keys() == story.trust.keys
    with pytest.raises(UserError, match="SP404") as caught:
        client.sign("run", "r-none")
    assert caught.value.where == "r-none"


def test_it_is_another_process_that_leaves_no_core(client: SignerClient) -> None:
    """It has its own pid and session, and a crash writes no keys to disk."""
    pid = client.ping()
    assert pid != os.getpid()
    assert os.getsid(pid) == pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


def test_its_memory_is_closed_to_other_processes_of_the_user() -> None:
    """Hardening makes it undumpable: no ptrace and no /proc/PID/mem for the same uid (prctl 3 is PR_GET_DUMPABLE)."""
    code = "import ctypes; from setpoint.adapters.signer import process; process._harden(); print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"0\n"


def test_a_killed_signer_is_started_again(story: Story, client: SignerClient) -> None:
    """Kill it at any moment: the next request is answered by a new process, with the same bytes."""
    story.build(story.run("r-1"))
    before, first = client.ping(), client.sign("run", "r-1")
    os.kill(before, signal.SIGKILL)
    assert client.sign("run", "r-1") == first
    assert client.ping() != before


def test_a_signer_that_hangs_is_given_up(story: Story) -> None:
    """A stopped signer is SP405 after the timeout, and is not asked again: its late answer must not be taken for another's."""
    client = SignerClient.spawn(story.paths)
    client._connection._socket.settimeout(0.2)  # type: ignore[union-attr]
    before = client.ping()
    os.kill(before, signal.SIGSTOP)
    try:
        with pytest.raises(WorldError, match="SP405"):
            client.ping()
        assert client.ping() != before
    finally:
        client.close()


def test_closing_ends_the_process(story: Story) -> None:
    """When the server goes, the signer goes."""
    client = SignerClient.spawn(story.paths)
    pid = client.ping()
    client.close()
    assert not Path(f"/proc/{pid}").exists()


def test_keys_are_made_once_for_an_empty_journal(tmp_path: Path) -> None:
    """The first question makes them, 0600; the answer is the same ever after."""
    names = ("journal", "keys", "repositories", "registry", "content")
    for name in names:
        (tmp_path / name).mkdir()
    client = SignerClient.spawn(SignerPaths(**{name: tmp_path / name for name in names}))
    try:
        keys = client.public_keys()
        assert set(keys) == {"builder", "scanner", "gate", "approval", "commit", "journal"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()} == {0o600}
        assert client.public_keys() == keys
        with pytest.raises(UserError, match="SP406"):
            client.sign("run", "r-1")
    finally:
        client.close()


def test_lost_keys_are_not_replaced(story: Story) -> None:
    """A home whose keys are gone, or were swapped, signs nothing: new keys would be nobody's."""
    shutil.rmtree(story.paths.keys)
    client = SignerClient.spawn(story.paths)
    try:
        with pytest.raises(UserError, match="SP406"):
            client.public_keys()
        with pytest.raises(UserError, match="SP406"):
            client.sign("run", "r-1")
        assert not story.paths.keys.exists()
    finally:
        client.close()


def test_a_signer_that_cannot_start_is_a_world_error(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """SP405, to be tried again, not an exception of the operating system."""
    monkeypatch.setattr("sys.executable", "/nowhere/python3")
    with pytest.raises(WorldError, match="SP405"):
        SignerClient.spawn(story.paths)


def test_requests_name_ids_only() -> None:
    """Law 8: bytes to be signed fit in no request, and odd lines are refused."""
    assert protocol.parse_request(protocol.request("sign", {"kind": "run", "subject": "r-1"})) == (
        "sign",
        {"kind": "run", "subject": "r-1"},
    )
    with pytest.raises(UserError, match="SP404"):
        protocol.request("sign", {"subject": "x" * 20_000})
    for line in (b"", b"[]", b'{"v":2,"op":"ping"}', b'{"v":1}', b'{"v":1,"op":"sign","subject":{"payload":"x"}}', b"\xff"):
        with pytest.raises(BugError, match="SP409"):
            protocol.parse_request(line)


def test_answers_and_errors_come_back_as_they_were() -> None:
    """A Signed keeps every field, an error its family, code, place and fix."""
    signed = Signed("t", "s", "r", b"\x00p", b"\xffs", "PASSED", "task", "web", "sum", "at")
    assert protocol.decode_signed(json.loads(json.dumps(protocol.encode_signed(signed)))) == signed
    with pytest.raises(ConflictError) as caught:
        protocol.parse_answer(protocol.failure(ConflictError("SP412", "what", where="w", fix="f")))
    assert (caught.value.code, caught.value.what, caught.value.where, caught.value.fix) == ("SP412", "what", "w", "f")
    for line in (b"", b"{}", b'{"v":9,"ok":1}', b'{"v":1,"error":{"family":"SystemExit"}}'):
        with pytest.raises(WorldError, match="SP405"):
            protocol.parse_answer(line)
