"""Kubeconfig files as users have them: what is read, and what is refused with a way out."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from setpoint.adapters.kubernetes import kubeconfig
from setpoint.core.errors import UserError


def config(**changes: Any) -> dict[str, Any]:
    """Return a kubeconfig with one of each, changed."""
    cluster = {"server": "https://10.0.0.1:6443", "certificate-authority-data": base64.b64encode(b"CA").decode()} | changes.get(
        "cluster", {}
    )
    user = changes.get("user", {"token": "secret"})
    context = {"cluster": "c", "user": "u"} | changes.get("context", {})
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "prod", "context": context}],
        "current-context": "prod",
    }


def write(tmp_path: Path, content: object) -> Path:
    """Write a kubeconfig and return its path."""
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_token_and_an_authority_are_read(tmp_path: Path) -> None:
    """The current context gives server, authority, token and namespace; the token is in no representation."""
    found = kubeconfig.read(write(tmp_path, config(context={"namespace": "shop"})))
    assert (found.server, found.authority, found.credential.token, found.namespace) == ("https://10.0.0.1:6443", b"CA", "secret", "shop")
    assert "secret" not in repr(found)


def test_files_beside_the_kubeconfig_are_read_from_its_folder(tmp_path: Path) -> None:
    """Relative paths of certificates, keys and token files are the kubeconfig's own, as kubectl reads them."""
    (tmp_path / "me.crt").write_bytes(b"CERT")
    (tmp_path / "me.key").write_bytes(b"KEY")
    user = {"client-certificate": "me.crt", "client-key": "me.key", "tokenFile": "token"}
    found = kubeconfig.read(write(tmp_path, config(user=user))).credential
    assert (found.certificate, found.key, found.token_file) == (b"CERT", b"KEY", tmp_path / "token")


def test_an_exec_plugin_is_read_with_its_environment(tmp_path: Path) -> None:
    """Command, arguments, environment and version of a plugin are kept; a path is relative to the file."""
    plugin = {
        "command": "./login",
        "args": ["--cluster", "prod"],
        "env": [{"name": "REGION", "value": "eu"}],
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "provideClusterInfo": True,
    }
    found = kubeconfig.read(write(tmp_path, config(user={"exec": plugin}))).credential.plugin
    assert found is not None
    assert (found.command, found.args, found.environment) == (str(tmp_path / "login"), ("--cluster", "prod"), {"REGION": "eu"})
    assert found.cluster == {"server": "https://10.0.0.1:6443", "certificate-authority-data": base64.b64encode(b"CA").decode()}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (config(cluster={"server": "http://10.0.0.1"}), "not https"),
        (config(cluster={"insecure-skip-tls-verify": True}), "skips the check"),
        (config(cluster={"proxy-url": "http://proxy"}), "proxy-url"),
        (config(user={"username": "admin", "password": "x"}), "username"),
        (config(user={"auth-provider": {"name": "gcp"}}), "auth-provider"),
        (config(user={"client-certificate-data": "QQ=="}), "without its key"),
        (config(user={"exec": {"command": ""}}), "without a command"),
        (config(user={"exec": {"command": "login", "interactiveMode": "Always"}}), "terminal"),
        (config(cluster={"certificate-authority-data": "***"}), "no base64"),
        (config(context={"cluster": "d"}), "no cluster `d`"),
        ({}, "no current context"),
        ([], "no kubeconfig"),
    ],
)
def test_what_is_not_safe_or_not_there_is_refused_with_a_fix(tmp_path: Path, content: object, says: str) -> None:
    """Every refusal names the file, what is wrong in it, and what to do."""
    path = write(tmp_path, content)
    with pytest.raises(UserError) as caught:
        kubeconfig.read(path)
    assert caught.value.code == "SP680"
    assert says in caught.value.what
    assert caught.value.where == str(path)
    assert caught.value.fix


def test_a_context_that_is_not_there_is_named_with_its_likeness(tmp_path: Path) -> None:
    """A misspelt context is told with the one that was probably meant."""
    with pytest.raises(UserError) as caught:
        kubeconfig.read(write(tmp_path, config()), "prd")
    assert "prod" in caught.value.fix


def test_a_pod_has_its_account(tmp_path: Path) -> None:
    """Inside a pod address, authority, namespace and a token file come from the account that is mounted there."""
    for name, data in (("ca.crt", "CA"), ("namespace", "shop\n"), ("token", "t")):
        (tmp_path / name).write_text(data)
    found = kubeconfig.in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}, tmp_path)
    assert (found.server, found.namespace, found.credential.token_file) == ("https://[fd00::1]:6443", "shop", tmp_path / "token")
    with pytest.raises(UserError):
        kubeconfig.in_cluster({}, tmp_path)
