"""The words every stage uses: canonical bytes, digests, instants, identifiers, verdicts, records, error texts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from setpoint.core import canonical, clock, digest, ids, records
from setpoint.core.errors import ConfigError, Finding, UserError
from setpoint.core.reasons import Outcome, Reason, conclude
from setpoint.ground.identity.model import Directory, Person, Principal


@dataclass(frozen=True)
class Inner:
    """A part."""

    pair: tuple[str | None, int]


@dataclass(frozen=True)
class Outer:
    """A record as the stages have them."""

    name: str
    outcome: Outcome
    parts: tuple[Inner, ...] = ()


def test_equal_values_have_equal_bytes() -> None:
    """Keys are sorted, nothing is escaped that need not be, no white space."""
    assert canonical.dumps({"b": [1, True, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,true,null]}'.encode()
    assert canonical.dumps({"x": 1, "y": 2}) == canonical.dumps({"y": 2, "x": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", object()])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    """No guess is hashed or signed."""
    with pytest.raises((TypeError, ValueError)):
        canonical.dumps(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sha256:" + "a" * 64, True),
        ("sha512:" + "0" * 128, True),
        ("sha256:" + "A" * 64, False),
        ("sha256:" + "a" * 63, False),
        ("sha256:" + "a" * 64 + "\n", False),
        ("md5:" + "a" * 32, False),
        ("latest", False),
    ],
)
def test_digests_are_recognised_exactly(text: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """Lower-case hex of the right length, and nothing after it."""
    assert digest.is_digest(text) is expected


def test_a_digest_is_the_published_vector_and_shortens_for_people() -> None:
    """FIPS 180-2's `abc`; people read twelve digits of digests and commits."""
    abc = digest.sha256(b"abc")
    assert abc == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (digest.short(abc), digest.short("f" * 40)) == ("ba7816bf8f01", "f" * 12)


def test_instants_are_written_in_utc_to_the_millisecond_and_sort_as_text() -> None:
    """Another zone is the same instant; what is written is read back; text order is time order."""
    local = datetime(2026, 11, 23, 7, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    text = clock.to_text(local)
    assert text == "2026-11-23T06:00:00.123Z"
    assert clock.from_text(text) == datetime(2026, 11, 23, 6, 0, 0, 123000, tzinfo=UTC)
    assert clock.to_text(local + timedelta(milliseconds=1)) > text
    assert clock.seconds_between(text, "2026-11-23T06:00:02.123Z") == 2.0
    with pytest.raises(ValueError, match="Invalid"):
        clock.from_text("yesterday")


def test_identifiers_are_made_of_content() -> None:
    """The same parts give the same id, in this very form for ever; parts do not run into each other."""
    assert ids.identifier("r", "hello", "c" * 40) == ids.identifier("r", "hello", "c" * 40)
    assert ids.identifier("r", "ab", "c") != ids.identifier("r", "a", "bc")
    assert ids.identifier("r", "a") != ids.identifier("p", "a")[:1].replace("p", "r") + ids.identifier("p", "a")[1:]
    assert len(ids.identifier("p", 1)) == 10


def test_the_worst_reason_decides_and_no_reason_denies() -> None:
    """ALLOW < WAIT < DENY; an empty verdict proves nothing."""
    allow, wait, deny = (Reason(outcome.name, outcome, "s", "f") for outcome in Outcome)
    assert conclude([allow]).outcome is Outcome.ALLOW
    assert conclude([wait, allow]).outcome is Outcome.WAIT
    assert conclude([wait, deny, allow]).blocking() == (wait, deny)
    assert (conclude([]).outcome, conclude([]).reasons[0].code) == (Outcome.DENY, "NOTHING_PROVED")


def test_records_come_back_as_they_were_and_unknown_keys_are_dropped() -> None:
    """JSON and back is the same record; a newer writer's key does not break an older reader; a wrong type does."""
    record = Outer("web", Outcome.WAIT, (Inner((None, 1)), Inner(("a", 2))))
    value = records.encode(record)
    assert value == {"name": "web", "outcome": "wait", "parts": [{"pair": [None, 1]}, {"pair": ["a", 2]}]}
    assert records.decode(Outer, {**value, "newer": True}) == record
    for broken in ({"name": "web"}, {**value, "outcome": "perhaps"}):
        with pytest.raises(ValidationError):
            records.decode(Outer, broken)


def test_errors_say_what_where_and_how_to_go_on() -> None:
    """One line each; a file's fault has its line and a caret under the place, tabs and wide letters kept in step."""
    error = UserError("SP999", "it is wrong", where="Deployment/web", fix="mend it")
    assert error.render() == "error[SP999]: it is wrong\n  --> Deployment/web\n  = help: mend it"
    finding = Finding("SP998", "no such key", "a.yaml", 12, 4, 2, "\t漢xy: 1", "remove it")
    assert finding.render().splitlines() == [
        "error[SP998]: no such key",
        "  --> a.yaml:12:4",
        "   |",
        "12 | \t漢xy: 1",
        "   | \t   ^^",
        "   = help: remove it",
    ]
    several = ConfigError([finding, Finding("SP997", "b", "b.yaml")])
    assert (several.code, several.what, several.where) == ("SP998", "no such key (and 1 more)", "a.yaml:12:4")
    assert several.render().count("error[") == 2


def test_people_are_found_by_any_email_and_teams_name_their_members() -> None:
    """Case does not matter; `team:` and `person:` selectors add up; an unknown team has nobody."""
    people = (Person("ada", ("Ada@example.com", "ada@home.org")), Person("bot", ("bot@example.com",), "machine"))
    directory = Directory(people, {"dev": ("ada", "bot")})
    assert directory.person("ADA@EXAMPLE.COM") is people[0]
    assert directory.person("") is None
    assert directory.members(("team:dev", "person:sam", "team:nobody")) == {"ada", "bot", "sam"}
    assert (Principal("operator").actor, Principal("person", "a@b.c").actor) == ("operator", "person:a@b.c")
