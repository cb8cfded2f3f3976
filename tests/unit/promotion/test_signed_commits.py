"""`gates.commits: signed`: every commit between what runs and the candidate, by whom, and what stands in the way."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from setpoint.core.errors import ConfigError, NotFoundError
from setpoint.core.reasons import Outcome
from setpoint.ground.identity.model import Directory
from setpoint.promotion.commits import MOST, Signature, SignedCommits
from setpoint.promotion.config import Gates, parse_environment, parse_setpoint
from setpoint.promotion.decide import decide
from setpoint.promotion.delivery import validate_delivery
from setpoint.promotion.model import CommitFacts, CommitFault, Pin, Promotion
from setpoint.promotion.people import Exclusions
from setpoint.promotion.repository import Delivery
from setpoint.source.model import Revision
from unit.builders_home import World
from unit.promotion.test_gate_decision import FACTS, NOW, PROMOTION

SAM = Signature("person", "sam", "the SSH key SHA256:a")
ADA = Signature("person", "ada", "the SSH key SHA256:b")
PATCH = "environments/prod/web/patch.yaml"
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJr0f8lWb2zEMYBFGh/mZ7LwKhyl5dqHoHmHNmMl7hFO"
GATE = Gates(commits="signed")


def _facts(world: World) -> CommitFacts:
    promotion, delivery = world.promotions("prod")[-1], world.delivery()
    pin = world.reader.pin(delivery, "prod", "web")
    return SignedCommits(world.git, Exclusions(world.git, world.records), world).facts(promotion, delivery, pin)


def _waiting(world: World) -> None:
    service = world.service()
    service.advance()
    world.healthy("staging")
    service.advance()


def _running(world: World) -> None:
    """Let one build run in prod."""
    world.register()
    world.build("1")
    world.to_prod(world.service())


def test_every_commit_that_comes_has_to_be_signed(world: World) -> None:
    """Source and configuration count, from what runs to the candidate; one that nobody signed is named with its title."""
    _running(world)
    world.message = "faster cart"
    first = world.commit("hello", {"a": b"1"})
    second = world.build("2").revision
    overlay = world.commit("delivery", {PATCH: b"patch 2"})
    _waiting(world)
    world.signatures = {first: SAM, second: ADA}
    found = _facts(world)
    assert (found.total, found.signers, found.error) == (3, ("ada", "sam"), "")
    assert found.faults == (CommitFault("delivery", overlay, "faster cart", "none", "it carries no signature"),)
    world.signatures[overlay] = Signature("unknown", "", "the SSH key SHA256:c")
    assert [(fault.state, fault.detail) for fault in _facts(world).faults] == [("unknown", "the SSH key SHA256:c")]
    world.signatures[overlay] = SAM
    assert _facts(world) == CommitFacts(3, ("ada", "sam"))


def test_a_merge_and_all_that_it_brings_are_signed(world: World) -> None:
    """A signed merge does not answer for an unsigned commit of its side branch, nor the other way round."""
    _running(world)
    main = world.git.heads("hello")["main"]
    side = world.commit("hello", {"side": b"1"}, parents=[main])
    assert world.git.advance("hello", "main", side, main)
    ahead = world.commit("hello", {"ahead": b"1"}, parents=[main])
    world.commit("hello", {"side": b"1"}, parents=[ahead, side])
    merge = world.build("2").revision
    _waiting(world)
    everything = {revision.commit for revision in world.git.history("hello", merge, main)}
    assert {side, ahead, merge} < everything
    for missing in everything:
        world.signatures = dict.fromkeys(everything - {missing}, SAM)
        assert [fault.commit for fault in _facts(world).faults] == [missing]
    world.signatures = dict.fromkeys(everything, SAM)
    assert _facts(world).faults == ()


def test_a_rebased_branch_counts_all_that_is_not_in_what_runs(world: World) -> None:
    """The pinned revision is no ancestor any more: every commit since the two lines parted has to be signed anew."""
    world.register()
    root = world.commit("hello", {"root": b"1"})
    world.build("1")
    world.to_prod(world.service())
    again = world.commit("hello", {"again": b"1"}, parents=[root])
    last = world.build("2").revision
    _waiting(world)
    world.signatures = {last: SAM}
    found = _facts(world)
    assert (found.total, [fault.commit for fault in found.faults]) == (2, [again])
    world.signatures[again] = SAM
    assert _facts(world) == CommitFacts(2, ("sam",))


def test_a_commit_of_setpoint_touches_only_pins(world: World) -> None:
    """What the commit key signed needs no person, unless it touches anything else."""
    _running(world)
    pins = world.commit("hello", {"pins/prod/web.yaml": b"x"})
    wide = world.commit("hello", {"pins/prod/web.yaml": b"y", "app.py": b"z"})
    last = world.build("2").revision
    _waiting(world)
    world.signatures = {pins: Signature("setpoint"), wide: Signature("setpoint"), last: SAM}
    found = _facts(world)
    assert [(fault.commit, fault.state) for fault in found.faults] == [(wide, "bad")]
    assert "touches app.py" in found.faults[0].detail
    assert found.signers == ("sam",)


def test_an_older_signature_stays_with_what_runs(world: World) -> None:
    """What is pinned already is not asked again: an unsigned commit before it is no fault."""
    world.register()
    world.commit("hello", {"old": b"1"})
    world.build("1")
    world.to_prod(world.service())
    last = world.build("2").revision
    _waiting(world)
    world.signatures = {last: SAM}
    assert _facts(world) == CommitFacts(1, ("sam",))


class _Between:
    """Gives the commits of the test."""

    def __init__(self, found: Mapping[str, list[Revision]] | Exception) -> None:
        self._found = found

    def commits(self, promotion: Promotion, delivery: Delivery, pin: Pin | None) -> Mapping[str, list[Revision]]:  # noqa: ARG002
        """Return them, or raise."""
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


class _Counting:
    """Nobody signed anything; counts the questions."""

    asked = 0
    state: Any = "none"
    who = ""
    slow = False
    known = 0
    """How many answers are remembered, and quick."""

    def of(self, repository: str, commit: str, directory: Directory) -> Signature:  # noqa: ARG002
        """Say so."""
        self.asked += 1
        return Signature(self.state, self.who, "gpgv is not installed", slow=self.slow and self.asked > self.known)


REVISION = Revision("hello", "c" * 40, "t" * 40, (), "A", "a@example.com", "a@example.com", "title", "")


def _of(world: World, between: _Between, signatures: _Counting) -> CommitFacts:
    world.register()
    return SignedCommits(world.git, between, signatures).facts(PROMOTION, world.delivery(), None)


def test_what_cannot_be_said_is_said(world: World) -> None:
    """History that is gone, too many commits and a missing gpgv give no verdict, and never a pass."""
    gone = _of(world, _Between(NotFoundError("SP104", "there is no commit abc")), _Counting())
    assert "there is no commit abc" in gone.error
    many = _Counting()
    assert f"more than {MOST} commits" in _of(world, _Between({"hello": [REVISION] * MOST}), many).error
    assert many.asked == 0
    unchecked = _Counting()
    unchecked.state = "unchecked"
    assert _of(world, _Between({"hello": [REVISION] * 50}), unchecked).error == "gpgv is not installed"
    assert unchecked.asked == 1


def test_thousands_of_slow_signatures_hold_nobody_up(world: World) -> None:
    """A look runs gpgv a hundred times at most and goes on at the next; until all is known nothing passes and nobody may approve."""
    slow = _Counting()
    slow.state, slow.who, slow.slow = "person", "ada", True
    between = _Between({"hello": [REVISION] * 250})
    assert _of(world, between, slow).error == "signatures are still being checked"
    assert slow.asked == 101
    delivery = world.delivery()
    people = {name: person.model_copy(update={"keys": (SSH,)}) for name, person in delivery.setpoint.people.items()}
    keyed = replace(delivery, setpoint=delivery.setpoint.model_copy(update={"people": people}))
    slow.asked, slow.state = 0, "bad"
    excluded = SignedCommits(world.git, between, slow).excluded(PROMOTION, keyed, None)
    assert (set(excluded), set(excluded.values())) == ({"ada", "sam", "pat", "bot"}, {"signatures are still being checked"})
    slow.asked, slow.state, slow.known = 0, "person", 200
    assert SignedCommits(world.git, between, slow).facts(PROMOTION, delivery, None) == CommitFacts(250, ("ada",))
    assert SignedCommits(world.git, between, slow).excluded(PROMOTION, keyed, None) == {"ada": "signed cccccccccccc"}


def test_hostile_history_is_not_walked_to_its_end(world: World) -> None:
    """After a hundred faults nothing more is looked at."""
    nobody = _Counting()
    found = _of(world, _Between({"hello": [REVISION] * 5_000}), nobody)
    assert (len(found.faults), nobody.asked) == (100, 100)


@pytest.mark.parametrize(
    ("facts", "code", "outcome", "words"),
    [
        (CommitFacts(3, ("ada", "sam")), "COMMITS_SIGNED", Outcome.ALLOW, "3 signed by ada, sam"),
        (CommitFacts(0), "COMMITS_SIGNED", Outcome.ALLOW, "0 signed"),
        (None, "COMMITS_UNCHECKED", Outcome.WAIT, "not looked at"),
        (CommitFacts(0, error="gpgv is not installed; install gpgv"), "COMMITS_UNCHECKED", Outcome.WAIT, "install gpgv"),
        (
            CommitFacts(1, (), (CommitFault("hello", "4" * 40, "faster", "none", "it carries no signature"),)),
            "COMMIT_NOT_SIGNED",
            Outcome.DENY,
            "it carries no signature (faster)",
        ),
        (
            CommitFacts(1, (), (CommitFault("hello", "4" * 40, "faster", "bad", "its SSH signature does not fit the commit"),)),
            "COMMIT_NOT_SIGNED",
            Outcome.DENY,
            "does not fit",
        ),
        (
            CommitFacts(1, (), (CommitFault("hello", "4" * 40, "faster", "unknown", "the SSH key SHA256:c"),)),
            "COMMIT_SIGNER_UNKNOWN",
            Outcome.WAIT,
            "signed by the SSH key SHA256:c (faster), which is nobody's",
        ),
    ],
)
def test_each_finding_is_a_reason_with_a_way_out(facts: CommitFacts | None, code: str, outcome: Outcome, words: str) -> None:
    """An unsigned commit denies; a signer whom an owner can still name waits; only signed commits allow."""
    verdict = decide(replace(FACTS, commits=facts), GATE, PROMOTION, NOW)
    reason = next(reason for reason in verdict.reasons if reason.code == code)
    assert reason.outcome is outcome is verdict.outcome
    assert words in reason.found
    assert outcome is Outcome.ALLOW or reason.fix
    if facts is not None and facts.faults:
        assert reason.subject == "commit 444444444444 of hello"


def test_without_the_gate_nothing_is_asked(world: World) -> None:
    """An environment that does not ask has no reason about signatures."""
    _running(world)
    world.build("2")
    _waiting(world)
    codes = {reason.code for reason in world.service().explain("web", "prod").verdict.reasons}
    assert not {code for code in codes if code.startswith("COMMIT")}


def test_whose_key_signed_is_excluded_whoever_it_says_committed(world: World) -> None:
    """Sam's key under ada's name: sam's approval does not count."""
    _running(world)
    commit = world.build("2").revision
    _waiting(world)
    world.signatures = {commit: SAM}
    promotion, delivery = world.promotions("prod")[-1], world.delivery()
    signed = SignedCommits(world.git, Exclusions(world.git, world.records), world)
    assert signed.excluded(promotion, delivery, world.reader.pin(delivery, "prod", "web")) == {}  # nobody has a key
    people = delivery.setpoint.people
    keyed_sam = people["sam"].model_copy(update={"keys": (SSH,)})
    with_key = delivery.setpoint.model_copy(update={"people": {**people, "sam": keyed_sam}})
    keyed = replace(delivery, setpoint=with_key)
    found = signed.excluded(promotion, keyed, world.reader.pin(delivery, "prod", "web"))
    assert found == {"sam": f"signed {commit[:12]}"}


