"""Terminal colours (SGR) of log lines as named classes; every other escape sequence is dropped.

Called when a log is drawn; static/setpoint.js does the same for streamed lines. It never makes HTML: templates escape the text.
"""

import re
from typing import Final

Segment = tuple[str, str]
"""(space-separated class names, text)"""

_ESCAPE: Final = re.compile(r"\x1b(?:\[([0-9;:]*)([ -/]*[@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()*+][0-9A-Za-z]|[ -~]?)")
"""CSI (parameters, final), OSC until BEL or ST, character sets, and two-character sequences (ECMA-48)."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STYLES: Final = {1: "bold", 2: "dim", 3: "italic", 4: "under", 9: "strike"}
_OFF: Final = {22: ("bold", "dim"), 23: ("italic",), 24: ("under",), 29: ("strike",)}


class Painter:
    """Carries the colours from one line of a log to the next."""

    def __init__(self) -> None:
        self._styles: set[str] = set()
        self._colour: dict[str, str] = {}

    def paint(self, text: str) -> list[Segment]:
        """Return a line as (classes, text) segments; what a carriage return overwrote is left out."""
        line = text.rstrip("\r\n").rpartition("\r")[2]
        found: list[Segment] = []
        start = 0
        for match in _ESCAPE.finditer(line):
            self._add(found, line[start : match.start()])
            start = match.end()
            if match[2] == "m":
                self._apply([int(part) if part else 0 for part in re.split("[;:]", match[1])[:32]])
        self._add(found, line[start:])
        return found

    def _add(self, found: list[Segment], text: str) -> None:
        clean = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
        if clean:
            found.append((" ".join([*sorted(self._styles), *self._colour.values()]), clean))

    def _apply(self, codes: list[int]) -> None:
        while codes:
            code = codes.pop(0)
            if code == 0:
                self._styles.clear()
                self._colour.clear()
            elif code in _STYLES:
                self._styles.add(_STYLES[code])
            elif code in _OFF:
                self._styles.difference_update(_OFF[code])
            elif code in (39, 49):
                self._colour.pop("fg" if code == 39 else "bg", None)
            else:
                self._paint_with(code, codes)

    def _paint_with(self, code: int, rest: list[int]) -> None:
        layer = "bg" if code // 10 in (4, 10) else "fg"
        number: int | None = None
        if code in (38, 48):
            number = _extended(rest)
        elif 30 <= code <= 37 or 40 <= code <= 47:
            number = code % 10
        elif 90 <= code <= 97 or 100 <= code <= 107:
            number = code % 10 + 8
        if number is not None:
            self._colour[layer] = f"{layer}{number}"


def _extended(rest: list[int]) -> int | None:
    """Take the parameters of 38/48 off `rest` and return the nearest of the sixteen named colours."""
    kind = rest.pop(0) if rest else None
    if kind == 5 and rest:
        number = rest.pop(0)
        if number < 16:
            return number
        if number >= 232:
            return 8 if number < 244 else 7
        cube = number - 16
        return _nearest(*(step * 51 for step in (cube // 36 % 6, cube // 6 % 6, cube % 6)))
    if kind == 2 and len(rest) >= 3:
        red, green, blue = rest[:3]
        del rest[:3]
        return _nearest(red, green, blue)
    return None


def _nearest(red: int, green: int, blue: int) -> int:
    bright = 8 if max(red, green, blue) > 200 else 0
    return bright + (red > 100) + 2 * (green > 100) + 4 * (blue > 100)
