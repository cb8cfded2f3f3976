"""What `cluster add` sends, and by which name `up` lets others pull."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from setpoint.cli.cluster import _content
from setpoint.cli.pull_address import named
from setpoint.core.errors import UserError


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Two clusters; the certificate of the other one is not there."""
    (tmp_path / "ca.crt").write_text("CA")
    value = {
        "current-context": "prod",
        "clusters": [
            {"name": "c", "cluster": {"server": "https://10.0.0.1", "certificate-authority": "ca.crt"}},
            {"name": "other", "cluster": {"server": "https://10.0.0.2", "certificate-authority": "gone.crt"}},
        ],
        "users": [{"name": "u", "user": {"token": "ours"}}, {"name": "v", "user": {"token": "other-secret"}}],
        "contexts": [
            {"name": "prod", "context": {"cluster": "c", "user": "u"}},
            {"name": "stage", "context": {"cluster": "other", "user": "v"}},
        ],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(value))
    return path


@pytest.mark.parametrize("context", ["", "prod"])
def test_only_what_the_context_needs_is_sent(kubeconfig: Path, context: str) -> None:
    """One cluster with its certificate in it, one user; nothing of the other cluster, whose missing file is nobody's trouble."""
    sent: dict[str, Any] = yaml.safe_load(_content(kubeconfig, context))
    data = base64.b64encode(b"CA").decode()
    assert sent["clusters"] == [{"name": "c", "cluster": {"server": "https://10.0.0.1", "certificate-authority-data": data}}]
    assert sent["users"] == [{"name": "u", "user": {"token": "ours"}}]
    assert ([entry["name"] for entry in sent["contexts"]], sent["current-context"]) == (["prod"], "prod")


def test_the_file_that_is_missing_is_named(kubeconfig: Path) -> None:
    """Not the kubeconfig, which can be read; a context that is not there is told with those that are."""
    with pytest.raises(UserError, match=r"SP697.*certificate-authority") as caught:
        _content(kubeconfig, "stage")
    assert caught.value.where == str(kubeconfig.parent / "gone.crt")
    with pytest.raises(UserError, match=r"SP697.*no context `prd`") as caught:
        _content(kubeconfig, "prd")
    assert "prod" in caught.value.fix
    with pytest.raises(UserError, match="SP697") as caught:
        _content(kubeconfig.parent / "none", "")
    assert caught.value.where == str(kubeconfig.parent / "none")


@pytest.mark.parametrize("content", ["[]", "a: [", "clusters: 3\ncurrent-context: x\ncontexts: [1]", ""])
def test_what_is_no_kubeconfig_is_said_to_be_none(tmp_path: Path, content: str) -> None:
    """SP697, whatever it is."""
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(UserError, match="SP697"):
        _content(path, "")


@pytest.mark.parametrize(
    ("listen", "name"),
    [("0.0.0.0:7443", None), ("[::]:7443", None), (":::7443", None), (":7443", None), ("10.0.0.5:7443", "0.0.0.0")],  # noqa: S104
)
def test_every_address_is_no_name_to_pull_from(listen: str, name: str | None) -> None:
    """SP871 asks for --pull-name with the same port."""
    with pytest.raises(UserError, match="SP871") as caught:
        named(listen, name)
    assert "--pull-name registry.example.com:7443" in caught.value.fix


def test_an_address_or_a_name_that_others_reach_is_taken() -> None:
    """The name when there is one."""
    assert named("10.0.0.5:7443", None) == "10.0.0.5:7443"
    assert named("0.0.0.0:7443", "registry.example.com") == "registry.example.com"
    assert named("[fd00::5]:7443", None) == "[fd00::5]:7443"
