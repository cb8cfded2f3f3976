"""The embedded registry over real HTTP: who may do what, every kind of upload, ranges, lists, and the OCI conformance suite."""

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha512
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree as ET

import pytest
import uvicorn

from setpoint.adapters.oci import registry as registry_module
from setpoint.adapters.oci import uploads
from setpoint.adapters.oci.registry import Registry
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.artifact.model import CONFIG, INDEX, LAYER, MANIFEST
from setpoint.core.digest import sha256
from setpoint.ground.identity.model import Principal

OPERATOR = "Basic " + base64.b64encode(b"any:operator-token").decode()
PERSON = "Basic " + base64.b64encode(b"ann:person-token").decode()
PULL = "Basic pull"
PRINCIPALS = {OPERATOR: Principal("operator"), PERSON: Principal("person", "ann@example.org", "t-1")}
MISSING = "sha256:" + "0" * 64
ROOT = Path(__file__).parents[2]


class Server:
    """A uvicorn in a thread with the registry, and a client of it."""

    def __init__(self, root: Path) -> None:
        self.store = OciStoreFolder(root)
        app = Registry(self.store, lambda header: PRINCIPALS.get(header or ""), lambda header: header in (PULL, *PRINCIPALS))
        # With the protocol named, for else asyncio leaves Nagle's algorithm on and each small answer waits 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._uvicorn = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", access_log=False))
        self._thread = threading.Thread(target=self._uvicorn.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._uvicorn.started)
        return self

    def __exit__(self, *_: object) -> None:
        self._uvicorn.should_exit = True
        self._thread.join()
        self._socket.close()

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> "Answer":
        """Send one request as the operator unless headers say otherwise."""
        every = {"authorization": OPERATOR} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body or None, {name: value for name, value in every.items() if value})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), answer.headers)
        finally:
            connection.close()

    def push(self, repository: str, data: bytes) -> str:
        """Push a blob in one request."""
        digest = sha256(data)
        assert self.call("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data).status == 201
        return digest

    def image(self, repository: str, **members: Any) -> bytes:
        """Push config and layer; return a manifest of them."""
        self.push(repository, b"{}")
        self.push(repository, b"layer")
        config = {"mediaType": CONFIG, "digest": sha256(b"{}"), "size": 2}
        layer = {"mediaType": LAYER, "digest": sha256(b"layer"), "size": 5}
        return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], **members}).encode()


class Answer:
    """What came back."""

    def __init__(self, status: int, body: bytes, headers: http.client.HTTPMessage) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    @property
    def code(self) -> str:
        """The first OCI error code."""
        return str(json.loads(self.body)["errors"][0]["code"])

    @property
    def told(self) -> tuple[int, str]:
        """Status and OCI error code."""
        return self.status, self.code


def wait_for(condition: Callable[[], object], timeout_s: float = 20) -> None:
    """Return when the condition holds; fail after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A registry that serves an empty store."""
    with Server(tmp_path / "registry") as running:
        yield running


def test_nobody_gets_in_without_a_token(server: Server) -> None:
    """Every path asks for Basic with the realm, in OCI's words; a token opens it."""
    for path in ("/v2/", "/v2/web/manifests/v1", "/v2/nonsense"):
        answer = server.call("GET", path, authorization="")
        assert answer.told == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="setpoint"'
    assert server.call("GET", "/v2/", authorization="Basic wrong").status == 401
    assert server.call("PUT", "/v2/web/manifests/v1", b"x" * 100_000, authorization="").status == 401
    assert server.call("GET", "/v2/", authorization=PERSON).status == 200


def test_a_machine_that_may_pull_can_do_nothing_else(server: Server) -> None:
    """It reads manifests, blobs, tags and referrers; every way to write, and to look at uploads, is DENIED."""
    data = server.image("web")
    assert server.call("PUT", "/v2/web/manifests/v1", data).status == 201
    blob, manifest = f"/v2/web/blobs/{sha256(b'layer')}", f"/v2/web/manifests/{sha256(data)}"
    for path in ("/v2/", blob, manifest, "/v2/web/tags/list", f"/v2/web/referrers/{sha256(data)}"):
        assert server.call("GET", path, authorization=PULL).status == 200, path
    started = server.call("POST", "/v2/web/blobs/uploads/").headers["Location"]
    writes = [("POST", "/v2/web/blobs/uploads/"), ("PUT", started), ("PATCH", started), ("GET", started), ("DELETE", started)]
    writes += [("DELETE", blob), ("DELETE", manifest), ("PUT", manifest), ("POST", "/v2/web/blobs/uploads/?mount=sha256:" + "0" * 64)]
    assert {server.call(method, path, b"x", authorization=PULL).told for method, path in writes} == {(403, "DENIED")}


