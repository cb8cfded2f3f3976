"""Reads counters from a page in Prometheus' text format: pure and bounded, for the page is somebody else's.

Called by `counted` for each look at a canary. Only the asked-for names are read; a line that cannot be understood is left out, for it is
of somebody who writes another dialect, and not of the counters that were asked for.
Source: the Prometheus documentation, "Exposition formats", text format 0.0.4; OpenMetrics' lines are read alike.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

LARGEST: Final = 16 << 20
"""Characters of a page."""
MOST: Final = 20_000
"""Samples that are taken of it."""
_LONGEST: Final = 8_192
_LABEL: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|$)')
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_ESCAPES: Final = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One counter."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: str, names: Collection[str]) -> Iterator[Sample]:
    """Yield the samples of some names that are whole; at most MOST, and nothing of a page that is too large.

    Raises:
        ValueError: the page is larger than LARGEST, or has more samples than MOST: a part of them would be wrong counters.
    """
    if len(text) > LARGEST:
        raise ValueError(f"the page is larger than {LARGEST >> 20} MiB")
    found = 0
    for line in text.splitlines():
        name = _NAME.match(line)
        if name is None or name[0] not in names or len(line) > _LONGEST:
            continue
        sample = _sample(name[0], line[name.end() :])
        if sample is None:
            continue
        found += 1
        if found > MOST:
            raise ValueError(f"the page has more than {MOST} counters of these names")
        yield sample


def _sample(name: str, rest: str) -> Sample | None:
    labels: dict[str, str] = {}
    if rest.startswith("{"):
        end = _closing(rest)
        inner = rest[1:end] if end else ""
        position = 0
        while position < len(inner):
            label = _LABEL.match(inner, position)
            if label is None:
                return None
            labels[label[1]] = re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), label[2])
            position = label.end()
        if not end:
            return None
        rest = rest[end + 1 :]
    words = rest.split()
    try:
        value = float(words[0]) if words else math.nan
    except ValueError:
        return None
    return Sample(name, labels, value) if math.isfinite(value) and value >= 0 else None


def _closing(rest: str) -> int:
    """Return where the labels end; 0 when they do not."""
    quoted = escaped = False
    for position, letter in enumerate(rest):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == "}" and not quoted:
            return position
    return 0
