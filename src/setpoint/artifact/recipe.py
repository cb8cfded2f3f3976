"""What an artifact is made of: `copy` rules resolved into one list of places, with every fault found.

Called by the pipeline's planner (which source files are wanted) and by `ArtifactService`; pure, never opens a file.
Trailing slashes mean what they mean to rsync and in Dockerfiles: `src/` is what is inside of src, `/app/` is a folder to copy into.
"""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from setpoint.core.errors import Finding
from setpoint.pipeline.config import PipelineDocument, copy_source, is_delivery_file

HOST: Final = "host"
PIPELINE_FILE: Final = ".setpoint/pipeline.yaml"
_OWN_FOLDER: Final = ".setpoint/"
_OF_THE_HOST: Final = frozenset({"bin", "dev", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "tmp", "usr"})
"""What a sandbox mounts over the image when `base: host`: a file copied there would never be seen."""

Kind = Literal["file", "folder", "link"]


@dataclass(frozen=True, slots=True)
class CopyRule:
    """One line of `copy`: what from where, and where to."""

    origin: str
    """A task's name, or empty for the source tree."""
    source: str
    """A path in there; `src/` is its content, `./` everything."""
    destination: str
    """An absolute path in the image; `/app/` is a folder."""

    @classmethod
    def parse(cls, source: str, destination: str) -> "CopyRule":
        """Return the rule that `"src/": /app/` or `"deps:vendor/": /app/vendor/` spells."""
        taken = copy_source(source)
        return cls(taken.task, taken.path, destination)

    @property
    def label(self) -> str:
        """How the rule's left side is written."""
        return f"{self.origin}:{self.source}" if self.origin else self.source


@dataclass(frozen=True, slots=True)
class Recipe:
    """What every artifact is made of: something copied from the source tree and from outputs of tasks."""

    base: str
    """`host`, a reference with a digest, or empty for what is no image."""
    copy: tuple[CopyRule, ...] = ()

    def wants_source(self, path: str) -> bool:
        """Say whether a file of the source tree is copied by any rule."""
        return any(not rule.origin and _relative(rule, path) is not None for rule in self.copy)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose outputs are copied, sorted."""
        return tuple(sorted({rule.origin for rule in self.copy if rule.origin}))


@dataclass(frozen=True, slots=True)
class FileRecipe(Recipe):
    """A file or folder as an artifact; its one rule copies it to `/<title>` or `/<title>/`."""

    title: str = ""
    """What it is called when it is pulled or mounted: the last part of its path, or the artifact's name for a whole tree."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder with all that is in it."""
        return _takes_content(self.copy[0])

    @classmethod
    def of(cls, source: str, artifact: str) -> "FileRecipe":
        """Return the recipe of `file: {from: source}`."""
        title = posixpath.basename(_source(CopyRule.parse(source, "/"))) or artifact
        rule = CopyRule.parse(source, f"/{title}")
        return cls("", (rule,), title)


@dataclass(frozen=True, slots=True)
class ImageRecipe(Recipe):
    """An image as a pipeline file describes it."""

    command: tuple[str, ...] = ()
    """What runs, whole: it replaces the base's entry point too. Empty: the base's."""
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = ""
    """Empty: the base's, else /app when something lies there, else /."""


def recipe_of(document: PipelineDocument, artifact: str) -> ImageRecipe | FileRecipe:
    """Return the recipe of an artifact of a pipeline file, an image's base by digest."""
    config = document.artifacts[artifact]
    image = config.image
    if image is None:
        return FileRecipe.of(config.file.from_ if config.file is not None else "", artifact)
    rules = tuple(CopyRule.parse(source, destination) for source, destination in image.copy_.items())
    return ImageRecipe(document.base(artifact), rules, image.command, dict(image.env), image.workdir or "")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that may be copied: a file, folder or symbolic link of an origin."""

    path: str
    """Relative, without leading or trailing slash."""
    kind: Kind
    executable: bool = False
    link: str = ""
    """Where a link points."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One entry at its place in the image."""

    target: str
    """Relative to the image's root: `app/hello/__main__.py`."""
    origin: str
    entry: Entry
    rule: CopyRule


def _source(rule: CopyRule) -> str:
    """Return the rule's source as a plain relative path; "" is the whole origin."""
    plain = posixpath.normpath(rule.source) if rule.source else "."
    return "" if plain == "." else plain


def _takes_content(rule: CopyRule) -> bool:
    return rule.source.endswith("/") or _source(rule) == ""


def _relative(rule: CopyRule, path: str) -> str | None:
    """Return where path lies below what the rule copies ("" is the thing itself), None when it is not copied."""
    wanted = _source(rule)
    if wanted == "":
        delivery = is_delivery_file(path) or path.startswith(_OWN_FOLDER)
        return None if delivery and not rule.origin else path
    if path == wanted:
        return None if _takes_content(rule) else ""
    return path[len(wanted) + 1 :] if path.startswith(wanted + "/") else None


def _finding(code: str, rule: CopyRule, what: str, fix: str) -> Finding:
    return Finding(code, f"copy {rule.label!r}: {what}", PIPELINE_FILE, fix=fix)


def _place_faults(rule: CopyRule) -> list[Finding]:
    """Return what is wrong with the rule's own two paths."""
    faults: list[Finding] = []
    source, destination = rule.source, rule.destination
    if source.startswith("/") or ".." in source.split("/") or "\0" in source:
        fix = "name something of the source tree, or of a task's outputs as task:path"
        faults.append(_finding("SP313", rule, "the source path leaves its tree", fix))
    if not destination.startswith("/") or ".." in destination.split("/") or "\0" in destination:
        faults.append(_finding("SP313", rule, f"{destination!r} is not a place in the image", "write an absolute path such as /app/"))
    return faults


