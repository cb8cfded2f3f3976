"""A real foreign registry behind TLS and a password, for tests: Debian's docker-registry with a certificate of its own authority."""

import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from setpoint.ground.registries.model import RegistryAccess

_HASHED = "$2b$04$2Kklma3ZnVMUN3NY87dyH.8EvoW6BaVYVMFUi9h0RZVTaAIiyPhNu"
"""bcrypt of the password below, with the least work there is."""
_CONFIG = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}", tls: {{certificate: {folder}/tls.pem, key: {folder}/tls.key}}}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""


@dataclass(frozen=True)
class TlsRegistry:
    """One that runs."""

    folder: Path
    host: str
    authorities: str
    user: str = "robot"
    password: str = "open sesame please"

    def access(self, _host: str) -> RegistryAccess:
        """Return the login that it lets in."""
        return RegistryAccess(self.host, self.user, self.password, authorities=self.authorities)

    def trusting(self) -> ssl.SSLContext:
        """Return a context that trusts it."""
        return ssl.create_default_context(cadata=self.authorities)


def certificate(folder: Path) -> None:
    """Write `tls.pem`, which vouches for itself as this machine's loopback address, and `tls.key`."""
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    subprocess.run([*command, "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.pem")], check=True, capture_output=True)


@contextmanager
def started(folder: Path) -> Iterator[TlsRegistry]:
    """Start a registry in a folder, and stop it at the end."""
    certificate(folder)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    found = TlsRegistry(folder, f"127.0.0.1:{port}", (folder / "tls.pem").read_text())
    (folder / "htpasswd").write_text(f"{found.user}:{_HASHED}\n")
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder, port=port))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], env=environment, stderr=subprocess.DEVNULL)
    try:
        _answers(found, process)
        yield found
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def plain(folder: Path, listen: str) -> Iterator[None]:
    """Start a registry without TLS and password at an address of a test's own network, and stop it at the end."""
    config = f'version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: "{listen}"}}\n'
    (folder / "config.yml").write_text(config)
    process = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        host, _, port = listen.rpartition(":")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection((host, int(port)), 1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _answers(registry: TlsRegistry, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(f"https://{registry.host}/v2/", context=registry.trusting(), timeout=1)
        except urllib.error.HTTPError as error:
            error.close()
            return  # 401: it is there
        except OSError:
            time.sleep(0.02)
    raise AssertionError("docker-registry does not answer")
