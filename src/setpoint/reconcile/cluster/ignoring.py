"""The ignore rules of an environment at work: which an application has, what they leave alone now, and which mean nothing. Pure.

Called by the target in each pass; what it returns are notes that `why`, `status` and the pages show. `ignore` does the leaving alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from setpoint.promotion.config import EnvironmentFile
from setpoint.promotion.ignoring import IgnoreConfig
from setpoint.reconcile.changes import shown
from setpoint.reconcile.cluster.comparing import ObjectPlan
from setpoint.reconcile.cluster.fields import everything, owners, writer_of
from setpoint.reconcile.cluster.ignore import IgnoreRule
from setpoint.reconcile.cluster.model import Object, ObjectKey
from setpoint.reconcile.cluster.normalise import body, is_built_in, same
from setpoint.reconcile.cluster.walk import walk
from setpoint.reconcile.model import DeployReason

_SHOWN: Final = 20
"""Fields that are told of one application; the rest is counted."""


def rules_of(config: EnvironmentFile, app: str) -> tuple[IgnoreRule, ...]:
    """Return the rules of an environment that are about an application."""
    images = tuple((kind, tuple(paths)) for kind, paths in sorted(config.imagePaths.items()))
    return tuple(_rule(one, images) for one in config.drift.ignore if one.app is None or IgnoreRule(name=one.app).is_called(app))


def _rule(one: IgnoreConfig, images: tuple[tuple[str, tuple[str, ...]], ...]) -> IgnoreRule:
    word, _, group = (one.kind or "*").partition(".")
    return IgnoreRule(
        one.paths, one.managers, group or "*", word, "*", one.name or "*", one.why, images, own_kind=bool(one.kind and not group)
    )


def told(
    config: EnvironmentFile, rendered: Mapping[str, Sequence[Object]], plans: Mapping[str, Sequence[ObjectPlan]]
) -> dict[str, list[DeployReason]]:
    """Return {application: what people are told of the rules}: which fields are left alone now, and which rules mean nothing."""
    if not config.drift.ignore:
        return {}
    found = {app: list(_notes(rows, rendered[app], rules_of(config, app))) for app, rows in plans.items()}
    if plans.keys() == rendered.keys():  # what could not be looked at may be what a rule is about
        live = {one.key: one.live for rows in plans.values() for one in rows}
        for app, reasons in _idle(config, rendered, live).items():
            found[app] += reasons
    return found


def _notes(plans: Sequence[ObjectPlan], manifests: Sequence[Object], rules: Sequence[IgnoreRule]) -> Iterator[DeployReason]:
    """Yield what is left alone of an application's objects and differs from what was rendered: field, rendered value, who and why.

    The live value is not told: it may change every minute, and none of that is news.
    """
    rendered = {ObjectKey.of(manifest): manifest for manifest in manifests}
    found = [(one.key, text) for one in plans if one.live is not None for text in _left(rendered[one.key], one.live, rules)]
    for key, text in found[:_SHOWN]:
        yield DeployReason("FIELD_IGNORED", key.subject, text)
    if len(found) > _SHOWN:
        yield DeployReason("FIELD_IGNORED", "drift", f"{len(found) - _SHOWN} more fields are left alone")


def _left(manifest: Object, live: Object, rules: Sequence[IgnoreRule]) -> Iterator[str]:
    key = ObjectKey.of(manifest)
    mine = [rule for rule in rules if rule.concerns(key)]
    if not mine:
        return
    every = owners(live)
    meaning = same if is_built_in(str(manifest.get("apiVersion", ""))) else _exactly
    for leaf in walk(body(live), body(manifest), everything(every), key.kind, meaning):
        if leaf.wanted is None:
            continue
        writer = writer_of(every, leaf.path)
        rule = next((one for one in mine if one.leaves(key, leaf.text, writer.manager if writer is not None else None)), None)
        if rule is not None:
            _before, after = shown(leaf.live, leaf.wanted, secret=leaf.secret)
            who = f"{writer}'s" if writer is not None else "left out"
            yield f"{leaf.text} is {who}, not {str(after)[:200]} as rendered, and is left alone: {rule.why}"


def _exactly(left: Any, right: Any, parent: str, name: str) -> bool:
    del parent, name
    return bool(left == right)


def _idle(
    config: EnvironmentFile, rendered: Mapping[str, Sequence[Object]], seen: Mapping[ObjectKey, Object | None]
) -> dict[str, list[DeployReason]]:
    """Return {application: notes} for the rules of an environment that mean nothing there now.

    A rule by path means nothing when no object that it is about has such a field, rendered or live; one by manager, when there is no object
    that it is about, for a manager may write at any time. It is told where it is about one application, else at the first.
    """
    found: dict[str, list[DeployReason]] = {}
    for index, one in enumerate(config.drift.ignore):
        apps = [app for app in sorted(rendered) if one.app is None or IgnoreRule(name=one.app).is_called(app)]
        rule = _rule(one, ())
        objects = [value for app in apps for value in rendered[app] if rule.concerns(ObjectKey.of(value))]
        if objects and (one.managers or any(_has(rule, value, seen.get(ObjectKey.of(value))) for value in objects)):
            continue
        if not apps:
            apps = sorted(rendered)[:1]
        for app in apps[:1]:
            what = "no object has a field that it names" if objects else "there is no object that it is about"
            fix = "mend or remove it in environment.yaml"
            found.setdefault(app, []).append(DeployReason("IGNORE_MEANS_NOTHING", f"drift.ignore[{index}]", f"{what}: {one.why}", fix))
    return found


def _has(rule: IgnoreRule, manifest: Object, live: Object | None) -> bool:
    guide = everything(owners(live)) if live is not None else everything(())
    kind = str(manifest.get("kind", ""))
    return any(
        rule.has_path(leaf.text) for value in (manifest, live) if value is not None for leaf in walk({}, body(value), guide, kind, _exactly)
    )
