"""Other machines pull from this home's registry: a server as a person starts one, a stock client over TLS, and nothing else there."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from live_home import free_port, wait_for
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.artifact.model import CONFIG, MANIFEST
from setpoint.client.connection import Connection
from setpoint.client.http import Api
from tls_registry import certificate

ABOUT = b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}'


@dataclass
class Puller:
    """A server with an address for pulls, and a token for them."""

    folder: Path
    api: Api
    host: str
    token: str
    digest: str

    def context(self) -> ssl.SSLContext:
        """Return what trusts the server's certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "tls.pem"))

    def status(self, method: str, path: str, token: str) -> int:
        """Return how a call with a token is answered there."""
        request = urllib.request.Request(f"https://{self.host}{path}", method=method)
        request.add_header("Authorization", "Basic " + b64encode(f"pod:{token}".encode()).decode())
        try:
            with urllib.request.urlopen(request, context=self.context(), timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code


@pytest.fixture(scope="module")
def puller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Puller]:
    """Start `setpoint up -d` with an address for pulls, on a home whose registry holds one image."""
    if shutil.which("openssl") is None:
        pytest.skip("INCOMPLETE: needs openssl")
    folder = tmp_path_factory.mktemp("pull")
    certificate(folder)
    home, port, ready = folder / "home", free_port(), folder / "ready.json"
    setpoint = [sys.executable, "-m", "setpoint.cli.main"]
    environment = {**os.environ, "SETPOINT_HOME": str(home)}
    pull = ["--pull-listen", f"127.0.0.1:{port}", "--pull-cert", str(folder / "tls.pem"), "--pull-key", str(folder / "tls.key")]
    up = [*setpoint, "up", "-d", "--listen", "127.0.0.1:0", "--ready-file", str(ready), *pull]
    done = subprocess.run(up, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    try:
        told = json.loads(ready.read_text())
        api = Api(Connection(told["url"], told["token"], told["registry"], told["git"], told["pid"]))
        store = OciStoreFolder(home / "registry")
        config = store.put_blob("lib/base", ABOUT, CONFIG)
        part = {"mediaType": CONFIG, "digest": config.digest, "size": config.size_bytes}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": part, "layers": []}).encode()
        digest = store.put_manifest("lib/base", manifest, MANIFEST).digest
        token = api.post("tokens", {"kind": "pull", "name": "pods"})["token"]
        yield Puller(folder, api, f"127.0.0.1:{port}", token, digest)
    finally:
        subprocess.run([*setpoint, "down"], env=environment, capture_output=True, check=True)


def test_a_token_for_pulls_reads_there_and_does_nothing_else(puller: Puller) -> None:
    """Manifests come with it; writing, the API, the pages and Git are not there, whoever asks; the API does not know the token."""
    operator = puller.api.connection.token
    assert puller.status("GET", f"/v2/lib/base/manifests/{puller.digest}", puller.token) == 200
    assert puller.status("GET", f"/v2/lib/base/manifests/{puller.digest}", "sp_wrong") == 401
    writes = [
        ("PUT", "/v2/lib/base/manifests/x"),
        ("DELETE", f"/v2/lib/base/manifests/{puller.digest}"),
        ("POST", "/v2/lib/base/blobs/uploads/"),
    ]
    for method, path in [*writes, ("GET", "/"), ("GET", "/api/v1/status"), ("GET", "/git/x.git/info/refs?service=git-upload-pack")]:
        assert puller.status(method, path, operator) == 404, path
    request = urllib.request.Request(f"{puller.api.connection.url}/api/v1/status", headers={"Authorization": f"Bearer {puller.token}"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    assert caught.value.code == 401
    caught.value.close()


def test_a_stock_client_pulls_with_it(puller: Puller, tmp_path: Path) -> None:
    """Skopeo copies the image by digest over TLS with the token as the password."""
    if shutil.which("skopeo") is None:
        pytest.skip("INCOMPLETE: needs skopeo")
    authorities = tmp_path / "certs"
    authorities.mkdir()
    shutil.copy(puller.folder / "tls.pem", authorities / "ca.crt")
    source = f"docker://{puller.host}/lib/base@{puller.digest}"
    command = [
        "skopeo",
        "copy",
        "-q",
        "--src-cert-dir",
        str(authorities),
        "--src-creds",
        f"pod:{puller.token}",
        source,
        f"oci:{tmp_path}/out:x",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "blobs" / "sha256" / puller.digest.partition(":")[2]).is_file()


def test_a_key_of_another_certificate_is_refused_before_anything_starts(puller: Puller, tmp_path: Path) -> None:
    """SP870 says which file, and no server starts."""
    other = tmp_path / "other"
    other.mkdir()
    certificate(other)
    pull = ["--pull-listen", "127.0.0.1:0", "--pull-cert", str(puller.folder / "tls.pem"), "--pull-key", str(other / "tls.key")]
    argv = [sys.executable, "-m", "setpoint.cli.main", "up", "--home", str(tmp_path / "home"), *pull]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "SP870" in done.stderr
    assert str(puller.folder / "tls.pem") in done.stderr
    assert wait_for("no home", lambda: not (tmp_path / "home" / "lock").exists() or None)
