"""One field of a live object, found by the path that differences show: its value as it is, and what was rendered. Pure.

Called when a live value is to be adopted; a difference itself holds only what people may see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.reconcile.cluster.comparing import ObjectPlan
from setpoint.reconcile.cluster.fields import FieldSet, Path, everything, owners
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.normalise import body
from setpoint.reconcile.cluster.walk import Leaf, walk


@dataclass(frozen=True, slots=True)
class LiveField:
    """A value that drifted."""

    key: ObjectKey
    text: str
    """As differences show it: `spec.template.spec.containers[web].workingDir`."""
    path: Path
    live: Any
    """None: it is not there any more."""
    desired: Any
    """None: it was not rendered."""
    secret: bool
    guide: FieldSet
    """What managers own of the object: how its lists are merged."""


def find(rows: Sequence[ObjectPlan], subject: str, text: str) -> LiveField | None:
    """Return a field of one of some objects; None when neither the live object nor the rendered one has it by itself."""
    row = next((one for one in rows if one.key.subject == subject and one.live is not None), None)
    if row is None or row.live is None:
        return None
    guide = everything(owners(row.live))
    live, desired = (_leaf(value, guide, row.key.kind, text) for value in (row.live, row.wanted))
    there = live or desired
    if there is None:
        return None
    values = (live.wanted if live is not None else None, desired.wanted if desired is not None else None)
    return LiveField(row.key, text, there.path, *values, secret=there.secret or row.key.kind == "Secret", guide=guide)


def _leaf(value: Object, guide: FieldSet, kind: str, text: str) -> Leaf | None:
    return next((leaf for leaf in walk({}, body(value), guide, kind, _never) if leaf.text == text), None)


def _never(_left: Any, _right: Any, _parent: str, _name: str) -> bool:
    return False
