"""Answers `verify`: gathers the pin, its commit and its artifacts, and has evidence's numbered checks prove them from bytes."""

from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.core.errors import NotFoundError
from setpoint.evidence.lines import NamedArtifact, verify_lines
from setpoint.evidence.verify import TrustRoot
from setpoint.observe.model import Verification
from setpoint.promotion.pin import claim_of
from setpoint.promotion.repository import DeliveryReader
from setpoint.reconcile.ports import CommitCheck
from setpoint.source.ports import GitStore


class Verifier:
    """Verifies pins and bare digests; believes no record of the database."""

    def __init__(self, git: GitStore, store: OciStore, trust: TrustRoot, reader: DeliveryReader, commits: CommitCheck) -> None:
        self._git = git
        self._store = store
        self._trust = trust
        self._reader = reader
        self._commits = commits

    def verify(self, thing: str, environment: str | None) -> Verification:
        """Verify application `thing` in an environment, or an artifact by digest (`[repository@]sha256:...`).

        Raises:
            NotFoundError: nothing is pinned there, or no repository has the digest (SP707).
        """
        if environment is not None:
            return self._pin(thing, environment)
        wanted = thing.rpartition("@")[2]
        named = thing.rpartition("@")[0]
        if not digest.is_digest(wanted):
            raise NotFoundError("SP707", f"`{thing}` is no digest", fix="setpoint verify APP --in ENV, or setpoint verify sha256:...")
        repositories = [named] if named else [name for name in self._store.repositories() if self._store.manifest(name, wanted)]
        if not repositories:
            raise NotFoundError("SP707", f"no repository has {wanted}", fix="setpoint status --json shows the digests")
        artifact = NamedArtifact(repositories[0], repositories[0], wanted)
        return Verification(f"{repositories[0]}@{wanted}", tuple(verify_lines(self._store, self._trust, [artifact])))

    def _pin(self, app: str, environment: str) -> Verification:
        delivery = self._reader.require(app, environment)
        pin = self._reader.pin(delivery, environment, app)
        if pin is None:
            raise NotFoundError("SP707", f"nothing is pinned for {app} in {environment}", fix=f"setpoint why {app} {environment}")
        message = self._git.revision(delivery.repository, pin.commit).message
        claim = claim_of(pin, message, commit_signed=self._commits.signed(delivery.repository, pin.commit))
        return Verification(f"{app} in {environment}: {pin.version}", tuple(verify_lines(self._store, self._trust, [], claim)))
