"""Which files a kustomization reads, found by following its own words: what is not found is not there when it is built.

Called by `sources.inputs`. It names too many files rather than too few, and the build sees only what it names: a file that was missed is
an error of Kustomize, after which everything is laid out. The keys are those of the Kustomization type (kustomize.config.k8s.io).
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final

from setpoint.core.errors import UserError
from setpoint.reconcile import manifests

NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_NO_FILES: Final = frozenset(
    {
        "apiVersion", "buildMetadata", "commonAnnotations", "commonLabels", "generatorOptions", "images", "kind", "labels", "metadata",
        "namePrefix", "nameSuffix", "namespace", "replicas", "sortOptions", "vars",
    }
)  # fmt: skip
"""Keys whose values name no file; every other key may."""
_PLUGINS: Final = frozenset({"generators", "transformers", "validators"})
"""Keys of files that name files themselves."""
_GENERATORS: Final = frozenset({"configMapGenerator", "secretGenerator"})
_ENTRIES: Final[dict[str, frozenset[str]]] = {
    "patches": frozenset({"path"}),
    "patchesJson6902": frozenset({"path"}),
    "replacements": frozenset({"path"}),
    **dict.fromkeys(_GENERATORS, frozenset({"files", "envs", "env"})),
}
"""List -> keys of its entries that name files; the rest of an entry is values."""
_MOST: Final = 20_000


def is_kustomization(files: Mapping[str, bytes], folder: str) -> bool:
    """Say whether a folder has a kustomization."""
    return any(f"{folder}/{name}" in files for name in NAMES)


def reads(files: Mapping[str, bytes], folder: str) -> frozenset[str]:
    """Return what building a folder reads of the pinned files; all of them when a kustomization cannot be understood."""
    walk = _Walk(files)
    try:
        walk.folder(folder, scanned=False)
    except (UserError, RecursionError):
        return frozenset(files)
    return frozenset(walk.found)


class _Walk:
    """Follows the names of one build."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._folders = {parent for path in files for parent in _parents(path)}
        self._seen: set[tuple[str, bool]] = set()
        self.found: set[str] = set()

    def folder(self, folder: str, *, scanned: bool) -> None:
        """Take the kustomization of a folder and all that it names; scanned: what it names holds the names of files, too."""
        if (folder, scanned) in self._seen or len(self._seen) > _MOST:
            return
        self._seen.add((folder, scanned))
        for name in NAMES:
            path = posixpath.join(folder, name)
            if path in self._files:
                self.found.add(path)
                for value in manifests.values(self._files[path], path):
                    self._kustomization(folder, value, scanned=scanned)

    def _kustomization(self, folder: str, value: Any, *, scanned: bool) -> None:
        for key, item in value.items() if isinstance(value, dict) else ():
            if key in _NO_FILES:
                continue
            for text in _texts(item, _ENTRIES.get(key)):
                self._take(folder, text, scanned=scanned or key in _PLUGINS)
                if key in _GENERATORS and "=" in text:
                    self._take(folder, text.partition("=")[2], scanned=scanned)

    def _take(self, folder: str, text: str, *, scanned: bool) -> None:
        """Take what a text names, if it names anything that is pinned."""
        if not text or "\n" in text or text.startswith("/"):
            return
        path = posixpath.normpath(posixpath.join(folder, text))
        if path in self._files and (path, scanned) not in self._seen:
            self._seen.add((path, scanned))
            self.found.add(path)
            for value in manifests.values(self._files[path], path) if scanned else ():
                for inner in _texts(value, None):
                    self._take(folder, inner, scanned=False)
                    self._take(folder, inner.partition("=")[2], scanned=False)
        elif path in self._folders:
            self.folder(path, scanned=scanned)


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _texts(value: Any, keys: frozenset[str] | None) -> Iterator[str]:
    """Yield every text of a value; of mappings only under keys, if there are any."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, keys)
    elif isinstance(value, dict):
        for key, item in value.items():
            if keys is None or key in keys:
                yield from _texts(item, None)
