"""Whether anything still moves by itself: runs, heads without a run, rollouts, promotions that only time or the loop can move.

Called by `status --wait`, `watch` and `rollback`; asks the API again and again (level-triggered), so that no event can be missed, and
remembers only since when it saw what.
"""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from setpoint.cli.output import items_of
from setpoint.core import digest

if TYPE_CHECKING:
    from setpoint.client.http import Api

POLL_S: Final = 0.2
QUIET_S: Final = 1.5
"""The loop looks at least every second: so long without a journal entry, and nothing was about to happen."""
_DEGRADED_S: Final = 10.0
"""Something degraded may heal by itself (a replica that comes back): it counts as settled when it did not for so long."""
_NEW_BRANCH_S: Final = 3.0
"""A branch that never had a run may have no pipeline file: so long it gets the benefit of the doubt."""
_KNOWN_BRANCH_S: Final = 30.0
_FOR_A_PERSON: Final = ("APPROVAL_MISSING", "APPROVAL_EXPIRED", "HOLD")
_AT_REST: Final = ("healthy", "empty", "degraded", "suspended")


class Heads:
    """Branch heads of source repositories that have no run yet."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first_seen: dict[tuple[str, str], float] = {}

    def missing(self, repositories: Iterable[dict[str, Any]], runs: Iterable[dict[str, Any]]) -> list[str]:
        """Return a sentence for every head whose run should still begin."""
        every = list(runs)
        has_run = {(run["repository"], run["revision"]) for run in every}
        branches = {(run["repository"], run["ref"]) for run in every}
        found = []
        for repository in repositories:
            for branch, commit in repository["heads"].items():
                name = repository["name"]
                known = (name, f"refs/heads/{branch}") in branches
                if (name, commit) in has_run or (repository["delivery"] and not known):
                    continue
                waited_s = self._now() - self._first_seen.setdefault((name, commit), self._now())
                if waited_s < (_KNOWN_BRANCH_S if known else _NEW_BRANCH_S):
                    found.append(f"{name}: the run of {digest.short(commit)} ({branch}) has not begun")
        return found


class Settling:
    """Looks at the whole home and says what still moves."""

    def __init__(self, api: "Api", application: str | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._application = application
        self._now = now
        self._heads = Heads(now)
        self._journal = -2
        self._quiet_since = now()

    def look(self) -> tuple[dict[str, Any], list[str]]:
        """Return (status, what still moves); an empty list means that only a person can change anything."""
        journal = self._last_entry()
        status = self._api.get("status", {"application": self._application})
        runs = items_of(self._api.get("runs", {"limit": 200}))
        found = self._heads.missing(items_of(self._api.get("repositories")), runs)
        found += [
            f"run {run['run']} of {run['repository']} goes on"
            for run in status["runs"]
            if run["state"] == "running" and not run.get("lost")
        ]
        found += [why for cell in status["cells"] if (why := moving(cell))]
        if journal != self._journal:
            self._journal, self._quiet_since = journal, self._now()
        degraded = [f"{cell['app']} in {cell['environment']}" for cell in status["cells"] if cell["health"] == "degraded"]
        if not found and self._now() - self._quiet_since < (_DEGRADED_S if degraded else QUIET_S):
            found.append(f"{', '.join(degraded)} may heal" if degraded else "the last change is only a moment old")
        return status, found

    def _last_entry(self) -> int:
        entries = items_of(self._api.get("events", {"limit": 1}))
        return int(entries[-1]["index"]) if entries else -1


def moving(cell: dict[str, Any]) -> str:
    """Return a sentence when a cell of the matrix moves by itself, else an empty string; what waits for a person does not."""
    place = f"{cell['app']} in {cell['environment']}"
    if cell["health"] not in _AT_REST:
        return f"{place} is {cell['health']}"
    waiting = cell.get("waiting")
    if waiting and not any(reason["code"] in _FOR_A_PERSON or reason["outcome"] == "deny" for reason in waiting["reasons"]):
        subjects = ", ".join(reason["subject"] for reason in waiting["reasons"]) or "its pin"
        return f"{place}: {waiting['version']} waits for {subjects}"
    return ""
