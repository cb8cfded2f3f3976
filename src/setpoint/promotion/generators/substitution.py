"""`${word}` in the texts of a generator: replaced by a value of the element, and nothing is computed.

Used by the generator's file (which words there are) and by its products; pure.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

_WORD: Final = re.compile(r"\$\{([^}]*)\}")
LABEL: Final = "label."


def unknown_words(text: str, words: Collection[str], *, labels: bool) -> list[str]:
    """Return the words of a text that no element has; one that is not closed is none."""

    def known(word: str) -> bool:
        return word in words or (labels and len(word) > len(LABEL) and word.startswith(LABEL))

    _before, is_open, rest = _WORD.sub("", text).partition("${")
    return [*(word for word in _WORD.findall(text) if not known(word)), *([rest] if is_open else [])]


def missing(text: str, values: Mapping[str, str]) -> list[str]:
    """Return the words of a text that this element has no value for."""
    return [word for word in _WORD.findall(text) if word not in values]


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return a text with the element's values in it; each is put in once, so a value that looks like a word stays as it is."""
    return _WORD.sub(lambda match: values[match[1]], text)
