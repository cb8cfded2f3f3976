"""Terminal colours become class names and nothing else gets through."""

import pytest

from setpoint.web.ansi import Painter


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain\n", [("", "plain")]),
        ("\x1b[1;31mbad\x1b[0m good", [("bold fg1", "bad"), ("", " good")]),
        ("\x1b[92mbright\x1b[39m", [("fg10", "bright")]),
        ("\x1b[38;5;196mred\x1b[48;2;0;0;255mblue", [("fg9", "red"), ("fg9 bg12", "blue")]),
        ("\x1b]0;window title\x07text\x1b[2K\x1b(B", [("", "text")]),
        ("10%\r100%\r\n", [("", "100%")]),
        ("a\x00\x9bb", [("", "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b")]),
        ("\x1b[31", [("", "31")]),
        ("", []),
    ],
)
def test_a_line_becomes_segments(text: str, wanted: list[tuple[str, str]]) -> None:
    """Colours and styles are classes, every other sequence and control character is gone."""
    assert Painter().paint(text) == wanted


def test_colours_last_from_line_to_line() -> None:
    """A colour that a line leaves on colours the next one, until it is reset."""
    painter = Painter()
    painter.paint("\x1b[4;33mone")
    assert painter.paint("two\x1b[24m three") == [("under fg3", "two"), ("fg3", " three")]
    assert painter.paint("\x1b[mfour") == [("", "four")]
