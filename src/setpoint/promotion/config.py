"""The files of a delivery repository that say who and how: `setpoint.yaml` and `environments/<env>/environment.yaml`.

Called by promotion (the accepted versions, law 9), by reconcile for target and images, and by `setpoint check`. What one file alone cannot
tell is in `promotion.delivery`. Never reads a file.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from setpoint.core import documents, plain_names, suggest
from setpoint.core.documents import Document, FileModel, InvalidError
from setpoint.core.durations import Duration
from setpoint.core.errors import Finding
from setpoint.ground.identity.model import Directory, Person
from setpoint.promotion.checks.written import SCRIPTS, Check
from setpoint.promotion.dependencies import DependsOn
from setpoint.promotion.executors import ExecutorConfig
from setpoint.promotion.ignoring import IgnoreConfig, ignore_findings
from setpoint.promotion.includes import Folder, include_findings
from setpoint.promotion.person_keys import PersonKey, key_findings
from setpoint.promotion.pod_standard import Pods
from setpoint.promotion.projects import DEFAULT, CustomKind, FieldPath, ProjectConfig, project_findings
from setpoint.promotion.strategy import RolloutConfig
from setpoint.promotion.targets import Target

_A_DAY_S: Final = 86_400
_EMAIL: Final = re.compile(r"[^@\s<>\x00-\x1f\x7f]{1,64}@[^@\s<>\x00-\x1f\x7f]{1,190}")
_SELECTOR: Final = re.compile(rf"(team|person):{plain_names.PLAIN_NAME}")
_BRANCH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_REPOSITORY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}(/[a-z0-9][a-z0-9._-]{0,99}){0,3}")
_OUTSIDE_IMAGE: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,254}@sha256:[0-9a-f]{64}")
_BUDGET: Final = re.compile(r"[0-9]{1,4}%?")
_ENVIRONMENTS: Final = re.compile(r"[a-z*][a-z0-9*-]{0,39}")


def _name(text: str) -> str:
    return plain_names.checked(text, "SP520")


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise InvalidError(f"`{text}` is no email address", "write it as commits carry it: you@example.com", "SP521")
    return text


def _selector(text: str) -> str:
    if not _SELECTOR.fullmatch(text):
        raise InvalidError(f"`{text}` names nobody", "write team:NAME or person:NAME", "SP522")
    return text


def _branch(text: str) -> str:
    if not _BRANCH.fullmatch(text) or ".." in text:
        raise InvalidError(f"`{text}` is no branch name", "write a branch such as main", "SP520")
    return text


def _repository(text: str) -> str:
    if not _REPOSITORY.fullmatch(text) or ".." in text:
        raise InvalidError(f"`{text}` is no repository name", "write the name of a hosted repository, such as hello", "SP520")
    return text


def _outside_image(text: str) -> str:
    if not _OUTSIDE_IMAGE.fullmatch(text):
        raise InvalidError(
            f"`{text}` is not named by digest", "write repository@sha256: and 64 hex digits (law: only digests move)", "SP524"
        )
    return text


def _environments(text: str) -> str:
    if not _ENVIRONMENTS.fullmatch(text):
        raise InvalidError(f"`{text}` names no environment", "write a name, or a pattern with * for any part of one: eu-*", "SP520")
    return text


def _budget(text: str) -> str:
    if not _BUDGET.fullmatch(text) or (text.endswith("%") and int(text[:-1]) > 100):
        fix = 'a number in quotes, such as "3", or a share, such as 50%'
        raise InvalidError(f"`{text}` is no deletion budget", fix, "SP538")
    return text


Name = Annotated[str, AfterValidator(_name)]
Repository = Annotated[str, AfterValidator(_repository)]
EnvironmentPattern = Annotated[str, AfterValidator(_environments)]
Budget = Annotated[str, AfterValidator(_budget)]
Selector = Annotated[str, AfterValidator(_selector)]
Exclusion = Literal["pusher", "requester", "authors", "commit-signer"]
EVERY_EXCLUSION: Final[tuple[Exclusion, ...]] = ("pusher", "requester", "authors", "commit-signer")


class AppConfig(FileModel):
    """One application and where its artifacts are built."""

    source: Repository | None = None
    """Name of the source repository; None for an application without artifacts of its own."""
    branch: Annotated[str, AfterValidator(_branch)] = "main"
    artifacts: tuple[Name, ...] | None = None
    """Names in the source's pipeline; None is all of them."""
    project: Name | None = None
    """Whose limits hold for what it renders; None is the project `default`, if there is one."""
    includes: Annotated[tuple[Folder, ...], Field(max_length=50)] = ()
    """Other folders of this repository that its render reads: pinned with it, and a change of one is a candidate."""
    environments: Annotated[tuple[EnvironmentPattern, ...], Field(min_length=1, max_length=50)] | None = None
    """Where it runs: names of environments, `*` for any part of one; None is everywhere."""
    dependsOn: DependsOn = ()  # noqa: N815 - the key as it is written
    """Applications that have to be there and healthy before a new version is begun: `db`, or `db@shared` in another environment."""

    def runs_in(self, environment: str) -> bool:
        """Say whether it is to run in an environment."""
        return self.environments is None or any(fnmatchcase(environment, pattern) for pattern in self.environments)


