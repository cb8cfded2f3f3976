"""Where a live value belongs: the one place of an application's files whose change gives exactly this field, and no other environment's.

Called by the adoption service. Nothing is guessed from names: a place counts when a trial render proves it. The environment's own files
come first; then a line in a patch or values file of the environment that has none yet; then the application's files, where no other
environment reads them; then a new patch. Where none of these is proven it is refused, with what to write where.
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final

from setpoint.core.errors import UserError
from setpoint.reconcile.adopt import splice
from setpoint.reconcile.adopt.inserting import inserted, nested
from setpoint.reconcile.adopt.splice import Scalar
from setpoint.reconcile.adopt.trial import MOST, Trials
from setpoint.reconcile.cluster.fields import Path
from setpoint.reconcile.cluster.live_field import LiveField
from setpoint.reconcile.sources.inputs import Inputs, inputs_of

NOT_PROVEN: Final = "SP577"
SHARED: Final = "SP578"
_YAML: Final = (".yaml", ".yml", ".json")
_KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")

Edits = dict[str, bytes]


class Search:
    """Looks for the place of one field after another, for one environment."""

    def __init__(self, trials: Trials, environment: str) -> None:
        self._trials = trials
        self._environment = environment
        self._own = f"environments/{environment}/{trials.app}/"
        self._base = f"apps/{trials.app}/"

    def find(self, wish: LiveField) -> Edits:
        """Return the changed files that make a live value the desired one.

        Raises:
            UserError: no place is proven (SP577), or only one that changes other environments too (SP578).
            WorldError: rendering failed for a reason outside of the files.
        """
        self._trials.spent = 0
        texts = self._texts()
        shared: list[tuple[str, Scalar, list[str]]] = []
        for edits in self._own_edits(texts, wish):
            if self._gives(wish, edits) and not self._trials.others(self._environment, edits):
                return edits
        for path, place, edits in self._spliced(texts, wish, self._base):
            if self._gives(wish, edits):
                others = self._trials.others(self._environment, edits)
                if not others:
                    return edits
                shared.append((path, place, others))
                break
        for edits in self._new_edits(texts, wish, shared):
            if self._gives(wish, edits) and not self._trials.others(self._environment, edits):
                return edits
        raise self._refusal(wish, shared)

    def _gives(self, wish: LiveField, edits: Edits) -> bool:
        return self._trials.spent < MOST and self._trials.gives(self._environment, wish, edits)

    # What is there

    def _inputs(self) -> Inputs:
        files = self._trials.files(self._environment)
        return inputs_of(files, self._trials.app, self._environment, self._trials.delivery.setpoint.apps[self._trials.app].includes)

    def _texts(self) -> dict[str, str]:
        """Return the text of every YAML file that the render reads and a person wrote; templates of a chart are none."""
        files, inputs = self._trials.files(self._environment), self._inputs()
        chart = set(inputs.chart.files) if inputs.chart is not None else set()
        values = {path for path in chart if inputs.chart is not None and path == f"{inputs.chart.folder}/values.yaml"}
        found = {}
        for path in inputs.paths:
            if path.startswith((self._own, self._base)) and path.endswith(_YAML) and (path not in chart or path in values):
                try:
                    found[path] = files[path].decode()
                except UnicodeDecodeError:
                    continue
        return found

    def _spliced(self, texts: Mapping[str, str], wish: LiveField, folder: str) -> Iterator[tuple[str, Scalar, Edits]]:
        """Yield edits of values that are what was rendered; those that are called like the field first."""
        if wish.desired is None:
            return
        found: list[tuple[bool, bool, str, Scalar]] = []
        for path, text in texts.items():
            if path.startswith(folder):
                found += [
                    (place.key != _name(wish.path), not splice.same(place.value, wish.desired), path, place)
                    for place in _scalars(text)
                    if _alike(place.value, wish.desired)
                ]
        for _strange, _other, path, place in sorted(found, key=lambda one: one[:3]):
            for text in splice.replaced(texts[path], place, wish.live):
                yield path, place, {path: text.encode()}

    def _own_edits(self, texts: Mapping[str, str], wish: LiveField) -> Iterator[Edits]:
        """Yield edits of the environment's files: a value that is there, or a line in what speaks of the object already."""
        for _path, _place, edits in self._spliced(texts, wish, self._own):
            yield edits
        for path, text in texts.items():
            for number in _documents_about(text, wish) if path.startswith(self._own) else ():
                added = inserted(text, number, wish.path, wish.live)
                if added is not None:
                    yield {path: added.encode()}

    def _new_edits(self, texts: Mapping[str, str], wish: LiveField, shared: list[tuple[str, Scalar, list[str]]]) -> Iterator[Edits]:
        """Yield edits that give the environment a word of its own: a value in its values file, or a patch."""
        inputs = self._inputs()
        if inputs.kind == "helm" and inputs.chart is not None and shared:
            path = next((one for one in reversed(inputs.chart.values) if one.startswith(self._own)), f"{self._own}values.yaml")
            keys = shared[0][1].path
            if all(isinstance(key, str) for key in keys):
                elements = tuple(f"f:{key}" for key in keys)
                text = texts.get(path, "")
                added = inserted(text, 0, elements, wish.live) if text.strip() else _new_file(nested(elements, wish.live))
                if added is not None:
                    yield {path: added.encode()}
        if inputs.kind == "kustomize" and f"{inputs.folder}/" == self._own:
            patch = self._patch(texts, wish)
            if patch is not None:
                yield patch

    def _patch(self, texts: Mapping[str, str], wish: LiveField) -> Edits | None:
        """Return a new patch file, and the kustomization that names it."""
        kustomization = next((f"{self._own}{name}" for name in _KUSTOMIZATIONS if f"{self._own}{name}" in texts), "")
        if not kustomization or any(element[:2] not in ("f:", "k:") for element in wish.path):
            return None
        name = f"adopted-{wish.key.kind.lower()}-{wish.key.name}.yaml"
        path = f"{self._own}{name}"
        if path in texts:
            return None
        version = self._api_version(wish)
        manifest = {"apiVersion": version, "kind": wish.key.kind, "metadata": {"name": wish.key.name}}
        listed = _patch_listed(texts[kustomization], name)
        if listed is None:
            return None
        return {path: _new_file(_merged(manifest, nested(wish.path, wish.live))).encode(), kustomization: listed.encode()}

    def _api_version(self, wish: LiveField) -> str:
        objects = self._trials.render(self._environment).objects
        keys = ((value, str(value.get("kind")), str((value.get("metadata") or {}).get("name"))) for value in objects)
        return next((str(value["apiVersion"]) for value, kind, name in keys if (kind, name) == (wish.key.kind, wish.key.name)), "v1")

    def _refusal(self, wish: LiveField, shared: list[tuple[str, Scalar, list[str]]]) -> UserError:
        where = f"{wish.key.subject} {wish.text}"
        if shared:
            path, place, others = shared[0]
            what = f"{path}:{place.line} sets it, and for {', '.join(others)} too: one environment's drift does not change another"
            kind = self._inputs().kind
            own = f"environments/{self._environment}/{self._trials.app}"
            base = posixpath.relpath(f"apps/{self._trials.app}", own)
            fix = (
                f"write {splice.flow(wish.live)} into a values file in {own}/"
                if kind == "helm"
                else f"put the object into {own}/ with {splice.flow(wish.live)}, or a kustomization with `resources: [{base}]` and a patch"
            )
            return UserError(SHARED, what, where=where, fix=fix)
        what = "no value in the application's files is proven to set exactly this field"
        fix = f"write {splice.flow(wish.live)} where it is made, on a branch of your own, or bring it back: setpoint heal"
        return UserError(NOT_PROVEN, what, where=where, fix=fix)


