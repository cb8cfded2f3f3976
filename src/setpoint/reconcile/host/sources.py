"""What containers of an application take variables and files from: its rendered ConfigMaps and Secrets; handed to the readers of pods."""

from dataclasses import dataclass, field

from setpoint.reconcile.host.config_maps import ConfigMaps
from setpoint.reconcile.host.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that a reference may name, in one environment."""

    environment: str = ""
    maps: ConfigMaps = field(default_factory=ConfigMaps)
    secrets: Secrets = field(default_factory=Secrets)
