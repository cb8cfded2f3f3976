"""Checks the files of source and delivery repositories as they lie in working trees: every finding of every file at once.

Called by `setpoint check`; it parses, cross-checks, compiles policies and renders each application in each environment with placeholder
digests, so that what a push would be refused for is seen before. It runs no project code and changes nothing.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar

from setpoint.adapters.git.working_tree import WorkingTree
from setpoint.adapters.helm import HelmBinary
from setpoint.adapters.kustomize import KustomizeBinary
from setpoint.adapters.policy import CelPolicy
from setpoint.app import check_generators, preflight
from setpoint.app.check_generators import Written
from setpoint.artifact import recipe
from setpoint.artifact.recipe import Entry, Recipe, recipe_of
from setpoint.core.documents import Document, FileModel
from setpoint.core.errors import ConfigError, Finding, UserError
from setpoint.core.words import counted
from setpoint.evidence.coverage import Made, judge
from setpoint.pipeline import placing
from setpoint.pipeline.config import PipelineDocument, parse_lock, parse_pipeline, select_inputs
from setpoint.pipeline.service import LOCK_PATH, PIPELINE_PATH
from setpoint.pipeline.tasks import Task
from setpoint.promotion.checks.written import script_findings, scripts_path
from setpoint.promotion.config import EnvironmentFile, SetpointFile, parse_environment, parse_setpoint
from setpoint.promotion.delivery import policy_name_findings, validate_delivery
from setpoint.promotion.generators.checks import claimed, generator_findings
from setpoint.promotion.generators.config import GeneratorFile, generator_of, parse_generator
from setpoint.promotion.judging import SETPOINT_PATH, environment_of
from setpoint.promotion.model import PinnedArtifact
from setpoint.reconcile.allowed import Allowed, allowed_in, refuse_outside
from setpoint.reconcile.images import substitute
from setpoint.reconcile.render import Place, Renderers, render
from setpoint.reconcile.sources.registry_charts import NO_REGISTRY, NoCharts
from setpoint.reconcile.subset import elsewhere, to_host

_PLACEHOLDER: Final = "sha256:" + "0" * 64
_LINK: Final = 0o120000
M = TypeVar("M", bound=FileModel)


@dataclass(slots=True)
class CheckReport:
    """What was found and what was counted."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """True and harmless, but worth knowing."""
    tasks: int = 0
    artifacts: int = 0
    environments: int = 0
    gates: int = 0
    sources: dict[str, PipelineDocument] = field(default_factory=dict)
    """Folder or origin name -> sound pipeline."""

    def take(self, error: UserError, prefix: str, path: str = "") -> None:
        """Add an error's findings, their paths as the caller of `check` sees them."""
        found = error.findings if isinstance(error, ConfigError) else (Finding(error.code, error.what, error.where or path, fix=error.fix),)
        for finding in found:
            placed = replace(finding, path=f"{prefix}{finding.path}")
            if not any((placed.path, placed.line, placed.what) == (one.path, one.line, one.what) for one in self.findings):
                self.findings.append(placed)


def check(path: Path) -> CheckReport:
    """Return what there is to say about a repository, or about the repositories in a folder.

    Raises:
        UserError: there is nothing to check (SP819).
        WorldError: kubectl or bubblewrap is missing (SP613).
    """
    if not path.is_dir():
        raise UserError("SP819", f"{path} is no folder", where=str(path), fix="setpoint check FOLDER")
    folders = [path] if _plays_a_role(path) else sorted(entry for entry in path.iterdir() if entry.is_dir() and _plays_a_role(entry))
    if not folders:
        fix = "write .setpoint/pipeline.yaml (setpoint init), or make an example: setpoint init --example hello"
        raise UserError("SP819", f"neither {PIPELINE_PATH} nor {SETPOINT_PATH} is here", where=str(path), fix=fix)
    report = CheckReport()
    trees = {("" if folder == path else f"{folder.name}/"): WorkingTree(folder) for folder in folders}
    for prefix, tree in trees.items():
        if (tree.root / PIPELINE_PATH).is_file():
            _source(report, prefix, tree)
    for prefix, tree in trees.items():
        if (tree.root / SETPOINT_PATH).is_file():
            _Delivery(report, prefix, tree).check()
    return report


