"""Opens Secrets that sops sealed, in memory and only on their way to the cluster; what is kept and compared elsewhere is ciphertext.

Called by the plan after an object has its identity, so that no digest of a value is ever written anywhere.
"""

import base64
from collections.abc import Callable
from typing import Any

from setpoint.reconcile.cluster.model import Object
from setpoint.reconcile.model import SealedSecret

Opening = Callable[[SealedSecret], dict[str, bytes]]
"""`Vault.open`"""


def opened(manifest: Object, open_: Opening) -> dict[str, Any]:
    """Return a manifest without sops' block and with its values in clear; one that is not sealed as it is.

    Raises:
        UserError: it was changed, or no key of this home opens it (SP672, SP673).
    """
    block = manifest.get("sops")
    found = {key: value for key, value in manifest.items() if key != "sops"}
    if not isinstance(block, dict) or manifest.get("kind") != "Secret":
        return found
    stanzas = tuple(entry["enc"] for entry in block.get("age") or () if isinstance(entry, dict) and isinstance(entry.get("enc"), str))
    values = {f"{part}:{key}": str(text) for part in ("data", "stringData") for key, text in (manifest.get(part) or {}).items()}
    clear = open_(SealedSecret(str(manifest["metadata"]["name"]), stanzas, values))
    found.pop("stringData", None)
    # In this order: `stringData` wins, as in Kubernetes.
    found["data"] = {place.partition(":")[2]: base64.b64encode(clear[place]).decode() for place in sorted(values)}
    return found
