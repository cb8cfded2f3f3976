"""What a secret or a login held is gone for good once the journal has ended it, also when the server died in between (law 5)."""

from pathlib import Path

import pytest

from setpoint.adapters.secret_files import SecretFolder
from setpoint.core.errors import NotFoundError
from setpoint.ground.registries.model import RegistryAccess
from setpoint.ground.registries.service import Registries
from setpoint.ground.secrets.service import Secrets
from unit.builders_home import KilledError, World

VALUE = "s3cr3t-value-0001"
HOST = "registry.example.com:5000"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where values lie."""
    return tmp_path / "values"


class MortalValues(SecretFolder):
    """Dies where it would have deleted a value."""

    def forget(self, repository: str, name: str, below: int) -> None:
        """Die."""
        raise KilledError(f"{repository}/{name} below {below}")


def _files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def _secrets(world: World, root: Path, values: type[SecretFolder] = SecretFolder) -> Secrets:
    return Secrets(world.records, values(root), world.recorder)


def _logins(world: World, root: Path, values: type[SecretFolder] = SecretFolder) -> Registries:
    return Registries(world.records, values(root), world.recorder, lambda _access: None)


def test_a_removed_secret_whose_server_died_before_deleting_it_goes_at_the_next_start(world: World, root: Path) -> None:
    """Nobody can ask for the removal again, for the secret is gone by the journal: so the start makes it up."""
    world.commit("hello", {"a": b"1"})
    _secrets(world, root).set("hello", "TOKEN", VALUE, "operator")
    _secrets(world, root).set("hello", "OTHER", VALUE, "operator")
    with pytest.raises(KilledError):
        _secrets(world, root, MortalValues).remove("hello", "TOKEN", "operator")
    assert _files(root) == ["hello/OTHER/1", "hello/TOKEN/1"]
    with pytest.raises(NotFoundError, match="SP252"):
        _secrets(world, root).remove("hello", "TOKEN", "operator")
    _secrets(world, root).sweep()
    assert _files(root) == ["hello/OTHER/1"]
    assert _secrets(world, root).value("hello", "OTHER", 1) == VALUE


def test_values_of_versions_that_nobody_can_ask_for_any_more_go_too(world: World, root: Path) -> None:
    """The version in force and the one before stay; an older one that a death kept goes."""
    world.commit("hello", {"a": b"1"})
    for values in (SecretFolder, SecretFolder, MortalValues):
        try:
            _secrets(world, root, values).set("hello", "TOKEN", VALUE, "operator")
        except KilledError:
            assert _files(root) == ["hello/TOKEN/1", "hello/TOKEN/2", "hello/TOKEN/3"]
    _secrets(world, root).sweep()
    assert _files(root) == ["hello/TOKEN/2", "hello/TOKEN/3"]


def test_a_value_that_the_journal_does_not_know_stays(world: World, root: Path) -> None:
    """A journal restored from yesterday deletes nothing of today (law 7); what was half written goes, whatever its name is."""
    world.commit("hello", {"a": b"1"})
    _secrets(world, root).set("hello", "TOKEN", VALUE, "operator")
    for name in ("TOKEN", "YOUNGER"):
        SecretFolder(root).write("hello", name, 2, VALUE)
    (root / "hello" / "TOKEN" / ".0123456789ab").write_text("half")
    _secrets(world, root).sweep()
    assert _files(root) == ["hello/TOKEN/1", "hello/TOKEN/2", "hello/YOUNGER/2"]


def test_the_password_of_an_ended_login_goes_at_the_next_start(world: World, root: Path) -> None:
    """By host and port as they were given; a login that is in force keeps its own."""
    for host in (HOST, "other.example.com"):
        _logins(world, root).login(RegistryAccess(host, "robot", VALUE), "operator")
    with pytest.raises(KilledError):
        _logins(world, root, MortalValues).logout(HOST, "operator")
    with pytest.raises(NotFoundError, match="SP334"):
        _logins(world, root).logout(HOST, "operator")
    assert len(_files(root)) == 2
    _logins(world, root).sweep()
    assert _files(root) == ["other.example.com/login/1"]
    assert _logins(world, root).access("other.example.com").password == VALUE


def test_a_login_is_found_however_its_host_is_written(world: World, root: Path) -> None:
    """Names of hosts have no case: one login, one password, one logout."""
    kept = _logins(world, root).login(RegistryAccess(HOST.upper(), "robot", VALUE), "operator")
    assert kept.host == HOST
    for host in (HOST, HOST.title()):
        assert _logins(world, root).access(host) == RegistryAccess(HOST, "robot", VALUE)
    _logins(world, root).logout(HOST.title(), "operator")
    assert (_logins(world, root).listed(), _files(root)) == ([], [])
