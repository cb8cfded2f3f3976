"""Every field of the Kubernetes schema of each accepted kind: it is in the documented subset, or setting it is an error that names it.

The schema is tests/unit/reconcile/kubernetes_fields.json (tools/kubernetes_fields.py says where it comes from). The example of
test_subset is what is known to work; each field is set in it in turn, to a value of its type.
"""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from setpoint.core.errors import ConfigError, Finding
from setpoint.reconcile.subset import KINDS, to_host
from unit.reconcile.test_subset import objects

SCHEMA: Final = json.loads((Path(__file__).parent / "kubernetes_fields.json").read_text(encoding="utf-8"))
TYPES: Final[dict[str, dict[str, str]]] = SCHEMA["types"]
OF_LIST: Final = re.compile(r"[Ll]ist\[(.+)\]")
SCALARS: Final = {"str": "x", "int": 7, "bool": True, "float": 0.5, "object": "7", "datetime": "2026-11-25T00:00:00Z"}
UNIONS: Final = ("volumes", "env", "envFrom")
"""Lists whose items are one thing or another: a new item is made for what no item of the example is."""
JUDGED_ELSEWHERE: Final = {
    "apiVersion": "which kinds there are is tested in test_subset",
    "kind": "as above",
    "metadata.namespace": "judged when rendering (SP608)",
    "status": "an empty one says nothing (test_subset); its fields are walked",
}


def findings_of(values: list[dict[str, Any]]) -> list[Finding]:
    """Return what the host says."""
    try:
        to_host(values, "shop", "prod")
    except ConfigError as error:
        return list(error.findings)
    return []


def sample(kind: str) -> Any:
    """Return a plausible value of a type; an empty mapping of what has fields of its own."""
    match = OF_LIST.fullmatch(kind)
    if match is not None:
        return [sample(match[1])]
    return {"k": "v"} if kind.lower().startswith("dict") else copy.deepcopy(SCALARS.get(kind, {}))


def place(node: dict[str, Any], path: tuple[str, ...], field: str, value: Any) -> None:
    """Set a field below a path, making what leads to it; `x[]` is the item of x that has the next key, else the first, else a new one."""
    for head, following in zip(path, (*path, field)[1:], strict=True):
        if not head.endswith("[]"):
            node[head] = node[head] if isinstance(node.get(head), dict) else {}
            node = node[head]
            continue
        items = node.setdefault(head[:-2], [])
        chosen = [item for item in items if following.removesuffix("[]") in item]
        if not chosen and (not items or head[:-2] in UNIONS):
            items.append({} if head == "envFrom[]" else {"name": "walked"})
            chosen = items[-1:]
        node = (chosen or items)[0]
    node[field] = value


def changed(kind: str, path: tuple[str, ...], field: str, value: Any) -> list[dict[str, Any]]:
    """Return the example with one field set."""
    values = objects()
    node = next(item for item in values if item["kind"] == kind)
    place(node, path, field, value)
    return values


def about(finding: Finding, kind: str, full: str) -> bool:
    """Say whether a finding is about a field, what it lies in, or what lies in it."""
    match = re.match(r"(\w+)/[^:]*: `([^`]*)`", finding.what)
    if match is None or match[1] != kind:
        return False
    named = re.sub(r"\[\w+\]", "[]", match[2])
    return full == named or full.startswith((f"{named}.", f"{named}[")) or named.startswith((f"{full}.", f"{full}[", full + "[]"))


def known(path: str) -> str:
    """Return a path as the example may have it: all probes are read alike, and so are both pod templates."""
    return re.sub(r"\.(liveness|startup)Probe", ".readinessProbe", path)


def example_paths(kind: str) -> set[str]:
    """Return every path that the example sets, of this kind or of another with the same pod template."""
    found: set[str] = set()

    def collect(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, item in node.items():
                inner = f"{path}.{key}" if path else key
                found.add(known(inner))
                collect(item, inner)
        elif isinstance(node, list):
            for item in node:
                collect(item, f"{path}[]")

    for value in objects():
        collect({"metadata": value["metadata"]}, "")  # read alike for all kinds
        if value["kind"] == kind:
            collect(value, "")
        elif kind == "Job" and value["kind"] == "Deployment":
            collect(value["spec"]["template"], "spec.template")
    return found


def walk(kind: str, type_name: str, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a complaint about every field that is neither known to work nor refused with its name and a way out."""
    for field, field_type in sorted(TYPES[type_name].items()):
        full = ".".join((*path, field))
        inner = OF_LIST.sub(r"\1", field_type)
        value = sample(field_type)
        there = known(full) in example_paths(kind) or full in JUDGED_ELSEWHERE
        if not (there and (inner in TYPES or full in JUDGED_ELSEWHERE)):
            said = [finding for finding in findings_of(changed(kind, path, field, value)) if about(finding, kind, full)]
            yield from (f"{kind}: {full}: no way out: {finding.what}" for finding in said if finding.code == "SP622" and not finding.fix)
            if not said and not there:
                yield f"{kind}: {full}: accepted, and the example of test_subset does not show what it means"
            if any(finding.code == "SP622" for finding in said):
                continue
        if inner in TYPES:
            yield from walk(kind, inner, (*path, f"{field}[]" if inner != field_type else field))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_field_of_kubernetes_is_ignored(kind: str) -> None:
    """Kubernetes 1.37 and the Gateway API 1.4, field by field."""
    assert list(walk(kind, SCHEMA["kinds"][kind])) == []


def test_the_walk_sees_what_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes a field and does nothing with it is found."""
    from setpoint.reconcile.host.fields import Fields

    honest = Fields.close

    def careless(self: Fields) -> None:
        self.raw("externalName")
        honest(self)

    monkeypatch.setattr(Fields, "close", careless)
    (complaint,) = [text for text in walk("Service", SCHEMA["kinds"]["Service"]) if "externalName" in text]
    assert complaint.startswith("Service: spec.externalName: accepted")


def test_the_schema_is_there_in_full() -> None:
    """Every accepted kind has its fields, the pod's among them."""
    assert set(SCHEMA["kinds"]) == set(KINDS)
    assert len(TYPES["V1PodSpec"]) > 35
    assert len(TYPES["V1Container"]) > 20
