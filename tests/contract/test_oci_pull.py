"""Base images by digest: from the embedded store, and from a foreign registry that behaves and one that does not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from setpoint.adapters.oci.client import RegistryClient, is_loopback
from setpoint.adapters.oci.pull import ImageReference, RegistryPull, own_platform
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.artifact.model import CONFIG, INDEX, LAYER, MANIFEST
from setpoint.artifact.ports import BaseSource
from setpoint.core.digest import sha256
from setpoint.core.errors import NotFoundError, SetpointError, UserError, WorldError
from setpoint.ground.registries.model import RegistryAccess

CONFIG_BYTES = b'{"os":"linux"}'
LAYER_BYTES = b"layer" * 500_000
DIGEST = "sha256:" + "0" * 64


def _part(media_type: str, data: bytes, **members: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **members}


IMAGE = json.dumps({"schemaVersion": 2, "config": _part(CONFIG, CONFIG_BYTES), "layers": [_part(LAYER, LAYER_BYTES)]}).encode()
PLATFORM = dict(zip(("os", "architecture"), own_platform().split("/"), strict=True))
OTHER = {"os": "plan9", "architecture": "mips"}


def _index(platform: dict[str, str]) -> bytes:
    missing = {"mediaType": MANIFEST, "digest": DIGEST, "size": 5, "platform": OTHER}
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [missing, _part(MANIFEST, IMAGE, platform=platform)]}).encode()


class Foreign(BaseHTTPRequestHandler):
    """A registry with one repository, `lib/base`; what it does wrong is set per test."""

    content: ClassVar[dict[str, bytes]] = {}
    token: ClassVar[str] = ""
    redirect: ClassVar[str] = ""
    requests: ClassVar[list[str]] = []
    authorizations: ClassVar[list[str | None]] = []
    status: ClassVar[int] = 200

    def do_GET(self) -> None:
        """Serve manifests and blobs by digest, tokens, and moved blobs."""
        type(self).requests.append(self.path)
        type(self).authorizations.append(self.headers["Authorization"])
        name = self.path.partition("?")[0].rpartition("/")[2]
        if self.path.startswith("/token"):
            self._answer(200, json.dumps({"token": self.token}).encode())
        elif self.status != 200:
            self._answer(self.status)
        elif self.token and self.headers["Authorization"] != f"Bearer {self.token}":
            realm = f"http://{self.headers['Host']}/token"
            self._answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="x",scope="repository:lib/base:pull"')
        elif self.redirect and "/blobs/" in self.path:
            self._answer(307, Location=self.redirect + name)
        elif name in self.content:
            self._answer(200, self.content[name])
        else:
            self._answer(404)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


@pytest.fixture
def foreign() -> Iterator[type[Foreign]]:
    """A foreign registry's handler class; its `host` is where it listens."""

    class Handler(Foreign):
        content: ClassVar[dict[str, bytes]] = {sha256(data): data for data in (IMAGE, CONFIG_BYTES, LAYER_BYTES)}
        requests: ClassVar[list[str]] = []
        authorizations: ClassVar[list[str | None]] = []
        host: ClassVar[str] = ""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> OciStoreFolder:
    """An empty store."""
    return OciStoreFolder(tmp_path)


def _host(foreign: type[Foreign]) -> str:
    return str(getattr(foreign, "host"))  # noqa: B009 - set by the fixture


def _fetch(store: OciStoreFolder, foreign: type[Foreign], data: bytes = IMAGE, tag: str = "") -> str:
    source: BaseSource = RegistryPull(store, timeout_s=5)
    return source.fetch(f"{_host(foreign)}/lib/base{tag}@{sha256(data)}", "shop/web").digest


def test_an_image_arrives_with_all_its_parts(store: OciStoreFolder, foreign: type[Foreign]) -> None:
    """Manifest, config and layer are in the target repository; the tag was never asked for; nothing is fetched twice."""
    assert _fetch(store, foreign, tag=":latest") == sha256(IMAGE)
    assert store.read_blob("shop/web", sha256(LAYER_BYTES)) == LAYER_BYTES
    assert store.read_blob("shop/web", sha256(CONFIG_BYTES)) == CONFIG_BYTES
    assert not [path for path in foreign.requests if "latest" in path]
    asked = len(foreign.requests)
    _fetch(store, foreign)
    assert len(foreign.requests) == asked
    assert list(store.scratch().parent.iterdir()) == []


