"""`generators/NAME.yaml` of a delivery repository: what applications and environments are made from, and with what.

Called by `promotion.governed` (accepted like every file that judges) and by `setpoint check`. `${word}` is replaced by a value of the
element in the texts that say so, and nothing else is: there is no logic in it. Never reads a file.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from setpoint.core import documents, plain_names
from setpoint.core.documents import Document, FileModel, InvalidError
from setpoint.core.durations import Duration
from setpoint.core.labels import label_key, label_value
from setpoint.promotion.config import Budget, EnvironmentPattern, Name, Repository, Selector
from setpoint.promotion.generators.substitution import unknown_words

_FOLDER: Final = "generators"
_PATTERN: Final = re.compile(r"[A-Za-z0-9._*-]{1,100}")
_BRANCHES: Final = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._/*-]{0,199}")
_PORTS: Final = re.compile(r"[1-9][0-9]{3,4}-[1-9][0-9]{3,4}")
LONGEST_NAME: Final = 20
"""Characters of a generator's name: environments that it makes are called `<generator>-<element>`, at most 40 in all."""


def _text(*words: str, labels: bool = False) -> AfterValidator:
    """Return the check of a text in which these words may stand as `${word}`."""

    def check(text: str) -> str:
        strange = unknown_words(text, words, labels=labels)
        if strange:
            known = ", ".join([f"${{{word}}}" for word in words] + (["${label.KEY}"] if labels else []))
            raise InvalidError(f"there is no `${{{strange[0]}}}` here", f"there is {known}", "SP585")
        return text

    return AfterValidator(check)


def _folder_pattern(text: str) -> str:
    parts = text.split("/")
    if (parts[0], len(parts)) not in {("apps", 2), ("environments", 3)} or not all(_PATTERN.fullmatch(part) for part in parts[1:]):
        fix = "write apps/NAME or environments/ENVIRONMENT/NAME, with * for any part of a name: apps/*"
        raise InvalidError(f"`{text}` is no pattern of folders that hold applications", fix, "SP585")
    return text


def _branch_pattern(text: str) -> str:
    if not _BRANCHES.fullmatch(text) or ".." in text or "//" in text:
        raise InvalidError(f"`{text}` is no pattern of branches", "write feature/*, * for any part of a name", "SP585")
    return text


def _ports(text: str) -> str:
    first, last = (int(part) for part in text.split("-")) if _PORTS.fullmatch(text) else (0, 0)
    if not 1024 <= first <= last <= 65_535:
        raise InvalidError(f"`{text}` is no range of ports", 'write it like "7600-7649", from 1024 to 65535', "SP585")
    return text


_ByFolder = Annotated[str, Field(max_length=200), _text("name", "path")]
_ByCluster = Annotated[str, Field(max_length=200), _text("name", labels=True)]
_ByBranch = Annotated[str, Field(max_length=200), _text("name")]
BranchPattern = Annotated[str, AfterValidator(_branch_pattern)]
FolderPattern = Annotated[str, AfterValidator(_folder_pattern)]
LabelKey = Annotated[str, AfterValidator(label_key)]
LabelValue = Annotated[str, AfterValidator(label_value)]


class EachApplication(FileModel):
    """An application as setpoint.yaml would say it; texts may hold `${name}` and `${path}`, the folder's."""

    source: _ByFolder | None = None
    branch: _ByFolder = "main"
    artifacts: tuple[Name, ...] | None = None
    project: Name | None = None
    includes: Annotated[tuple[_ByFolder, ...], Field(max_length=50)] = ()
    environments: Annotated[tuple[EnvironmentPattern, ...], Field(min_length=1, max_length=50)] | None = None


class FromFolders(FileModel):
    """Applications, one for each folder of the delivery repository that a pattern matches; the folder's name is the application's."""

    folders: Annotated[tuple[FolderPattern, ...], Field(min_length=1, max_length=20)]
    """`apps/*`, or `environments/staging/*`; as of the head of the branch."""
    exclude: Annotated[tuple[FolderPattern, ...], Field(max_length=50)] = ()
    each: EachApplication = EachApplication()


class EachEnvironment(FileModel):
    """What differs from the template's target; texts may hold `${name}`, the cluster's, and `${label.KEY}`."""

    namespace: _ByCluster | None = None
    registry: _ByCluster | None = None
    url: _ByCluster | None = None


