"""A foreign registry as everybody may know it, and the access that only its client is given."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that this home has a login for."""

    host: str
    """`name` or `name:port`, as it stands in references."""
    user: str
    """Empty: no account, only how it is reached."""
    plain_http: bool
    """Without TLS, because the operator said so."""
    own_authorities: bool
    """Its certificate is checked against authorities that came with the login, not against the system's."""
    version: int
    """Counts every login that this host ever had."""
    set_at: str
    set_by: str
    """Actor."""


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How to speak to one registry; held in memory only for as long as it is spoken to."""

    host: str
    user: str = ""
    password: str = field(default="", repr=False)
    plain_http: bool = False
    authorities: str = ""
    """PEM; empty: the system's."""
