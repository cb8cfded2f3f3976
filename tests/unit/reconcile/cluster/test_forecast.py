"""What a plan says of each object: created, changed with its writer, refused, predicted; and of a sealed Secret no more than ciphertext."""

from collections.abc import Mapping
from typing import Any

import pytest

from setpoint.core.errors import NotAllowedError, SetpointError, UserError, WorldError
from setpoint.reconcile.cluster.comparing import Who, plan
from setpoint.reconcile.cluster.decide import Seen, Verdicts
from setpoint.reconcile.cluster.forecast import change, sealed_change, unopened, unsealed
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.normalise import prepare
from setpoint.reconcile.cluster.owner import Made, Owner
from setpoint.reconcile.cluster.plan import rendered_changes
from setpoint.reconcile.live_plan import LiveChange

OWNER = Owner("h-1", "shop", "cloud")
WHO = Who(OWNER, Made("", "", ""), unopened)
NAMESPACE = ObjectKey("", "Namespace", "", "n")


def _object(kind: str, version: str = "v1", notes: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    meta = {"name": "a", "namespace": "n", **({"annotations": dict(notes)} if notes else {})}
    return prepare({"apiVersion": version, "kind": kind, "metadata": meta, **more})


def _live(manifest: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an object as `kubectl edit` left it."""
    owned: dict[str, Any] = {
        f"f:{name}": {f"f:{key}": {} for key in value} for name, value in manifest.items() if isinstance(value, dict) and name != "metadata"
    }
    row = {
        "manager": "kubectl-edit",
        "operation": "Update",
        "apiVersion": manifest["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    }
    return {**manifest, **more, "metadata": {**manifest["metadata"], "uid": "u", "managedFields": [row]}}


def _said(manifest: dict[str, Any], live: dict[str, Any] | None, answer: dict[str, Any] | SetpointError | None) -> LiveChange | None:
    seen = {ObjectKey.of(manifest): Seen(live, known=True)}
    (row,) = plan([manifest], seen, WHO, Verdicts(), settled=False)
    return change(row, answer, ())


def test_what_needs_what_the_plan_makes_is_predicted() -> None:
    """Nothing was tried, and who makes it is named."""
    manifest = _object("ConfigMap", data={"x": "1"})
    (row,) = plan([manifest], {ObjectKey.of(manifest): Seen(None, known=True)}, WHO, Verdicts(), settled=False)
    said = change(row, None, (NAMESPACE,))
    assert said is not None
    assert (said.action, said.note) == ("create", "predicted, not tried: Namespace/n is made by the same plan")


@pytest.mark.parametrize(
    ("answer", "action", "note"),
    [
        (UserError("SP686", "a webhook denied the request"), "refused", "a webhook denied the request"),
        (WorldError("SP682", "busy"), "unknown", "busy"),
        (NotAllowedError("SP683", "no right to patch"), "create", "not tried"),
        (None, "unknown", "not tried"),
    ],
)
def test_what_the_server_did_not_take_says_why(answer: SetpointError | None, action: str, note: str) -> None:
    """A refusal, a busy server and a missing right are three things."""
    said = _said(_object("ConfigMap", data={"x": "1"}), None, answer)
    assert said is not None
    assert said.action == action
    assert note in said.note


@pytest.mark.parametrize(
    ("notes", "action"), [({}, "refused"), ({"setpoint.dev/replace": "allow"}, "replace"), ({"setpoint.dev/replace": "yes"}, "refused")]
)
def test_a_field_that_cannot_be_changed_is_refused_or_replaced_as_the_author_says(notes: dict[str, str], action: str) -> None:
    """What is lost by a replacement is told; a refusal says which word allows it."""
    before = _object("Deployment", "apps/v1", spec={"selector": {"matchLabels": {"app": "a"}}})
    after = _object("Deployment", "apps/v1", notes, spec={"selector": {"matchLabels": {"app": "b"}}})
    said = _said(after, _live(before), UserError("SP686", "spec.selector: Invalid value: field is immutable"))
    assert said is not None
    assert said.action == action
    assert ("its pods stop" in "".join(said.destructive)) == (action == "replace")
    assert action == "replace" or "setpoint.dev/replace" in said.note


def test_a_sealed_secret_is_compared_as_it_lies_in_git() -> None:
    """Which values changed is shown by marks of ciphertexts; nothing is opened, and no ciphertext is printed."""
    block = {"age": [{"enc": "stanza"}], "mac": "m"}
    before = _object("Secret", data={"A": "ENC[1]", "B": "ENC[2]"}, sops=block)
    after = _object("Secret", data={"A": "ENC[1]", "B": "ENC[3]"}, sops=block)
    (row,) = plan(
        unsealed([after]), {ObjectKey.of(after): Seen({**before, "data": {"A": "x"}}, known=True)}, WHO, Verdicts(), settled=False
    )
    said = sealed_change(after, before, row)
    assert said is not None
    (field,) = said.fields
    assert field.path == "data.B"
    assert field.before != field.after
    assert "ENC" not in repr(said)
    assert sealed_change(after, after, row) is None
    (row,) = plan(unsealed([after]), {ObjectKey.of(after): Seen(None, known=True)}, WHO, Verdicts(), settled=False)
    made = sealed_change(after, None, row)
    assert made is not None
    assert made.action == "create"


def test_what_two_renders_lose_follows_from_the_files_alone() -> None:
    """Approvals bind to it: removed objects, and fields that cannot change where the author lets the object be made anew."""
    claim = _object("PersistentVolumeClaim", spec={})
    before = _object("StatefulSet", "apps/v1", spec={"serviceName": "x", "replicas": 1})
    allowed = {"setpoint.dev/replace": "allow"}
    for notes, lost in ((None, 0), (allowed, 1)):
        after = _object("StatefulSet", "apps/v1", notes, spec={"serviceName": "y", "replicas": 1})
        found = {one.object: one for one in rendered_changes([before, claim], [after])}
        assert len(found["StatefulSet/a in n"].destructive) == lost
        assert found["PersistentVolumeClaim/a in n"].destructive == ("its data may be deleted with it, as its class says",)
    job = {"template": {"spec": {"containers": [{"name": "m", "image": "one"}]}}}
    other = {"template": {"spec": {"containers": [{"name": "m", "image": "two"}]}}}
    (run,) = rendered_changes([_object("Job", "batch/v1", spec=job)], [_object("Job", "batch/v1", spec=other)])
    assert run.destructive == (), "what a Job leaves behind is its run"


def test_data_is_not_deleted_by_a_general_word() -> None:
    """A StatefulSet with claims needs its own word, whatever an annotation allows in general."""
    spec = {"serviceName": "x", "volumeClaimTemplates": [{"metadata": {"name": "d"}}]}
    after = {**spec, "serviceName": "y"}
    for word, lost in (("allow", False), ("allow-data-loss", True)):
        value = _object("StatefulSet", "apps/v1", {"setpoint.dev/replace": word}, spec=after)
        (found,) = rendered_changes([_object("StatefulSet", "apps/v1", spec=spec)], [value])
        assert bool(found.destructive) == lost
