"""The order of objects: phases, waves, kinds and names; what is needed first comes first; circles are named."""

from typing import Any

import pytest

from setpoint.core.reasons import Outcome
from setpoint.reconcile.cluster.hooks import DeletePolicy, Phase, place
from setpoint.reconcile.cluster.model import ObjectKey
from setpoint.reconcile.cluster.order import needs, order, prune_order


def made(what: str, name: str, namespace: str = "", **annotations: str) -> dict[str, Any]:
    """Return a manifest; `api/version Kind` and annotations with `_` for `/`."""
    api_version, kind = what.split(" ")
    meta: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    if annotations:
        meta["annotations"] = annotations
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}


def hook(value: str, name: str = "argocd.argoproj.io/hook", **more: str) -> dict[str, Any]:
    """Return a Job with a hook annotation."""
    return made("batch/v1 Job", "j", **{name: value}, **more)


def kinds(found: Any) -> list[list[str]]:
    """Return the kinds and names of every step."""
    return [[key.subject for key in step.keys] for step in found]


def test_kinds_come_after_what_they_need() -> None:
    """Namespaces, classes, quotas, accounts, roles, configuration, services, workloads, routes, custom kinds, and webhooks last."""
    names = [
        "v1 Namespace",
        "storage.k8s.io/v1 StorageClass",
        "v1 ResourceQuota",
        "v1 ServiceAccount",
        "rbac.authorization.k8s.io/v1 Role",
        "rbac.authorization.k8s.io/v1 RoleBinding",
        "v1 ConfigMap",
        "v1 Service",
        "apps/v1 Deployment",
        "networking.k8s.io/v1 Ingress",
        "example.com/v1 Thing",
        "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration",
    ]
    found = order([made(name, "x") for name in reversed(names)]).steps
    assert [step.keys[0].kind for step in found] == [name.split(" ")[1] for name in names]
    assert [step.wait for step in found] == [""] * 11 + ["healthy"]


def test_objects_of_one_step_are_sorted_by_group_kind_namespace_and_name() -> None:
    """The same set gives the same order, however it was written."""
    objects = [made("v1 Secret", "b", "n"), made("v1 ConfigMap", "z", "m"), made("v1 ConfigMap", "a", "n"), made("v1 ConfigMap", "b", "m")]
    found, other = order(objects).steps, order(objects[::-1]).steps
    assert found == other
    assert [(key.kind, key.namespace, key.name) for key in found[0].keys] == [
        ("ConfigMap", "m", "b"),
        ("ConfigMap", "m", "z"),
        ("ConfigMap", "n", "a"),
        ("Secret", "n", "b"),
    ]


def test_waves_go_one_after_the_other_and_each_waits_for_health() -> None:
    """A lower wave is healthy before the next begins; without an annotation it is wave 0."""
    objects = [
        made("apps/v1 Deployment", "late", **{"setpoint.dev/wave": "5"}),
        made("apps/v1 Deployment", "plain"),
        made("v1 ConfigMap", "early", **{"argocd.argoproj.io/sync-wave": "-1"}),
        made("v1 Service", "plain"),
    ]
    found = order(objects).steps
    assert kinds(found) == [["ConfigMap/early"], ["Service/plain"], ["Deployment/plain"], ["Deployment/late"]]
    assert [(step.wave, step.wait) for step in found] == [(-1, "healthy"), (0, ""), (0, "healthy"), (5, "healthy")]


def test_a_namespace_and_a_definition_move_to_their_first_user() -> None:
    """Whatever their own wave says they are there before who needs them, and it is said; users stay where they are."""
    definition = made("apiextensions.k8s.io/v1 CustomResourceDefinition", "things.x.io", **{"setpoint.dev/wave": "9"})
    definition["spec"] = {"group": "x.io", "names": {"kind": "Thing"}}
    job = made("batch/v1 Job", "migrate", "shop", **{"argocd.argoproj.io/hook": "PreSync", "argocd.argoproj.io/sync-wave": "-2"})
    thing = made("x.io/v1 Thing", "t", "shop", **{"setpoint.dev/wave": "3"})
    space = made("v1 Namespace", "shop", **{"setpoint.dev/wave": "7"})
    found = order([definition, job, thing, space])
    assert kinds(found.steps) == [["Namespace/shop"], ["Job/migrate"], ["CustomResourceDefinition/things.x.io"], ["Thing/t"]]
    assert [(step.phase, step.wave, step.wait) for step in found.steps] == [
        (Phase.PRE_SYNC, -2, ""),
        (Phase.PRE_SYNC, -2, "healthy"),
        (Phase.SYNC, 3, "established"),
        (Phase.SYNC, 3, "healthy"),
    ]
    assert [(note.code, note.subject) for note in found.notes] == [
        ("MOVED_FORWARD", "Namespace/shop"),
        ("MOVED_FORWARD", "CustomResourceDefinition/things.x.io"),
    ]
    assert needs([definition, job, thing, space])[ObjectKey.of(thing)] == (ObjectKey.of(space), ObjectKey.of(definition))


def test_what_is_not_applied_moves_nothing() -> None:
    """A namespace is not hoisted for an object that an annotation leaves out."""
    skipped = made("batch/v1 Job", "test", "shop", **{"helm.sh/hook": "test", "helm.sh/hook-weight": "-9"})
    found = order([skipped, made("v1 Namespace", "shop", **{"setpoint.dev/wave": "3"})])
    assert kinds(found.steps) == [["Namespace/shop"]]
    assert (found.steps[0].wave, [note.code for note in found.notes]) == (3, ["NOT_APPLIED"])


