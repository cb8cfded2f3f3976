"""Makes the generators of a home: what they look at beside the delivery repository. A part of `app.wiring`."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from setpoint.adapters.database.records import Records
from setpoint.adapters.host.proxy import HaProxy
from setpoint.app.application import Store
from setpoint.app.pushes import Pushes
from setpoint.evidence.ports import Signer
from setpoint.promotion.generators.service import GeneratorParts, Generators
from setpoint.promotion.generators.unpinning import Unpinning
from setpoint.promotion.repository import DeliveryReader


@dataclass(frozen=True, slots=True)
class Previewed:
    """What previews need of the machine and of pushes."""

    pushes: Pushes
    proxy: HaProxy
    proxies: Path

    def unsettled(self, repository: str, branch: str, commit: str) -> bool:
        """Say whether a head is what somebody is pushing at this moment."""
        return self.pushes.unsettled(repository, branch, commit)

    def clear(self, environment: str) -> None:
        """Stop the proxy of an environment in which nothing runs any more, and forget its folder."""
        self.proxy.stop(environment)
        shutil.rmtree(self.proxies / environment, ignore_errors=True)


def generators_of(store: Store, delivery: DeliveryReader, signer: Signer, previewed: Previewed) -> Generators:
    """Return the generators of a home."""
    records = store.records
    return Generators(
        GeneratorParts(
            reader=delivery,
            records=records,
            recorder=store.recorder,
            clusters=lambda: _labels(records),
            occupied=lambda: _occupied(records),
            clock=store.clock,
            git=store.git,
            previewing=previewed,
            unpinning=Unpinning(store.git, signer, store.recorder),
        )
    )


def _labels(records: Records) -> Mapping[str, Mapping[str, str]]:
    return {cluster.name: cluster.labels for cluster in records.clusters()}


def _occupied(records: Records) -> set[str]:
    """Return the environments in which something was made, or was seen running."""
    made = {one.environment for one in records.inventories() if one.objects}
    return made | {seen.environment for seen in records.deployments() if seen.pin_commit}