class FromClusters(FileModel):
    """Environments, one for each registered cluster that has all of these labels."""

    clusters: Annotated[dict[LabelKey, LabelValue], Field(min_length=1, max_length=20)]
    """`setpoint cluster add NAME --label KEY=VALUE` gives labels."""
    like: Name
    """The environment whose file is theirs too, but for the target; its folder holds their overlays."""
    each: EachEnvironment = EachEnvironment()


class EachPreview(FileModel):
    """What differs from the template's target; texts may hold `${name}`, the branch as a part of names."""

    namespace: _ByBranch | None = None
    """On Kubernetes, with `${name}` in it: each preview has a namespace of its own."""
    url: _ByBranch | None = None
    """Where it is reached; on this machine that is the template's address with a port of `ports`."""
    host: _ByBranch | None = None
    """The host name of every HTTPRoute in it, in place of those in the manifests."""


class FromBranches(FileModel):
    """Previews: environments that live as long as a branch of a source repository, and no longer than `ttl` after its last push."""

    repository: Repository
    branches: Annotated[tuple[BranchPattern, ...], Field(min_length=1, max_length=20)]
    exclude: Annotated[tuple[BranchPattern, ...], Field(max_length=50)] = ()
    like: Name
    """The environment whose gates, trust, owners and overlays they have."""
    applications: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)] | None = None
    """Which applications run in them; left out: those that the repository builds."""
    pushers: Annotated[tuple[Selector, ...], Field(min_length=1, max_length=20)] | None = None
    """Whose pushes make a preview, and move it; left out: the template's owners."""
    ttl: Duration = 7 * 86_400
    """How long after the last push that counts."""
    grace: Duration = 3600
    """How long after the branch was deleted."""
    ports: Annotated[str, AfterValidator(_ports)] | None = None
    """On this machine: a port for each preview, at the template's address."""
    each: EachPreview = EachPreview()

    @property
    def range(self) -> range:
        """The ports that previews may have."""
        first, _, last = (self.ports or "").partition("-")
        return range(int(first), int(last) + 1) if first else range(0)


class GeneratorFile(FileModel):
    """`generators/NAME.yaml`: one sort of thing that is made, from one sort of element. Owners of setpoint.yaml accept it."""

    apiVersion: Literal["setpoint.dev/v1alpha1"]  # noqa: N815 - the key as it is written
    kind: Literal["Generator"]
    applications: FromFolders | None = None
    environments: FromClusters | None = None
    previews: FromBranches | None = None
    max: Annotated[int, Field(ge=1, le=1000)] = 100
    """How many at most; what is there stays, what is new waits."""
    budget: Budget = "50%"
    """How many may leave at once without a person's `setpoint generator confirm`: a number in quotes, or a share."""

    @model_validator(mode="after")
    def _one(self) -> "GeneratorFile":
        if sum(part is not None for part in (self.applications, self.environments, self.previews)) != 1:
            fix = "keep one of `applications`, `environments` and `previews`; docs/generators.md has an example of each"
            raise InvalidError("a generator makes exactly one sort of thing", fix, "SP587")
        return self

    @property
    def like(self) -> str:
        """The template of the environments that it makes; empty when it makes none."""
        found = self.environments or self.previews
        return found.like if found is not None else ""

    @property
    def makes(self) -> str:
        """What it makes, in the plural."""
        if self.previews is not None:
            return "previews"
        return "environments" if self.environments is not None else "applications"


def generator_of(path: str) -> str:
    """Return the name of the generator that a file is; empty when it is none."""
    folder, _, file = path.partition("/")
    return file.removesuffix(".yaml") if folder == _FOLDER and file.endswith(".yaml") and "/" not in file else ""


def path_of(generator: str) -> str:
    """Return the file of a generator."""
    return f"{_FOLDER}/{generator}.yaml"


def environment_path(environment: str) -> str:
    """Return the file of an environment that is written down."""
    return f"environments/{environment}/environment.yaml"


def parse_generator(data: bytes, path: str) -> Document[GeneratorFile]:
    """Return one generator's file, as far as it can be judged alone.

    Raises:
        ConfigError: with every finding.
    """
    document = documents.read(data, path, GeneratorFile)
    name = generator_of(path)
    if not plain_names.is_plain(name) or len(name) > LONGEST_NAME:
        fix = f"lower-case letters, digits and dashes, a letter first, at most {LONGEST_NAME}"
        documents.refuse([document.finding((), "SP585", f"`{name}` is no name of a generator", fix)])
    return document
