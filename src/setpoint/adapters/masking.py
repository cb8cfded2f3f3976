"""Secrets leave a task's output before the output leaves the runner: values and their usual encodings become `***`.

Called by the runner, on bytes, before lines are cut and before anything is stored; it never learns what a value is for, and never
remembers more of the output than could be the beginning of a secret. Standard library only: the runner starts light.
"""

import base64
import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = b"***"
_SHORTEST: Final = 4
"""Shorter values would mask half of every log; they are not registered."""
_SHORTEST_LINE: Final = 8
"""A line of a multi-line secret counts from here on, so that a lone `{` of a JSON key does not mask every brace."""
_SHORTEST_ENCODED: Final = 8
_BASE64_WIDTHS: Final = (76, 64)
"""coreutils and MIME; PEM."""


def variants(value: str) -> set[bytes]:
    """Return the byte strings that give a secret away: itself, its lines, URL, JSON, hexadecimal and base64 forms."""
    found: set[bytes] = set()
    for text in {value, unquote(value), *(line for line in value.splitlines() if len(line) >= _SHORTEST_LINE)}:
        plain = text.strip()
        if len(plain) < _SHORTEST:
            continue
        found |= {plain.encode(), quote(plain, safe="").encode(), quote_plus(plain).encode(), json.dumps(plain)[1:-1].encode()}
        if len(plain) >= _SHORTEST_ENCODED:
            raw = plain.encode()
            found |= {raw.hex().encode(), raw.hex().upper().encode(), *_base64_forms(raw)}
    return found


def _base64_forms(raw: bytes) -> set[bytes]:
    """Return the part of the base64 text that does not depend on the neighbours, for each of the three alignments."""
    forms = set()
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw).rstrip(b"=")
        settled = text[(0, 2, 3)[shift] :]
        if (shift + len(raw)) % 3:
            settled = settled[:-1]
        if len(settled) >= _SHORTEST_ENCODED:
            forms |= {settled, settled.replace(b"+", b"-").replace(b"/", b"_")}
    return forms | _base64_lines(raw)


def _base64_lines(raw: bytes) -> set[bytes]:
    """Return the whole lines of a value that fills several when `base64` or PEM wraps it: the line ends hide it from the other forms."""
    found = set()
    for whole in (raw, raw + b"\n"):
        text = base64.b64encode(whole)
        for width in _BASE64_WIDTHS:
            lines = [text[start : start + width] for start in range(0, len(text), width)]
            found |= {line for line in lines if len(lines) > 1 and len(line) >= _SHORTEST_ENCODED}
    return found


class Masker:
    """Replaces secrets in a stream that arrives in pieces; one per stream."""

    def __init__(self, values: Iterable[str]) -> None:
        patterns = sorted({form for value in values for form in variants(value)}, key=len, reverse=True)
        self._patterns = patterns
        self._longest = len(patterns[0]) if patterns else 0
        self._search = re.compile(b"|".join(map(re.escape, patterns))) if patterns else None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what is safe to show by now; the beginning of a possible secret is held back until more arrives."""
        if self._search is None:
            return data
        data = self._held + data
        shown, rest = self._masked(data, self._undecided(data))
        self._held = rest
        return shown

    def finish(self) -> bytes:
        """Return what was held back; nothing more comes."""
        if self._search is None:
            return b""
        shown, _ = self._masked(self._held, len(self._held))
        self._held = b""
        return shown

    def _undecided(self, data: bytes) -> int:
        """Return where the longest tail begins that is a proper beginning of some secret, else the length of data."""
        for start in range(max(0, len(data) - self._longest + 1), len(data)):
            tail = data[start:]
            if any(len(pattern) > len(tail) and pattern.startswith(tail) for pattern in self._patterns):
                return start
        return len(data)

    def _masked(self, data: bytes, limit: int) -> tuple[bytes, bytes]:
        """Return data with the secrets that begin before limit masked, and what follows limit as it is."""
        pieces: list[bytes] = []
        position = 0
        for match in self._search.finditer(data) if self._search else ():
            if match.start() >= limit:
                break
            pieces += (data[position : match.start()], MASK)
            position = match.end()
        cut = max(position, limit)
        pieces.append(data[position:cut])
        return b"".join(pieces), data[cut:]
