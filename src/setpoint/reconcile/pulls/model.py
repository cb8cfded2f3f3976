"""What a pull secret is and what is known of the one that lies in a namespace; the words of pulls."""

from dataclasses import dataclass, field
from typing import Final

from setpoint.reconcile.cluster.model import ObjectKey

API_VERSION: Final = "v1"
TYPE: Final = "kubernetes.io/dockerconfigjson"
FIELD: Final = ".dockerconfigjson"


@dataclass(frozen=True, slots=True)
class PullPlace:
    """A namespace of a cluster whose pods need a pull secret."""

    cluster: str
    namespace: str
    host: str
    """The registry, `name[:port]`, as references name it."""
    own: bool
    """It is this home's own, so that the secret carries a token of ours; else the login of the home to it."""

    @property
    def token_name(self) -> str:
        """How tokens for this place are named in the journal and in `setpoint token list`."""
        return f"pulls of {self.cluster}/{self.namespace}"

    def key(self, home: str) -> ObjectKey:
        """Return which object the secret is: two homes in one namespace have one each."""
        return ObjectKey("", "Secret", self.namespace, secret_name(home))


@dataclass(frozen=True, slots=True)
class Credential:
    """A user and a password of a registry; held in memory only for as long as it is looked at."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PullToken:
    """A token of ours for pulls, without its text."""

    token_id: str
    created_at: str


def secret_name(home: str) -> str:
    """Return the name of a home's pull secret."""
    return f"setpoint-pull-{home.rpartition('-')[2][:8].lower() or 'home'}"
