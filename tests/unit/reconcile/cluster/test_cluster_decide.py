"""What is done about one object: nothing without need, no call that another spares, and never a guess; every verdict says why."""

from typing import Any

import pytest

from setpoint.core.reasons import Outcome
from setpoint.reconcile.changes import FieldChange
from setpoint.reconcile.cluster.decide import Action, Allowed, Seen, Verdicts, decide, refused
from setpoint.reconcile.cluster.ignore import IgnoreRule
from setpoint.reconcile.cluster.model import Comparison, FieldDifference, ObjectKey, Writer

MANIFEST: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}, "data": {"a": "1"}}
OURS = Allowed("setpoint")


def live(data: dict[str, str], manager: str = "setpoint", operation: str = "Apply", **meta: Any) -> dict[str, Any]:
    """Return it as it lives, its data owned by one manager."""
    fields: dict[str, Any] = {"f:data": {f"f:{name}": {} for name in data}}
    row = {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}
    return MANIFEST | {"metadata": {**MANIFEST["metadata"], "managedFields": [row], **meta}, "data": data}


def differs(replaces: str = "") -> Comparison:
    """Return the server's word that a field differs."""
    return Comparison((FieldDifference(FieldChange("data.a", "2", "1"), Writer("kubectl-edit", "Update"), replaces),))


@pytest.mark.parametrize(
    ("seen", "certain", "action", "codes"),
    [
        (Seen(None, known=False, stale_reason="the connection broke"), None, Action.WAIT, ["LIVE_UNKNOWN"]),
        (Seen(None, known=True), None, Action.CREATE, ["OBJECT_NEW"]),
        (Seen(live({"a": "1"}), known=True), None, Action.NOTHING, []),
        (Seen(live({"a": "2"}), known=True), None, Action.ASK, []),
        (Seen(live({"a": "2"}), known=True), differs(), Action.APPLY, ["FIELD_DIFFERS"]),
        (Seen(live({"a": "2"}), known=True), Comparison(), Action.NOTHING, []),
        (Seen(live({"a": "1"}), known=True), Comparison(claims=("data.a",)), Action.APPLY, []),
        (Seen(live({"a": "2"}), known=True), differs("the ConfigMap is immutable"), Action.WAIT, ["FIELD_DIFFERS", "OBJECT_IMMUTABLE"]),
        (Seen(live({"a": "1"}, "helm", "Update"), known=True), None, Action.TAKE_OVER, ["TAKEN_OVER"]),
        (Seen(live({"a": "1"}, "kubectl-edit", "Update"), known=True), None, Action.ASK, []),
        (Seen(live({"a": "1"}, deletionTimestamp="now", finalizers=["x/y"]), known=True), None, Action.WAIT, ["BEING_DELETED"]),
        (Seen(live({"a": "1"}), known=True, stale_since="6:00", stale_reason="down"), None, Action.NOTHING, ["LIVE_STALE"]),
    ],
)
def test_what_is_done_and_why(seen: Seen, certain: Comparison | None, action: Action, codes: list[str]) -> None:
    """From what is seen and what the server said follows one action."""
    found = decide(MANIFEST, seen, OURS, certain)
    assert (found.action, [reason.code for reason in found.reasons]) == (action, codes)


def test_what_is_allowed_is_done_without_a_person() -> None:
    """Replacing has to be allowed, taking over may be forbidden; a refusal denies and says how to go on."""
    seen = Seen(live({"a": "2"}), known=True)
    replaced = decide(MANIFEST, seen, Allowed("setpoint", unreplaced=""), differs("the ConfigMap is immutable"))
    nobody = decide(MANIFEST, seen, Allowed("setpoint", unreplaced="", unapproved=True), differs("the ConfigMap is immutable"))
    assert (nobody.action, nobody.reasons[-1].code) == (Action.WAIT, "REPLACE_UNAPPROVED")
    assert (replaced.action, replaced.reasons[-1].code) == (Action.REPLACE, "OBJECT_REPLACED")
    refused = decide(MANIFEST, Seen(live({"a": "1"}, "helm", "Update"), known=True), Allowed("setpoint", take_over=False))
    assert (refused.action, refused.reasons[0].outcome, refused.reasons[0].found) == (Action.WAIT, Outcome.DENY, "helm made it")


def test_what_a_rule_leaves_alone_is_told_and_not_done() -> None:
    """An ignored difference is no reason to write or to ask, and people see it."""
    rule = IgnoreRule(("data.a",), why="the injector's")
    found = decide(MANIFEST, Seen(live({"a": "2"}), known=True), Allowed("setpoint", rules=(rule,)))
    assert (found.action, [reason.code for reason in found.reasons], len(found.ignored)) == (Action.NOTHING, ["FIELD_IGNORED"], 1)
    assert "the injector's" in found.reasons[0].found


def test_a_dry_run_that_is_refused_as_immutable_is_an_answer_too() -> None:
    """The server tries nothing that cannot be: what was seen without it counts, with our reason or its words; others stay errors."""
    message = "ConfigMap c is invalid: data: Forbidden: field is immutable when `immutable` is set"
    found = refused(MANIFEST, live({"a": "2"}), "setpoint", message)
    assert found is not None
    assert (found.sure, [one.replaces for one in found.differences]) == (True, [message])
    marked = refused(MANIFEST, live({"a": "2"}) | {"immutable": True}, "setpoint", message)
    assert marked is not None
    assert [one.replaces for one in marked.differences] == ["the ConfigMap is immutable"]
    assert refused(MANIFEST, live({"a": "2"}), "setpoint", "metadata.name: Required value") is None


def test_a_reason_names_path_values_and_writer() -> None:
    """Who reads it knows what was changed, by whom, and what it becomes."""
    reason = decide(MANIFEST, Seen(live({"a": "2"}), known=True), OURS, differs()).reasons[0]
    assert (reason.subject, reason.found, reason.wanted) == ("ConfigMap/c", "data.a is 2 (writer kubectl-edit)", "1")


def test_an_answer_holds_for_one_manifest_and_one_state() -> None:
    """Whatever changes, the server is asked again; what it did not say is no answer, and what nobody wants is forgotten."""
    key, kept = ObjectKey.of(MANIFEST), Verdicts()
    kept.keep(key, "m1", "l1", Comparison(sure=False))
    assert kept.of(key, "m1", "l1") is None
    kept.keep(key, "m1", "l1", Comparison())
    assert kept.of(key, "m1", "l1") == Comparison()
    assert (kept.of(key, "m2", "l1"), kept.of(key, "m1", "l2")) == (None, None)
    kept.forget_but({key: 1})
    assert kept.of(key, "m1", "l1") == Comparison()
    kept.forget_but({})
    assert kept.of(key, "m1", "l1") is None
