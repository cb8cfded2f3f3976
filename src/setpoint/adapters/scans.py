"""What a SARIF or CycloneDX report says: asked of a process of its own, for a task wrote the bytes; fills `pipeline.ports.ScanReader`.

Called when a task has ended, and again by the signer, which believes no summary of the server.
"""

import json
import sys
from typing import Final, cast

from setpoint.adapters import bounded_check
from setpoint.core.records import decode, encode
from setpoint.evidence.scans.summary import summarize
from setpoint.pipeline.model import ScanFormat, ScanSummary

_CPU_S: Final = 10
_WALL_S: Final = 40.0
"""Less than the server waits for its signer."""


class ScanProcess:
    """Every call is a process."""

    def summary(self, format_: ScanFormat, report: bytes) -> ScanSummary:
        """Return what a report says; `fault` when it cannot be used, or reading it takes more than it may.

        Raises:
            WorldError: the machine is too busy to say (SP414).
        """
        answer = bounded_check.ask("setpoint.adapters.scans", [format_, str(_CPU_S)], report, _WALL_S)
        if answer is None:
            return ScanSummary(fault=f"reading it {bounded_check.takes_too_much(_CPU_S)}")
        return decode(ScanSummary, answer)


def main(argv: list[str]) -> None:
    """Answer one question: argv holds the format and the seconds of CPU, standard input the report."""
    bounded_check.be_short_of(int(argv[1]))
    sys.stdout.write(json.dumps(encode(summarize(cast("ScanFormat", argv[0]), sys.stdin.buffer.read()))))


if __name__ == "__main__":
    main(sys.argv[1:])
