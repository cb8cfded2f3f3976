"""Evidence as one tar for somebody without access to the registry: bundles, manifests, public keys, and a page with the commands.

Called by `observe.evidence` for the export; pure. The same evidence gives the same bytes: names sorted, no times, no owners.
"""

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from setpoint.core import digest
from setpoint.evidence.attached import Attached, result_of, summary_of
from setpoint.evidence.model import CYCLONEDX, PROVENANCE
from setpoint.evidence.scans.statement import document_of
from setpoint.evidence.verify import TrustRoot

_TYPES: Final = {PROVENANCE: "slsaprovenance1", CYCLONEDX: "cyclonedx"}
"""What cosign calls a predicate type; the others it takes as they are."""
_HEAD: Final = """\
# Evidence of {thing}

Everything here can be checked without a network and without Setpoint, with stock cosign (3.0 or newer) and the keys below.
A signature is no approval: read what a statement says as well.

- `bundles/`: in-toto statements in Sigstore bundles v0.3, one DSSE signature each, named by their digest.
- `manifests/`: the OCI manifests that the statements are about; `sha256sum` of a file is its name.
- `documents/`: reports of scanners as their tools wrote them; a statement names its document by this digest.
- `keys/`: the public role keys of the home's trust root, from the first entry of its journal.
  Compare them with a copy that you got another way: keys that come with what they prove, prove nothing.

Read a statement: `jq -r .dsseEnvelope.payload FILE | base64 -d | jq .`
"""
_NOT_VERIFIED: Final = "Does not count: {fault}."
_COMMAND: Final = """\
```sh
cosign verify-blob-attestation --key keys/{role}.pub --insecure-ignore-tlog=true \\
  --type {kind} \\
  --bundle {bundle} \\
  {subject}
```"""


@dataclass(frozen=True, slots=True)
class PackedSubject:
    """A subject with its manifest's bytes (None for a revision) and its bundles."""

    title: str
    digest: str
    manifest: bytes | None
    bundles: Sequence[Attached]
    documents: Mapping[str, bytes] = field(default_factory=dict)
    """Digest -> a scanner's report as its tool wrote it."""


def pack(thing: str, subjects: Sequence[PackedSubject], trust: TrustRoot) -> bytes:
    """Return the tar's bytes."""
    files: dict[str, bytes] = {f"keys/{role}.pub": f"{text.strip()}\n".encode() for role, text in trust.keys.items()}
    parts = [_HEAD.format(thing=thing)]
    for subject in subjects:
        place = _manifest_path(subject)
        if subject.manifest is not None:
            files[place] = subject.manifest
        parts.append(f"## {subject.title}\n")
        about = place if subject.manifest is not None else ""
        parts += [_described(item, about, subject.documents) for item in subject.bundles]
        files.update({_bundle_path(item): item.data for item in subject.bundles if item.data})
        files.update({_document_path(name): data for name, data in subject.documents.items()})
    files["README.md"] = "\n".join(parts).encode()
    return _tar(files)


def _manifest_path(subject: PackedSubject) -> str:
    return f"manifests/{subject.digest.replace(':', '-')}.json"


def _bundle_path(item: Attached) -> str:
    return f"bundles/{digest.sha256(item.data).replace(':', '-')}.sigstore.json"


def _document_path(name: str) -> str:
    return f"documents/{name.replace(':', '-')}"


def _original(item: Attached, documents: Mapping[str, bytes]) -> str:
    """Return a line about the document that a statement names; empty when it names none."""
    document = document_of(item.statement) if item.statement is not None else None
    if document is None:
        return ""
    if document.digest not in documents:
        return f"Its document {document.name} ({document.digest}) is not here any more.\n"
    return f"Its document: `{_document_path(document.digest)}` ({document.name}, {document.media_type}).\n"


def _described(item: Attached, subject: str, documents: Mapping[str, bytes]) -> str:
    """Return the lines about one bundle: what it says, when, and the command."""
    kind = item.statement.predicate_type if item.statement is not None else ""
    title = " ".join(word for word in (result_of(item.statement), summary_of(item.statement), item.at) if word)
    lines = [f"`{kind}`: {title}" if kind else f"manifest {digest.short(item.manifest)}", ""]
    if item.fault:
        return "\n".join([*lines, _NOT_VERIFIED.format(fault=item.fault), ""])
    words = {"role": item.role, "kind": _TYPES.get(kind, kind), "bundle": _bundle_path(item)}
    # A revision is no file: cosign then checks the signature, and the subject is read from the statement.
    words["subject"] = subject or "--check-claims=false README.md"
    if original := _original(item, documents):
        lines.append(original)
    return "\n".join([*lines, _COMMAND.format(**words), ""])


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(f"evidence/{name}")
            member.size, member.mode = len(files[name]), 0o644
            tar.addfile(member, io.BytesIO(files[name]))
    return buffer.getvalue()
