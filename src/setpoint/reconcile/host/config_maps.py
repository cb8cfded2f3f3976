"""ConfigMaps on the host; containers take variables (`variables`) and files (`volumes`) from them.

Called by `reconcile.subset`; a reference to a map or key that is not rendered is a finding, unless it says `optional`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.reconcile.host.fields import REFERENCE, Fields, Report, metadata

FILE_NAME: Final = re.compile(r"[-._A-Za-z0-9]{1,253}")
"""What a key of a ConfigMap or Secret may be: it can be mounted as a file."""
_MAX_BYTES: Final = 1 << 20


@dataclass(slots=True)
class ConfigMaps:
    """The data of every rendered ConfigMap by name."""

    data: dict[str, dict[str, str]] = field(default_factory=dict)

    def read(self, value: Mapping[str, Any], report: Report) -> None:
        """Read one ConfigMap."""
        top = Fields(value, "", report)
        name = metadata(top)
        top.flag("immutable")
        data = top.labels("data", values_free=True)
        if any(not FILE_NAME.fullmatch(key) or key in {".", ".."} for key in data):
            top.bad("data", "has a key that is no file name", "letters, digits, dots, dashes and underscores")
        if sum(len(key) + len(text.encode()) for key, text in data.items()) > _MAX_BYTES:
            top.bad("data", "is larger than 1 MiB, more than Kubernetes takes")
        top.close()
        self.data[name] = data

    def take(self, reference: Fields) -> dict[str, str] | None:
        """Return the map that `name` refers to; None when it is missing (a finding, unless optional)."""
        name, optional = reference.text("name"), reference.flag("optional")
        if name in self.data:
            return self.data[name]
        if name and not optional:
            known = ", ".join(sorted(self.data)) or "none"
            reference.bad("name", f"refers to ConfigMap `{name}`, which is not rendered", f"rendered ConfigMaps: {known}", REFERENCE)
        return None
