"""How severe a score of CVSS is, and the base score of a vector when only that is given: versions 2, 3.0 and 3.1; pure.

Called by `vulnerabilities` and `sarif`. Version 4 has no formula but a table of expert judgements, which is not repeated here:
a vector of it without a score is `unknown`. Sources: first.org, CVSS v3.1 specification sections 5 and 7; CVSS v2 guide section 3.2.1.
"""

import math
from typing import Final

_V3: Final[dict[str, dict[str, float]]] = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "PR": {"N": 0.85, "L": 0.62, "H": 0.27},
    "UI": {"N": 0.85, "R": 0.62},
    "S": {"U": 0, "C": 1},
    "C": {"H": 0.56, "L": 0.22, "N": 0},
    "I": {"H": 0.56, "L": 0.22, "N": 0},
    "A": {"H": 0.56, "L": 0.22, "N": 0},
}
_CHANGED: Final = {"L": 0.68, "H": 0.5}
"""Privileges weigh more when the scope changes."""
_V2: Final[dict[str, dict[str, float]]] = {
    "AV": {"N": 1.0, "A": 0.646, "L": 0.395},
    "AC": {"L": 0.71, "M": 0.61, "H": 0.35},
    "Au": {"N": 0.704, "S": 0.56, "M": 0.45},
    "C": {"C": 0.66, "P": 0.275, "N": 0},
    "I": {"C": 0.66, "P": 0.275, "N": 0},
    "A": {"C": 0.66, "P": 0.275, "N": 0},
}
_HIGHEST: Final = 10.0


def severity(score: float, *, second: bool = False) -> str:
    """Return the word for a score from 0 to 10, `unknown` for any other; second is version 2, which knows no `critical`."""
    if not 0 <= score <= _HIGHEST:
        return "unknown"
    steps = ((7.0, "high"), (4.0, "medium")) if second else ((9.0, "critical"), (7.0, "high"), (4.0, "medium"))
    # To one decimal, as scores are given: 8.96 is written 9.0.
    found = next((word for least, word in steps if round(score, 1) >= least), "")
    return found or ("low" if score > 0 or second else "none")


def of_vector(vector: str) -> str:
    """Return the word for a vector's base score, `unknown` when it is none of version 2, 3.0 or 3.1 or lacks a base metric."""
    if len(vector) > 500:
        return "unknown"
    metrics = dict(part.partition(":")[::2] for part in vector.strip("()").split("/"))
    version = metrics.pop("CVSS", "2")
    if version in ("3.0", "3.1"):
        score = _third(metrics, version)
        return severity(score) if score is not None else "unknown"
    score = _second(metrics) if version == "2" else None
    return severity(score, second=True) if score is not None else "unknown"


def _weights(metrics: dict[str, str], table: dict[str, dict[str, float]]) -> dict[str, float] | None:
    found = {name: values.get(metrics.get(name, "")) for name, values in table.items()}
    whole = {name: weight for name, weight in found.items() if weight is not None}
    return whole if len(whole) == len(found) else None


def _third(metrics: dict[str, str], version: str) -> float | None:
    weights = _weights(metrics, _V3)
    if weights is None:
        return None
    changed = weights["S"] == 1
    privileges = _CHANGED.get(metrics["PR"], weights["PR"]) if changed else weights["PR"]
    lost = 1 - (1 - weights["C"]) * (1 - weights["I"]) * (1 - weights["A"])
    impact = 7.52 * (lost - 0.029) - 3.25 * (lost - 0.02) ** 15 if changed else 6.42 * lost
    exploited = 8.22 * weights["AV"] * weights["AC"] * privileges * weights["UI"]
    if impact <= 0:
        return 0.0
    score = min((1.08 if changed else 1.0) * (impact + exploited), _HIGHEST)
    if version == "3.0":
        return math.ceil(round(score * 10, 6)) / 10
    whole = round(score * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (whole // 10_000 + 1) / 10


def _second(metrics: dict[str, str]) -> float | None:
    weights = _weights(metrics, _V2)
    if weights is None:
        return None
    impact = 10.41 * (1 - (1 - weights["C"]) * (1 - weights["I"]) * (1 - weights["A"]))
    exploited = 20 * weights["AV"] * weights["AC"] * weights["Au"]
    return round((0.6 * impact + 0.4 * exploited - 1.5) * (1.176 if impact else 0), 1)
