"""The trust root of a home at its start: written once as the journal's first entry, and compared with the keys on disk ever after (law 9).

Called by wiring before anything is served; it never sees a private key.
"""

from typing import TYPE_CHECKING

from setpoint.adapters.signer.client import SignerClient
from setpoint.core import ids
from setpoint.core.errors import UserError
from setpoint.evidence.verify import TrustRoot

if TYPE_CHECKING:
    from setpoint.app.application import Store


def ensure_trust(store: "Store", signer: SignerClient) -> TrustRoot:
    """Return the trust root, writing it as the journal's first entry when the home is new (law 9).

    Raises:
        UserError: the journal is empty and the home is not new: who emptied it must not get a new trust root for it (SP004); role keys
            are damaged or not those of the journal (SP406), which is better known now than at the first release.
    """
    first = next(iter(store.journal.entries()), None)
    if first is None and store.oci.repositories():
        fix = "restore journal/ from a copy, or start with another home"
        raise UserError(
            "SP004", "the journal is empty, but the registry is not: this home has lost its memory", where=str(store.home.root), fix=fix
        )
    if first is None:
        keys = signer.public_keys()
        body = {"version": 1, "keys": keys}
        first = store.recorder.record("home.created", ids.identifier("h", keys), "setpoint", body)
        return TrustRoot.from_entry(first)
    trust = TrustRoot.from_entry(first)
    found = signer.check_keys()
    foreign = [role for role, key in trust.keys.items() if found.get(role) != key]
    if foreign:
        where = ", ".join(str(store.home.keys / f"{role}.pem") for role in foreign)
        what = f"these are not the role keys that the home was created with: {', '.join(foreign)}"
        raise UserError("SP406", what, where=where, fix="restore the home's folder of keys from a copy")
    return trust