PARTS = (b"ssh-rsa", b"\x01\x00\x01", b"\x00" + b"\xc3" * 128)
SHORT_RSA = "ssh-rsa " + base64.b64encode(b"".join(len(part).to_bytes(4, "big") + part for part in PARTS)).decode()
SETPOINT = f"""apiVersion: setpoint.dev/v1alpha1
kind: Setpoint
people:
  ada: {{emails: [ada@example.com], keys: ["{SSH} ada@laptop"]}}
  sam: {{emails: [sam@example.com]}}
"""


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (SSH, "already belongs to `ada`"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACB", "begins with none of"),
        ("ssh-ed25519 !!!!", "damaged"),
        (SSH.replace("ssh-ed25519", "ssh-rsa"), "damaged"),
        (SHORT_RSA, "at least 2048 bits"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\\nx", "PRIVATE key"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\\n\\nAAAA\\n-----END PGP PUBLIC KEY BLOCK-----", "damaged"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----", "no armored OpenPGP public key"),
    ],
)
def test_keys_that_are_none_have_a_place(key: str, word: str) -> None:
    """A key that is damaged, weak, private or somebody else's is told with its line."""
    text = SETPOINT.replace("emails: [sam@example.com]", f'emails: [sam@example.com], keys: ["{key}"]')
    with pytest.raises(ConfigError) as caught:
        parse_setpoint(text.encode())
    finding = caught.value.findings[0]
    assert (finding.code, finding.line) == ("SP545", 5)
    assert word in finding.what


def test_signatures_that_nobody_could_make_are_a_finding() -> None:
    """`commits: signed` needs somebody with a key; `check` says so at the gate."""
    head = b"apiVersion: setpoint.dev/v1alpha1\nkind: Environment\ntarget: {host: {listen: '127.0.0.1:7501'}}\n"
    environment = parse_environment(head + b"gates: {commits: signed}\n", "environments/prod/environment.yaml")
    setpoint = parse_setpoint(SETPOINT.encode())
    assert validate_delivery(setpoint, {"prod": environment}, set()) == []
    nobody = parse_setpoint(SETPOINT.replace(f', keys: ["{SSH} ada@laptop"]', "").encode())
    (finding,) = validate_delivery(nobody, {"prod": environment}, set())
    assert (finding.code, finding.line) == ("SP546", 4)
