"""Nodes pull from the home's own registry with a secret that Setpoint makes, mends and exchanges; nobody sees its value."""

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from kubernetes_released import Shop, running_shop
from kubernetes_world import Machine
from live_files import contents
from live_home import free_port, new_home, wait_for

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 0
      imagePullSecrets: [{name: of-the-team}]
      containers:
        - {name: shop, image: web, command: [/bin/busybox, sleep, "100000"]}
"""


@dataclass
class Pulling:
    """A shop whose nodes pull from the home itself."""

    shop: Shop
    host: str

    def secret(self) -> dict[str, str]:
        """Return what the secret shows the registry, and its name; empty while it is not there."""
        listed = json.loads(self.shop.kubectl("get", "secret", "-o", "json"))["items"]
        found = [one for one in listed if one["metadata"]["name"].startswith("setpoint-pull-")]
        if not found:
            return {}
        value = json.loads(base64.b64decode(found[0]["data"][".dockerconfigjson"]))
        auths: dict[str, str] = value["auths"].get(self.host, {})
        return {"name": found[0]["metadata"]["name"], "type": found[0]["type"], **auths}

    def another(self, than: dict[str, str]) -> dict[str, str] | None:
        """Return the secret once it has another password than before."""
        found = self.secret()
        return found if found.get("password") not in {None, than["password"]} else None

    def let_in(self, password: str) -> bool:
        """Say whether the pull address lets a token in."""
        folder = self.shop.live.work
        curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(folder / "tls.pem"), "-u", f"setpoint:{password}"]
        done = subprocess.run([*curl, f"https://{self.host}/v2/"], capture_output=True, text=True, check=False, timeout=30)
        return done.stdout == "200"

    def written(self) -> list[str]:
        """Return why the secret was written, each time."""
        return [entry["body"]["why"] for entry in self.shop.live.journal() if entry["kind"] == "pull-secret.written"]


@pytest.fixture(scope="module")
def pulling(node: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulling]:
    """A home whose registry answers pods over TLS, with a certificate that the node's containerd trusts."""
    folder = tmp_path_factory.mktemp("pulls")
    address = node.registry.rpartition(":")[0]
    host = f"{address}:{free_port()}"
    folder.chmod(0o711)
    subject = ["-subj", f"/CN={address}", "-addext", f"subjectAltName=IP:{address}"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    subprocess.run([*command, "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.pem")], check=True, capture_output=True)
    _trust(node, host, folder / "tls.pem")
    pull = ["--pull-listen", host, "--pull-cert", str(folder / "tls.pem"), "--pull-key", str(folder / "tls.key"), "--pull-name", host]
    live = new_home(folder, tuple(pull))
    try:
        with running_shop(live, node, host, DEPLOYMENT, plain=False) as shop:
            yield Pulling(shop, host)
    finally:
        live.down()


def _trust(node: Machine, host: str, certificate: Path) -> None:
    """Have containerd check the registry's certificate against itself."""
    place = node.kubeconfig.parent / "conf" / "certs.d" / host
    place.mkdir(parents=True)
    (place / "hosts.toml").write_text(f'server = "https://{host}"\n[host."https://{host}"]\nca = "{certificate}"\n')


def test_pods_pull_with_a_secret_that_nobody_made(pulling: Pulling) -> None:
    """The pod runs, names the secret beside the team's own, and no value is in the journal, the database or the API."""
    shop = pulling.shop
    shop.healthy()
    secret = pulling.secret()
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    named = shop.get("deployment/shop")["spec"]["template"]["spec"]["imagePullSecrets"]
    assert named == [{"name": "of-the-team"}, {"name": secret["name"]}]
    assert pulling.let_in(secret["password"])
    told = [one for one in shop.live.api().get("/api/v1/tokens") if one["name"] == f"pulls of real/{shop.namespace}"]
    assert [one["kind"] for one in told] == ["pull"]
    assert secret["password"] not in json.dumps([shop.live.journal(), shop.why(), told])
    kept = [path for path, data in contents(shop.live.home) if secret["password"].encode() in data]
    assert kept == []
    assert shop.live.api().get("/api/v1/diff/shop/cloud")["differences"] == []
    assert pulling.written() == ["it was not there"]


def test_a_secret_that_somebody_changed_gets_a_new_token(pulling: Pulling) -> None:
    """Changed or deleted, it is made again; the token before is let in meanwhile, and pods go on."""
    shop = pulling.shop
    shop.healthy()
    before = pulling.secret()
    shop.kubectl("patch", f"secret/{before['name']}", "--type=merge", "-p", '{"data":{".dockerconfigjson":"e30="}}')
    after = wait_for("a new token", partial(pulling.another, before), 60)
    assert pulling.let_in(after["password"])
    assert pulling.let_in(before["password"])
    shop.kubectl("delete", f"secret/{before['name']}")
    last = wait_for("the secret", partial(pulling.another, after), 60)
    assert pulling.let_in(last["password"])
    assert pulling.written()[-2:] == ["its content was changed", "it was not there"]
    promotion = shop.healthy()["promotion"]
    shop.live.commit("hello", {"www/index.html": "two"})
    shop.healthy(promotion)


def test_a_token_that_was_revoked_is_exchanged(pulling: Pulling) -> None:
    """A person who revokes it does no harm: the secret has a new one at the next look."""
    shop = pulling.shop
    shop.healthy()
    before = pulling.secret()
    every = [one for one in shop.live.api().get("/api/v1/tokens") if one["name"].startswith("pulls of ") and not one["revoked_at"]]
    for one in every:
        shop.live.api().delete(f"/api/v1/tokens/{one['id']}")
    after = wait_for("a new token", partial(pulling.another, before), 60)
    assert pulling.let_in(after["password"])
    assert not pulling.let_in(before["password"])


def test_a_secret_goes_when_the_environment_leaves_it_to_others(pulling: Pulling) -> None:
    """`pullSecret: false` revokes the token and deletes the secret; what was pulled runs on, and the key brings both back."""
    shop = pulling.shop
    shop.healthy()
    before = pulling.secret()
    shop.declare(more=", pullSecret: false")
    wait_for("the secret to go", lambda: not pulling.secret() or None, 60)
    wait_for("the token to go", lambda: not pulling.let_in(before["password"]) or None, 60)
    shop.declare()
    wait_for("the secret", lambda: pulling.secret() or None, 60)
    shop.healthy()


def test_what_is_not_ours_under_that_name_stops_nothing_and_is_told(pulling: Pulling) -> None:
    """A Secret of somebody else's with the name is left as it is, and the application says so."""
    shop = pulling.shop
    shop.healthy()
    name = pulling.secret()["name"]
    shop.declare(more=", pullSecret: false")
    wait_for("the secret to go", lambda: not pulling.secret() or None, 60)
    shop.kubectl("create", "secret", "generic", name, "--from-literal=a=b")
    shop.declare()
    assert "nobody of ours" in wait_for("the reason", lambda: shop.reason("SP678"), 60)["found"]
    assert shop.get(f"secret/{name}")["data"] == {"a": "Yg=="}
    shop.kubectl("delete", f"secret/{name}")
    wait_for("ours", lambda: pulling.secret().get("password"), 60)
    shop.until("a healthy shop", lambda cell: cell["health"] == "healthy")
