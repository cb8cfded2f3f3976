"""Canonical JSON: one byte string per value, so that values can be hashed and signed.

Called by the journal, by task keys, by candidates and by everything that is signed; never accepts floats that JSON cannot hold.
"""

import json
from typing import Any, Final

_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
"""Built once: json.dumps with these arguments would build one for every value."""


def dumps(value: Any) -> bytes:
    """Return UTF-8 JSON with sorted keys, no white space and no NaN: the same bytes for equal values, on every machine.

    Raises:
        TypeError: the value holds something JSON has no form for.
        ValueError: the value holds NaN or an infinity.
    """
    return _ENCODER.encode(value).encode()