def _hidden(rule: CopyRule, placed: Iterable[Placement]) -> list[Finding]:
    """Return a fault for each folder that a sandbox of the host runtime would cover."""
    covered = sorted({item.target.partition("/")[0] for item in placed} & _OF_THE_HOST)
    fix = "copy below /app/, or use a base image"
    return [_finding("SP313", rule, f"/{name} is the host's own in an image with base: host", fix) for name in covered]


def _target(rule: CopyRule, relative: str, entry: Entry) -> str:
    folder = posixpath.normpath(rule.destination).lstrip("/")
    if relative:
        return posixpath.join(folder, relative)
    return posixpath.join(folder, posixpath.basename(entry.path)) if rule.destination.endswith("/") else folder


def _link_leaves(entry: Entry, target: str) -> bool:
    """Say whether a link is absolute, or climbs out of its own tree or out of the image."""
    if entry.link.startswith("/") or not entry.link:
        return True
    places = (entry.path, target)
    return any(posixpath.normpath(posixpath.join(posixpath.dirname(place), entry.link)).split("/")[0] == ".." for place in places)


def _nameable(target: str) -> bool:
    """Say whether a layer can hold this path and means what it says by it."""
    plain = not any("\ud800" <= character <= "\udfff" for character in target)
    return bool(target) and plain and not any(part.startswith(".wh.") for part in target.split("/"))


def _match(rule: CopyRule, entries: Iterable[Entry]) -> tuple[list[Placement], list[Finding]]:
    """Return where one rule puts what it copies."""
    placed: list[Placement] = []
    faults: list[Finding] = []
    for entry in entries:
        relative = _relative(rule, entry.path)
        if relative is None:
            continue
        if not _takes_content(rule) and (relative or entry.kind == "folder"):
            fix = f"write {rule.label + '/'!r} to copy what is inside of it"
            return [], [_finding("SP311", rule, "it is a folder", fix)]
        target = _target(rule, relative, entry)
        if not _nameable(target):
            what = f"{entry.path!r} cannot be placed at {'/' + target!r}"
            faults.append(_finding("SP313", rule, what, "rename it: .wh. at the start deletes files in OCI layers, and names are UTF-8"))
        elif entry.kind == "link" and _link_leaves(entry, target):
            what = f"the link {entry.path} -> {entry.link} leaves the tree it is copied from"
            faults.append(_finding("SP314", rule, what, "make it a relative link to something beside it, or a file"))
        else:
            placed.append(Placement(target, rule.origin, entry, rule))
    if not placed and not faults:
        fix = "check the spelling; a folder ends with a slash, and outputs are written task:path"
        faults.append(_finding("SP311", rule, "nothing matches it", fix))
    return placed, faults


def _conflicts(placements: Mapping[str, list[Placement]]) -> list[Finding]:
    """Return a fault for each place that two sources want, or that is a file and a folder at once."""
    faults: list[Finding] = []
    solid = {target for target, here in placements.items() if any(item.entry.kind != "folder" for item in here)}
    for target in sorted(placements):
        here = placements[target]
        others = [item for item in here[1:] if item.entry.kind != "folder" or target in solid]
        if others:
            first, second = here[0], others[0]
            what = f"/{target} is also copied by {first.rule.label!r} (from {first.entry.path})"
            faults.append(_finding("SP312", second.rule, what, "one source for one path: copy one of them to another place"))
            continue
        parent = posixpath.dirname(target)
        while parent:
            if parent in solid:
                what = f"/{parent} would have to be a folder, but {placements[parent][0].rule.label!r} puts a file or link there"
                faults.append(_finding("SP312", here[0].rule, what, "copy one of them to another place"))
                break
            parent = posixpath.dirname(parent)
    return faults


def resolve(recipe: Recipe, available: Mapping[str, Iterable[Entry]]) -> tuple[tuple[Placement, ...], tuple[Finding, ...]]:
    """Return (placements sorted by target, faults); `available` holds each origin's entries, "" being the source tree.

    Folders that two rules share are placed once. Faults: nothing matched or no such task (SP311), two sources for one path (SP312),
    a path that leaves its tree or the image (SP313), a link that leaves (SP314).
    """
    faults: list[Finding] = []
    by_target: dict[str, list[Placement]] = {}
    for rule in recipe.copy:
        wrong = _place_faults(rule)
        if not wrong and rule.origin not in available:
            wrong = [_finding("SP311", rule, f"there are no outputs of a task {rule.origin}", "name a task of `needs:` that has outputs")]
        faults += wrong
        if wrong:
            continue
        placed, missed = _match(rule, available[rule.origin])
        faults += missed
        if recipe.base == HOST:
            faults += _hidden(rule, placed)
        for placement in placed:
            by_target.setdefault(placement.target, []).append(placement)
    faults += _conflicts(by_target)
    return tuple(by_target[target][0] for target in sorted(by_target)), tuple(faults)


def folders(placements: Iterable[Placement], base: str) -> tuple[str, ...]:
    """Return the folders that the layer states itself, sorted.

    On `host` that is every parent. On another base only those at or below a rule's destination: stating `/tmp` or `/root` again would
    change the base's own owner and mode, and what is missing in between every unpacker makes.
    """
    found: set[str] = set()
    for placement in placements:
        top = posixpath.normpath(placement.rule.destination).lstrip("/")
        parent = placement.target if placement.entry.kind == "folder" else posixpath.dirname(placement.target)
        while parent and (base == HOST or not top or parent == top or parent.startswith(top + "/")):
            found.add(parent)
            parent = posixpath.dirname(parent)
    return tuple(sorted(found))