def test_of_an_index_this_platform_is_taken_and_the_choice_is_kept(store: OciStoreFolder, foreign: type[Foreign]) -> None:
    """The platform's manifest comes back, and the second time without the network."""
    index = _index(PLATFORM)
    foreign.content[sha256(index)] = index
    assert _fetch(store, foreign, index) == sha256(IMAGE)
    foreign.content.clear()
    assert _fetch(store, foreign, index) == sha256(IMAGE)


def test_an_index_without_this_platform_says_what_it_has(store: OciStoreFolder, foreign: type[Foreign]) -> None:
    """SP306 names the platforms that are offered."""
    index = _index(OTHER)
    foreign.content[sha256(index)] = index
    with pytest.raises(NotFoundError, match=r"SP306.*plan9/mips"):
        _fetch(store, foreign, index)


def test_an_anonymous_token_is_fetched_when_asked_for(store: OciStoreFolder, foreign: type[Foreign]) -> None:
    """The challenge's service and scope are passed on, and the token is used."""
    foreign.token = "anonymous"
    assert _fetch(store, foreign) == sha256(IMAGE)
    assert "/token?service=x&scope=repository%3Alib%2Fbase%3Apull" in foreign.requests


def test_a_redirected_blob_is_followed_without_the_token(store: OciStoreFolder, foreign: type[Foreign]) -> None:
    """Registries move blobs to other hosts; those never see the registry's token."""
    foreign.token = "anonymous"
    port = _host(foreign).rpartition(":")[2]
    foreign.redirect = f"http://localhost:{port}/token/elsewhere/"
    with pytest.raises(WorldError, match="SP307"):
        _fetch(store, foreign)
    moved = [seen for path, seen in zip(foreign.requests, foreign.authorizations, strict=True) if "elsewhere" in path]
    assert moved == [None]


@pytest.mark.parametrize("wrong", [LAYER_BYTES[:-1], LAYER_BYTES + b"x", b"y" * len(LAYER_BYTES)], ids=["short", "long", "other"])
def test_other_bytes_than_asked_for_are_refused(store: OciStoreFolder, foreign: type[Foreign], wrong: bytes) -> None:
    """A layer that is shorter, longer or different is SP307, and nothing of it stays."""
    foreign.content[sha256(LAYER_BYTES)] = wrong
    with pytest.raises(WorldError, match="SP307"):
        _fetch(store, foreign)
    assert not store.has_blob("shop/web", sha256(LAYER_BYTES))
    assert store.manifest("shop/web", sha256(IMAGE)) is None
    assert list(store.scratch().parent.iterdir()) == []


def test_another_manifest_than_asked_for_is_refused(store: OciStoreFolder, foreign: type[Foreign]) -> None:
    """A manifest whose bytes have another digest is SP307."""
    foreign.content[sha256(IMAGE)] = IMAGE + b" "
    with pytest.raises(WorldError, match="SP307"):
        _fetch(store, foreign)


@pytest.mark.parametrize(("status", "kind"), [(404, NotFoundError), (403, NotFoundError), (500, WorldError), (429, WorldError)])
def test_refusals_and_troubles_are_told_apart(store: OciStoreFolder, foreign: type[Foreign], status: int, kind: type[Exception]) -> None:
    """What is not there is the user's to mend (SP306), what is broken is tried again (SP307)."""
    foreign.status = status
    with pytest.raises(kind, match="SP306" if kind is NotFoundError else "SP307"):
        _fetch(store, foreign)


def test_a_registry_that_is_not_there_is_a_world_error(store: OciStoreFolder) -> None:
    """Nobody listens: SP307 with the place."""
    with pytest.raises(WorldError, match="SP307") as caught:
        RegistryPull(store, timeout_s=2).fetch(f"127.0.0.1:1/lib/base@{DIGEST}", "shop/web")
    assert caught.value.where.startswith("http://127.0.0.1:1/v2/lib/base/")