def _plays_a_role(folder: Path) -> bool:
    return (folder / PIPELINE_PATH).is_file() or (folder / SETPOINT_PATH).is_file()


def _source(report: CheckReport, prefix: str, tree: WorkingTree) -> None:
    lock: Mapping[str, str] = {}
    lock_data = tree.read(LOCK_PATH)
    try:
        lock = parse_lock(lock_data, LOCK_PATH) if lock_data is not None else {}
    except ConfigError as error:
        report.take(error, prefix)
    try:
        document = parse_pipeline(tree.read(PIPELINE_PATH) or b"", PIPELINE_PATH, lock)
    except ConfigError as error:
        report.take(error, prefix)
        return
    report.tasks += len(document.tasks)
    report.notes += [
        f"`{family}` runs in {counted(len(cells), 'cell')}"
        for family, task in document.document.model.tasks.items()
        if task.matrix is not None and (cells := [name for name, one in document.tasks.items() if one.family == family])
    ]
    report.artifacts += len(document.artifacts)
    for name in (tree.root.name, PurePosixPath(tree.origin()).name.removesuffix(".git")):
        report.sources[name] = document
    for finding in _inputs(document, tree):
        report.take(ConfigError([finding]), prefix)
    for name in document.artifacts:
        for finding in _copies(document, name, tree):
            report.take(ConfigError([finding]), prefix)
        report.notes += _uncovered(document, name, tree)


def _uncovered(document: PipelineDocument, name: str, tree: WorkingTree) -> Iterator[str]:
    """Yield a sentence for each task whose test results would not count for an artifact, as the signer will judge them."""
    wanted = recipe_of(document, name)
    made = Made({file.path: file.blob for file in tree.listing if wanted.wants_source(file.path)}, dict.fromkeys(wanted.tasks, ""))
    for task, config in document.tasks.items():
        if not config.leaves:
            continue
        try:
            seen = select_inputs(config.reads, tree.listing)
        except UserError:
            continue  # a finding of its own
        taken = [name for name in wanted.tasks if _takes_all(config, name, wanted)]
        verdict = judge(made, Made({file.path: file.blob for file in seen}, dict.fromkeys((*config.whole, *taken, task), "")))
        if not verdict.covers:
            kind = "output" if verdict.missing[0].endswith(":") else "file"
            fix = "its `needs`" if kind == "output" else "its `inputs`"
            yield f"`{task}` does not count as evidence for `{name}`: {verdict.missing[0]} is in it; add it to {fix}"


def _takes_all(config: Task, name: str, wanted: Recipe) -> bool:
    """Say whether a task takes, by `from:`, all that an artifact copies of another's outputs."""
    parts = (take.path for take in config.takes if take.task == name)
    return placing.covers(parts, (rule.source for rule in wanted.copy if rule.origin == name))


def _inputs(document: PipelineDocument, tree: WorkingTree) -> Iterator[Finding]:
    """Yield a finding for each task whose `inputs:` match nothing here."""
    for task in document.tasks.values():
        try:
            select_inputs(task.reads, tree.listing)
        except UserError as error:
            what = error.what.replace("of this revision ", "here ")
            yield document.document.finding(("tasks", task.family, "inputs"), error.code, what, error.fix)


