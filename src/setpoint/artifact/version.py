"""What people call a build: a tag at its revision, else how many commits led to it; never in its bytes, and nothing is decided by it.

Called when an artifact is made; pure.
"""

import re
from collections.abc import Sequence
from typing import Final

_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
"""What can also be a tag in a registry (distribution-spec 1.1, pulling manifests)."""
_NUMBERS: Final = re.compile(r"([0-9]+)")


def version_of(tags: Sequence[str], commits: int, revision: str) -> str:
    """Return the highest tag that a registry can hold too, by the numbers in it; else `<commits>-<7 digits of the revision>`."""
    usable = [tag for tag in tags if _TAG.fullmatch(tag)]
    return max(usable, key=_order) if usable else f"{commits}-{revision[:7]}"


def _order(tag: str) -> list[tuple[int, int, str]]:
    """Return a sort key in which 10 comes after 9 and `v2` after `v2-rc1`, as people mean it."""
    base, _, before = tag.partition("-")
    parts = [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in _NUMBERS.split(base) if part]
    return [*parts, (0, 0, before) if before else (0, 1, "")]
