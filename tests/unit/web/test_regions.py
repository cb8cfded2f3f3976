"""Every table that may be wider than its window is a region that keys can reach and scroll."""

import re
from pathlib import Path

import setpoint.web

TEMPLATES = Path(str(setpoint.web.__file__)).parent / "templates"


def test_scrolling_tables_have_a_name_and_take_the_focus() -> None:
    """A scrolling box without a tab stop and a name is lost to who uses no pointer (WCAG 2.1.1)."""
    boxes = [(file.name, box) for file in TEMPLATES.glob("*.html") for box in re.findall(r'<div class="scroll"[^>]*>', file.read_text())]
    assert len(boxes) > 5
    assert [(name, box) for name, box in boxes if 'role="region" tabindex="0" aria-label' not in box] == []
