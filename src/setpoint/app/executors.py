"""Builds what tasks on clusters need: the executor, the address that its pods come home to, and who may use it: a part of `app.wiring`.

Called by wiring only; adapters are made here and there, and nowhere else.
"""

from dataclasses import dataclass

from setpoint.adapters.kubernetes.jobs.door import TaskDoor
from setpoint.adapters.kubernetes.jobs.exchange import TaskExchange, key_of
from setpoint.adapters.kubernetes.jobs.executor import JobParts, KubernetesExecutor, authorities_of
from setpoint.adapters.kubernetes.jobs.inputs import Inputs
from setpoint.adapters.kubernetes.kubeconfig import Access
from setpoint.adapters.runner.client import dedicated_uid
from setpoint.adapters.workspaces import WorkspaceFolder
from setpoint.app import targets
from setpoint.app.application import Store
from setpoint.app.offers import DeliveryOffers
from setpoint.app.settings import Settings
from setpoint.promotion.repository import DeliveryReader


@dataclass(frozen=True, slots=True)
class Executors:
    """What runs tasks elsewhere."""

    remote: KubernetesExecutor
    door: TaskDoor
    offers: DeliveryOffers
    workspaces: WorkspaceFolder

    @classmethod
    def of(cls, store: Store, settings: Settings, delivery: DeliveryReader) -> "Executors":
        """Make them for a home."""
        workspaces = WorkspaceFolder(store.home.workspaces, dedicated_uid())
        exchange = TaskExchange(key_of(store.home.pods_key))
        clusters, pull = targets.clusters_of(store), settings.pull

        def access(name: str) -> Access:
            return targets.access(clusters, name)

        parts = JobParts(
            home=next(iter(store.journal.entries())).subject,
            access=access,
            inputs=Inputs(store.oci, workspaces),
            exchange=exchange,
            clock=store.clock,
            url=f"https://{pull.name}" if pull is not None else "",
            authorities=(lambda: authorities_of(pull.certificate)) if pull is not None else bytes,
        )
        return cls(KubernetesExecutor(parts), TaskDoor(exchange, store.oci), DeliveryOffers(delivery), workspaces)
