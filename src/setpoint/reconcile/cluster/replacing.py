"""Which objects may be deleted and made again when a field of theirs cannot be changed in place: whose author says so. Pure.

Called by the comparison on every pass and by plans. Data is never deleted by a general word: objects that hold some need one of their own.
"""

from typing import Any, Final

from setpoint.reconcile.cluster.model import Object, ObjectKey

REPLACE: Final = "setpoint.dev/replace"
"""The annotation: `allow`, or `allow-data-loss` for what holds data."""
_WORDS: Final = ("allow", "allow-data-loss")
_ALWAYS: Final = frozenset({("batch", "Job")})
"""Without asking: what a Job leaves behind is its run."""
_WITH_DATA: Final = frozenset(
    {
        ("", "Namespace"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    }
)


def why_not(manifest: Object) -> str:
    """Return why an object is not replaced; empty when it may be."""
    key = ObjectKey.of(manifest)
    if (key.group, key.kind) in _ALWAYS:
        return ""
    notes: Any = (manifest.get("metadata") or {}).get("annotations") or {}
    word, needed = str(notes.get(REPLACE, "")).strip(), "allow-data-loss" if holds_data(manifest) else "allow"
    if word and word not in _WORDS:
        return f"the annotation {REPLACE} says {word!r}, which is none of {', '.join(_WORDS)}"
    if word in ("allow-data-loss", needed):
        return ""
    if word:
        return f"it holds data, and its annotation {REPLACE} says {word} only, not {needed}"
    return f"its annotations do not have {REPLACE}: {needed}"


def holds_data(manifest: Object) -> bool:
    """Say whether deleting an object may delete what cannot be made again."""
    key = ObjectKey.of(manifest)
    if (key.group, key.kind) == ("apps", "StatefulSet"):
        return bool((manifest.get("spec") or {}).get("volumeClaimTemplates"))
    return (key.group, key.kind) in _WITH_DATA
