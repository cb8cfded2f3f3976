"""What a kubeconfig that is sent may make the server read or run: nothing, unless the operator says so."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from setpoint.adapters.kubernetes.clusters import facts
from setpoint.adapters.secret_files import SecretFolder
from setpoint.core.errors import UserError
from setpoint.ground.clusters.service import Clusters
from unit.builders_home import World


@pytest.fixture
def clusters(world: World, tmp_path: Path) -> Clusters:
    """The clusters of an empty home."""
    return Clusters(world.records, SecretFolder(tmp_path / "values"), world.recorder, facts)


def _config(user: dict[str, Any], **cluster: str) -> str:
    value = {
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "prod",
    }
    return yaml.safe_dump(value)


@pytest.mark.parametrize("name", ["certificate-authority", "client-certificate", "client-key"])
def test_no_certificate_or_key_of_the_server_is_read(clusters: Clusters, tmp_path: Path, name: str) -> None:
    """A path in what is sent is refused, also where the file is there and the operator allows programs."""
    file = tmp_path / "file.pem"
    file.write_text("PEM")
    entry = {name: str(file)}
    content = _config({"token": "t"}, **entry) if name == "certificate-authority" else _config(entry)
    with pytest.raises(UserError, match=f"SP680.*{name}") as caught:
        clusters.add("prod", content, "", "operator", may_run=True)
    assert "--flatten" in caught.value.fix
    assert clusters.listed() == []


def test_a_token_file_of_the_server_needs_the_word_of_the_operator(clusters: Clusters) -> None:
    """The server would send what is in it to an address of the sender's choice."""
    content = _config({"tokenFile": "/var/run/token"})
    with pytest.raises(UserError, match=r"SP692.*/var/run/token") as caught:
        clusters.add("prod", content, "", "operator")
    assert "--allow-exec" in caught.value.fix
    assert clusters.add("prod", content, "", "operator", may_run=True).server == "https://10.0.0.1:6443"
    with pytest.raises(UserError, match=r"SP680.*not absolute"):
        clusters.add("prod", _config({"tokenFile": "token"}), "", "operator", may_run=True)
