"""Amounts of processor and memory as Kubernetes writes them (resource.Quantity): `500m`, `2`, `512Mi`; pure.

Called by the pipeline file's fields and by offers, which bound what a task may ask for.
"""

import re
from decimal import Decimal
from typing import Final

_QUANTITY: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_SCALE: Final = {
    "": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9, "T": Decimal(10) ** 12,
    "Ki": Decimal(1 << 10), "Mi": Decimal(1 << 20), "Gi": Decimal(1 << 30), "Ti": Decimal(1 << 40),
}  # fmt: skip


def amount(text: str) -> Decimal:
    """Return an amount as a number.

    Raises:
        ValueError: it is none.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return Decimal(found[1]) * _SCALE[found[2] or ""]


def is_positive(text: str) -> bool:
    """Say whether a text is an amount above nothing."""
    try:
        return amount(text) > 0
    except ValueError:
        return False
