"""Path patterns of the pipeline file: `src/**`, `*.py`, `tests/`, an exact file; no ignore files, no negation.

Called by `pipeline.config` (and whoever must match outputs); `*`, `?` and `[abc]` stay within one folder, `**` crosses folders, a trailing
slash means everything below. Never touches a file system.
"""

import re
from functools import lru_cache

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
_STARS_PER_SEGMENT = 4


def fault(pattern: str) -> str:
    """Return why a pattern is not accepted, or an empty string."""
    parts = pattern.split("/")
    if not pattern or _UNSAFE.search(pattern):
        return "it is empty or holds a character that has no place in a path"
    if pattern.startswith(("/", "~")) or ".." in parts or "." in parts:
        return "it must lie inside the tree: no leading `/` or `~`, no `.` or `..`"
    if "" in parts[:-1]:
        return "it holds an empty folder name (`//`)"
    if pattern.startswith("!"):
        return "negation is not supported: list what is wanted"
    if any("**" in part and part != "**" for part in parts):
        return "`**` stands alone between slashes: `src/**` or `**/*.py`"
    if any(part.count("*") > _STARS_PER_SEGMENT for part in parts) or parts.count("**") > _STARS_PER_SEGMENT:
        return "it has too many stars"
    return ""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return the regular expression that matches exactly the paths a pattern names."""
    if pattern.endswith("/"):
        pattern += "**"
    segments = pattern.split("/")
    text = ""
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "**":
            text += ".+" if last else "(?:[^/]+/)*"
        else:
            text += _segment(segment) + ("" if last else "/")
    return re.compile(text, re.DOTALL)


def _segment(text: str) -> str:
    result, position = "", 0
    while position < len(text):
        letter = text[position]
        end = text.find("]", position + 2) if letter == "[" else -1
        if letter == "*":
            result += "[^/]*"
        elif letter == "?":
            result += "[^/]"
        elif end > 0:
            inner = text[position + 1 : end]
            negated = inner[0] in "!^"
            members = re.sub(r"([\\\[\]^&~|])", r"\\\1", inner[1:] if negated else inner)
            result += f"(?!/)[{'^' if negated else ''}{members}]"
            position = end
        else:
            result += re.escape(letter)
        position += 1
    return result


def matches(pattern: str, path: str) -> bool:
    """Say whether a pattern names a path."""
    return compiled(pattern).fullmatch(path) is not None
