"""Removes the pins of a preview that has ended, by a commit that the signer composes from the journal (laws 3 and 8).

Called by the generators' service once nothing of the preview is there any more; a lost race is tried again by the next pass.
"""

from dataclasses import dataclass

from setpoint.core.errors import SetpointError
from setpoint.evidence.ports import Signer
from setpoint.ground.journal.ports import Recorder
from setpoint.promotion.repository import Delivery
from setpoint.source.ports import GitStore


@dataclass(frozen=True, slots=True)
class Unpinning:
    """What removes pins."""

    git: GitStore
    signer: Signer
    recorder: Recorder

    def pinned(self, delivery: Delivery) -> set[str]:
        """Return the environments that have pins at HEAD."""
        return set(self.git.folders(delivery.repository, delivery.head, "pins"))

    def remove(self, delivery: Delivery, environment: str) -> None:
        """Remove every pin of an environment."""
        signed = self.signer.sign("unpin", environment, delivery.head)
        if not signed:
            raise SetpointError("SP507", "the signer returned no commit", where=environment)
        commit = self.git.write_signed_commit(delivery.repository, signed[0].payload, signed[0].signature)
        if self.git.advance(delivery.repository, delivery.branch, delivery.head, commit):
            self.recorder.record("preview.unpinned", environment, "setpoint", {"commit": commit})
