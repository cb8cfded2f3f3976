"""What a type's address is called."""

import pytest

from setpoint.core.documents import API_VERSION
from setpoint.core.errors import ConfigError
from setpoint.core.names import actor, kind
from setpoint.core.plain_names import RULE
from setpoint.core.words import counted
from setpoint.pipeline.config import parse_pipeline
from setpoint.promotion.config import parse_setpoint


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://slsa.dev/provenance/v1", "provenance"),
        ("https://in-toto.io/attestation/test-result/v0.1", "tests"),
        ("https://setpoint.dev/attestations/report/v1", "report"),
        ("https://cyclonedx.org/bom", "cyclonedx"),
        ("https://cyclonedx.org/bom/v1.6/", "bom"),
        ("https://example.com/1", "https://example.com/1"),
        ("", ""),
    ],
)
def test_a_type_is_called_by_its_last_part_that_is_no_version(address: str, expected: str) -> None:
    """People read `provenance`, not the address; what has no such part is shown whole."""
    assert kind(address) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (counted(1, "proxy", "proxies"), "1 proxy"),
        (counted(2, "proxy", "proxies"), "2 proxies"),
        (counted(0, "task"), "0 tasks"),
        (counted(1234, "file"), "1,234 files"),
    ],
)
def test_a_count_stands_with_the_right_form_of_its_noun(sentence: str, expected: str) -> None:
    """One of a kind is said in the singular."""
    assert sentence == expected


def test_one_rule_for_names_in_every_file() -> None:
    """A task and an application are named by the same rule; each file keeps its own code."""
    bad = "A" * 3
    with pytest.raises(ConfigError, match="SP220") as of_task:
        parse_pipeline(f"apiVersion: {API_VERSION}\nkind: Pipeline\non: {{push: {{}}}}\ntasks: {{{bad}: {{run: x}}}}\n".encode(), "p", {})
    with pytest.raises(ConfigError, match="SP520") as of_app:
        parse_setpoint(f"apiVersion: {API_VERSION}\nkind: Setpoint\napps: {{{bad}: {{}}}}\n".encode())
    assert (of_task.value.what, of_task.value.fix) == (of_app.value.what, of_app.value.fix) == ("`AAA` is no name", RULE)


def test_sentences_name_people_by_their_address() -> None:
    """What the journal calls `person:ada@example.com` is said without the prefix; the operator and Setpoint itself stay."""
    assert [actor(one) for one in ("person:ada@example.com", "operator", "setpoint")] == ["ada@example.com", "operator", "setpoint"]
