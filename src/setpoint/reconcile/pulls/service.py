"""Keeps the pull secret of every namespace: makes it, mends it, exchanges its token in time, and takes both away where nobody needs them.

Called by the target around each pass (`reconcile.pulls.target`). The text of a token is in two places only: the Secret of the cluster, and
the hands of who writes it, in memory until the cluster took it. So a secret that somebody changed gets a new token, and nothing is kept.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from setpoint.artifact.copies import Place
from setpoint.core import clock
from setpoint.core.errors import SetpointError, UserError
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.repository import Delivery
from setpoint.promotion.targets import KubernetesTarget
from setpoint.reconcile.cluster.decide import Seen
from setpoint.reconcile.cluster.ports import Cluster, Clusters, Deletion
from setpoint.reconcile.pulls import decide
from setpoint.reconcile.pulls.model import API_VERSION, Credential, PullPlace, secret_name
from setpoint.reconcile.pulls.ports import Logins, PullTokens

log = logging.getLogger(__name__)

USER: Final = "setpoint"
"""Any user does: our registry looks at the token."""
_NOT_LOOKED: Final = "it was not"
"""How a picture begins its reason while it is being made."""
_FOLLOWED: Final = "pulls of"


@dataclass(frozen=True, slots=True)
class PullParts:
    """What pull secrets are made with."""

    home: str
    clusters: Clusters
    tokens: PullTokens
    logins: Logins
    recorder: Recorder
    clock: clock.Clock
    own: Callable[[str], bool]
    """host -> whether it is this home's own registry under the name that other machines know it by"""


class PullService:
    """The pull secrets of one home."""

    def __init__(self, parts: PullParts) -> None:
        self._parts = parts
        self._unwritten: dict[str, str] = {}
        """Name of a place's token -> text of one that no cluster took yet: the next try is made with the same."""

    def place_of(self, target: KubernetesTarget) -> PullPlace | None:
        """Return where a target needs a pull secret: at our own registry by itself, at another one if it says so."""
        host = Place.parse(target.registry).host
        own = self._parts.own(host.lower())
        wanted = own if target.pullSecret is None else target.pullSecret
        return PullPlace(target.cluster, target.namespace, host, own) if wanted else None

    def refers(self, target: KubernetesTarget) -> tuple[str, str] | None:
        """Return (registry, name of the secret) that a target's pods have to name; None when they need none."""
        place = self.place_of(target)
        return (place.host, secret_name(self._parts.home)) if place is not None else None

    def keep(self, place: PullPlace) -> bool:
        """Bring the secret of a namespace to what it has to be, and take tokens away that were exchanged.

        Returns whether that could be done: not while the secret is being looked for.

        Raises:
            UserError: an object of that name is somebody else's (SP678), there is no login (SP679), or the cluster refuses it.
            WorldError: the cluster does not answer, or a token cannot be written.
        """
        cluster = self._parts.clusters.of(place.cluster)
        seen = self._seen(cluster, place)
        if not seen.known or seen.stale_since:
            return not seen.stale_reason.startswith(_NOT_LOOKED)  # what is not known is neither gone nor changed
        fault = decide.foreign(seen.live, self._parts.home) if seen.live is not None else ""
        if fault:
            fix = f"remove it from namespace {place.namespace}"
            raise UserError("SP678", f"{place.key(self._parts.home).subject} is there and cannot be the pull secret: {fault}", fix=fix)
        shown = decide.credential_of(seen.live, place) if seen.live is not None else None
        if place.own:
            self._keep_token(cluster, place, seen, shown)
            return True
        login = self._parts.logins.login(place.host)
        if login is None:
            fix = f"setpoint registry login {place.host} --user USER, or leave `pullSecret` out"
            raise UserError("SP679", f"there is no login to {place.host} that a pull secret could carry", fix=fix)
        why = decide.why_otherwise(seen.live, shown, login)
        if why:
            self._write(cluster, place, login, why)
        return True

    def _keep_token(self, cluster: Cluster, place: PullPlace, seen: Seen, shown: Credential | None) -> None:
        now = self._parts.clock.now()
        token = self._parts.tokens.find(shown.password) if shown is not None else None
        why = decide.why_anew(seen.live, shown, token, now)
        if why:
            self._write(cluster, place, Credential(USER, self._unshown(place, shown)), why)
        elif token is not None:
            for old in decide.outlived(self._parts.tokens.living().get(place.token_name, ()), token, now):
                self._parts.tokens.revoke(old.token_id)
        self._unwritten.pop(place.token_name, None)

    def _unshown(self, place: PullPlace, shown: Credential | None) -> str:
        """Return the text of a token that is let in and that the secret does not carry; it stays at hand until it is written."""
        text = self._unwritten.get(place.token_name, "")
        if not text or (shown is not None and shown.password == text) or self._parts.tokens.find(text) is None:
            text = self._unwritten[place.token_name] = self._parts.tokens.issue(place.token_name)
        return text

    def leave(self, delivery: Delivery) -> None:
        """Take away the tokens of places where no environment pulls from here any more, and their secrets where the cluster answers."""
        every = [self.place_of(one.target.kubernetes) for one in delivery.environments.values() if one.target.kubernetes is not None]
        self._leave_but({place.token_name for place in every if place is not None and place.own})

    def _leave_but(self, wanted: Collection[str]) -> None:
        for name, tokens in self._parts.tokens.living().items():
            if name in wanted:
                continue
            cluster, _, namespace = name.removeprefix(f"{_FOLLOWED} ").partition("/")
            self._delete(PullPlace(cluster, namespace, "", own=True))
            self._unwritten.pop(name, None)
            for token in tokens:
                self._parts.tokens.revoke(token.token_id)

    def _delete(self, place: PullPlace) -> None:
        key = place.key(self._parts.home)
        try:
            cluster = self._parts.clusters.of(place.cluster)
            live = cluster.seen([key])[key].live
            if live is not None and not decide.foreign(live, self._parts.home):
                cluster.delete([Deletion(key, API_VERSION, str((live.get("metadata") or {}).get("uid", "")))])
            cluster.follow(place.token_name, {})
        except SetpointError as error:
            log.warning("%s of %s is left where it is: %s", key.subject, place.cluster, error.render())

    def _seen(self, cluster: Cluster, place: PullPlace) -> Seen:
        key = place.key(self._parts.home)
        cluster.follow(place.token_name, {key: API_VERSION})
        return cluster.seen([key])[key]

    def _write(self, cluster: Cluster, place: PullPlace, credential: Credential, why: str) -> None:
        key = place.key(self._parts.home)
        result = cluster.apply([decide.manifest(place, self._parts.home, credential)])[key]
        if isinstance(result, SetpointError):
            raise result
        body = {"cluster": place.cluster, "namespace": place.namespace, "name": key.name, "registry": place.host, "why": why}
        self._parts.recorder.record("pull-secret.written", f"{place.cluster}/{place.namespace}", "setpoint", body)
