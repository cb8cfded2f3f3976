"""From the bytes of a scanner's report to its summary, by the format that the task declares; pure.

Called in the process of `adapters.scans`, and by the signer for what it signs as it is. Every fault of the document becomes a word of the
summary, with its place.
"""

from typing import Any, Final

from setpoint.core.errors import SetpointError
from setpoint.evidence.scans import cyclonedx, sarif
from setpoint.evidence.scans.reading import document
from setpoint.pipeline.model import SCAN_REPORT_BYTES, ScanFormat, ScanSummary

MEDIA_TYPES: Final[dict[ScanFormat, str]] = {"sarif": "application/sarif+json", "cyclonedx": "application/vnd.cyclonedx+json"}
"""Registered with IANA; also the artifactType of the manifest that carries a document."""
_READERS: Final = {"sarif": sarif.summarize, "cyclonedx": cyclonedx.summarize}


def summarize(format_: ScanFormat, data: bytes) -> ScanSummary:
    """Return the summary; `fault` says why a document cannot be used."""
    try:
        return _READERS[format_](data)
    except SetpointError as error:
        what = error.what.removeprefix("the report cannot be used: ")
        return ScanSummary(fault=f"{what}, at {error.where}" if error.where else what)


def cyclonedx_document(data: bytes) -> dict[str, Any]:
    """Return a CycloneDX document that `summarize` found no fault in, to be the predicate of a statement."""
    return document(data, SCAN_REPORT_BYTES["cyclonedx"])