@pytest.mark.parametrize(
    ("value", "name", "first", "phases"),
    [
        ("PreSync", "argocd.argoproj.io/hook", False, (Phase.PRE_SYNC,)),
        ("PreSync,PostSync", "argocd.argoproj.io/hook", False, (Phase.PRE_SYNC, Phase.POST_SYNC)),
        ("SyncFail", "argocd.argoproj.io/hook", False, (Phase.SYNC_FAIL,)),
        ("PostDelete", "argocd.argoproj.io/hook", False, (Phase.POST_DELETE,)),
        ("pre-install,pre-upgrade", "helm.sh/hook", True, (Phase.PRE_SYNC,)),
        ("post-install", "helm.sh/hook", True, (Phase.POST_SYNC,)),
        ("post-install", "helm.sh/hook", False, ()),
        ("pre-upgrade", "helm.sh/hook", True, ()),
        ("pre-upgrade", "helm.sh/hook", False, (Phase.PRE_SYNC,)),
        ("pre-delete", "helm.sh/hook", False, (Phase.PRE_DELETE,)),
        ("test", "helm.sh/hook", False, ()),
        ("crd-install", "helm.sh/hook", True, (Phase.SYNC,)),
        ("pre-sync", "setpoint.dev/hook", False, (Phase.PRE_SYNC,)),
        ("Skip", "argocd.argoproj.io/hook", False, ()),
    ],
)
def test_hooks_of_others_mean_what_they_meant_there(value: str, name: str, first: bool, phases: tuple[Phase, ...]) -> None:  # noqa: FBT001
    """Argo CD's and Helm's words put an object into the phase that they stood for; what is not applied says why."""
    found = place(hook(value, name), first=first)
    assert found.phases == phases
    assert not found.problems
    assert bool(found.skipped) is not bool(phases)


def test_delete_policies_are_data_and_have_a_default() -> None:
    """A hook is deleted before it is made anew, unless it says otherwise; both spellings are read."""
    assert place(hook("PreSync"), first=False).deletion == {DeletePolicy.BEFORE_CREATION}
    argo = hook("PreSync", **{"argocd.argoproj.io/hook-delete-policy": "HookSucceeded, HookFailed"})
    assert place(argo, first=False).deletion == {DeletePolicy.SUCCEEDED, DeletePolicy.FAILED}
    helm = hook("pre-upgrade", "helm.sh/hook", **{"helm.sh/hook-delete-policy": "hook-succeeded", "helm.sh/hook-weight": "-5"})
    found = place(helm, first=False)
    assert (set(found.deletion), found.wave, found.hook) == ({DeletePolicy.SUCCEEDED}, -5, True)


def test_our_own_annotation_counts_before_the_others() -> None:
    """Who writes Setpoint's annotation beside an old one means it."""
    both = made("v1 ConfigMap", "a", **{"setpoint.dev/wave": "2", "argocd.argoproj.io/sync-wave": "9", "helm.sh/hook-weight": "7"})
    assert place(both, first=False).wave == 2


@pytest.mark.parametrize("text", ["later", "1.5", "-+1", "99999999999", "1e3"])
def test_a_wave_that_is_no_number_forbids_to_begin(text: str) -> None:
    """An order that was meant and cannot be understood is not guessed."""
    found = order([made("v1 ConfigMap", "a", **{"setpoint.dev/wave": text})])
    assert [(reason.code, reason.outcome, reason.subject) for reason in found.problems] == [("WAVE_INVALID", Outcome.DENY, "ConfigMap/a")]


def test_unknown_words_and_double_objects_are_problems_that_help() -> None:
    """A misspelt hook names what was meant, and an object that is there twice is named."""
    found = order([hook("PreSinc"), made("v1 Secret", "s"), made("v1 Secret", "s")])
    assert [reason.code for reason in found.problems] == ["OBJECT_TWICE", "HOOK_UNKNOWN"]
    assert "PreSync" in found.problems[1].fix
    wrong = hook("PreSync", **{"argocd.argoproj.io/hook-delete-policy": "HookSuceeded"})
    assert [reason.code for reason in order([wrong]).problems] == ["HOOK_POLICY_UNKNOWN"]


def test_pruning_goes_the_way_back() -> None:
    """Last applied is first deleted: later waves before earlier ones, workloads before what they read, definitions and namespaces last."""
    waves = {
        ObjectKey("", "Namespace", "", "shop"): 0,
        ObjectKey("", "ConfigMap", "shop", "c"): 0,
        ObjectKey("apps", "Deployment", "shop", "d"): 0,
        ObjectKey("apps", "Deployment", "shop", "late"): 4,
        ObjectKey("x.io", "Thing", "shop", "t"): 0,
        ObjectKey("apiextensions.k8s.io", "CustomResourceDefinition", "", "things.x.io"): 0,
    }
    assert kinds(prune_order(waves)) == [
        ["Deployment/late"],
        ["Thing/t"],
        ["Deployment/d"],
        ["ConfigMap/c"],
        ["Namespace/shop", "CustomResourceDefinition/things.x.io"],
    ]


def test_a_key_survives_being_written() -> None:
    """The text of a key gives the key again, also of what has no group or namespace."""
    for key in (ObjectKey("", "Namespace", "", "a"), ObjectKey("rbac.authorization.k8s.io", "Role", "n", "system:x")):
        assert ObjectKey.parse(str(key)) == key
