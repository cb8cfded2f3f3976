"""Server-sent events: lines in, events out, after the WHATWG HTML standard, section 9.2.6; pure, called by `client.http`."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class ServerEvent(NamedTuple):
    """One event of a stream."""

    id: str
    """What to resume after; empty when the stream has no ids."""
    event: str
    """`message` when the server named none."""
    data: str


def events_of(lines: Iterable[bytes], last_id: str = "") -> Iterator[ServerEvent]:
    """Yield the events that lines (with or without line ends) hold; an event that is not finished by an empty line is dropped."""
    name, data = "", list[str]()
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield ServerEvent(last_id, name or "message", "\n".join(data))
            name, data = "", []
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "data":
            data.append(value)
        elif key == "event":
            name = value
        elif key == "id" and "\0" not in value:
            last_id = value
