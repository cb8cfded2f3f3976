"""The signer program: `python -m setpoint.adapters.signer.process --fd N ...`, started by SignerClient, serves one socket until it closes.

Holds the role keys in memory and nothing else that matters; it can be killed at any instruction. It executes nothing but Setpoint's own
check of JSON reports, which gets none of this memory, opens no network connection and signs nothing that it did not compose from journal,
Git and bytes itself (law 8).
"""

import argparse
import ctypes
import os
import resource
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from setpoint.adapters.content import ContentFolder
from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.adapters.json_schema import JsonSchemaProcess
from setpoint.adapters.keys import KeyFolder
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.scans import ScanProcess
from setpoint.adapters.signer import protocol
from setpoint.adapters.signer.adoptions import AdoptionCommit, AdoptionCommits
from setpoint.adapters.signer.compose import Draft
from setpoint.adapters.signer.ledger import Ledger
from setpoint.adapters.signer.pins import PinCommit, PinCommits
from setpoint.adapters.signer.promotions import PromotionDrafts
from setpoint.adapters.signer.runs import RunDrafts, Sources
from setpoint.core.errors import BugError, SetpointError, UserError
from setpoint.evidence.bundle import render_bundle, render_statement
from setpoint.evidence.dsse import pae
from setpoint.evidence.model import PAYLOAD
from setpoint.evidence.ports import Signed
from setpoint.evidence.verify import TrustRoot

_PR_SET_DUMPABLE: Final = 4


class SigningDesk:
    """Answers requests: ping, check_keys, public_keys, sign."""

    def __init__(self, keys: KeyFolder, sources: Sources) -> None:
        self._keys = keys
        self._sources = sources
        self._ledger = sources.ledger
        self._trusted: TrustRoot | None = None

    def answer(self, operation: str, arguments: dict[str, str]) -> Any:
        """Return the JSON value that answers a request.

        Raises:
            SetpointError: whatever stands in the way; nothing is signed then.
        """
        if operation == "ping":
            return {"pid": os.getpid()}
        if operation == "check_keys":
            return self._keys.public_keys()
        self._ledger.refresh()
        if operation == "public_keys":
            return self._public_keys()
        if operation == "sign":
            kind, subject, context = (arguments.get(name, "") for name in ("kind", "subject", "context"))
            return [protocol.encode_signed(item) for item in self._sign(kind, subject, context)]
        raise BugError("SP409", f"the signer knows no operation {operation[:40]!r}", fix="restart the server")

    def _public_keys(self) -> dict[str, str]:
        """Return the public keys; keys are made only while the journal is empty, for afterwards they would be other keys."""
        if self._ledger.empty:
            self._keys.create()
            return self._keys.public_keys()
        return self._trust().keys

    def _trust(self) -> TrustRoot:
        """Return the journal's trust root, once the keys in the folder are known to be the ones it names."""
        if self._trusted is None:
            trust = self._ledger.trust
            if trust is None or trust.keys != self._keys.public_keys():
                what = "the role keys are not those that the home was created with: nothing is signed"
                raise UserError("SP406", what, fix="restore the home's folder of keys from a copy")
            self._trusted = trust
        return self._trusted

    def _sign(self, kind: str, subject: str, context: str) -> list[Signed]:
        trust = self._trust()
        if kind == "run":
            return [self._bundle(draft) for draft in RunDrafts(self._sources).drafts(subject)]
        if kind == "approval":
            return [self._bundle(PromotionDrafts(self._sources).approval(subject, context))]
        if kind == "promotion":
            return [self._bundle(PromotionDrafts(self._sources).gate(subject, trust))]
        if kind == "pin":
            return [self._commit(PinCommits(self._sources).compose(subject, context, trust))]
        if kind == "unpin":
            return [self._commit(PinCommits(self._sources).compose_removal(subject, context))]
        if kind == "adoption":
            return [self._commit(AdoptionCommits(self._sources).compose(subject))]
        raise UserError("SP404", f"the signer does not sign a {kind[:40]!r}", fix="run, approval, promotion, pin, unpin or adoption")

    def _bundle(self, draft: Draft) -> Signed:
        payload = render_statement(draft.statement)
        signature = self._keys.sign(draft.role, pae(PAYLOAD, payload))
        return Signed(
            predicate_type=draft.statement.predicate_type,
            subject=draft.subject,
            oci_repository=draft.oci_repository,
            payload=render_bundle(payload, signature, self._keys.hint(draft.role)),
            result=draft.result,
            task=draft.task,
            artifact=draft.artifact,
            summary=draft.summary,
            at=draft.at,
            report=draft.report,
            document=draft.document,
        )

    def _commit(self, commit: PinCommit | AdoptionCommit) -> Signed:
        signature = self._keys.sign_commit(commit.payload)
        subject = commit.promotion if isinstance(commit, PinCommit) else commit.adoption
        return Signed("", subject, "", commit.payload, signature, summary=commit.summary, at=commit.at)


def serve(connection: socket.socket, desk: SigningDesk) -> None:
    """Answer requests, one at a time, until the other end closes."""
    with connection, connection.makefile("rb") as reader:
        while line := reader.readline(protocol.REQUEST_BYTES + 1):
            connection.sendall(_respond(line, desk))


def _respond(line: bytes, desk: SigningDesk) -> bytes:
    try:
        return protocol.answer(desk.answer(*protocol.parse_request(line)))
    except SetpointError as error:
        return protocol.failure(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the server must get an answer and the signer must live on
        traceback.print_exc()
        return protocol.failure(BugError("SP409", f"the signer failed: {type(error).__name__}", fix="see the server's log"))


def _harden() -> None:
    """Keep the keys from core files and from other processes of the same user (ptrace, /proc/PID/mem)."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def main(argv: list[str]) -> None:
    """Open what is to be read and serve the socket that was inherited."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True)
    for name in ("journal", "keys", "repositories", "registry", "content"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args(argv)
    _harden()
    sources = Sources(
        ledger=Ledger(JournalFolder(options.journal, writable=False)),
        git=GitRepositories(options.repositories),
        store=OciStoreFolder(options.registry),
        content=ContentFolder(options.content),
        reports=JsonSchemaProcess(),
        scans=ScanProcess(),
    )
    serve(socket.socket(fileno=options.fd), SigningDesk(KeyFolder(options.keys), sources))


if __name__ == "__main__":
    main(sys.argv[1:])
