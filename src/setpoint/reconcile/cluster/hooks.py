"""In which phase and wave an object belongs, as its annotations say: Setpoint's own, Argo CD's and Helm's are read alike.

Called by the order; pure. Whoever moves from another controller keeps the annotations; where several are written, Setpoint's own counts,
then Argo CD's, then Helm's.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from setpoint.core import suggest
from setpoint.core.reasons import Outcome, Reason
from setpoint.reconcile.cluster.model import Object, ObjectKey

WAVE: Final = ("setpoint.dev/wave", "argocd.argoproj.io/sync-wave", "helm.sh/hook-weight")
HOOK: Final = ("setpoint.dev/hook", "argocd.argoproj.io/hook", "helm.sh/hook")
DELETION: Final = ("setpoint.dev/hook-delete-policy", "argocd.argoproj.io/hook-delete-policy", "helm.sh/hook-delete-policy")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,9}")


class Phase(StrEnum):
    """When an object is applied: the parts of one sync, in their order."""

    PRE_SYNC = "pre-sync"
    SYNC = "sync"
    POST_SYNC = "post-sync"
    SYNC_FAIL = "sync-fail"
    """Only after a phase before it failed."""
    PRE_DELETE = "pre-delete"
    """Only when the application is removed, before its objects."""
    POST_DELETE = "post-delete"

    @property
    def rank(self) -> int:
        """Its place in the order."""
        return list(Phase).index(self)


class DeletePolicy(StrEnum):
    """When the object of a hook is deleted."""

    BEFORE_CREATION = "before-hook-creation"
    """Before the hook is made the next time; the rule when none is written."""
    SUCCEEDED = "hook-succeeded"
    FAILED = "hook-failed"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an object belongs."""

    phases: tuple[Phase, ...] = (Phase.SYNC,)
    """More than one only for a hook; empty: it is not applied at all."""
    wave: int = 0
    hook: bool = False
    """It is made anew for every revision and is no part of what runs."""
    deletion: frozenset[DeletePolicy] = frozenset()
    skipped: str = ""
    """Why it is not applied."""
    problems: tuple[Reason, ...] = ()


_OURS: Final = {phase.value: (phase,) for phase in Phase} | {"skip": ()}
_ARGO: Final[Mapping[str, tuple[Phase, ...]]] = {
    "PreSync": (Phase.PRE_SYNC,),
    "Sync": (Phase.SYNC,),
    "PostSync": (Phase.POST_SYNC,),
    "SyncFail": (Phase.SYNC_FAIL,),
    "PreDelete": (Phase.PRE_DELETE,),
    "PostDelete": (Phase.POST_DELETE,),
    "Skip": (),
}
_HELM: Final[Mapping[str, tuple[Phase, ...]]] = {
    "pre-install": (Phase.PRE_SYNC,),
    "pre-upgrade": (Phase.PRE_SYNC,),
    "post-install": (Phase.POST_SYNC,),
    "post-upgrade": (Phase.POST_SYNC,),
    "pre-delete": (Phase.PRE_DELETE,),
    "post-delete": (Phase.POST_DELETE,),
    "pre-rollback": (),
    "post-rollback": (),
    "test": (),
    "test-success": (),
    "test-failure": (),
}
_WORDS: Final = dict(zip(HOOK, (_OURS, _ARGO, _HELM), strict=True))
_ONLY_FIRST: Final = frozenset({"pre-install", "post-install"})
_ONLY_LATER: Final = frozenset({"pre-upgrade", "post-upgrade"})
_POLICIES: Final = {
    **{policy.value: policy for policy in DeletePolicy},
    "BeforeHookCreation": DeletePolicy.BEFORE_CREATION,
    "HookSucceeded": DeletePolicy.SUCCEEDED,
    "HookFailed": DeletePolicy.FAILED,
}


def place(value: Object, *, first: bool) -> Placement:
    """Return where an object belongs; first: the application was never applied before (Helm tells installs from upgrades).

    What cannot be understood is a problem that denies: an order that was meant and is not kept does harm.
    """
    annotations = (value.get("metadata") or {}).get("annotations") or {}
    subject = ObjectKey.of(value).subject
    problems: list[Reason] = []
    wave = _wave(annotations, subject, problems)
    name, text = _first(annotations, HOOK)
    if not text or _words(text) == ["crd-install"]:
        return Placement(wave=wave, problems=tuple(problems))
    table = _WORDS[name]
    words = _words(text)
    for word in words:
        if word not in table:
            problems.append(Reason("HOOK_UNKNOWN", Outcome.DENY, subject, *_unknown(name, word, table)))
    applies = [word for word in words if not (word in _ONLY_LATER and first) and not (word in _ONLY_FIRST and not first)]
    phases = {phase for word in applies for phase in table.get(word, ())}
    skipped = "" if phases or problems else _why_skipped(name, words, applies)
    hook = phases != {Phase.SYNC} or name != HOOK[0]
    ordered = tuple(sorted(phases, key=lambda phase: phase.rank))
    return Placement(ordered, wave, hook, _deletion(annotations, subject, problems) if hook else frozenset(), skipped, tuple(problems))


def _first(annotations: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    return next(((name, str(annotations[name]).strip()) for name in names if name in annotations), (names[0], ""))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _wave(annotations: Mapping[str, str], subject: str, problems: list[Reason]) -> int:
    name, text = _first(annotations, WAVE)
    if not text:
        return 0
    if _NUMBER.fullmatch(text):
        return int(text)
    problems.append(Reason("WAVE_INVALID", Outcome.DENY, subject, f"{name} is {text!r}", "a whole number, as text", 'write it as "2"'))
    return 0


def _deletion(annotations: Mapping[str, str], subject: str, problems: list[Reason]) -> frozenset[DeletePolicy]:
    name, text = _first(annotations, DELETION)
    found = set()
    for word in _words(text):
        policy = _POLICIES.get(word)
        if policy is None:
            problems.append(Reason("HOOK_POLICY_UNKNOWN", Outcome.DENY, subject, *_unknown(name, word, _POLICIES)))
        else:
            found.add(policy)
    return frozenset(found or {DeletePolicy.BEFORE_CREATION})


def _unknown(name: str, word: str, known: Mapping[str, object]) -> tuple[str, str, str]:
    """Return what was found, what was wanted, and what helps."""
    return f"{name} says {word!r}", ", ".join(known), suggest.help_text(word, known, "words")


def _why_skipped(name: str, words: list[str], applies: list[str]) -> str:
    if not applies:
        return f"{name} is {', '.join(words)}, which is not what happens now"
    return f"{name} is {', '.join(words)}: that is never part of an apply"


def problems_of(placements: Mapping[ObjectKey, Placement]) -> Iterator[Reason]:
    """Yield what could not be understood, by object."""
    for key in sorted(placements):
        yield from placements[key].problems