def _copies(document: PipelineDocument, name: str, tree: WorkingTree) -> Iterator[Finding]:
    """Yield a finding for each `copy` line from the source tree that cannot work; outputs of tasks are not there yet."""
    wanted = recipe_of(document, name)
    rules = tuple(rule for rule in wanted.copy if not rule.origin)
    entries = []
    for file in tree.listing:
        link = tree.data(file.path).decode(errors="replace") if file.mode == _LINK else ""
        entries.append(Entry(file.path, "link" if link else "file", file.mode == 0o100755, link))
    _, faults = recipe.resolve(replace(wanted, copy=rules), {"": entries})
    for fault in faults:
        label = next((rule.label for rule in rules if repr(rule.label) in fault.what), "")
        place = document.artifacts[name].sources.get(label, ())
        yield document.document.finding(("artifacts", name, *place), fault.code, fault.what, fault.fix, at="key")


class _Delivery:
    """One delivery repository."""

    def __init__(self, report: CheckReport, prefix: str, tree: WorkingTree) -> None:
        self._report = report
        self._prefix = prefix
        self._tree = tree
        self._files = {file.path for file in tree.listing}

    def check(self) -> None:
        """Add everything there is to say."""
        report = self._report
        before = len(report.findings)
        setpoint = self._parsed(parse_setpoint, SETPOINT_PATH)
        environments: dict[str, Document[EnvironmentFile]] = {}
        made: dict[str, Document[GeneratorFile]] = {}
        for path in sorted(self._files):
            if (name := generator_of(path)) and (generator := self._parsed(parse_generator, path)) is not None:
                made[name] = generator
            elif (name := environment_of(path)) and (environment := self._parsed(parse_environment, path)) is not None:
                environments[name] = environment
        report.environments += len(environments)
        sound = len(report.findings) == before
        if setpoint is not None and sound:
            folders = check_generators.folders_of(self._files)
            present = {path.split("/")[1] for path in folders if path.startswith("apps/")}
            present.difference_update(*claimed(made, folders).values())
            found = [*validate_delivery(setpoint, environments, present, CelPolicy().compile_error), *self._scripts(environments)]
            for finding in (*found, *generator_findings(setpoint, environments, made, folders)):
                report.take(ConfigError([finding]), self._prefix)
        for name, document in environments.items():
            self._describe(name, document)
        if setpoint is not None:
            written = {name: Written(config, setpoint, ("apps", name)) for name, config in setpoint.model.apps.items()}
            more = check_generators.made_here(made, self._files, written, report.notes) if len(report.findings) == before else {}
            whole = setpoint.model.model_copy(update={"apps": {name: one.config for name, one in (written | more).items()}})
            for app, one in (written | more).items():
                self._application(one, app, whole, environments)

    def _parsed(self, parse: Callable[[bytes, str], Document[M]], path: str) -> Document[M] | None:
        try:
            return parse(self._tree.read(path) or b"", path)
        except ConfigError as error:
            self._report.take(error, self._prefix)
            return None

    def _scripts(self, environments: Mapping[str, Document[EnvironmentFile]]) -> Iterator[Finding]:
        """Yield what is wrong with the scripts of each environment's checks."""
        for name, document in environments.items():
            folder = f"{scripts_path(name)}/"
            yield from script_findings(
                document, name, {file.path.removeprefix(folder): file.mode for file in self._tree.listing if file.path.startswith(folder)}
            )

    def _describe(self, name: str, document: Document[EnvironmentFile]) -> None:
        """Count the gates, say what people overlook, and what a canary can find out."""
        gates = document.model.gates
        for finding in (*preflight.findings(document), *policy_name_findings(document)):
            self._report.take(ConfigError([finding]), self._prefix)
        self._report.notes += preflight.notes(name, document.model)
        count = (
            (gates.policy is not None)
            + len(gates.checks)
            + (gates.soak is not None)
            + (gates.approvals is not None)
            + (gates.pods is not None)
            + (gates.commits is not None)
        )
        self._report.gates += count
        if not count:
            self._report.notes.append(f"{name} has no gates: every candidate is pinned at once")
        if gates.approvals is not None and not gates.approvals.excluded:
            self._report.notes.append(f"{name}: `not: []`: nobody is excluded from approving their own change")

    def _application(
        self, written: Written, app: str, setpoint: SetpointFile, environments: Mapping[str, Document[EnvironmentFile]]
    ) -> None:
        """Render an application in every environment that it runs in."""
        names = self._artifacts(written)
        places = [name for name in environments if written.config.runs_in(name)]
        configured = [name for name in places if self._below(f"apps/{app}/") or self._below(f"environments/{name}/{app}/")]
        if places and not configured:
            what, fix = f"`{app}` has no manifests", f"put them into apps/{app}/"
            self._report.take(ConfigError([written.finding((), "SP820", what, fix)]), self._prefix)
        includes = written.config.includes
        for index, folder in enumerate(includes):
            if not self._below(f"{folder}/"):
                what, fix = f"there is no folder {folder}/", "add it, or take it out of `includes:`"
                finding = written.finding(("includes", index), "SP547", what, fix)
                self._report.take(ConfigError([finding]), self._prefix)
        for name in configured:
            try:
                config = environments[name].model
                self._render(app, (name, config), allowed_in(setpoint, config, app), names, includes)
            except UserError as error:
                if error.code == NO_REGISTRY:
                    self._report.notes.append(f"{app} in {name} is not rendered here: {error.what} ({error.where})")
                    continue
                self._report.take(error, self._prefix, f"environments/{name}/{app}/")

    def _artifacts(self, written: Written) -> tuple[str, ...] | None:
        """Return the names of an application's artifacts; None when its source is not among the checked folders."""
        config = written.config
        if config.source is None:
            return ()
        pipeline = self._report.sources.get(config.source)
        for index, name in enumerate(config.artifacts or ()):
            if pipeline is not None and name not in pipeline.artifacts:
                what = f"the pipeline of `{config.source}` makes no artifact `{name}`"
                fix = f"it makes: {', '.join(pipeline.artifacts) or 'none'}"
                finding = written.finding(("artifacts", index), "SP821", what, fix)
                self._report.take(ConfigError([finding]), self._prefix)
        return config.artifacts or (tuple(pipeline.artifacts) if pipeline is not None else None)

    def _below(self, folder: str) -> list[str]:
        return [path for path in self._files if path.startswith(folder)]

    def _render(
        self,
        app: str,
        place: tuple[str, EnvironmentFile],
        allowed: Allowed,
        artifacts: tuple[str, ...] | None,
        includes: tuple[str, ...],
    ) -> None:
        environment, config = place
        folders = (f"apps/{app}", f"environments/{environment}/{app}", *includes)
        paths = [path for folder in folders for path in self._below(f"{folder}/")]
        files = {path: data for path in paths if (data := self._tree.read(path)) is not None}
        with tempfile.TemporaryDirectory(prefix="setpoint-check-") as scratch:
            rendered = render(
                files,
                Place(app, environment, allowed.namespace),
                Renderers(KustomizeBinary(), HelmBinary(), NoCharts()),
                Path(scratch),
                includes,
            )
        names = artifacts if artifacts is not None else tuple(_bare_images(rendered.objects))
        pinned = {name: PinnedArtifact(f"placeholder/{name}", _PLACEHOLDER) for name in names}
        refuse_outside(rendered.objects, allowed, rendered.sources)
        objects = substitute(rendered.objects, pinned, allowed, rendered.sources)
        desired = to_host(objects, app, environment, rendered.sources) if allowed.on_host else elsewhere(app, environment, objects)
        self._report.notes += preflight.uncovered(config, desired)
        for finding in preflight.pods(config, replace(rendered, objects=objects), allowed):
            self._report.take(ConfigError([finding]), self._prefix)


def _bare_images(value: Any) -> Iterator[str]:
    """Yield the images, and references of image volumes, that look like names of artifacts, for an application whose source is not here."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _bare_images(item)
    elif isinstance(value, dict):
        image = value.get("image")
        name = image.get("reference") if isinstance(image, dict) else image
        if isinstance(name, str) and name and not set(name) & set("/:@"):
            yield name
        for item in value.values():
            yield from _bare_images(item)
