"""What garbage collection needs from outside: looks at everything, and removals that look once more before they act."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from setpoint.retention.model import Collection, Facts, Registry, Thing


class RegistryShelf(Protocol):
    """The registry's bytes; every removal holds the lock that pushes hold, and spares what was used since `unused_since`."""

    def look(self) -> Registry:
        """Return everything that is there; WorldError SP340 when a manifest cannot be read."""
        ...

    def drop_manifest(self, repository: str, digest: str, unused_since: float) -> bool:
        """Take a manifest, its tags and its place as a referrer out of a repository; False when it was used since, or is gone."""
        ...

    def unlink(self, links: Sequence[tuple[str, str]], unused_since: float) -> int:
        """Take blobs out of repositories; returns how many."""
        ...

    def settle(self) -> None:
        """Make durable that links are gone: before any bytes go."""
        ...

    def drop_blob(self, digest: str, unused_since: float) -> int | None:
        """Delete bytes that no repository has; returns how many, None when they were used since or are linked again."""
        ...


class Shelf(Protocol):
    """A folder of things that stay or go one by one."""

    def things(self) -> Iterable[Thing]:
        """Return everything that lies there."""
        ...

    def drop(self, name: str, unused_since: float) -> int | None:
        """Delete a thing; returns its bytes, None when it was used since or is gone."""
        ...


class GitUpkeep(Protocol):
    """Hosted repositories as Git stores them."""

    def keep(self, named: Mapping[str, Iterable[str]]) -> int:
        """Have hidden refs reach every commit that the journal names, whether or not a branch does; returns how many were new."""
        ...

    def waiting(self) -> tuple[str, ...]:
        """Return the repositories that are worth packing anew."""
        ...

    def repack(self, name: str) -> int:
        """Pack a repository anew and let unreachable objects go after two weeks; returns how many bytes became free."""
        ...


class RetentionRecords(Protocol):
    """What the journal says, folded."""

    def past(self) -> Facts:
        """Return everything but what is pinned at HEAD and what runs."""
        ...

    def commits(self) -> dict[str, set[str]]:
        """Return {repository: every commit that an entry names}."""
        ...

    def collections(self, limit: int = 20) -> list[Collection]:
        """Return collections, newest first."""
        ...