def test_a_manifest_whose_layers_were_collected_is_none_and_a_push_that_looks_first_heals_it(server: Server) -> None:
    """HEAD and GET by digest and tag say that it is not there, an index cannot name it; its layer and manifest sent again, all is whole."""
    data = server.image("web")
    manifest, tag = f"/v2/web/manifests/{sha256(data)}", "/v2/web/manifests/v1"
    assert server.call("PUT", tag, data).status == 201
    assert server.store.delete_blob("web", sha256(b"layer"))
    assert {server.call(method, path).status for method in ("GET", "HEAD") for path in (manifest, tag)} == {404}
    assert b"not here any more" in server.call("GET", manifest).body
    child = {"mediaType": MANIFEST, "digest": sha256(data), "size": len(data)}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}).encode()
    assert server.call("PUT", "/v2/web/manifests/all", index, content_type=INDEX).status == 404
    server.push("web", b"layer")
    assert server.call("PUT", manifest, data).status == 201
    assert {server.call(method, path).status for method in ("GET", "HEAD") for path in (manifest, tag)} == {200}
    assert server.call("PUT", "/v2/web/manifests/all", index, content_type=INDEX).status == 201


def test_only_the_operator_deletes(server: Server) -> None:
    """A person pushes and pulls, but a delete of blob, tag or manifest is DENIED."""
    data = server.image("web")
    assert server.call("PUT", "/v2/web/manifests/v1", data, authorization=PERSON).status == 201
    paths = [f"/v2/web/blobs/{sha256(b'layer')}", "/v2/web/manifests/v1", f"/v2/web/manifests/{sha256(data)}"]
    for path in paths:
        assert server.call("DELETE", path, authorization=PERSON).told == (403, "DENIED")
    assert [server.call("DELETE", path).status for path in paths] == [202, 202, 202]
    assert [server.call("DELETE", path).status for path in paths] == [404, 404, 404]


def test_a_blob_comes_in_one_request_and_goes_out_whole_or_in_part(server: Server) -> None:
    """POST with a digest, HEAD, GET, and the ranges of RFC 9110."""
    data = bytes(range(256)) * 20_000
    path = f"/v2/shop/web/blobs/{server.push('shop/web', data)}"
    head = server.call("HEAD", path)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(data)))
    assert server.call("GET", path).body == data
    part = server.call("GET", path, range="bytes=5-9")
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, data[5:10], f"bytes 5-9/{len(data)}")
    assert server.call("GET", path, range="bytes=-3").body == data[-3:]
    assert server.call("GET", path, range=f"bytes={len(data) - 2}-").body == data[-2:]
    past = server.call("GET", path, range=f"bytes={len(data)}-")
    assert (past.status, past.headers["Content-Range"]) == (416, f"bytes */{len(data)}")
    for whole in ("bytes=9-5", "bytes=0-1,5-6", "lines=1-2", "bytes=-"):
        assert server.call("GET", path, range=whole).status == 200


def test_a_blob_comes_in_chunks(server: Server) -> None:
    """PATCH at the right place goes on, at a wrong place is 416 with the place; PUT closes with a last chunk."""
    start = server.call("POST", "/v2/web/blobs/uploads/")
    place = start.headers["Location"]
    assert (start.status, start.headers["Range"]) == (202, "0-0")
    first = server.call("PATCH", place, b"hello ", content_range="0-5")
    assert (first.status, first.headers["Range"]) == (202, "0-5")
    again = server.call("PATCH", place, b"hello ", content_range="0-5")
    assert (again.told, again.headers["Range"]) == ((416, "BLOB_UPLOAD_INVALID"), "0-5")
    short = server.call("PATCH", place, b"xy", content_range="6-20")
    assert (short.status, short.headers["Range"]) == (416, "0-5")
    progress = server.call("GET", place)
    assert (progress.status, progress.headers["Range"]) == (204, "0-5")
    wanted = "sha512:" + sha512(b"hello world").hexdigest()
    assert server.call("PUT", f"{place}?digest={wanted}", b"world", content_range="6-10").status == 201
    assert server.call("GET", f"/v2/web/blobs/{wanted}").body == b"hello world"
    assert server.call("GET", place).told == (404, "BLOB_UPLOAD_UNKNOWN")


