"""What a generator's file together with the others of its commit can tell: templates, projects, and names that two would have.

Called before a version is accepted and by `setpoint check`; pure, every finding at once, each in the file that must change.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from setpoint.core import suggest
from setpoint.core.documents import Document, InvalidError
from setpoint.core.errors import Finding
from setpoint.promotion.config import EnvironmentFile, SetpointFile
from setpoint.promotion.dependencies import dependency_findings
from setpoint.promotion.generators import decide, products
from setpoint.promotion.generators.config import FromBranches, GeneratorFile
from setpoint.promotion.generators.model import Element

Generators = Mapping[str, Document[GeneratorFile]]


def claimed(generators: Generators, folders: Sequence[str]) -> dict[str, set[str]]:
    """Return {generator: names of the applications that it makes of these folders}."""
    found = {}
    for name, document in generators.items():
        spec = document.model.applications
        found[name] = {path.rpartition("/")[2] for path in decide.of_folders(spec, folders)} if spec is not None else set()
    return found


def generator_findings(
    setpoint: Document[SetpointFile],
    environments: Mapping[str, Document[EnvironmentFile]],
    generators: Generators,
    folders: Sequence[str],
) -> list[Finding]:
    """Return every finding about generators, and about where applications run."""
    making = tuple(f"{name}-" for name, document in generators.items() if document.model.like)
    made = {app for every in claimed(generators, folders).values() for app in every}
    found = [*_places(setpoint, environments, generators), *_collisions(setpoint, generators, folders)]
    found += dependency_findings(setpoint, made, lambda name: name in environments or name.startswith(making), environments)
    for name, document in generators.items():
        found += _applications(setpoint, document, folders)
        found += _environments(name, document, environments, generators)
        found += _previews(setpoint, document, environments, generators, folders)
    return sorted(found, key=lambda finding: (finding.path, finding.line, finding.column))


def _places(setpoint: Document[SetpointFile], environments: Collection[str], generators: Generators) -> Iterator[Finding]:
    """Yield a finding for each place of an application that is no environment and cannot become one."""
    said = [(setpoint, ("apps", app, "environments"), config.environments) for app, config in setpoint.model.apps.items()]
    documents: list[tuple[Document[SetpointFile] | Document[GeneratorFile], tuple[str, ...], tuple[str, ...] | None]] = [*said]
    for document in generators.values():
        if document.model.applications is not None:
            documents.append((document, ("applications", "each", "environments"), document.model.applications.each.environments))
    making = [f"{name}-" for name, document in generators.items() if document.model.like]
    for one, loc, patterns in documents:
        for index, pattern in enumerate(patterns or ()):
            known = "*" in pattern or pattern in environments or any(pattern.startswith(prefix) for prefix in making)
            if not known:
                fix = suggest.help_text(pattern, environments, "environments")
                yield one.finding((*loc, index), "SP589", f"there is no environment `{pattern}`", fix)


def _collisions(setpoint: Document[SetpointFile], generators: Generators, folders: Sequence[str]) -> Iterator[Finding]:
    owner: dict[str, str] = {}
    for name, made in sorted(claimed(generators, folders).items()):
        document = generators[name]
        for app in sorted(made):
            other = owner.setdefault(app, document.path)
            if app in setpoint.model.apps:
                other = setpoint.finding(("apps", app), "", "", at="key").place
            if other != document.path:
                what = f"`{app}` is an application of {other} already: nothing is replaced"
                yield document.finding(("applications", "folders"), "SP590", what, f"add `apps/{app}` to `exclude`, or remove it there")


def _applications(setpoint: Document[SetpointFile], document: Document[GeneratorFile], folders: Sequence[str]) -> Iterator[Finding]:
    spec = document.model.applications
    if spec is None:
        return
    project = spec.each.project
    if project is not None and project not in setpoint.model.projects:
        fix = suggest.help_text(project, setpoint.model.projects, "projects")
        yield document.finding(("applications", "each", "project"), "SP542", f"there is no project `{project}`", fix)
    for path in decide.of_folders(spec, folders):
        name = path.rpartition("/")[2]
        try:
            products.application(spec.each, Element(name, path, {"name": name, "path": path}))
        except InvalidError as error:
            yield document.finding(("applications", "each"), error.code, f"{path}: {error.what}", error.fix, at="key")


def _environments(
    name: str, document: Document[GeneratorFile], environments: Mapping[str, Document[EnvironmentFile]], generators: Generators
) -> Iterator[Finding]:
    spec = document.model
    if not spec.like:
        return
    template = environments.get(spec.like)
    if template is None:
        fix = suggest.help_text(spec.like, environments, "environments")
        yield document.finding((spec.makes, "like"), "SP588", f"there is no environment `{spec.like}`", fix)
    elif spec.environments is not None and template.model.target.kubernetes is None:
        what = f"`{spec.like}` is no environment of a cluster, and these are to be"
        yield document.finding((spec.makes, "like"), "SP588", what, "name one with `target: {kubernetes: ...}`")
    for other in sorted(environments):
        if other.startswith(f"{name}-"):
            what = f"environments of this generator are called {name}-..., and {environments[other].path} is called so already"
            yield document.finding((spec.makes,), "SP590", what, "call the file otherwise", at="key")
    for other, another in sorted(generators.items()):
        if another.model.like and other.startswith(f"{name}-"):
            what = f"environments of this generator are called {name}-..., and those of {another.path} would be so, too"
            yield document.finding((spec.makes,), "SP590", what, "call one of the files otherwise", at="key")


def _previews(
    setpoint: Document[SetpointFile],
    document: Document[GeneratorFile],
    environments: Mapping[str, Document[EnvironmentFile]],
    generators: Generators,
    folders: Sequence[str],
) -> Iterator[Finding]:
    spec = document.model.previews
    if spec is None:
        return
    apps = {*setpoint.model.apps, *set().union(*claimed(generators, folders).values())}
    for index, app in enumerate(spec.applications or ()):
        if app not in apps:
            fix = suggest.help_text(app, apps, "applications")
            yield document.finding(("previews", "applications", index), "SP595", f"there is no application `{app}`", fix)
    for index, selector in enumerate(spec.pushers or ()):
        kind, _, name = selector.partition(":")
        known = setpoint.model.teams if kind == "team" else setpoint.model.people
        if name not in known:
            fix = suggest.help_text(name, known, f"{kind}s" if kind == "team" else "people")
            yield document.finding(("previews", "pushers", index), "SP595", f"there is no {kind} `{name}`", fix)
    if spec.like in environments:
        yield from _preview_targets(document, spec, environments, generators)


def _preview_targets(
    document: Document[GeneratorFile],
    spec: FromBranches,
    environments: Mapping[str, Document[EnvironmentFile]],
    generators: Generators,
) -> Iterator[Finding]:
    template = environments[spec.like].model
    if template.after:
        what = f"`{spec.like}` comes after {template.after[0]}, and what a branch built was never there"
        yield document.finding(("previews", "like"), "SP588", what, "name an environment without `after`")
    if template.target.host is None:
        if spec.ports is not None:
            yield document.finding(("previews", "ports"), "SP596", "previews on a cluster have no ports here", "remove `ports`")
        if "${name}" not in (spec.each.namespace or ""):
            what = "previews on a cluster have a namespace each"
            yield document.finding(("previews", "each"), "SP596", what, 'write namespace: "preview-${name}"', at="key")
    else:
        yield from _on_this_machine(document, spec, environments, generators)


def _on_this_machine(
    document: Document[GeneratorFile],
    spec: FromBranches,
    environments: Mapping[str, Document[EnvironmentFile]],
    generators: Generators,
) -> Iterator[Finding]:
    if spec.ports is None:
        yield document.finding(("previews",), "SP596", "previews on this machine need ports", 'write ports: "7600-7649"', at="key")
    if spec.each.namespace is not None or spec.each.url is not None:
        what = "on this machine there are no namespaces, and the address is the template's with a port"
        yield document.finding(("previews", "each"), "SP596", what, "remove `namespace` and `url`", at="key")
    for name, other in environments.items():
        host = other.model.target.host
        if host is not None and int(host.listen.rpartition(":")[2]) in spec.range:
            what = f"`{name}` listens on {host.listen}, which is one of these ports"
            yield document.finding(("previews", "ports"), "SP535", what, "choose other ports")
    for one in generators.values():
        theirs = one.model.previews
        if theirs is not None and one.path < document.path and set(theirs.range) & set(spec.range):
            yield document.finding(("previews", "ports"), "SP535", f"{one.path} has some of these ports", "choose other ports")
