"""Logins and copies against a real foreign registry: Debian's docker-registry, over TLS with its own authority and a password."""

import base64
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from setpoint.adapters.oci.client import RegistryClient
from setpoint.adapters.oci.copy import RegistryCopy
from setpoint.adapters.oci.pull import RegistryPull
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.adapters.secret_files import SecretFolder
from setpoint.artifact.copies import Copies, Place
from setpoint.artifact.model import CONFIG, INDEX, LAYER, MANIFEST
from setpoint.core.digest import sha256
from setpoint.core.errors import NotFoundError, UserError, WorldError
from setpoint.ground.journal.model import Entry, Fact
from setpoint.ground.registries.model import Registry, RegistryAccess
from setpoint.ground.registries.service import Registries
from tls_registry import TlsRegistry, started

LAYER_BYTES = bytes(range(256)) * 20_000
CONFIG_BYTES = b'{"os":"linux","architecture":"amd64"}'


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRegistry]:
    """A registry that lets `robot` in and nobody else."""
    for command, package in (("docker-registry", "docker-registry"), ("openssl", "openssl")):
        if shutil.which(command) is None:
            pytest.skip(f"INCOMPLETE: needs {package}")
    with started(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> OciStoreFolder:
    """A store with an image `shop/web` and one referrer."""
    return OciStoreFolder(tmp_path / "store")


def _image(store: OciStoreFolder, layer: bytes = LAYER_BYTES) -> str:
    config, blob = store.put_blob("shop/web", CONFIG_BYTES, CONFIG), store.put_blob("shop/web", layer, LAYER)
    parts = [{"mediaType": d.media_type, "digest": d.digest, "size": d.size_bytes} for d in (config, blob)]
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}
    return store.put_manifest("shop/web", json.dumps(value).encode(), MANIFEST).digest


def _refer(store: OciStoreFolder, digest: str, text: bytes) -> str:
    subject = store.manifest("shop/web", digest)
    assert subject is not None
    blob = store.put_blob("shop/web", text, "application/test+json")
    part = {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size_bytes}
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/test+json",
        "config": part,
        "layers": [part],
        "subject": {"mediaType": MANIFEST, "digest": digest, "size": len(subject.data)},
    }
    return store.put_manifest("shop/web", json.dumps(value).encode(), MANIFEST).digest


def _get(registry: TlsRegistry, path: str) -> Any:
    request = urllib.request.Request(f"https://{registry.host}/v2/{path}", headers={"Accept": f"{MANIFEST}, {INDEX}"})
    credentials = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    request.add_header("Authorization", f"Basic {credentials}")
    with urllib.request.urlopen(request, context=registry.trusting(), timeout=10) as answer:
        return json.loads(answer.read())


def test_a_copy_arrives_whole_with_what_refers_to_it(store: OciStoreFolder, registry: TlsRegistry) -> None:
    """Blobs, manifest and referrers are there; a second copy sends nothing, a new referrer is added to the list and none is lost."""
    digest = _image(store)
    first = _refer(store, digest, b'{"n":1}')
    copy = RegistryCopy(store, registry.access)
    done = copy.copy("shop/web", digest, registry.host, "team/shop/web")
    assert done.referrers == (first,)
    assert done.size_bytes > len(LAYER_BYTES)
    assert _get(registry, f"team/shop/web/manifests/{digest}")["config"]["digest"] == sha256(CONFIG_BYTES)
    again = copy.copy("shop/web", digest, registry.host, "team/shop/web")
    assert (again.manifests, again.size_bytes) == (0, 0)
    second = _refer(store, digest, b'{"n":2}')
    copy.copy("shop/web", digest, registry.host, "team/shop/web")
    listed = _get(registry, f"team/shop/web/manifests/{digest.replace(':', '-')}")["manifests"]
    assert {entry["digest"] for entry in listed} == {first, second}


def test_what_was_copied_can_be_fetched_as_a_base(store: OciStoreFolder, registry: TlsRegistry, tmp_path: Path) -> None:
    """A base in a registry behind a login and an authority of its own arrives; without the login the fix names the verb."""
    digest = _image(store, b"base")
    RegistryCopy(store, registry.access).copy("shop/web", digest, registry.host, "base")
    other = OciStoreFolder(tmp_path / "other")
    assert RegistryPull(other, access=registry.access).fetch(f"{registry.host}/base@{digest}", "lib/base").digest == digest
    anybody = RegistryAccess(registry.host, authorities=registry.authorities)
    with pytest.raises(NotFoundError, match="SP306") as caught:
        RegistryPull(other, access=lambda _host: anybody).fetch(f"{registry.host}/base@{sha256(b'x')}", "lib/base")
    assert f"setpoint registry login {registry.host}" in caught.value.fix


def test_a_certificate_that_nobody_vouches_for_is_refused(registry: TlsRegistry) -> None:
    """Without its authority the registry is not spoken to, and no password leaves."""
    with pytest.raises(WorldError, match=r"SP307.*(?i:certificate)"):
        RegistryClient(RegistryAccess("localhost:" + registry.host.rpartition(":")[2], authorities=_other_authority(registry))).greet()


def _other_authority(registry: TlsRegistry) -> str:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=other"]
    target = registry.folder / "other.pem"
    subprocess.run([*command, "-keyout", str(registry.folder / "other.key"), "-out", str(target)], check=True, capture_output=True)
    return target.read_text()


@pytest.mark.parametrize("password", ["wrong", ""], ids=["another password", "no login"])
def test_who_may_not_write_is_told_so(store: OciStoreFolder, registry: TlsRegistry, password: str) -> None:
    """SP333 names who tried and where; nothing is retried as if the network were at fault."""
    access = RegistryAccess(registry.host, "robot" if password else "", password, authorities=registry.authorities)
    with pytest.raises(UserError, match="SP333") as caught:
        RegistryCopy(store, lambda _host: access).copy("shop/web", _image(store), registry.host, "team/none")
    assert ("robot" if password else "somebody without a login") in caught.value.what
    assert not password or password not in str(caught.value)


