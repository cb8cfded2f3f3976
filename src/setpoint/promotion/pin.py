"""The pin file `pins/<env>/<app>.yaml` and the commit that carries it: rendering, reading, message, trailers and commit bytes; pure.

Called by the signer (writes), by promotion and reconcile (read). A pin is machine-written: anything unexpected is an error (law 2).
"""

import re
from datetime import UTC
from functools import lru_cache
from typing import Any, Final, NoReturn

import yaml

from setpoint.core import clock
from setpoint.core.digest import is_digest
from setpoint.core.errors import UserError
from setpoint.evidence.lines import NamedArtifact, PinClaim
from setpoint.promotion.includes import is_folder
from setpoint.promotion.model import Candidate, Pin, PinnedArtifact, Promotion

LIMIT_BYTES: Final = 64 << 10
API_VERSION: Final = "setpoint.dev/v1alpha1"
IDENTITY: Final = "Setpoint <setpoint@localhost.invalid>"
ALLOWED_SIGNERS: Final = "pins/allowed_signers"
COMMENT: Final = "# Written by Setpoint; a change by hand is refused (law 2).\n"
_FIX: Final = "restore the file from the last commit that Setpoint signed: a pin is never edited by hand"
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./@:-]*[A-Za-z0-9]|[A-Za-z]")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_SEGMENT: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_OBJECT_ID: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_TRAILER: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]*): (.*)")
_TOP: Final = frozenset(
    {"apiVersion", "kind", "app", "environment", "promotion", "artifacts", "source", "version", "trees", "policy"},
)


@lru_cache(maxsize=16_384)
def pin_path(environment: str, app: str) -> str:
    """Return `pins/<env>/<app>.yaml`.

    Raises:
        UserError: a name could not be a path segment (SP520).
    """
    for name in (environment, app):
        if not _SEGMENT.fullmatch(name):
            fix = "use lower-case letters, digits, dots and dashes"
            raise UserError("SP520", f"{name!r} is no name of an environment or application", fix=fix)
    return f"pins/{environment}/{app}.yaml"


def allowed_signers(commit_key: str) -> bytes:
    """Return the file that stock git verifies with (gpg.ssh.allowedSignersFile); Setpoint never reads it (law 9)."""
    return f'setpoint namespaces="git" {commit_key.strip()}\n'.encode()


def render_pin(pin: Pin) -> bytes:
    """Return the bytes of a pin file; the same pin gives the same bytes, and `pin.commit` is not in them."""
    candidate = pin.candidate
    lines = [f"apiVersion: {API_VERSION}", "kind: Pin", f"app: {_scalar(candidate.app)}", f"environment: {_scalar(candidate.environment)}"]
    lines += [f"promotion: {_scalar(pin.promotion)}", "artifacts:" if candidate.artifacts else "artifacts: {}"]
    for name, artifact in sorted(candidate.artifacts.items()):
        lines += [f"  {_scalar(name)}:", f"    repository: {_scalar(artifact.oci_repository)}", f"    digest: {_scalar(artifact.digest)}"]
    lines += ["source:", f"  repository: {_quoted(pin.source_repository)}", f"  revision: {_quoted(pin.source_revision)}"]
    lines += [f"version: {_quoted(pin.version)}"]
    lines += ["trees:", f"  app: {_quoted(candidate.app_tree)}", f"  environment: {_quoted(candidate.environment_tree)}"]
    if candidate.includes:
        lines += ["  includes:", *(f"    {_quoted(path)}: {_quoted(tree)}" for path, tree in sorted(candidate.includes.items()))]
    lines += [f"policy: {_quoted(pin.policy)}"]
    return (COMMENT + "\n".join(lines) + "\n").encode()


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text.casefold() not in _WORDS else _quoted(text)


def _quoted(text: str | None) -> str:
    if text is None:
        return "null"
    special = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    body = "".join(special.get(char) or (char if char.isprintable() else f"\\U{ord(char):08x}") for char in text)
    return f'"{body}"'


def pin_of(promotion: Promotion) -> Pin:
    """Return the pin that a promotion writes."""
    return Pin(
        candidate=promotion.candidate,
        promotion=promotion.promotion,
        source_repository=promotion.source_repository,
        source_revision=promotion.source_revision,
        version=promotion.version,
        policy=promotion.policy,
    )


