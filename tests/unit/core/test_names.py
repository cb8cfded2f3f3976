"""What a type's address is called."""

import pytest

from setpoint.core.names import actor, kind


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://slsa.dev/provenance/v1", "provenance"),
        ("https://in-toto.io/attestation/test-result/v0.1", "test-result"),
        ("https://setpoint.dev/attestations/report/v1", "report"),
        ("https://cyclonedx.org/bom", "bom"),
        ("https://cyclonedx.org/bom/v1.6/", "bom"),
        ("https://example.com/1", "https://example.com/1"),
        ("", ""),
    ],
)
def test_a_type_is_called_by_its_last_part_that_is_no_version(address: str, expected: str) -> None:
    """People read `provenance`, not the address; what has no such part is shown whole."""
    assert kind(address) == expected


def test_sentences_name_people_by_their_address() -> None:
    """What the journal calls `person:ada@example.com` is said without the prefix; the operator and Setpoint itself stay."""
    assert [actor(one) for one in ("person:ada@example.com", "operator", "setpoint")] == ["ada@example.com", "operator", "setpoint"]
