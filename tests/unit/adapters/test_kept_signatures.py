"""How long what was found out about a commit's signature counts: a good OpenPGP result for an hour, for keys expire by themselves."""

import base64
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from setpoint.adapters import sshsig
from setpoint.adapters.commit_signatures import CheckedSignatures
from setpoint.adapters.gpgv import Checked, Gpgv
from setpoint.core import public_keys
from setpoint.ground.identity.model import Directory, Person
from setpoint.source.ports import GitStore
from unit.builders_home import ManualClock

PACKET = b"\x04" + bytes(4) + b"\x16key"
KEY = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{base64.b64encode(bytes([0xC6, len(PACKET)]) + PACKET).decode()}\n"
KEY += "-----END PGP PUBLIC KEY BLOCK-----"
PEOPLE = Directory((Person("dana", ("dana@example.com",), keys=(KEY,)),), {})
GOOD = Checked("good", public_keys.parse(KEY).id)
EXPIRED = Checked("bad", GOOD.key, "the key has expired")


class Git:
    """A store in which every commit carries an OpenPGP signature."""

    def raw_commit(self, name: str, commit: str) -> tuple[bytes, bytes]:
        """Return what was signed, and the signature."""
        return f"{name} {commit}".encode(), b"-----BEGIN PGP SIGNATURE-----\n"


class HandGpgv(Gpgv):
    """Says what a test wants, and counts how often it was asked."""

    def __init__(self, says: Checked) -> None:
        super().__init__()
        self.says = says
        self.asked = 0

    def check(self, payload: bytes, armored: bytes, keys: bytes) -> Checked:  # noqa: ARG002 - the port's signature
        """Return it."""
        self.asked += 1
        return self.says


def made(says: Checked) -> tuple[CheckedSignatures, HandGpgv, ManualClock]:
    """Return the check with a gpgv and a clock that a test moves."""
    gpgv, clock = HandGpgv(says), ManualClock()
    own = sshsig.public_line(Ed25519PrivateKey.generate().public_key())
    return CheckedSignatures(cast("GitStore", cast("Any", Git())), own, clock, gpgv), gpgv, clock


def test_a_key_that_expires_stops_counting_within_an_hour() -> None:
    """A good result is remembered for an hour and not longer; then gpgv is asked again, and its new word counts."""
    checked, gpgv, clock = made(GOOD)
    first = checked.of("hello", "c1", PEOPLE)
    assert (first.state, first.who, first.slow) == ("person", "dana", True)
    gpgv.says = EXPIRED
    clock.move(3599)
    again = checked.of("hello", "c1", PEOPLE)
    assert (again.state, again.slow, gpgv.asked) == ("person", False, 1)
    clock.move(1)
    found = checked.of("hello", "c1", PEOPLE)
    assert (found.state, "the key has expired" in found.detail, gpgv.asked) == ("bad", True, 2)


def test_a_look_does_not_make_a_good_result_younger() -> None:
    """The hour is from when gpgv was asked: a commit that is looked at every minute is asked about again all the same."""
    checked, gpgv, clock = made(GOOD)
    for _ in range(120):
        assert checked.of("hello", "c1", PEOPLE).state == "person"
        clock.move(60)
    assert gpgv.asked == 2


def test_a_clock_that_was_set_back_makes_no_result_count_longer() -> None:
    """A result from what is now the future is of no known age: gpgv is asked again."""
    checked, gpgv, clock = made(GOOD)
    checked.of("hello", "c1", PEOPLE)
    clock.move(-1)
    checked.of("hello", "c1", PEOPLE)
    assert gpgv.asked == 2


@pytest.mark.parametrize("says", [EXPIRED, Checked("unknown", "ABCD")], ids=["bad", "unknown"])
def test_what_is_not_good_is_asked_once(says: Checked) -> None:
    """No time makes a bad signature good under the same keys: gpgv is not run for it again."""
    checked, gpgv, clock = made(says)
    for _ in range(3):
        assert checked.of("hello", "c1", PEOPLE).state == says.state
        clock.move(86_400)
    assert gpgv.asked == 1
