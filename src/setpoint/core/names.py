"""What people call something that has a long name; called by whoever shows it, pure."""

import re
from typing import Final

from setpoint.core import digest

_OWN: Final = {"https://in-toto.io/attestation/test-result/v0.1": "tests", "https://cyclonedx.org/bom": "cyclonedx"}
"""What people write in a pipeline's `evidence:` and in policies is also what they read."""
_VERSION: Final = re.compile(r"v?[0-9][0-9.]*")


def kind(address: str) -> str:
    """Return the last part of a type's address that is no version (`https://slsa.dev/provenance/v1` -> `provenance`), or our own word."""
    if address in _OWN:
        return _OWN[address]
    parts = [part for part in address.split("/")[3:] if part and not _VERSION.fullmatch(part)]
    return parts[-1] if parts else address


def candidate(version: str, configuration: str) -> str:
    """Return what sentences call what wants to get in: `3-41d2e0b`, or `configuration 9c0ffee of 3-41d2e0b` when only that changes.

    `configuration` is the commit of the delivery repository, empty when there is another build.
    """
    return f"configuration {digest.short(configuration)[:7]} of {version}" if configuration else version


def actor(written: str) -> str:
    """Return who did something, as sentences say it: `person:ada@example.com` -> `ada@example.com`; `operator` and `setpoint` stay."""
    return written.removeprefix("person:")
