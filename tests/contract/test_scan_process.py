"""A scanner's report read in a process of its own: what it says, and every way to harm or to stall the reader."""

import json
from typing import Any

import pytest

from setpoint.adapters import scans
from setpoint.adapters.scans import ScanProcess
from setpoint.core.errors import WorldError

LOG: dict[str, Any] = {
    "version": "2.1.0",
    "runs": [{"tool": {"driver": {"name": "semgrep", "version": "1.2"}}, "results": [{"level": "error"}]}],
}


def test_the_process_says_what_a_report_says() -> None:
    """Facts, words and faults come back as they are."""
    found = ScanProcess().summary("sarif", json.dumps(LOG).encode())
    assert (found.says, found.fault, found.facts["findings"]["error"]) == ("1 error by semgrep 1.2", "", 1)
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "library", "name": "\u00fc\u202e"}]}
    assert ScanProcess().summary("cyclonedx", json.dumps(bom).encode()).facts["components"]["total"] == 1
    assert "it is XML" in ScanProcess().summary("cyclonedx", b"<bom/>").fault


@pytest.mark.parametrize(
    "data", [b"[" * (1 << 20), b'{"a":' * (1 << 20), b"\x00" * 100, b"\xff\xfe{\x00}\x00", b'"' + b"\\ud800" * 1000 + b'"']
)
def test_hostile_bytes_are_a_fault_of_the_report(data: bytes) -> None:
    """Deep, cut off, of another encoding, or half a character."""
    assert ScanProcess().summary("sarif", data).fault


def test_a_report_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of empty results fit into the bytes that are allowed; the process does not outlive its second."""
    monkeypatch.setattr(scans, "_CPU_S", 1)
    log = {**LOG, "runs": [{**LOG["runs"][0], "results": [{}] * 3_000_000}]}
    data = json.dumps(log, separators=(",", ":")).encode()
    assert ScanProcess().summary("sarif", data).fault == "reading it takes more than 1 s of a processor or 2 GiB"


def test_a_machine_without_time_says_nothing_about_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again, and the report is not failed for it."""
    monkeypatch.setattr(scans, "_WALL_S", 0.0001)
    with pytest.raises(WorldError, match="SP414"):
        ScanProcess().summary("sarif", b"{}")