class _Journal:
    """A recorder and its own projection of logins."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, dict[str, Any]]] = []

    def record(self, kind: str, subject: str, actor: str, body: dict[str, Any]) -> Entry:
        self.entries.append((kind, subject, body))
        return Entry(len(self.entries), "2026-01-01T00:00:00.000Z", kind, subject, actor, body, "")

    def record_all(self, facts: Sequence[Fact]) -> list[Entry]:
        raise NotImplementedError

    def registries(self) -> list[Registry]:
        found: dict[str, Registry] = {}
        for kind, host, body in self.entries:
            found.pop(host, None)
            if kind == "registry.login":
                fields = {name: body[name] for name in ("user", "plain_http", "own_authorities", "version")}
                found[host] = Registry(host, **fields, set_at="", set_by="")
        return list(found.values())

    def last_login(self, host: str) -> int:
        return max((body["version"] for kind, subject, body in self.entries if subject == host and kind == "registry.login"), default=0)


def test_a_login_is_tried_before_it_is_kept_and_its_password_is_in_no_entry(registry: TlsRegistry, tmp_path: Path) -> None:
    """A wrong password keeps nothing; a right one serves from then on; a logout deletes it."""
    journal = _Journal()
    logins = Registries(journal, SecretFolder(tmp_path / "logins"), journal, lambda access: RegistryClient(access).greet())
    right = registry.access(registry.host)
    with pytest.raises(UserError, match=r"SP331.*does not let the user robot in: no such user"):
        logins.login(RegistryAccess(registry.host, registry.user, "wrong", authorities=registry.authorities), "operator")
    assert (journal.entries, logins.access(registry.host)) == ([], RegistryAccess(registry.host))
    kept = logins.login(right, "operator")
    assert (kept.user, kept.own_authorities, kept.version) == (registry.user, True, 1)
    assert logins.access(registry.host) == right
    logins.login(right, "operator")
    assert [path.name for path in (tmp_path / "logins").rglob("*") if path.is_file()] == ["2"]
    assert registry.password not in json.dumps(journal.entries) + repr(right)
    logins.logout(registry.host, "operator")
    assert [path for path in (tmp_path / "logins").rglob("*") if path.is_file()] == []
    with pytest.raises(NotFoundError, match="SP334"):
        logins.logout(registry.host, "operator")


@pytest.mark.parametrize(
    "access",
    [
        RegistryAccess("https://registry.test", "a", "b"),
        RegistryAccess("registry.test/x", "a", "b"),
        RegistryAccess("registry.test", "a:b", "c"),
        RegistryAccess("registry.test", "a", ""),
        RegistryAccess("registry.test", "", "b"),
        RegistryAccess("registry.test", "a", "b\n"),
        RegistryAccess("registry.test", "a", "b", authorities="no pem"),
        RegistryAccess("registry.test", "a", "b", plain_http=True, authorities="-----BEGIN CERTIFICATE-----"),
    ],
)
def test_what_cannot_be_a_login_is_refused_before_anything_is_sent(access: RegistryAccess, tmp_path: Path) -> None:
    """Odd hosts, users, passwords and certificates are SP330, and the registry is not asked."""
    journal = _Journal()
    logins = Registries(journal, SecretFolder(tmp_path), journal, lambda _access: pytest.fail("asked"))
    with pytest.raises(UserError, match="SP330"):
        logins.login(access, "operator")


def test_a_moved_blob_is_there_and_a_moved_manifest_is_sent(store: OciStoreFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect of HEAD says that a blob is there; of a manifest it says nothing."""
    digest = _image(store, b"moved")
    sent: list[tuple[str, str]] = []

    @contextmanager
    def send(_client: Any, method: str, url: str, *_rest: Any) -> Iterator[Any]:
        sent.append((method, url.partition("/team/web/")[2].partition("/")[0]))
        yield SimpleNamespace(status=307 if method == "HEAD" else 201, headers={})

    monkeypatch.setattr(RegistryClient, "send", send)
    assert RegistryCopy(store).copy("shop/web", digest, "registry.test", "team/web").manifests == 1
    assert sent == [("HEAD", "manifests"), ("HEAD", "blobs"), ("HEAD", "blobs"), ("PUT", "manifests")]


def test_copies_are_made_once_and_again_for_new_evidence(store: OciStoreFolder, registry: TlsRegistry) -> None:
    """The first pass sends and journals, the next asks nobody; new evidence is sent; our own registry needs no copy."""
    journal = _Journal()
    digest = _image(store, b"copies")
    calls: list[str] = []

    class Counting(RegistryCopy):
        def copy(self, repository: str, digest: str, host: str, name: str) -> Any:
            calls.append(name)
            return super().copy(repository, digest, host, name)

    copies = Copies(store, Counting(store, registry.access), journal, own=["registry.test"])
    place = Place.parse(f"{registry.host}/prod")
    reference = copies.ensure("shop/web", digest, place)
    assert reference == f"{registry.host}/prod/shop/web@{digest}"
    copies.ensure("shop/web", digest, place)
    assert calls == ["prod/shop/web"]
    _refer(store, digest, b"new evidence")
    copies.ensure("shop/web", digest, place)
    assert [kind for kind, _, _ in journal.entries] == ["artifact.copied", "artifact.copied"]
    for own in ("registry.test", "registry.test/prod"):
        assert copies.ensure("shop/web", digest, Place.parse(own)) == f"registry.test/shop/web@{digest}", "own names have no prefix"
    assert len(calls) == 2