def test_bytes_that_do_not_match_their_digest_are_refused(server: Server, tmp_path: Path) -> None:
    """In one request, at the end of chunks and for a manifest: 400 DIGEST_INVALID, and nothing stays."""
    assert server.call("POST", f"/v2/web/blobs/uploads/?digest={MISSING}", b"x").told == (400, "DIGEST_INVALID")
    place = server.call("POST", "/v2/web/blobs/uploads/").headers["Location"]
    assert server.call("PUT", f"{place}?digest={MISSING}", b"x").told == (400, "DIGEST_INVALID")
    place = server.call("POST", "/v2/web/blobs/uploads/").headers["Location"]
    assert server.call("PUT", place, b"x").told == (400, "DIGEST_INVALID")
    data = server.image("web")
    assert server.call("PUT", f"/v2/web/manifests/{MISSING}", data, content_type=MANIFEST).told == (400, "DIGEST_INVALID")
    assert server.call("HEAD", f"/v2/web/blobs/{MISSING}").status == 404
    assert list((tmp_path / "registry/uploads").iterdir()) == []


def test_a_blob_is_mounted_or_has_to_be_uploaded(server: Server) -> None:
    """A mount that works is 201, one that does not opens an upload."""
    digest = server.push("one", b"bytes")
    assert server.call("POST", f"/v2/two/blobs/uploads/?mount={digest}&from=one").status == 201
    assert server.call("GET", f"/v2/two/blobs/{digest}").body == b"bytes"
    assert server.call("POST", f"/v2/two/blobs/uploads/?mount={MISSING}&from=one").status == 202