@lru_cache(maxsize=256)
def parse_pin(data: bytes, path: str, commit: str = "") -> Pin:
    """Return the pin in a file's bytes; path is the file's own, for the place in an error and to compare app and environment.

    commit is what last touched the file, kept in the pin as it is given.

    Raises:
        UserError: the file is no pin, holds anything more or less than one, or lies at another path than it says (SP540).
    """
    value = _Strict(data, path).read()
    if value["apiVersion"] != API_VERSION or value["kind"] != "Pin":
        _refuse(f"this is no Pin of {API_VERSION}", path, 2)
    artifacts = {name: PinnedArtifact(item["repository"], item["digest"]) for name, item in value["artifacts"].items()}
    trees, source = value["trees"], value["source"]
    candidate = Candidate(value["app"], value["environment"], artifacts, trees["app"], trees["environment"], trees["includes"])
    if path != pin_path(candidate.environment, candidate.app):
        _refuse(f"it names {candidate.app} in {candidate.environment}, which is not what its path says", path, 4)
    return Pin(candidate, value["promotion"], source["repository"], source["revision"], value["version"], value["policy"], commit)


class _Strict:
    """Reads YAML nodes into exactly the shape of a pin, with the place of whatever differs."""

    def __init__(self, data: bytes, path: str) -> None:
        self._data = data
        self._path = path

    def read(self) -> dict[str, Any]:
        top = self._mapping(self._compose(), "the pin", _TOP)
        names = ("apiVersion", "kind", "app", "environment", "promotion", "version", "policy")
        value: dict[str, Any] = {key: self._text(top[key], key) for key in names}
        artifacts = self._mapping(top["artifacts"], "artifacts", None)
        value["artifacts"] = {name: self._artifact(node, name) for name, node in artifacts.items()}
        source = self._mapping(top["source"], "source", frozenset({"repository", "revision"}))
        value["source"] = {key: self._text(node, f"source.{key}") for key, node in source.items()}
        value["trees"] = self._trees(top["trees"])
        return value

    def _trees(self, node: yaml.Node) -> dict[str, Any]:
        """Return the trees; `includes` is there when there is one, so that pins without any keep their bytes."""
        names = frozenset({"app", "environment"})
        written = isinstance(node, yaml.MappingNode) and any(key.value == "includes" for key, _ in node.value)
        found = self._mapping(node, "trees", names | {"includes"} if written else names)
        includes = self._mapping(found["includes"], "trees.includes", None) if written else {}
        if written and not includes:
            self._fault("trees.includes is empty", found["includes"].start_mark)
        value: dict[str, Any] = {key: self._tree(found[key], f"trees.{key}") for key in sorted(names)}
        value["includes"] = {path: self._include(path, item) for path, item in includes.items()}
        return value

    def _include(self, path: str, node: yaml.Node) -> str:
        if not is_folder(path):
            self._fault(f"trees.includes: {path[:200]!r} is no folder that can be included", node.start_mark)
        tree = self._tree(node, f"trees.includes.{path}")
        if tree is None:
            self._fault(f"trees.includes.{path} is no tree id", node.start_mark)
        return tree

    def _compose(self) -> yaml.Node:
        if len(self._data) > LIMIT_BYTES:
            _refuse(f"it has {len(self._data)} bytes, more than {LIMIT_BYTES}", self._path)
        try:
            text = self._data.decode()
            for token in yaml.scan(text, Loader=yaml.SafeLoader):
                if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken | yaml.DirectiveToken):
                    self._fault("aliases, anchors, tags and directives are refused", token.start_mark)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            if mark is not None:
                self._fault("it is not YAML", mark)
            _refuse("it is not YAML", self._path)
        if node is None:
            _refuse("it is empty", self._path)
        return node

    def _mapping(self, node: yaml.Node, what: str, keys: frozenset[str] | None) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._fault(f"{what} is no mapping", node.start_mark)
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._text(key, f"a key of {what}")
            if name in found or (keys is not None and name not in keys):
                self._fault(f"the key {name!r} does not belong here", key.start_mark)
            found[name] = value
        missing = sorted((keys or frozenset()) - found.keys())
        if missing:
            self._fault(f"{what} lacks {', '.join(missing)}", node.start_mark)
        return found

    def _artifact(self, node: yaml.Node, name: str) -> dict[str, str]:
        value = self._mapping(node, f"artifacts.{name}", frozenset({"repository", "digest"}))
        found = {key: self._text(item, f"artifacts.{name}.{key}") for key, item in value.items()}
        if not is_digest(found["digest"]):
            self._fault(f"artifacts.{name}.digest is no digest", value["digest"].start_mark)
        return found

    def _tree(self, node: yaml.Node, what: str) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.style is None and node.value == "null":
            return None
        text = self._text(node, what)
        if not _OBJECT_ID.fullmatch(text):
            self._fault(f"{what} is no tree id", node.start_mark)
        return text

    def _text(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            self._fault(f"{what} is no text", node.start_mark)
        return str(node.value)

    def _fault(self, what: str, mark: Any) -> NoReturn:
        raise UserError("SP540", f"the pin cannot be used: {what}", where=f"{self._path}:{mark.line + 1}:{mark.column + 1}", fix=_FIX)


def _refuse(what: str, path: str, line: int = 1) -> NoReturn:
    raise UserError("SP540", f"the pin cannot be used: {what}", where=f"{path}:{line}:1", fix=_FIX)


def commit_message(promotion: Promotion) -> str:
    """Return the message of a pin's commit: a title and the trailers that name the promotion."""
    candidate = promotion.candidate
    version = " ".join(promotion.version.split()) or "configuration"
    if promotion.kind == "rollback":
        title = f"Roll back {candidate.app} in {candidate.environment} to {version}"
    else:
        title = f"Pin {candidate.app} in {candidate.environment}: {version}"
    trailers = {
        "Setpoint-Promotion": promotion.promotion,
        "Setpoint-App": candidate.app,
        "Setpoint-Environment": candidate.environment,
        "Setpoint-Candidate": candidate.digest,
        "Setpoint-Revision": promotion.source_revision,
        "Setpoint-Hold": promotion.hold,
    }
    return f"{title}\n\n" + "".join(f"{name}: {value}\n" for name, value in trailers.items() if value)


def removal_message(environment: str, why: str) -> str:
    """Return the message of the commit that removes the pins of a preview that has ended."""
    return f"Remove the pins of {environment}: {' '.join(why.split())}\n\nSetpoint-Environment: {environment}\n"


def parse_trailers(message: str) -> dict[str, str]:
    """Return the trailers of a message's last paragraph; empty when a line of it is no trailer, or a name comes twice."""
    title, *paragraphs = re.split(r"\n{2,}", message.strip("\n"))
    if not title or not paragraphs:
        return {}
    found: dict[str, str] = {}
    for line in paragraphs[-1].split("\n"):
        match = _TRAILER.fullmatch(line)
        if match is None or match[1] in found:
            return {}
        found[match[1]] = match[2]
    return found


def commit_payload(tree: str, parent: str, message: str, at: str, identity: str = IDENTITY, author: str = "") -> bytes:
    """Return the unsigned commit object (git: gitformat-commit) that is signed and then written; `at` is RFC 3339.

    Identity is the committer, and the author too where none is given.

    Raises:
        UserError: tree or parent is no object id (SP541).
    """
    for object_id in (tree, parent):
        if not _OBJECT_ID.fullmatch(object_id):
            raise UserError("SP541", f"{object_id[:80]!r} is no object id", fix="give the full commit id")
    seconds = int(clock.from_text(at).astimezone(UTC).timestamp())
    head = f"tree {tree}\nparent {parent}\nauthor {author or identity} {seconds} +0000\ncommitter {identity} {seconds} +0000\n\n"
    return (head + message).encode()


def claim_of(pin: Pin, message: str, *, commit_signed: bool) -> PinClaim:
    """Return what `evidence.lines.verify_lines` wants to know of a pin read from Git (`pin.commit` filled) and of its commit.

    commit_signed says whether that commit carries the commit key's signature (`adapters.sshsig.commit_signed`).
    """
    candidate = pin.candidate
    return PinClaim(
        app=candidate.app,
        environment=candidate.environment,
        candidate=candidate.data(),
        promotion=pin.promotion,
        policy=pin.policy,
        source_repository=pin.source_repository,
        source_revision=pin.source_revision,
        artifacts=tuple(NamedArtifact(name, a.oci_repository, a.digest) for name, a in sorted(candidate.artifacts.items())),
        commit=pin.commit,
        commit_signed=commit_signed,
        commit_promotion=parse_trailers(message).get("Setpoint-Promotion", ""),
    )
