"""Routes of the clusters that this home may work on, for the operator only; mounted by `api.asgi`. A kubeconfig never comes out."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from setpoint.api.auth import App, Operator
from setpoint.ground.clusters.model import Cluster, ClusterContact
from setpoint.ground.clusters.service import LONGEST

router = APIRouter(prefix="/api/v1", tags=["clusters"])


class ClusterBody(BaseModel):
    """How a cluster is reached; nothing of it is written to any log, and only its address to the journal."""

    model_config = ConfigDict(extra="forbid")

    kubeconfig: Annotated[str, Field(max_length=LONGEST, repr=False, json_schema_extra={"writeOnly": True, "format": "password"})]
    context: Annotated[str, Field(max_length=255)] = ""
    """Left out: the kubeconfig's current one."""
    may_run: bool = False
    """Whether the program that the kubeconfig names for its credentials may be run by the server."""
    labels: Annotated[dict[str, str], Field(max_length=50)] | None = None
    """What generators choose clusters by; left out: those that it has stay."""


class LabelsBody(BaseModel):
    """All labels that a cluster is to have."""

    model_config = ConfigDict(extra="forbid")

    labels: Annotated[dict[str, str], Field(max_length=50)]


@dataclass(frozen=True, slots=True)
class ListedCluster(Cluster):
    """A registered cluster, and whether it answers."""

    contact: ClusterContact = field(default_factory=ClusterContact)


@router.get("/clusters")
def clusters(app: App, _caller: Operator) -> list[ListedCluster]:
    """Return the registered clusters, without what lets us in, and how we stand with each."""
    return [ListedCluster(**asdict(one), contact=app.connections.contact(one.name)) for one in app.clusters.listed()]


@router.put("/clusters/{name}")
def add_cluster(app: App, caller: Operator, name: str, body: ClusterBody) -> Cluster:
    """Register a cluster under a name that environments may use, or give it another kubeconfig."""
    return app.clusters.add(name, body.kubeconfig, body.context, caller.actor, may_run=body.may_run, labels=body.labels)


@router.put("/clusters/{name}/labels")
def label_cluster(app: App, caller: Operator, name: str, body: LabelsBody) -> Cluster:
    """Give a cluster these labels and no others; generators look again at once."""
    return app.clusters.label(name, body.labels, caller.actor)


@router.delete("/clusters/{name}")
def remove_cluster(app: App, caller: Operator, name: str) -> dict[str, Any]:
    """Forget a cluster and its kubeconfig; what runs there goes on, and its environments say that they have no cluster."""
    found = app.clusters.remove(name, caller.actor)
    return {"name": found.name, "server": found.server, "removed": True}