class PersonConfig(FileModel):
    """Somebody who commits, pushes or approves."""

    emails: Annotated[tuple[Annotated[str, AfterValidator(_email)], ...], Field(min_length=1)]
    kind: Literal["human", "machine"] = "human"
    keys: Annotated[tuple[PersonKey, ...], Field(max_length=20)] = ()
    """Public keys that sign this person's commits: lines of OpenSSH, or armored OpenPGP keys."""


class SetpointFile(FileModel):
    """`setpoint.yaml`: applications, people, teams, and who may change this file."""

    apiVersion: Literal["setpoint.dev/v1alpha1"]  # noqa: N815 - the key as it is written
    kind: Literal["Setpoint"]
    apps: dict[Name, AppConfig] = Field(default_factory=dict)
    people: dict[Name, PersonConfig] = Field(default_factory=dict)
    teams: dict[Name, tuple[str, ...]] = Field(default_factory=dict)
    owners: tuple[Selector, ...] = ()
    projects: dict[Name, ProjectConfig] = Field(default_factory=dict)
    executors: Annotated[dict[Name, ExecutorConfig], Field(max_length=20)] = Field(default_factory=dict)
    """Where tasks may run beside this machine."""

    def project_of(self, app: str) -> tuple[str, ProjectConfig | None]:
        """Return the name and the limits of an application's project; None when nothing limits it."""
        name = (self.apps[app].project if app in self.apps else None) or DEFAULT
        return name, self.projects.get(name)

    def directory(self) -> Directory:
        """Return the people and teams as the other stages read them."""
        people = tuple(Person(name, person.emails, person.kind, person.keys) for name, person in self.people.items())
        return Directory(people, dict(self.teams))


class Approvals(FileModel):
    """How many people of which teams must say yes, and who does not count."""

    required: Annotated[int, Field(ge=1, le=50)]
    approvers: Annotated[tuple[Selector, ...], Field(alias="from", min_length=1)]
    excluded: Annotated[tuple[Exclusion, ...], Field(alias="not")] = EVERY_EXCLUSION
    """Left out: all four."""
    expires: Duration | None = None
    """Seconds after which an approval counts no more; left out: a day."""

    @property
    def expires_s(self) -> int:
        """How long an approval counts."""
        return self.expires if self.expires is not None else _A_DAY_S


class Gates(FileModel):
    """What a candidate must pass."""

    policy: Annotated[str, StringConstraints(min_length=1, max_length=10_000)] | None = None
    """A CEL expression."""
    checks: Annotated[tuple[Check, ...], Field(max_length=20)] = ()
    soak: Duration | None = None
    """Seconds."""
    approvals: Approvals | None = None
    pods: Pods | None = None
    """A Pod Security Standard that every pod of the render keeps to: `baseline` or `restricted`, with a version or the newest known."""
    commits: Literal["signed"] | None = None
    """`signed`: every commit between what runs and the candidate is signed by a key of a person in setpoint.yaml."""

    @property
    def requests(self) -> bool:
        """Whether any check is an HTTP request, whose answer no entry of the journal tells."""
        return any(check.http is not None for check in self.checks)


class DriftConfig(FileModel):
    """What happens to what somebody changed behind Setpoint's back."""

    mode: Literal["correct", "report"] = "correct"
    """`correct`: brought back at once; `report`: recorded and shown, and left until `setpoint heal`. What died is always started again."""
    ignore: Annotated[tuple[IgnoreConfig, ...], Field(max_length=100)] = ()
    """Fields of live objects that are left to somebody else, on a Kubernetes target."""


