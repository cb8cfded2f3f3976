"""Whether a cluster answers: one failure stands for all, one probe at a time, and any answer ends it."""

from datetime import UTC, datetime

from setpoint.adapters.kubernetes.contact import PROBE_S, Contact
from setpoint.core.errors import CredentialError, UnreachableError


class Noon:
    """A clock that stands."""

    def now(self) -> datetime:
        """Return noon."""
        return datetime(2026, 1, 1, 12, tzinfo=UTC)


class Place:
    """A contact with a clock in hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.woken = 0
        self.contact = Contact("prod", Noon(), self._wake, lambda: self.now_s, lambda: 0.5)

    def _wake(self) -> None:
        self.woken += 1


LOST = UnreachableError("SP682", "refused", fix="see the address")


def test_who_was_never_asked_and_who_answers_are_told_apart() -> None:
    """Before the first answer nothing is known; an answer is a state with a since."""
    place = Place()
    assert place.contact.state.state == "not asked"
    place.contact.heard()
    assert (place.contact.state.state, place.contact.state.since) == ("answers", "2026-01-01T12:00:00.000Z")
    assert (place.contact.error(), place.woken) == (None, 0)


def test_a_silence_has_its_beginning_and_reason_until_an_answer_ends_it() -> None:
    """What is told is of the cluster and not of one call; who waited is woken once."""
    place = Place()
    told = place.contact.lost(LOST)
    assert (told.where, told.since, told.what) == ("cluster prod", "2026-01-01T12:00:00.000Z", "refused")
    error = place.contact.error()
    assert error is not None
    assert error is not told, "an error that is raised twice keeps both ways it took"
    assert place.contact.state.state == "unreachable"
    place.contact.heard()
    place.contact.heard()
    assert (place.contact.error(), place.contact.state.state, place.woken) == (None, "answers", 1)


def test_a_refused_credential_is_a_state_of_its_own() -> None:
    """Who has to act on it is somebody else than for a cluster that is down."""
    place = Place()
    place.contact.lost(CredentialError("SP689", "it ended"))
    assert place.contact.state.state == "credential refused"
    assert isinstance(place.contact.error(), CredentialError)


def test_probes_come_one_at_a_time_and_ever_later() -> None:
    """Failures of calls that were under way anyway do not count; each failed probe doubles the pause, up to half a minute."""
    place = Place()
    place.contact.lost(LOST)
    place.contact.lost(LOST)
    pauses = []
    for _ in range(7):
        began = place.now_s
        while not place.contact.probes():
            place.now_s += 0.25
        pauses.append(place.now_s - began)
        assert not place.contact.probes(), "one at a time"
        place.contact.lost(LOST)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_a_probe_that_never_ends_hinders_the_next_for_a_while_only() -> None:
    """Its caller may have died."""
    place = Place()
    place.contact.lost(LOST)
    place.now_s += 1
    assert place.contact.probes()
    place.now_s += PROBE_S
    assert place.contact.probes()
