"""Looks after unpacked images: cheap looks at those that are in use, a sure comparison, and a fresh tree in place of a touched one.

Built by wiring, called by `reconcile.drift.images` about once a second. Replicas that run from a tree that was replaced keep it until
they are gone: it is set aside and deleted only then.
"""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from setpoint.adapters.host import integrity
from setpoint.adapters.host.integrity import Entry, FileChange, Look
from setpoint.adapters.host.unpack import ImageFolder
from setpoint.core import digest
from setpoint.reconcile.model import Difference

ROUND_S: Final = 8.0
"""Every entry of an image is looked at once in this time."""
_REST: Final = 20.0
"""After a comparison that found nothing, wait this many times as long as it took: touching a file is no way to keep a core busy."""
_SHOWN: Final = 20
_STRANGE: Final = Entry(0, 0, 0)


@dataclass(slots=True)
class _Known:
    """What is known of an image; lost at a restart, and then found out again by one whole look."""

    generation: str
    look: Look
    looked_at: float = -math.inf
    rest_until: float = 0.0
    changes: tuple[FileChange, ...] = ()


@dataclass(slots=True)
class ImageCare:
    """The looks at all images of a home."""

    images: ImageFolder
    in_use: Callable[[], set[str]]
    """The generations that replicas were started from."""
    now: Callable[[], float] = time.monotonic
    _known: dict[str, _Known] = field(default_factory=dict)

    def differences(self, image: str) -> list[Difference]:
        """Look at a part of an image that is in use, compare it when that looks strange, and return what is known to differ.

        Raises:
            UserError: the image cannot be unpacked anew (SP633, SP634), so that nothing can be compared.
            WorldError: there is no room for it (SP636).
        """
        folder = self.images.place(image)
        if not folder.exists():
            return _shown(image, (FileChange("/", "entry", "there", "removed"),))
        known, now = self._of(image, folder), self.now()
        first = known.looked_at == -math.inf
        share = 1.0 if first else min(1.0, (now - known.looked_at) / ROUND_S)
        known.looked_at = now
        if now >= known.rest_until and known.look.part(share):
            self._compare(image, folder, known)
        return _shown(image, known.changes)

    def replace(self, image: str) -> None:
        """Put a freshly unpacked tree in the image's place; replicas go on with the old one until they are replaced."""
        self.images.install(image, self.images.build(image))
        self._known.pop(image, None)

    def sweep(self, images: set[str]) -> None:
        """Forget images that are not in use, and delete trees that were set aside and that nothing runs from."""
        for image in set(self._known) - images:
            del self._known[image]
        self.images.sweep(self.in_use)

    def _of(self, image: str, folder: Path) -> _Known:
        generation = self.images.generation(image)
        known = self._known.get(image)
        if known is None or known.generation != generation:
            known = self._known[image] = _Known(generation, Look(folder / "rootfs", integrity.read(folder) or {"": _STRANGE}))
        return known

    def _compare(self, image: str, folder: Path, known: _Known) -> None:
        began = self.now()
        found, entries = integrity.compare(folder / "rootfs", integrity.read(folder) or self._anew(image))
        known.changes = tuple(found)
        known.look = Look(folder / "rootfs", entries)
        if not found:
            integrity.write(folder, entries)
            known.rest_until = self.now() + _REST * (self.now() - began)

    def _anew(self, image: str) -> dict[str, Entry]:
        """Return what the layers bring, by unpacking them: for an image whose catalogue is lost."""
        fresh = self.images.build(image)
        try:
            return integrity.read(fresh)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _shown(image: str, changes: tuple[FileChange, ...]) -> list[Difference]:
    name = f"image {digest.short(image.rpartition('@')[2])}"
    found = [Difference(f"{name} {change.path}", change.field, change.desired, change.live) for change in changes[:_SHOWN]]
    if len(changes) > _SHOWN:
        found.append(Difference(name, "more entries", "as the layers say", f"{len(changes) - _SHOWN} more differ"))
    return found
