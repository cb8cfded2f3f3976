"""A secret as everybody may know it: whose it is, its name and its version; the value is nowhere in here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Secret:
    """The version of a secret that is in force."""

    repository: str
    """The source repository whose tasks may ask for it."""
    name: str
    version: int
    """Counts every value this name ever had, also over a removal; it stands in keys and provenance."""
    set_at: str
    set_by: str
    """Actor."""

    @property
    def label(self) -> str:
        """How keys, provenance and people name it: `TOKEN@3`."""
        return f"{self.name}@{self.version}"
