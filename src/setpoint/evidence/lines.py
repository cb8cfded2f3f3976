"""The numbered lines of `verify`: everything that makes an artifact or an environment's pin believable, each proved again from bytes.

Called by the read queries behind `setpoint verify`; offline: reads the OCI store and the trust root; what Git says about the pin is handed
in as a PinClaim. It believes no record of the database.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from setpoint.artifact.model import StoredManifest
from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.core.errors import NotFoundError, SetpointError
from setpoint.core.words import counted
from setpoint.evidence import gate
from setpoint.evidence.candidate import candidate_digest, candidate_repository
from setpoint.evidence.facts import count_tests, newest, read_reports
from setpoint.evidence.model import ISOLATED_BUILDERS, PROVENANCE, CheckLine, Verified
from setpoint.evidence.provenance import BuildClaims, claims
from setpoint.evidence.verify import Found, TrustRoot, verify_subject

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class NamedArtifact:
    """An artifact to verify."""

    name: str
    oci_repository: str
    digest: str


@dataclass(frozen=True, slots=True)
class PinClaim:
    """What Git says about an environment's pin; filled by `promotion.pin.claim_of`."""

    app: str
    environment: str
    candidate: bytes
    """Canonical JSON of the candidate the pin names."""
    promotion: str
    policy: str
    source_repository: str
    source_revision: str
    artifacts: tuple[NamedArtifact, ...]
    commit: str
    commit_signed: bool
    """The last commit that touched the pin carries a valid signature of the home's commit key."""
    commit_promotion: str
    """The promotion that commit's trailer names."""


def verify_lines(store: OciStore, trust: TrustRoot, artifacts: Sequence[NamedArtifact], pin: PinClaim | None = None) -> list[CheckLine]:
    """Return the lines for artifacts (a pin's own, when it is given): 6 for bare digests, 9 with a pin, 3 for a pin without artifacts.

    Reports beside tests add a line.
    """
    named = pin.artifacts if pin is not None else tuple(artifacts)
    checks: list[tuple[str, list[str], str]] = []
    if named:
        checks += _artifact_checks(store, trust, named, pin)
    if pin is not None:
        checks += _pin_checks(store, trust, pin)
    return [CheckLine(n, what, not faults, "; ".join(faults) or detail) for n, (what, faults, detail) in enumerate(checks, 1)]


def _artifact_checks(
    store: OciStore, trust: TrustRoot, named: Sequence[NamedArtifact], pin: PinClaim | None
) -> list[tuple[str, list[str], str]]:
    found = {item: verify_subject(store, trust, item.oci_repository, item.digest) for item in named}
    built = {item: _claims(found[item]) for item in named}
    manifests = [fault for item in named for fault in _manifest_faults(store, item)]
    layers, count = _layers(store, named)
    short = ", ".join(f"{item.name} {digest.short(item.digest)}" for item in named)
    unproved = [f"{item.name}: {_first(found[item], 'no provenance')}" for item in named if built[item] is None]
    revision_faults = [text for item in named if (text := _revision_fault(item, found[item], pin))]
    sources = sorted({f"revision {digest.short(b.revision)} of {b.repository}" for b in built.values() if b is not None})
    if pin is not None and pin.source_revision:
        sources = [f"revision {digest.short(pin.source_revision)} of {pin.source_repository}"]
    foreign = [
        f"{item.name} was built by {b.builder or 'nobody named'}" for item, b in built.items() if b and b.builder not in ISOLATED_BUILDERS
    ]
    unsandboxed = foreign + [f"{item.name} has no provenance" for item in named if built[item] is None]
    networked = sorted({task for b in built.values() if b is not None for task in b.networked})
    note = f"; with the network: {', '.join(networked)}" if networked else ""
    tests, passed = _tests(found)
    reports, said = _reports(found)
    lines = [
        ("the artifact is in the registry and its bytes match its digest", manifests, short),
        ("every layer is there and matches its digest", layers, counted(count, "blob")),
        ("its provenance is signed by the builder key", unproved, f"{len(named)} of {len(named)}"),
        ("the provenance names the source revision", revision_faults, ", ".join(sources)),
        ("it was built in the sandbox", unsandboxed, ", ".join(sorted({b.builder for b in built.values() if b})) + note),
        ("its tests are signed by the scanner key, passed and cover it", tests, passed),
    ]
    if reports or said:
        lines.append(("its reports are signed by the scanner key, passed and cover it", reports, said))
    return lines


def _pin_checks(store: OciStore, trust: TrustRoot, pin: PinClaim) -> list[tuple[str, list[str], str]]:
    repository, subject = candidate_repository(pin.app), candidate_digest(pin.candidate)
    found = verify_subject(store, trust, repository, subject)
    statements = gate.gate_statement(store, trust, repository, subject)
    fault = gate.admission_fault(statements, pin.candidate, pin.promotion, pin.policy)
    faults = [fault, *found.faults[:1]] if fault else []
    commit = [] if pin.commit_signed else [f"commit {digest.short(pin.commit)} is not signed by the commit key"]
    if pin.commit_promotion != pin.promotion:
        commit.append(f"the commit names promotion {pin.commit_promotion or 'none'}, the pin names {pin.promotion}")
    approvals, approved = _approvals(found, statements, pin.promotion)
    title = f"the gate statement for {pin.environment} says PASSED for exactly this candidate"
    return [
        (title, faults, f"promotion {pin.promotion}, policy {digest.short(pin.policy)}"),
        ("the pin's commit is signed by Setpoint and names the promotion", commit, f"commit {digest.short(pin.commit)}"),
        ("every approval that the gate counted is signed by the approval key", approvals, approved),
    ]


