"""What a container may use and what it may do: Kubernetes' quantities, `resources`, and of `securityContext` what always holds here.

Called by the pod reader; whether this machine can enforce a limit is the runtime's to say.
"""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from setpoint.reconcile.host.fields import UNSUPPORTED, Fields
from setpoint.reconcile.model import Resources

_QUANTITY: Final = re.compile(r"\+?([0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][-+]?[0-9]{1,2})?")
_FACTORS: Final = {
    **{name: Decimal(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
    **{name: Decimal(1000) ** power for power, name in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    "m": Decimal("0.001"),
    "u": Decimal("0.000001"),
    "n": Decimal("0.000000001"),
}
_LEAST_BYTES: Final = 4 << 20
_MOST: Final = 1 << 62
_UID: Final = 1000
"""Who every program is inside its sandbox."""


def quantity(value: Any) -> Decimal | None:
    """Return a Kubernetes quantity (`64Mi`, `500m`, `1e3`, a number); None when it is none (apimachinery's resource.Quantity)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix[:1] in ("e", "E") and suffix[1:]:
        return number.scaleb(int(suffix[1:]))
    return number * _FACTORS.get(suffix, Decimal(1))


def size_bytes(fields: Fields, name: str, least: int) -> int | None:
    """Return a quantity of bytes; None when it is left out."""
    value = fields.raw(name)
    if value is None:
        return None
    found = quantity(value)
    if found is None or not least <= found <= _MOST:
        fields.bad(name, f"must be a quantity of at least {least} bytes", "write it like 64Mi or 1Gi")
        return least
    return int(found.to_integral_value(ROUND_CEILING))


def resources(container: Fields) -> Resources:
    """Read `resources`: limits are enforced where the machine can, requests reserve nothing on one host and have to fit below them."""
    written = container.mapping("resources")
    limits, requests = written.mapping("limits"), written.mapping("requests")
    written.close()
    found = Resources(size_bytes(limits, "memory", _LEAST_BYTES), _cpu_millis(limits))
    asked = Resources(size_bytes(requests, "memory", 0), _cpu_millis(requests))
    for name, most, least in (("memory", found.memory_bytes, asked.memory_bytes), ("cpu", found.cpu_millis, asked.cpu_millis)):
        if most is not None and least is not None and least > most:
            requests.bad(name, "is more than the limit", "raise the limit, or ask for less")
    limits.close()
    requests.close()
    return found


def _cpu_millis(fields: Fields) -> int | None:
    value = fields.raw("cpu")
    if value is None:
        return None
    found = quantity(value)
    if found is None or not 0 < found <= 10_000:
        fields.bad("cpu", "must be a quantity of processors", "write it like 500m or 2")
        return 1000
    return int((found * 1000).to_integral_value(ROUND_CEILING))


def security(fields: Fields) -> None:
    """Read a container's `securityContext`: what always holds in a sandbox may be asked for, anything else is an error."""
    context = _common(fields)
    context.without_effect("readOnlyRootFilesystem", True)
    context.without_effect("allowPrivilegeEscalation", False)
    context.without_effect("privileged", False)
    context.without_effect("procMount", "Default")
    capabilities = context.mapping("capabilities")
    capabilities.texts("drop")
    if capabilities.texts("add"):
        fix = "remove it: a sandbox has no capabilities; listen on $PORT instead of a low port"
        capabilities.bad("add", "is not possible on the host", fix, UNSUPPORTED)
    capabilities.close()
    context.close()


def pod_security(fields: Fields) -> None:
    """Read a pod's `securityContext`."""
    _common(fields).close()


def _common(fields: Fields) -> Fields:
    context = fields.mapping("securityContext")
    context.without_effect("runAsNonRoot", True, False)
    context.without_effect("runAsUser", _UID)
    context.without_effect("runAsGroup", _UID)
    return context
