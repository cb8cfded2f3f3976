"""Whether the pull secret of a namespace is as it has to be, and what to do about it: pure functions of what lies there (law 6).

Called by the pulls service in each pass. No value is in a reason; a secret that somebody changed is given a new token, never looked up.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from setpoint.core import clock
from setpoint.reconcile.cluster.model import Object
from setpoint.reconcile.cluster.owner import HOME
from setpoint.reconcile.pulls.model import API_VERSION, FIELD, TYPE, Credential, PullPlace, PullToken, secret_name

LIFE: Final = timedelta(hours=24)
"""After so long a token is exchanged for a new one."""
OVERLAP: Final = timedelta(hours=1)
"""So long the one before it is let in beside it: nodes keep what they read of a secret for some minutes."""


def manifest(place: PullPlace, home: str, credential: Credential) -> dict[str, Any]:
    """Return the secret as it is applied."""
    both = base64.b64encode(f"{credential.user}:{credential.password}".encode()).decode()
    auths = {"auths": {place.host: {"username": credential.user, "password": credential.password, "auth": both}}}
    return {
        "apiVersion": API_VERSION,
        "kind": "Secret",
        "metadata": {
            "name": secret_name(home),
            "namespace": place.namespace,
            "labels": {"app.kubernetes.io/managed-by": "setpoint"},
            "annotations": {HOME: home},
        },
        "type": TYPE,
        "data": {FIELD: base64.b64encode(json.dumps(auths).encode()).decode()},
    }


def credential_of(live: Object, place: PullPlace) -> Credential | None:
    """Return what a live secret shows the registry; None when it does not hold that in the form in which it was made."""
    try:
        value = json.loads(base64.b64decode((live.get("data") or {})[FIELD], validate=True))
        found = value["auths"][place.host]
        credential = Credential(str(found["username"]), str(found["password"]))
        both = base64.b64decode(found["auth"], validate=True).decode()
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    whole = set(value) == {"auths"} and set(value["auths"]) == {place.host} and both == f"{credential.user}:{credential.password}"
    return credential if whole and set(live.get("data") or {}) == {FIELD} else None


def foreign(live: Object, home: str) -> str:
    """Return why an object of that name is not ours to change; empty when it is."""
    owner = ((live.get("metadata") or {}).get("annotations") or {}).get(HOME)
    if owner != home:
        return f"it belongs to {f'the home {owner}' if owner else 'nobody of ours'}"
    return "" if live.get("type") == TYPE else f"its type is {live.get('type')}, which cannot be changed"


def why_anew(live: Object | None, shown: Credential | None, token: PullToken | None, now: datetime) -> str:
    """Return why a new token has to be put into the secret of our own registry; empty when it is fine. Token is the shown one's record."""
    if live is None:
        return "it was not there"
    if shown is None:
        return "its content was changed"
    if token is None:
        return "its token is not one that is let in"
    return "its token is a day old" if now - clock.from_text(token.created_at) >= LIFE else ""


def why_otherwise(live: Object | None, shown: Credential | None, login: Credential) -> str:
    """Return why the secret of another registry has to be written; empty when it holds the login."""
    if live is None:
        return "it was not there"
    if shown is None:
        return "its content was changed"
    same = hmac.compare_digest(shown.password.encode(), login.password.encode()) and shown.user == login.user
    return "" if same else "the login is another one"


def outlived(tokens: Sequence[PullToken], current: PullToken, now: datetime) -> list[PullToken]:
    """Return the tokens of a place that have to go: all but the current one, once it has been there for the overlap."""
    if now - clock.from_text(current.created_at) < OVERLAP:
        return []
    return [token for token in tokens if token.token_id != current.token_id]


def referring(value: dict[str, Any], host: str, name: str) -> dict[str, Any]:
    """Return an object in which every pod that pulls from the host names the secret; others are as they were."""
    found = _referring(value, f"{host}/", name)
    return found if isinstance(found, dict) else value


def _referring(value: Any, prefix: str, name: str) -> Any:
    if isinstance(value, list):
        return [_referring(item, prefix, name) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _referring(item, prefix, name) for key, item in value.items()}
    if not isinstance(value.get("containers"), list) or not any(image.startswith(prefix) for image in _images(value)):
        return found
    secrets = [one for one in value.get("imagePullSecrets") or () if isinstance(one, Mapping)]
    if all(one.get("name") != name for one in secrets):
        found["imagePullSecrets"] = [*secrets, {"name": name}]
    return found


def _images(pod: Mapping[str, Any]) -> list[str]:
    containers = [one for sort in ("containers", "initContainers", "ephemeralContainers") for one in pod.get(sort) or ()]
    images = [one.get("image") for one in containers if isinstance(one, Mapping)]
    images += [(one.get("image") or {}).get("reference") for one in pod.get("volumes") or () if isinstance(one, Mapping)]
    return [image for image in images if isinstance(image, str)]
