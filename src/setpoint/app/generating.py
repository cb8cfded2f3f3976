"""Makes the generators of a home: what they look at beside the delivery repository. A part of `app.wiring`."""

from collections.abc import Mapping

from setpoint.adapters.database.records import Records
from setpoint.app.application import Store
from setpoint.promotion.generators.service import GeneratorParts, Generators
from setpoint.promotion.repository import DeliveryReader


def generators_of(store: Store, delivery: DeliveryReader) -> Generators:
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
        )
    )


def _labels(records: Records) -> Mapping[str, Mapping[str, str]]:
    return {cluster.name: cluster.labels for cluster in records.clusters()}


def _occupied(records: Records) -> set[str]:
    """Return the environments in which something was made, or was seen running."""
    made = {one.environment for one in records.inventories() if one.objects}
    return made | {seen.environment for seen in records.deployments() if seen.pin_commit}
