"""The nearest known word to a mistyped one; called wherever an unknown name is reported, never decides anything."""

import difflib
from collections.abc import Iterable

_CUTOFF = 0.6


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word most like `word` (difflib ratio >= 0.6, case ignored), or an empty string."""
    by_case = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold()[:80], by_case, 1, _CUTOFF)
    return by_case[found[0]] if found else ""


def help_text(word: str, known: Iterable[str], what: str) -> str:
    """Return ``did you mean `x`?``, else the list of what is known: ``known tasks: a, b``, else that there are none."""
    names = sorted(known)
    near = nearest(word, names)
    if near:
        return f"did you mean `{near}`?"
    return f"known {what}: {', '.join(names)}" if names else f"there are no {what} yet"
