"""The files of a delivery repository that judge: `setpoint.yaml`, every `environment.yaml` with its scripts, every generator (law 9).

Called by the delivery reader, which says which commit's files are in force. Reads Git objects and remembers what it read; accepts nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from setpoint.core.documents import Document
from setpoint.core.errors import ConfigError, Finding, NotFoundError, UserError
from setpoint.core.recent import Recent
from setpoint.promotion.checks.written import script_findings, scripts_path
from setpoint.promotion.config import EnvironmentFile, SetpointFile, parse_environment, parse_setpoint
from setpoint.promotion.delivery import validate_delivery
from setpoint.promotion.generators.checks import claimed, generator_findings
from setpoint.promotion.generators.config import GeneratorFile, environment_path, generator_of, parse_generator, path_of
from setpoint.promotion.ports import PolicyEngine
from setpoint.source.ports import GitStore

SETPOINT_PATH: Final = "setpoint.yaml"
_COMMITS: Final = 256


@dataclass(frozen=True, slots=True)
class Governed:
    """The parsed files that judge, of one commit."""

    setpoint: Document[SetpointFile]
    environments: Mapping[str, Document[EnvironmentFile]]
    generators: Mapping[str, Document[GeneratorFile]] = field(default_factory=dict)


class JudgingFiles:
    """Reads what judges at a commit."""

    def __init__(self, git: GitStore, policy: PolicyEngine) -> None:
        self._git = git
        self._policy = policy
        self._parsed: Recent[tuple[str, str], Governed] = Recent(_COMMITS)
        self._ids: Recent[tuple[str, str], dict[str, str]] = Recent(_COMMITS)
        """The last commits looked at -> {path: object id} of what judges there."""
        self._folders: Recent[tuple[str, str], list[str]] = Recent(_COMMITS)

    def ids(self, repository: str, commit: str) -> dict[str, str]:
        """Return {path: object id}: blobs of the files, trees of the folders with scripts."""
        return self._ids.of((repository, commit), lambda: self._ids_now(repository, commit))

    def then(self, repository: str, commit: str) -> dict[str, str]:
        """Return the same of a head of earlier; nothing when there was no head, its commit is gone, or it cannot be read."""
        try:
            return self.ids(repository, commit) if self._git.resolve(repository, commit) is not None else {}
        except UserError:
            return {}

    def parsed(self, repository: str, commit: str) -> Governed:
        """Return the files as models.

        Raises:
            ConfigError: every finding of every file at once.
        """
        kept = self._parsed.get((repository, commit))
        if kept is not None:
            return kept
        findings: list[Finding] = []
        setpoint: Document[SetpointFile] | None = None
        environments: dict[str, Document[EnvironmentFile]] = {}
        generators: dict[str, Document[GeneratorFile]] = {}
        for path in sorted(path for path in self.ids(repository, commit) if path.endswith(".yaml")):
            data = self._git.read(repository, commit, path) or b""
            try:
                if path == SETPOINT_PATH:
                    setpoint = parse_setpoint(data, path)
                elif name := generator_of(path):
                    generators[name] = parse_generator(data, path)
                else:
                    environments[environment_of(path)] = parse_environment(data, path)
            except ConfigError as error:
                findings += error.findings
        if setpoint is None and not findings:
            fix = "add setpoint.yaml with apps, people, teams and owners"
            findings.append(Finding("SP501", "the delivery repository has no setpoint.yaml", SETPOINT_PATH, fix=fix))
        if setpoint is not None and not findings:
            folders = self.folders(repository, commit)
            present = set(self._git.entries(repository, commit, "apps")).difference(*claimed(generators, folders).values())
            findings += validate_delivery(setpoint, environments, present, self._policy.compile_error)
            findings += generator_findings(setpoint, environments, generators, folders)
            for name, document in environments.items():
                findings += script_findings(document, name, self._scripts(repository, commit, name))
        if findings or setpoint is None:
            raise ConfigError(findings)
        return self._parsed.put((repository, commit), Governed(setpoint, environments, generators))

    def folders(self, repository: str, commit: str) -> list[str]:
        """Return the folders that generators may look at, `apps/web` and `environments/staging/web`, sorted."""
        return self._folders.of((repository, commit), lambda: self._folders_now(repository, commit))

    def _folders_now(self, repository: str, commit: str) -> list[str]:
        found = [f"apps/{name}" for name in self._git.folders(repository, commit, "apps")]
        for environment in self._git.folders(repository, commit, "environments"):
            inside = self._git.folders(repository, commit, f"environments/{environment}")
            found += [f"environments/{environment}/{name}" for name in inside]
        return sorted(set(found) - {scripts_path(environment) for environment in self._git.folders(repository, commit, "environments")})

    def _ids_now(self, repository: str, commit: str) -> dict[str, str]:
        names = self._git.entries(repository, commit, "environments")
        places = [path for name in names for path in (environment_path(name), scripts_path(name))]
        files = self._git.entries(repository, commit, "generators")
        places += [path_of(name.removesuffix(".yaml")) for name in files if name.endswith(".yaml")]
        found = {path: self._git.tree_id(repository, commit, path) for path in (SETPOINT_PATH, *places)}
        return {path: object_id for path, object_id in found.items() if object_id is not None}

    def _scripts(self, repository: str, commit: str, environment: str) -> dict[str, int]:
        """Return {path: git mode} of the files that an environment's commands run with."""
        tree = self.ids(repository, commit).get(scripts_path(environment))
        try:
            return {file.path: file.mode for file in self._git.files(repository, tree)} if tree is not None else {}
        except NotFoundError:
            return {}  # it is a file, and no folder


def environment_of(path: str) -> str:
    """Return the environment whose file a path is; empty when it is none."""
    parts = path.split("/")
    return parts[1] if len(parts) == 3 and (parts[0], parts[2]) == ("environments", "environment.yaml") else ""
