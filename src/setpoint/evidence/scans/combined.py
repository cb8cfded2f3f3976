"""What several summaries of one format say together: of cells, of tasks, of the artifacts of an application; pure.

Called by `evidence.facts` and by the promotion stage. Counts are added, lists joined, times are the oldest; what one of them does not say,
they do not say together.
"""

from collections.abc import Sequence
from typing import Any, Final

from setpoint.evidence.scans.reading import LISTED

_OLDEST: Final = ("made", "updated")


def combined(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the summaries say together; one alone says what it says."""
    if len(summaries) == 1:
        return summaries[0]
    found: dict[str, Any] = {}
    for key in summaries[0]:
        values = [summary[key] for summary in summaries if key in summary]
        together = _together(key, values) if len(values) == len(summaries) else None
        if together is not None:
            found[key] = together
    return found


def _together(key: str, values: list[Any]) -> Any:
    """Return one value for several, None when there is none."""
    first = values[0]
    if any(type(value) is not type(first) for value in values):
        return None
    if isinstance(first, bool):
        return all(values)
    if isinstance(first, int):
        return sum(values)
    if isinstance(first, dict):
        return combined(values)
    if isinstance(first, list):
        joined: list[Any] = []
        for value in values:
            joined += [item for item in value if item not in joined]
        return joined if len(joined) <= LISTED else None
    if key in _OLDEST:
        return min(values)
    return first if all(value == first for value in values) else None
