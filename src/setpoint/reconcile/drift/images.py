"""Files of unpacked images: has them looked at, records what differs, and has a touched image replaced.

Called by the control loop beside the reconcilers, for comparing an image takes seconds. The replicas of a replaced image are outdated
from then on, and the rollout replaces them one by one; their cases stay open until that is done. An image is shared by all environments
of a home: one that corrects it corrects it for all.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from setpoint.core.errors import SetpointError
from setpoint.reconcile.drift.model import Deviation
from setpoint.reconcile.drift.service import DriftService
from setpoint.reconcile.model import Difference, ReplicaStatus

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0


class ImageLooks(Protocol):
    """Looks at unpacked images (adapters.host.image_care)."""

    def differences(self, image: str) -> list[Difference]:
        """Return what is known to differ from the image's layers; looks at a part of it at each call."""
        ...

    def replace(self, image: str) -> None:
        """Put a freshly unpacked tree in its place."""
        ...

    def sweep(self, images: set[str]) -> None:
        """Forget what is not in use, and delete what nothing runs from any more."""
        ...


@dataclass(frozen=True, slots=True)
class ImageDrift:
    """The look at the images of everything that runs."""

    looks: ImageLooks
    drift: DriftService
    replicas: Callable[[], list[ReplicaStatus]]

    def advance(self) -> None:
        """Look once; wants to be called again after LOOK_S."""
        present = [replica for replica in self.replicas() if replica.shim_alive]
        used: dict[str, set[tuple[str, str]]] = {}
        for replica in present:
            who = replica.spec.identity
            for image in replica.spec.container.images:
                used.setdefault(image, set()).add((who.app, who.environment))
        differences = {image: self._differences(image) for image in sorted(used)}
        correct: set[str] = set()
        places = {environment for users in used.values() for _app, environment in users} | self.drift.places("image")
        for environment in sorted(filter(self.drift.knows, places)):
            found = [
                Deviation(app, environment, "image", difference)
                for image, users in used.items()
                for app, place in sorted(users)
                if place == environment
                for difference in differences[image] or ()
            ]
            unsure = {app for image, users in used.items() if differences[image] is None for app, place in users if place == environment}
            allowed = self.drift.judge(environment, "image", [*found, *self._lasting(environment, found, present, unsure)])
            correct |= {image for image in used if allowed & set(differences[image] or ())}
        for image in sorted(correct):
            self.looks.replace(image)
        self.looks.sweep(set(used))

    def _differences(self, image: str) -> list[Difference] | None:
        """None: it could not be compared now, so nothing is known."""
        try:
            return self.looks.differences(image)
        except SetpointError as error:
            log.warning("image %s cannot be compared with its layers: %s", image, error.what)
            return None

    def _lasting(self, environment: str, found: Sequence[Deviation], present: Sequence[ReplicaStatus], unsure: set[str]) -> list[Deviation]:
        """Return the open cases that are not over yet: a replica that may have read the touched file still runs."""
        here = [replica for replica in present if replica.spec.identity.environment == environment]
        outdated = {replica.spec.identity.app for replica in here if replica.outdated}
        keys = {deviation.key for deviation in found}
        lasting = []
        for case in self.drift.cases(environment, "image"):
            if case.key not in keys and case.app in outdated | unsure:
                lasting.append(
                    Deviation(case.app, environment, "image", Difference(case.subject, case.field, case.desired, case.live), case.writer)
                )
        return lasting
