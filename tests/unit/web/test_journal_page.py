"""The journal's page: windows that fit together, with and without filters."""

from setpoint.api.streams import Wanted
from setpoint.ground.journal.model import Entry
from setpoint.web import journal


def _entry(index: int) -> Entry:
    kind, actor = ("hold.opened", "operator") if index % 3 == 0 else ("task.finished", "setpoint")
    return Entry(index, "2026-11-23T06:00:00.000Z", kind, "hello", actor, {}, "")


ENTRIES = [_entry(index) for index in range(10)]


def _page(wanted: Wanted, before: int | None = None) -> journal.JournalPage:
    return journal.page(lambda start: ENTRIES[start:], len(ENTRIES), wanted, before, 3)


def _indices(found: journal.JournalPage) -> list[int]:
    return [entry.index for entry in found.entries]


def test_windows_go_back_to_the_beginning_without_a_gap() -> None:
    """Newest first; `older` is where the next window ends; the last one says that nothing is older."""
    seen, before = [], None
    while True:
        found = _page(Wanted(), before)
        assert found.is_newest == (before is None)
        seen += _indices(found)
        if found.older is None:
            break
        before = found.older
    assert seen == list(range(9, -1, -1))


def test_a_filter_finds_what_lies_far_back() -> None:
    """A window has as many fitting entries as there are, however many others lie between."""
    found = _page(Wanted(kind="hold"))
    assert (_indices(found), found.older) == ([9, 6, 3], 3)
    assert _indices(_page(Wanted(kind="hold"), found.older)) == [0]
    assert _page(Wanted(kind="hold"), found.older).older is None
    assert _indices(_page(Wanted(actor="nobody"))) == []