def _manifest(store: OciStore, item: NamedArtifact) -> StoredManifest | None:
    """Return the manifest, or None when it is not there or the store itself finds it damaged."""
    try:
        return store.manifest(item.oci_repository, item.digest)
    except SetpointError:
        return None


def _manifest_faults(store: OciStore, item: NamedArtifact) -> list[str]:
    manifest = _manifest(store, item)
    if manifest is None:
        return [f"{item.name}: {item.oci_repository}@{digest.short(item.digest)} is not in the registry, or damaged"]
    return [] if _matches(manifest.data, item.digest) else [f"{item.name}: the manifest's bytes do not match its digest"]


def _matches(data: bytes, wanted: str) -> bool:
    algorithm, _, value = wanted.partition(":")
    return hashlib.new(algorithm, data).hexdigest() == value if digest.is_digest(wanted) else False


def _layers(store: OciStore, named: Sequence[NamedArtifact]) -> tuple[list[str], int]:
    """Return (faults, blobs checked): config and layers, read whole."""
    faults: list[str] = []
    count = 0
    for item in named:
        manifest = _manifest(store, item)
        if manifest is None:
            faults.append(f"{item.name}: no manifest, so no layers")
            continue
        try:
            value: dict[str, Any] = json.loads(manifest.data)
            wanted = [str(blob["digest"]) for blob in (value["config"], *value["layers"])]
        except (ValueError, KeyError, TypeError):
            faults.append(f"{item.name}: the manifest is no image manifest")
            continue
        count += len(wanted)
        faults += [f"{item.name}: blob {digest.short(blob)} {why}" for blob in wanted if (why := _blob_fault(store, item, blob))]
    return faults, count


def _blob_fault(store: OciStore, item: NamedArtifact, wanted: str) -> str:
    if not digest.is_digest(wanted):
        return "has no digest"
    algorithm, _, value = wanted.partition(":")
    hasher = hashlib.new(algorithm)
    try:
        with store.open_blob(item.oci_repository, wanted) as file:
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
    except NotFoundError:
        return "is missing (of an old version, `setpoint gc` collects the layers)"
    except (SetpointError, OSError):
        return "is missing"
    return "" if hasher.hexdigest() == value else "does not match its digest"


def _claims(found: Found) -> BuildClaims | None:
    statement = newest(found.verified, PROVENANCE)
    return claims(statement.statement) if statement is not None else None


def _first(found: Found, otherwise: str) -> str:
    return f"{otherwise} ({found.faults[0]})" if found.faults else otherwise


def _revision_fault(item: NamedArtifact, found: Found, pin: PinClaim | None) -> str:
    """Say what is wrong with the revision: the same bytes may be built by several, and a pin's must be one of them (law 1)."""
    every = [claims(v.statement) for v in found.verified if v.statement.predicate_type == PROVENANCE]
    named = [(built.repository, built.revision) for built in every if built.revision]
    if not named:
        return f"{item.name}: no revision is named"
    if pin is None or (pin.source_repository, pin.source_revision) in named:
        return ""
    built = ", ".join(f"{digest.short(revision)} of {repository}" for repository, revision in named[-3:])
    return f"{item.name} was built from {built}; the pin names {digest.short(pin.source_revision)} of {pin.source_repository}"


def _tests(found: dict[NamedArtifact, Found]) -> tuple[list[str], str]:
    faults: list[str] = []
    texts: list[str] = []
    for item, bundles in found.items():
        tests = count_tests(bundles.verified)
        ran = tests.passed + tests.failed
        if tests.result != "PASSED":
            why = f"{tests.failed} of {ran} tests failed" if tests.result else _first(bundles, "no test result covers it")
            faults.append("; ".join([f"{item.name}: {why}", *tests.faults]))
        # A result that does not cover the artifact (another artifact's tests) counts neither for it nor against it.
        texts.append(f"{tests.passed} of {ran} passed")
    return faults, ", ".join(texts)


def _reports(found: dict[NamedArtifact, Found]) -> tuple[list[str], str]:
    """Return (faults, what is there) of reports other than tests; one that does not cover an artifact speaks neither for nor against it."""
    faults: list[str] = []
    texts: list[str] = []
    for item, bundles in found.items():
        reports, _ = read_reports(bundles.verified)
        bad = {name: facts for name, facts in sorted(reports.items()) if facts.result != "PASSED"}
        faults += [f"{item.name}: {name} is {facts.result}{f' ({facts.says})' if facts.says else ''}" for name, facts in bad.items()]
        texts += [f"{name} of {item.name}{f' ({facts.says})' if facts.format else ''}" for name, facts in sorted(reports.items())]
    return faults, ", ".join(texts)


def _approvals(found: Found, statements: Sequence[Verified], promotion: str) -> tuple[list[str], str]:
    gates = [item for item in map(gate.read_gate, statements) if item is not None and item.promotion == promotion and item.passed]
    if not gates:
        return ["no passed gate statement says which approvals counted"], ""
    last = gates[-1]
    if not last.approvals:
        return [], "none was counted"
    present = gate.approvals_of(found.verified, promotion, last.binding)
    return [f"the approval of {email} is not signed" for email in last.approvals if email not in present], ", ".join(last.approvals)
