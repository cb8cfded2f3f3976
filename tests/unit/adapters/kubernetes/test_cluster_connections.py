"""Clusters for who does not live in an event loop: a name that is removed is let go of, and an end that goes wrong hinders nobody."""

import asyncio
from datetime import UTC, datetime

import pytest
import yaml

from setpoint.adapters.kubernetes.clusters import KubernetesClusters
from setpoint.core.errors import NotFoundError, WorldError


class Noon:
    """A clock that stands."""

    def now(self) -> datetime:
        """Return noon."""
        return datetime(2026, 1, 1, 12, tzinfo=UTC)


def _config(port: int) -> str:
    return yaml.safe_dump(
        {
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "prod",
        }
    )


def test_a_cluster_that_was_removed_is_let_go_of() -> None:
    """Its connection is closed when its name is asked for next; under a new kubeconfig it is another one."""
    known = {"prod": _config(1)}

    def kubeconfig(name: str) -> tuple[str, str]:
        if name not in known:
            raise NotFoundError("SP693", "none")
        return known[name], ""

    clusters = KubernetesClusters(kubeconfig, lambda: None, Noon())
    try:
        first = clusters.of("prod")
        assert clusters.of("prod") is first
        del known["prod"]
        with pytest.raises(NotFoundError):
            clusters.of("prod")
        known["prod"] = _config(1)
        assert clusters.of("prod") is not first
        known["prod"] = _config(2)
        second = clusters.of("prod")
        assert second.access.server == "https://127.0.0.1:2"
        with pytest.raises(WorldError, match="SP682"):
            second.is_namespaced("v1", "ConfigMap")
    finally:
        clusters.close()


def test_an_end_that_goes_wrong_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is ended after the clusters has to be ended too."""
    clusters = KubernetesClusters(lambda _name: (_config(1), ""), lambda: None, Noon())
    found = clusters.of("prod")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("no")

    monkeypatch.setattr(found, "close", fails)
    clusters.close()