def test_an_image_of_the_embedded_store_is_linked(store: OciStoreFolder) -> None:
    """Without a host the store's own repository is meant, and no network is used."""
    store.put_blob("lib/base", CONFIG_BYTES)
    store.put_blob("lib/base", LAYER_BYTES)
    store.put_manifest("lib/base", IMAGE, MANIFEST)
    found = RegistryPull(store).fetch(f"lib/base@{sha256(IMAGE)}", "shop/web")
    assert (found.digest, found.media_type) == (sha256(IMAGE), MANIFEST)
    assert store.has_blob("shop/web", sha256(LAYER_BYTES))
    with pytest.raises(NotFoundError, match="SP306"):
        RegistryPull(store).fetch(f"lib/other@{DIGEST}", "shop/web")


@pytest.mark.parametrize(
    "reference", ["host.test/base", "base:latest", "a b@" + DIGEST, "@" + DIGEST, "host.test/base@sha256:12", "x/../y@" + DIGEST]
)
def test_what_is_no_reference_with_a_digest_is_refused(store: OciStoreFolder, reference: str) -> None:
    """A tag alone, no name, no digest or an odd name is SP305."""
    with pytest.raises(UserError, match="SP305"):
        RegistryPull(store).fetch(reference, "shop/web")


@pytest.mark.parametrize(
    ("text", "host", "name"),
    [
        ("registry.test/a/b:1", "registry.test", "a/b"),
        ("localhost/a", "localhost", "a"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000", "a"),
        ("[::1]:5000/a", "[::1]:5000", "a"),
        ("shop/web:1.2", "", "shop/web"),
        ("web", "", "web"),
    ],
)
def test_a_host_is_told_from_a_name(text: str, host: str, name: str) -> None:
    """A first part with a dot or colon, or localhost, is a host; all else is a name in the embedded store."""
    assert ImageReference.parse(f"{text}@{DIGEST}") == ImageReference(host, name, DIGEST)


def test_only_this_machine_is_spoken_to_without_tls() -> None:
    """Plain HTTP is for loopback hosts; what looks like one but is not gets HTTPS."""
    hosts = ("localhost", "127.0.0.1:80", "[::1]:80", "127.0.0.1.test", "localhost.test", "registry.test:5000", "10.0.0.1")
    assert [RegistryClient(RegistryAccess(host)).base.partition(":")[0] for host in hosts] == ["http"] * 3 + ["https"] * 4


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "[::1]", "::ffff:127.0.0.1", "127.1", "2130706433", "0x7f.1", "LOCALHOST", "localhost."],  # noqa: S104
)
def test_this_machine_is_known_in_every_form_of_its_address(host: str) -> None:
    """Short, numeric, mapped and unspecified addresses connect to this machine as well."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.1", "registry.test", "::ffff:10.0.0.1", "1", "", "127.0.0.1.test"])
def test_another_machine_is_not_taken_for_this_one(host: str) -> None:
    """What only looks like it is not it."""
    assert not is_loopback(host)


@pytest.mark.parametrize("target", ["http://127.0.0.1/x", "http://2130706433/x", "http://[::ffff:127.0.0.1]:80/x", "https://localhost/x"])
def test_a_remote_registry_without_tls_leads_not_home_either(target: str) -> None:
    """Plain HTTP makes it not local: its redirects stay off this machine, and go on within it; a registry on this machine may stay here."""
    remote = RegistryClient(RegistryAccess("registry.test", plain_http=True))
    with pytest.raises(WorldError, match="SP307"):
        remote.redirected("http://registry.test/v2/x", target)
    assert remote.redirected("http://registry.test/v2/x", "/y") == "http://registry.test/y"
    assert RegistryClient(RegistryAccess("localhost:5000")).redirected("http://localhost:5000/v2/x", target) == target


@pytest.mark.parametrize("target", ["http://other.test/x", "https://127.0.0.1/x", "https://localhost/x", "file:///etc/passwd", ""])
def test_a_redirect_never_leads_down_or_home(target: str) -> None:
    """From a foreign registry: not to plain HTTP, not to this machine, not to another scheme."""
    with pytest.raises(SetpointError, match="SP307"):
        RegistryClient(RegistryAccess("registry.test")).redirected("https://registry.test/v2/x", target)