class PruneConfig(FileModel):
    """What may be removed by one pin without a person."""

    budget: Budget = "50%"
    """Objects, or a share of the application's objects in this environment. All of them never go without `setpoint prune`."""


class EnvironmentFile(FileModel):
    """`environment.yaml`: target, order, owners, gates, rollout, outside images, drift and prune of one environment."""

    apiVersion: Literal["setpoint.dev/v1alpha1"]  # noqa: N815 - the key as it is written
    kind: Literal["Environment"]
    target: Target
    after: tuple[str, ...] = ()
    owners: tuple[Selector, ...] = ()
    gates: Gates = Gates()
    rollout: RolloutConfig = RolloutConfig()
    images: tuple[Annotated[str, AfterValidator(_outside_image)], ...] = ()
    imagePaths: dict[CustomKind, Annotated[tuple[FieldPath, ...], Field(max_length=50)]] = Field(default_factory=dict)  # noqa: N815 - as written
    """Where custom resources hold images: paths of images or of pod specs by kind; an empty list says that a kind holds none."""
    drift: DriftConfig = DriftConfig()
    prune: PruneConfig = PruneConfig()


def parse_setpoint(data: bytes, path: str = "setpoint.yaml") -> Document[SetpointFile]:
    """Return `setpoint.yaml`, with its own references checked.

    Raises:
        ConfigError: with every finding.
    """
    document = documents.read(data, path, SetpointFile)
    findings = [*_teams(document), *_people(document), *_apps(document), *include_findings(document)]
    _refuse([*findings, *project_findings(document), *key_findings(document)])
    return document


def parse_environment(data: bytes, path: str) -> Document[EnvironmentFile]:
    """Return one `environment.yaml`, as far as it can be judged alone.

    Raises:
        ConfigError: with every finding.
    """
    document = documents.read(data, path, EnvironmentFile)
    _refuse(_alone(document))
    return document


def _refuse(findings: Sequence[Finding]) -> None:
    if findings:
        documents.refuse(findings)


def _teams(document: Document[SetpointFile]) -> list[Finding]:
    people = document.model.people
    return [
        document.finding(
            ("teams", team, index), "SP526", f"team `{team}` names `{name}`, who is nobody", suggest.help_text(name, people, "people")
        )
        for team, members in document.model.teams.items()
        for index, name in enumerate(members)
        if name not in people
    ]


def _people(document: Document[SetpointFile]) -> list[Finding]:
    """Refuse an email of two people: nobody could say whose commit or approval it is."""
    owner: dict[str, str] = {}
    found = []
    for name, person in document.model.people.items():
        for index, email in enumerate(person.emails):
            other = owner.setdefault(email.casefold(), name)
            if other != name:
                what = f"{email} already belongs to `{other}`"
                found.append(document.finding(("people", name, "emails", index), "SP527", what, "an email belongs to one person"))
    return found


def _apps(document: Document[SetpointFile]) -> list[Finding]:
    taken = [
        document.finding(("apps", name), "SP520", f"`{name}` can be no application", f"environments/<env>/{name}/ holds scripts", at="key")
        for name in document.model.apps
        if name == SCRIPTS
    ]
    return taken + [
        document.finding(("apps", name, "artifacts"), "SP528", f"`{name}` has artifacts but no source", "add `source:`", at="key")
        for name, app in document.model.apps.items()
        if app.artifacts and app.source is None
    ]


def _alone(document: Document[EnvironmentFile]) -> list[Finding]:
    model = document.model
    found = []
    if not model.after:
        fix = "add `after: [ENVIRONMENT]`: it looks at what runs there"
        if model.gates.checks:
            found.append(document.finding(("gates", "checks"), "SP529", "`checks` needs `after`", fix, at="key"))
        if model.gates.soak is not None:
            found.append(document.finding(("gates", "soak"), "SP529", "`soak` needs `after`", fix, at="key"))
    for index, name in enumerate(model.after):
        if name in model.after[:index]:
            found.append(document.finding(("after", index), "SP530", f"`{name}` is listed twice", "keep one"))
    return [*found, *ignore_findings(document)]
