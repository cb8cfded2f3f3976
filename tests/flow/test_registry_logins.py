"""Logins to another registry on a live home: a base behind a password and an authority of its own, and what a person may not do."""

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from live_home import LiveHome
from setpoint.adapters.oci.copy import RegistryCopy
from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.artifact.model import CONFIG, MANIFEST
from setpoint.cli.main import run as command
from setpoint.core.errors import SetpointError
from tls_registry import TlsRegistry, started

PIPELINE = """apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  test:
    inputs: [app.py]
    run: "echo '<testsuite tests=\\"1\\"><testcase classname=\\"t\\" name=\\"one\\"/></testsuite>' > report.xml"
    evidence: {{tests: report.xml}}
artifacts:
  web: {{needs: [test], image: {{base: "{base}", copy: {{app.py: /app/}}, command: [x]}}}}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRegistry]:
    """A registry with a password."""
    for needed in ("docker-registry", "openssl"):
        if shutil.which(needed) is None:
            pytest.skip(f"INCOMPLETE: needs {needed}")
    with started(tmp_path_factory.mktemp("registry")) as found:
        yield found


def _base(registry: TlsRegistry, scratch: Path) -> str:
    """Put an image into the registry and return its reference."""
    store = OciStoreFolder(scratch)
    config = store.put_blob("base", b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}', CONFIG)
    parts = [{"mediaType": config.media_type, "digest": config.digest, "size": config.size_bytes}]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": []}
    digest = store.put_manifest("base", json.dumps(manifest).encode(), MANIFEST).digest
    RegistryCopy(store, registry.access).copy("base", digest, registry.host, "lib/base")
    return f"{registry.host}/lib/base@{digest}"


def test_a_base_behind_a_login_is_built_on_and_the_password_is_nowhere_else(
    live: LiveHome, registry: TlsRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a login the run says which verb helps; with it the image is built; the password lies in its own 0600 file only."""
    monkeypatch.setenv("SETPOINT_URL", live.ready["url"])
    monkeypatch.setenv("SETPOINT_TOKEN", live.ready["token"])
    pipeline = PIPELINE.format(base=_base(registry, tmp_path / "scratch"))
    report = live.ended(live.commit("hello", {".setpoint/pipeline.yaml": pipeline, "app.py": "1\n"}))
    assert report["run"]["state"] == "failed", report
    authority = tmp_path / "ca.pem"
    authority.write_text(registry.authorities)
    monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n"))
    login = ["registry", "login", registry.host, "--user", registry.user, "--ca", str(authority)]
    assert command(login) == 2
    assert "SP331" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO(registry.password + "\n"))
    assert command(login) == 0
    report = live.ended(live.commit("hello", {"app.py": "2\n"}))
    assert report["run"]["state"] == "passed", report
    capsys.readouterr()
    assert command(["registry", "list"]) == 0
    assert "TLS, own authorities" in capsys.readouterr().out
    with pytest.raises(SetpointError, match="SP804"):
        live.api("sam").get("registries")
    live.stop()
    own = live.home / "registries"
    holding = [
        path
        for folder in (live.home, live.home.with_name("home.run"))
        for root, _folders, names in os.walk(folder)
        for name in names
        if (path := Path(root) / name).is_file() and not path.is_symlink() and registry.password.encode() in path.read_bytes()
    ]
    assert len(holding) == 1
    assert own in holding[0].parents
    assert holding[0].stat().st_mode & 0o777 == 0o600
    live.start()
    assert live.api().get("registries")[0]["host"] == registry.host
    assert command(["registry", "logout", registry.host]) == 0
    assert not [path for path in own.rglob("*") if path.is_file()]
