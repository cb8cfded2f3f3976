"""Pins and their commits: machine-written, strictly read, in Git's own formats."""

from dataclasses import replace

import pytest

from setpoint.core.errors import UserError
from setpoint.promotion import pin
from setpoint.promotion.model import Candidate, Pin, PinnedArtifact, Promotion

CANDIDATE = Candidate("web", "staging", {"web": PinnedArtifact("hello/web", "sha256:" + "a" * 64)}, "1" * 40, "2" * 40)
PIN = Pin(CANDIDATE, "p-abc", "hello", "3" * 40, "12-3333333", "4" * 40)
PATH = "pins/staging/web.yaml"
PROMOTION = Promotion(
    promotion="p-abc",
    kind="advance",
    candidate=CANDIDATE,
    source_repository="hello",
    source_revision="3" * 40,
    version="12-3333333",
    delivery_commit="5" * 40,
    accepted_commit="5" * 40,
    policy="4" * 40,
    binding="sha256:b",
    requested_by="setpoint",
    created_at="2026-11-23T06:00:00.000Z",
)


def test_a_pin_comes_back_as_it_was() -> None:
    """Rendering and parsing are inverse; the commit is not in the bytes."""
    data = pin.render_pin(replace(PIN, commit="9" * 40))
    assert data.startswith(b"# Written by Setpoint; a change by hand is refused (law 2).\napiVersion: setpoint.dev/v1alpha1\nkind: Pin\n")
    assert pin.parse_pin(data, PATH) == PIN
    assert pin.parse_pin(data, PATH, "9" * 40).commit == "9" * 40
    assert pin.pin_of(PROMOTION) == PIN


@pytest.mark.parametrize(
    "version", ["1.10", "1e5", "yes", "", 'a"b\\c', "null", "ümläut ✓", "line\nbreak\x85\u2028", "0o17", "💡", "a: b # c"]
)
def test_odd_words_survive(version: str) -> None:
    """Nothing that looks like a number, a boolean or YAML syntax changes on the way through the file."""
    odd = replace(PIN, version=version, source_revision="1" * 40)
    assert pin.parse_pin(pin.render_pin(odd), PATH) == odd


def test_pins_without_artifacts_or_trees() -> None:
    """An application without artifacts, or with one tree only, has a pin too."""
    bare = replace(
        PIN, candidate=replace(CANDIDATE, artifacts={}, environment_tree=None), source_repository="", source_revision="", version=""
    )
    assert pin.parse_pin(pin.render_pin(bare), PATH) == bare


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        (b"kind: Pin", b"kind: Pim", "2:1"),
        (b"app: web\n", b"", "2:1"),
        (b"promotion: p-abc", b"promotion: p-abc\nextra: 1", "7:1"),
        (b"promotion: p-abc", b"promotion: p-abc\npromotion: p-abc", "7:1"),
        (b"promotion: p-abc", b"promotion: 12", "6:12"),
        (b"promotion: p-abc", b"promotion: &a p-abc", "6:12"),
        (b"promotion: p-abc", b"promotion: !!str p-abc", "6:12"),
        (b"digest: sha256:", b"digest: latest:", "10:13"),
        (b"app: web\n", b"app: api\n", "4:1"),
        (b"environment: staging", b"environment: production", "4:1"),
        (b'app: "1111', b'app: "x111', "16:8"),
        (b"policy: ", b"policy: [", "19:1"),
        (b"kind: Pin", b"kind: Pin\n---\nkind: Pin", "4:1"),
    ],
)
def test_hand_edits_are_refused_with_their_place(old: bytes, new: bytes, place: str) -> None:
    """A key too many, one missing, another type, an anchor, a tag or a second document: SP540 at its line and column."""
    data = pin.render_pin(PIN)
    assert old in data
    with pytest.raises(UserError) as caught:
        pin.parse_pin(data.replace(old, new, 1), PATH)
    assert caught.value.code == "SP540"
    assert caught.value.where == f"{PATH}:{place}"


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"a: b: c", b"x" * (65 << 10), b"[" * 5000])
def test_rubbish_is_no_pin(data: bytes) -> None:
    """Anything else is SP540 with the file's path."""
    with pytest.raises(UserError) as caught:
        pin.parse_pin(data, PATH)
    assert caught.value.code == "SP540"
    assert caught.value.where.startswith(PATH)


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", ".x", "-a", "a\n"])
def test_names_that_are_no_path_segments(name: str) -> None:
    """A pin never lands outside `pins/<env>/`."""
    with pytest.raises(UserError, match="SP520"):
        pin.pin_path(name, "web")
    with pytest.raises(UserError, match="SP520"):
        pin.pin_path("prod", name)


def test_commit_message_names_the_promotion() -> None:
    """The title says what moved, the trailers which promotion, and both come back from the message."""
    message = pin.commit_message(PROMOTION)
    assert message.startswith("Pin web in staging: 12-3333333\n\n")
    assert pin.parse_trailers(message) == {
        "Setpoint-Promotion": "p-abc",
        "Setpoint-App": "web",
        "Setpoint-Environment": "staging",
        "Setpoint-Candidate": CANDIDATE.digest,
        "Setpoint-Revision": "3" * 40,
    }
    assert pin.commit_message(replace(PROMOTION, kind="rollback")).startswith("Roll back web in staging to 12-3333333\n")


def test_a_version_cannot_forge_trailers() -> None:
    """Line breaks in what people call a version stay in the title."""
    message = pin.commit_message(replace(PROMOTION, version="1\n\nSetpoint-Promotion: p-evil"))
    assert pin.parse_trailers(message)["Setpoint-Promotion"] == "p-abc"


@pytest.mark.parametrize("message", ["", "title", "title\n\nno trailer here", "t\n\nA: 1\nA: 2", "t\n\nA: 1\nplain", "A: 1"])
def test_messages_without_clean_trailers(message: str) -> None:
    """A paragraph that is not all trailers, or repeats one, holds none."""
    assert pin.parse_trailers(message) == {}


def test_commit_payload_is_gits_format() -> None:
    """Tree, parent, author and committer in UTC, an empty line, the message."""
    payload = pin.commit_payload("1" * 40, "2" * 40, "title\n", "1970-01-01T00:01:40.500Z")
    who = b"Setpoint <setpoint@localhost.invalid> 100 +0000"
    lines = [b"tree " + b"1" * 40, b"parent " + b"2" * 40, b"author " + who, b"committer " + who, b"", b"title", b""]
    assert payload == b"\n".join(lines)
    with pytest.raises(UserError, match="SP541"):
        pin.commit_payload("1" * 40, "HEAD", "t", "1970-01-01T00:00:00Z")


def test_claim_of_reads_the_commit() -> None:
    """What `verify` is told of a pin comes from the file and from the commit's own trailer."""
    claim = pin.claim_of(replace(PIN, commit="9" * 40), pin.commit_message(replace(PROMOTION, promotion="p-other")), commit_signed=False)
    assert (claim.promotion, claim.commit_promotion, claim.commit_signed) == ("p-abc", "p-other", False)
    assert claim.candidate == CANDIDATE.data()
