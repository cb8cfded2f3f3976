"""When a report and the vulnerability database behind it were made, as far as the report says so; pure.

No format has a field for the age of a database. So properties are looked at whose names end in words like `db:updated`; of a report with
none it is not known, which a policy sees. Called by `sarif` and `cyclonedx`, and with the time of a decision by the promotion stage.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from setpoint.core import clock
from setpoint.evidence.scans.reading import Place, instant, objects, text

_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")
_DATABASE: Final = re.compile(r"(db|database)(last)?(updated?|built|build|modified|timestamp)(at|on|date|time)?$")
_DEPTH: Final = 3
_AHEAD: Final = timedelta(hours=1)
"""A time that is further in the future says nothing: it would stay fresh for ever."""


def database(dates: Iterable[str]) -> dict[str, Any]:
    """Return what is known of a database's age from written times: the oldest of several, `{"known": false}` when there is none.

    A time that cannot be read makes all of it unknown.
    """
    found = [instant(date) for date in dates]
    return {"known": True, "updated": min(found)} if found and all(found) else {"known": False}


def named_properties(holder: Mapping[str, Any], at: Place | None) -> Iterator[str]:
    """Yield the times in CycloneDX's `properties` (name, value) that are about a database."""
    for item, place in objects(dict(holder), "properties", at):
        if speaks_of_database(text(item, "name", place)):
            yield text(item, "value", place)


def bag_properties(bag: object, above: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the times in a property bag of SARIF that are about a database; bags within bags join their names."""
    if not isinstance(bag, dict) or depth > _DEPTH:
        return
    for name, value in bag.items():
        if isinstance(value, str) and speaks_of_database(f"{above}:{name}"):
            yield value
        elif isinstance(value, dict):
            yield from bag_properties(value, f"{above}:{name}", depth + 1)


def speaks_of_database(name: str) -> bool:
    """Say whether a property's name is about when a database was made: `grype:db:built`, `VulnerabilityDB UpdatedAt`."""
    return _DATABASE.search(_SEPARATORS.sub("", name.casefold())) is not None


def aged(report: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return a summary with `age_h` beside each time that is known, in hours, rounded up; what lies in the future is not known."""
    found = _with_age(report, "made", now)
    base = found.get("database")
    if not isinstance(base, dict):
        return found
    base = _with_age(base, "updated", now)
    return {**found, "database": base if "age_h" in base or not base.get("known") else {"known": False}}


def _with_age(holder: dict[str, Any], key: str, now: datetime) -> dict[str, Any]:
    written = holder.get(key)
    if not isinstance(written, str) or not instant(written):
        return holder
    age = now - clock.from_text(instant(written))
    if age < -_AHEAD:
        return holder
    return {**holder, "age_h": max(0, -(-age // timedelta(hours=1)))}
