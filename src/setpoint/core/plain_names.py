"""The one rule for a name that people give to something in a file of Setpoint's: a task, an artifact, an application, an environment.

Used by the models of the pipeline file and of the delivery repository, each with its own code; it never says what a name stands for.
"""

import re
from typing import Final

from setpoint.core.documents import InvalidError

PLAIN_NAME: Final = r"[a-z][a-z0-9-]{0,39}"
"""As a regular expression, for rules that have a name as a part."""
RULE: Final = "lower-case letters, digits and dashes, a letter first, at most 40"
_WHOLE: Final = re.compile(PLAIN_NAME)


def checked(text: str, code: str) -> str:
    """Return a name that follows the rule.

    Raises:
        InvalidError: it does not; with `code`.
    """
    if not _WHOLE.fullmatch(text):
        raise InvalidError(f"`{text}` is no name", RULE, code)
    return text


def is_plain(text: str) -> bool:
    """Say whether a name follows the rule."""
    return _WHOLE.fullmatch(text) is not None