def test_an_upload_is_cancelled(server: Server) -> None:
    """After DELETE the session is unknown; a person may cancel too, for a session is no content."""
    place = server.call("POST", "/v2/web/blobs/uploads/").headers["Location"]
    assert server.call("DELETE", place, authorization=PERSON).status == 204
    assert server.call("PATCH", place, b"x").told == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_client_that_goes_away_leaves_no_half_blob(server: Server, tmp_path: Path) -> None:
    """A single request that breaks off is cleaned up at once; a chunked one stays to be resumed."""
    uploads = tmp_path / "registry/uploads"
    head = (
        f"POST /v2/web/blobs/uploads/?digest={MISSING} HTTP/1.1\r\nHost: x\r\nAuthorization: {OPERATOR}\r\nContent-Length: 9000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + b"x" * 2_000_000)
        wait_for(lambda: any(path.stat().st_size for path in uploads.glob("*/data")))
    wait_for(lambda: list(uploads.iterdir()) == [])
    place = server.call("POST", "/v2/web/blobs/uploads/").headers["Location"]
    head = f"PATCH {place} HTTP/1.1\r\nHost: x\r\nAuthorization: {OPERATOR}\r\nContent-Length: 9000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + b"x" * 2_000_000)
        wait_for(lambda: any(path.stat().st_size for path in uploads.glob("*/data")))
        assert server.call("PATCH", place, b"me too").told == (409, "BLOB_UPLOAD_INVALID")
    wait_for(lambda: server.call("GET", place).status == 204)
    arrived = int(server.call("GET", place).headers["Range"].removeprefix("0-")) + 1
    rest = b"y" * 10
    digest = sha256(b"x" * arrived + rest)
    assert server.call("PUT", f"{place}?digest={digest}", rest).status == 201


def test_sessions_survive_a_restart_of_the_server(tmp_path: Path) -> None:
    """What had arrived is still there when the next server opens the same folder."""
    with Server(tmp_path / "registry") as first:
        place = first.call("POST", "/v2/web/blobs/uploads/").headers["Location"]
        assert first.call("PATCH", place, b"hello").status == 202
    with Server(tmp_path / "registry") as second:
        assert second.call("PUT", f"{place}?digest={sha256(b'hello')}").status == 201


def test_a_manifest_goes_in_by_tag_and_out_by_both_names(server: Server) -> None:
    """The bytes and the media type come back as they were sent."""
    data = server.image("web")
    put = server.call("PUT", "/v2/web/manifests/v1", data, content_type=MANIFEST)
    assert (put.status, put.headers["Docker-Content-Digest"]) == (201, sha256(data))
    for name in ("v1", sha256(data)):
        got = server.call("GET", f"/v2/web/manifests/{name}")
        assert (got.body, got.headers["Content-Type"], got.headers["Docker-Content-Digest"]) == (data, MANIFEST, sha256(data))
        assert server.call("HEAD", f"/v2/web/manifests/{name}").headers["Content-Length"] == str(len(data))
    assert server.call("GET", "/v2/web/manifests/v2").told == (404, "MANIFEST_UNKNOWN")


def test_bad_manifests_are_refused_in_the_specs_words(server: Server) -> None:
    """Not JSON, a missing blob, too large, and an impossible reference each have their code."""
    missing = json.loads(server.image("web"))
    missing["layers"][0]["digest"] = MISSING
    put = "/v2/web/manifests/v1"
    assert server.call("PUT", put, b"no", content_type=MANIFEST).told == (400, "MANIFEST_INVALID")
    assert server.call("PUT", put, json.dumps(missing).encode(), content_type=MANIFEST).told == (404, "MANIFEST_BLOB_UNKNOWN")
    assert server.call("PUT", put, b" " * ((4 << 20) + 1), content_type=MANIFEST).told == (413, "MANIFEST_INVALID")
    assert server.call("PUT", "/v2/web/manifests/sha256:12", b"{}").told == (400, "DIGEST_INVALID")
    assert server.call("PUT", "/v2/web/manifests/-x", server.image("web"), content_type=MANIFEST).told == (400, "NAME_INVALID")


@pytest.mark.parametrize(
    "path", ["/v2/../x/tags/list", "/v2/Web/tags/list", "/v2/a%2f..%2fb/tags/list", "/v2/_tags/x/tags/list", "/v2/" + "a/" * 600]
)
def test_odd_paths_lead_nowhere(server: Server, path: str) -> None:
    """What is no repository name is 404, also percent-encoded or very long."""
    assert server.call("GET", path).status == 404


def test_tags_come_in_pages(server: Server) -> None:
    """`n` and `last` cut the list, and the Link leads through all of it in order."""
    data = server.image("web")
    for tag in ("v2", "V3", "a", "v10"):
        assert server.call("PUT", f"/v2/web/manifests/{tag}", data).status == 201
    seen: list[str] = []
    path = "/v2/web/tags/list?n=3"
    while path:
        answer = server.call("GET", path)
        seen += json.loads(answer.body)["tags"]
        path = (answer.headers["Link"] or "<>").partition(">")[0].removeprefix("<")
    assert seen == ["a", "v10", "v2", "V3"]
    assert server.call("GET", "/v2/none/tags/list").told == (404, "NAME_UNKNOWN")
    assert server.call("GET", "/v2/web/tags/list?n=x").status == 400


def test_referrers_are_listed_filtered_and_paged(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The subject comes back as OCI-Subject; the list filters by type and never grows without bound."""
    data = server.image("web")
    subject = {"mediaType": MANIFEST, "digest": sha256(data), "size": len(data)}
    digests = []
    for number in range(4):
        kind = f"application/x.{number % 2}"
        referrer = server.image("web", subject=subject, artifactType=kind, annotations={"number": str(number)})
        put = server.call("PUT", f"/v2/web/manifests/{sha256(referrer)}", referrer)
        assert (put.status, put.headers["OCI-Subject"]) == (201, sha256(data))
        digests.append(sha256(referrer))
    every = server.call("GET", f"/v2/web/referrers/{sha256(data)}")
    assert every.headers["Content-Type"] == INDEX
    assert {item["digest"] for item in json.loads(every.body)["manifests"]} == set(digests)
    some = server.call("GET", f"/v2/web/referrers/{sha256(data)}?artifactType=application%2Fx.1")
    assert some.headers["OCI-Filters-Applied"] == "artifactType"
    assert {item["annotations"]["number"] for item in json.loads(some.body)["manifests"]} == {"1", "3"}
    monkeypatch.setattr(registry_module, "_PAGE_BYTES", 10)
    first = server.call("GET", f"/v2/web/referrers/{sha256(data)}?artifactType=application%2Fx.1")
    second = server.call("GET", first.headers["Link"].partition(">")[0].removeprefix("<"))
    pages = [json.loads(page.body)["manifests"] for page in (first, second)]
    assert [len(page) for page in pages] == [1, 1]
    assert second.headers["Link"] is None
    assert json.loads(server.call("GET", f"/v2/web/referrers/{MISSING}").body)["manifests"] == []


@pytest.mark.slow
def test_the_oci_conformance_suite_finds_no_fault(server: Server, tmp_path: Path) -> None:
    """distribution-spec's own suite, with the operator's token and all optional features, has no failure."""
    if shutil.which("go") is None:
        pytest.skip("INCOMPLETE: needs go (1.24 or newer) to build the OCI conformance suite")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OCI_")},
        "OCI_REGISTRY": f"127.0.0.1:{server.port}",
        "OCI_USERNAME": "any",
        "OCI_PASSWORD": "operator-token",
    }
    argv = [str(ROOT / "tools/run-conformance"), str(tmp_path / "results")]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    suite = ET.parse(tmp_path / "results/junit.xml").getroot().find("testsuite")  # noqa: S314 - written by the suite just now
    assert suite is not None
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    # Most of it ran: a suite that skips is no proof.
    assert int(suite.get("tests", "0")) - int(suite.get("skipped", "0")) > 900


def test_sha512_is_checked_like_sha256(server: Server) -> None:
    """Blobs and manifests go in and out by sha512, and bytes with another digest do not."""
    data = b"by another name"
    digest = "sha512:" + sha512(data).hexdigest()
    assert server.call("POST", f"/v2/shop/web/blobs/uploads/?digest={digest}", data).status == 201
    assert server.call("GET", f"/v2/shop/web/blobs/{digest}").body == data
    wrong = server.call("POST", f"/v2/shop/web/blobs/uploads/?digest={digest}", data + b"!")
    assert wrong.told == (400, "DIGEST_INVALID")
    manifest = server.image("shop/web")
    name = "sha512:" + sha512(manifest).hexdigest()
    assert server.call("PUT", f"/v2/shop/web/manifests/{name}", manifest, content_type=MANIFEST).status == 201
    assert server.call("GET", f"/v2/shop/web/manifests/{name}").body == manifest
    assert server.call("PUT", f"/v2/shop/web/manifests/{name}", manifest + b" ", content_type=MANIFEST).told == (400, "DIGEST_INVALID")


def test_many_clients_attach_at_once_and_none_is_lost(server: Server) -> None:
    """Referrers of one subject that are pushed at the same moment are all listed: nothing is read, changed and written back."""
    manifest = server.image("shop/web")
    subject = {"mediaType": MANIFEST, "digest": sha256(manifest), "size": len(manifest)}
    server.call("PUT", f"/v2/shop/web/manifests/{sha256(manifest)}", manifest, content_type=MANIFEST)

    def attach(number: int) -> int:
        data = server.image("shop/web", subject=subject, artifactType=f"application/x.n{number}")
        return server.call("PUT", f"/v2/shop/web/manifests/{sha256(data)}", data, content_type=MANIFEST).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(attach, range(24))) == {201}
    listed = json.loads(server.call("GET", f"/v2/shop/web/referrers/{sha256(manifest)}").body)["manifests"]
    assert {item["artifactType"] for item in listed} == {f"application/x.n{number}" for number in range(24)}


def test_a_manifest_that_is_too_large_and_uploads_without_end_are_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five megabytes of manifest are 413; more unfinished uploads than allowed are 429, and finishing one makes room."""
    big = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "annotations": {"a": "x" * (5 << 20)}}).encode()
    assert server.call("PUT", "/v2/shop/web/manifests/big", big, content_type=MANIFEST).status == 413
    monkeypatch.setattr(uploads, "OPEN_UPLOADS", 3)
    begun = [server.call("POST", "/v2/shop/web/blobs/uploads/") for _ in range(4)]
    assert [answer.status for answer in begun] == [202, 202, 202, 429]
    assert begun[3].code == "TOOMANYREQUESTS"
    assert server.call("DELETE", str(begun[0].headers["Location"])).status == 204
    assert server.call("POST", "/v2/shop/web/blobs/uploads/").status == 202
