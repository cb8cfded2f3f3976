"""The one rule for labels of clusters: what the operator gives, and what generators choose by.

Used by the ground (registering) and by the files of generators.
"""

import re
from typing import Final

from setpoint.core.documents import InvalidError

_LABEL: Final = re.compile(r"[a-z][a-z0-9.-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def label_key(text: str) -> str:
    """Return the key of a cluster's label; InvalidError SP586 when it is none."""
    if not _LABEL.fullmatch(text):
        raise InvalidError(f"`{text}` is no key of a label", "lower-case letters, digits, dots and dashes, a letter first", "SP586")
    return text


def label_value(text: str) -> str:
    """Return the value of a cluster's label; InvalidError SP586 when it is none."""
    if not _LABEL_VALUE.fullmatch(text):
        fix = "letters, digits, dots, dashes and underscores, at most 63"
        raise InvalidError(f"`{text}` is no value of a label", fix, "SP586")
    return text
