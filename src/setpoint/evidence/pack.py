"""Evidence as one tar for somebody without access to the registry: bundles, manifests, public keys, and a page with the commands.

Called by `observe.evidence` for the export; pure. The same evidence gives the same bytes: names sorted, no times, no owners.
"""

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from setpoint.core import digest
from setpoint.evidence.attached import Attached, result_of, summary_of
from setpoint.evidence.model import PROVENANCE
from setpoint.evidence.verify import TrustRoot

_TYPES: Final = {PROVENANCE: "slsaprovenance1"}
"""What cosign calls a predicate type; the others it takes as they are."""
_HEAD: Final = """\
# Evidence of {thing}

Everything here can be checked without a network and without Setpoint, with stock cosign (3.0 or newer) and the keys below.
A signature is no approval: read what a statement says as well.

- `bundles/`: in-toto statements in Sigstore bundles v0.3, one DSSE signature each, named by their digest.
- `manifests/`: the OCI manifests that the statements are about; `sha256sum` of a file is its name.
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


def pack(thing: str, subjects: Sequence[PackedSubject], trust: TrustRoot) -> bytes:
    """Return the tar's bytes."""
    files: dict[str, bytes] = {f"keys/{role}.pub": f"{text.strip()}\n".encode() for role, text in trust.keys.items()}
    parts = [_HEAD.format(thing=thing)]
    for subject in subjects:
        place = _manifest_path(subject)
        if subject.manifest is not None:
            files[place] = subject.manifest
        parts.append(f"## {subject.title}\n")
        parts += [_described(item, place if subject.manifest is not None else "") for item in subject.bundles]
        files.update({_bundle_path(item): item.data for item in subject.bundles if item.data})
    files["README.md"] = "\n".join(parts).encode()
    return _tar(files)


def _manifest_path(subject: PackedSubject) -> str:
    return f"manifests/{subject.digest.replace(':', '-')}.json"


def _bundle_path(item: Attached) -> str:
    return f"bundles/{digest.sha256(item.data).replace(':', '-')}.sigstore.json"


def _described(item: Attached, subject: str) -> str:
    """Return the lines about one bundle: what it says, when, and the command."""
    kind = item.statement.predicate_type if item.statement is not None else ""
    title = " ".join(word for word in (result_of(item.statement), summary_of(item.statement), item.at) if word)
    lines = [f"`{kind}`: {title}" if kind else f"manifest {digest.short(item.manifest)}", ""]
    if item.fault:
        return "\n".join([*lines, _NOT_VERIFIED.format(fault=item.fault), ""])
    words = {"role": item.role, "kind": _TYPES.get(kind, kind), "bundle": _bundle_path(item)}
    # A revision is no file: cosign then checks the signature, and the subject is read from the statement.
    words["subject"] = subject or "--check-claims=false README.md"
    return "\n".join([*lines, _COMMAND.format(**words), ""])


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(f"evidence/{name}")
            member.size, member.mode = len(files[name]), 0o644
            tar.addfile(member, io.BytesIO(files[name]))
    return buffer.getvalue()
