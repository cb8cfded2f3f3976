"""What outlives a server on the crash road: time, replicas and proxies as a small model; used by tests/chaos/crash_road.py."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from setpoint.core import clock
from setpoint.pipeline.model import ToolchainFacts
from setpoint.reconcile.model import Probe, ReplicaSpec, ReplicaStatus
from setpoint.reconcile.ports import ProxyConfig, ServerCount, Vault

BAD = "4-"
"""The build that fails in its canary."""
PORTS = {"staging": 17501, "production": 17502}


@dataclass
class World:
    """What outlives the server: time, replicas and proxies. It notes whenever traffic would have been lost."""

    instant: datetime = datetime(2026, 11, 23, 6, tzinfo=UTC)
    replicas_: dict[str, ReplicaStatus] = field(default_factory=dict)
    proxies: dict[str, ProxyConfig] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    started: int = 0
    answered: dict[tuple[str, str], int] = field(default_factory=dict)
    """(environment, replica) -> requests it has answered"""
    struck: bool = False
    knows: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """replica -> what the Secrets hold that were opened for it"""

    def kept(self) -> str:
        """Return everything but the time, for comparing."""
        return repr({name: value for name, value in vars(self).items() if name != "instant"})

    def now(self) -> datetime:
        """Time goes on with every look at it."""
        self.instant += timedelta(milliseconds=1)
        return self.instant

    def facts(self) -> ToolchainFacts:
        """The toolchain never changes here."""
        return ToolchainFacts("sha256:" + "7" * 64, "3.11.2", "linux/amd64", 1)

    def tick(self) -> None:
        """Between two passes, what was told to stop is gone, Jobs are done, and everybody who serves has answered requests."""
        self.instant += timedelta(seconds=6)
        for name, status in list(self.replicas_.items()):
            if status.stopping:
                self.replicas_[name] = replace(status, shim_alive=False, pid=None)
            elif status.spec.job is not None and status.shim_alive:
                at = clock.to_text(self.instant)
                self.replicas_[name] = replace(status, shim_alive=False, pid=None, outcome="succeeded", finished_at=at)
        for environment in self.proxies:
            for name in self.serving(environment):
                self.answered[environment, name] = self.answered.get((environment, name), 0) + 50

    def strike(self, environment: str) -> None:
        """Once, every replica of an environment dies without anybody's wish."""
        if not self.struck:
            self.struck = True
            for name, status in self.replicas_.items():
                if status.spec.identity.environment == environment:
                    self.replicas_[name] = replace(status, shim_alive=False, pid=None, last_exit="killed by signal 9")

    # The runtime.

    images: ClassVar[None] = None
    """Nothing is unpacked here."""

    def generations(self) -> set[str]:
        """No replica was started from an unpacked image."""
        return set()

    def glance(self) -> object:
        """A cheap picture of replicas and proxies, as the loop asks for."""
        return self.kept()

    def start(self, spec: ReplicaSpec) -> None:
        """A replica runs at once."""
        self.started += 1
        self.replicas_[spec.replica] = ReplicaStatus(spec, shim_alive=True, pid=self.started, started_at="", restarts=0, last_exit="")

    def replicas(self) -> list[ReplicaStatus]:
        """Every replica, alive or not."""
        return list(self.replicas_.values())

    def stop(self, replica: str, grace_s: float) -> None:
        """It is gone at the next tick."""
        del grace_s
        if replica in self.serving(self.replicas_[replica].spec.identity.environment):
            self.lost.append(f"{replica} is stopped while the proxy sends requests to it")
        self.replicas_[replica] = replace(self.replicas_[replica], stopping=True)

    def remove(self, replica: str) -> None:
        """Its folder is gone."""
        self.replicas_.pop(replica, None)
        self.knows.pop(replica, None)

    def ready(self, replica: ReplicaStatus, probe: Probe | None) -> tuple[bool, str]:
        """Who lives answers."""
        return replica.shim_alive and not replica.stopping, f"probe {probe is not None}"

    def free_port(self) -> int:
        """Nobody listens on it."""
        return 20_000 + self.started

    # The proxy.

    def serving(self, environment: str) -> list[str]:
        """Return the live replicas that a proxy sends requests to."""
        config = self.proxies.get(environment)
        names = [server.name for _, server in config.servers if not server.draining] if config is not None else []
        return [name for name in names if name in self.replicas_ and self.replicas_[name].shim_alive]

    def differences(self, config: ProxyConfig, app: str) -> list[str]:
        """What a plan would show; nobody plans here."""
        return [] if self.proxies.get(config.environment) == config else [app]

    def apply(self, config: ProxyConfig) -> None:
        """Send requests to other replicas from now on."""
        before = self.serving(config.environment)
        self.proxies[config.environment] = config
        if before and not self.serving(config.environment):
            self.lost.append(f"nobody answers in {config.environment} any more")

    def applied(self, environment: str) -> ProxyConfig | None:
        """Return what the proxy was told last."""
        return self.proxies.get(environment)

    def sessions(self, environment: str, server: str) -> int:
        """Every request is answered in no time."""
        del environment, server
        return 0

    def counters(self, environment: str) -> list[ServerCount]:
        """Return what everybody answered; every second answer of the bad build has failed."""
        config = self.proxies.get(environment)
        found = []
        for _, server in config.servers if config is not None else ():
            number = self.answered.get((environment, server.name), 0)
            failed = number // 2 if server.identity.version.startswith(BAD) else 0
            found.append(ServerCount("hello", server.name, 1, {"2xx": number - failed, "5xx": failed}, ended=number))
        return found

    def check(self, base_url: str, path: str, status: int) -> tuple[bool, str]:
        """A gate's check: whether the proxy at this address has somebody to ask."""
        environment = next(name for name, port in PORTS.items() if base_url.endswith(str(port)))
        return bool(self.serving(environment)), f"{path} {status}"


class Runtime:
    """The world as the runtime that app.wiring builds: it opens the Secrets that a replica uses as it starts."""

    def __init__(self, world: World, vault: Vault) -> None:
        self._world, self._vault = world, vault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def start(self, spec: ReplicaSpec) -> None:
        """Open what it uses first: a Secret that does not open starts nothing."""
        opened = {place: value for secret in spec.container.sealed for place, value in self._vault.open(secret).items()}
        self._world.start(spec)
        if opened:
            self._world.knows[spec.replica] = opened