def _name(path: Path) -> str:
    return next((element[2:] for element in reversed(path) if element[:2] == "f:"), "")


def _scalars(text: str) -> list[Scalar]:
    try:
        return splice.scalars(text)
    except ValueError:
        return []


def _alike(value: Any, desired: Any) -> bool:
    """Say whether a value of a file may be what was rendered: the same, or the same as a template writes it."""
    return splice.same(value, desired) or (not isinstance(value, dict | list) and _text(value) == _text(desired))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _documents_about(text: str, wish: LiveField) -> Iterator[int]:
    """Yield the documents of a file that are about an object: manifests of it, and patches."""
    try:
        every = splice.values(text)
    except ValueError:
        return
    for number, value in enumerate(every):
        meta = value.get("metadata") if isinstance(value, dict) else None
        if isinstance(meta, dict) and (value.get("kind"), meta.get("name")) == (wish.key.kind, wish.key.name):
            yield number


def _new_file(value: dict[str, Any]) -> str:
    """Return a file that holds a value, in blocks; a comment says where it comes from."""
    return "".join(f"{line}\n" for line in ("# A live value that was adopted; `git log` says who asked.", *_block(value, "")))


def _block(value: dict[str, Any], indent: str) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield f"{indent}{splice.flow(str(key))}:"
            yield from _block(item, indent + "  ")
        elif isinstance(item, list) and item and all(isinstance(one, dict) for one in item):
            yield f"{indent}{splice.flow(str(key))}:"
            for one in item:
                lines = list(_block(one, ""))
                yield f"{indent}  - {lines[0]}"
                yield from (f"{indent}    {line}" for line in lines[1:])
        else:
            yield f"{indent}{splice.flow(str(key))}: {splice.flow(item)}"


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return two mappings in one, what lies in both merged too: a patch of `metadata` stands beside the name."""
    both = {key: _merged(one[key], other[key]) for key in one.keys() & other.keys() if isinstance(one[key], dict)}
    return {**one, **other, **both}


def _patch_listed(text: str, name: str) -> str | None:
    """Return a kustomization with one patch more."""
    try:
        held = splice.values(text)
    except ValueError:
        return None
    if len(held) != 1 or not isinstance(held[0], dict):
        return None
    if held[0].get("patches"):
        return inserted(text, 0, ("f:patches", f'k:{{"path":"{name}"}}'), {})
    return inserted(text, 0, ("f:patches",), [{"path": name}])
