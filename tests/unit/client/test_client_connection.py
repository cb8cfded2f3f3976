"""Which server and token the command line takes."""

import json
import os
from pathlib import Path

import pytest

from setpoint.client.connection import Connection, find, of_home
from setpoint.core.errors import NotAllowedError, UserError, WorldError

NOBODY = 65534
HERE = {"url": "http://127.0.0.1:7420", "token": "sp_home", "registry": "127.0.0.1:7420", "git": "http://127.0.0.1:7420/git", "pid": 7}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a running server, as SETPOINT_HOME, and nothing else in the environment."""
    for name in ("SETPOINT_URL", "SETPOINT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SETPOINT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "server.json").write_text(json.dumps(HERE))
    return tmp_path / "home"


def test_the_homes_server_is_the_default(home: Path) -> None:
    """Without flags and variables the home's server file says everything."""
    assert find() == find(home=home) == Connection(HERE["url"], "sp_home", HERE["registry"], HERE["git"], 7)  # type: ignore[arg-type]


def test_a_token_of_the_environment_wins_over_the_homes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SETPOINT_TOKEN alone means: this home's server, as that person; --token wins over both."""
    monkeypatch.setenv("SETPOINT_TOKEN", "sp_ann")
    assert (find().url, find().token, find().pid) == ("http://127.0.0.1:7420", "sp_ann", 7)
    assert find(token="sp_flag").token == "sp_flag"


def test_flags_win_over_variables_and_these_over_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--server, then SETPOINT_URL, then the home; an explicit --home goes past SETPOINT_URL."""
    monkeypatch.setenv("SETPOINT_URL", "https://deliver.example.org/base/")
    monkeypatch.setenv("SETPOINT_TOKEN", "sp_ann")
    assert find() == Connection("https://deliver.example.org/base", "sp_ann", "deliver.example.org", "https://deliver.example.org/base/git")
    assert find(server="http://other:1", token="sp_x").url == "http://other:1"
    assert find(home=home).url == HERE["url"]


def test_the_homes_own_address_needs_no_token(home: Path) -> None:
    """A --server that is the home's server takes the home's token; another one needs its own."""
    assert find(server="http://127.0.0.1:7420/").token == "sp_home"
    with pytest.raises(NotAllowedError, match="SP848"):
        find(server="http://127.0.0.1:7421")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:7420", "ftp://x", "http://", "http://x:0", "http://x:99999", "http://u:p@x", "http://x?y=1", "http://[x"]
)
def test_addresses_are_checked(home: Path, url: str) -> None:
    """What is no http(s) address is SP849."""
    with pytest.raises(UserError, match="SP849"):
        find(server=url, token="sp_x")


def test_no_server_says_how_to_start_one(tmp_path: Path) -> None:
    """An empty home is SP845 with the command."""
    with pytest.raises(WorldError) as caught:
        of_home(tmp_path)
    assert (caught.value.code, caught.value.fix) == ("SP845", "start it: setpoint up -d")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": 1}', '{"url": "http://x"}'])
def test_a_damaged_server_file_is_an_error(home: Path, text: str) -> None:
    """A server file that cannot be understood is SP844, never a crash."""
    (home / "server.json").write_text(text)
    with pytest.raises(WorldError, match="SP844"):
        find()


def test_another_owners_home_is_not_allowed(home: Path) -> None:
    """A server file that may not be read is SP848."""
    (home / "server.json").chmod(0)
    mine = os.geteuid()
    os.seteuid(mine or NOBODY)  # root may read everything
    try:
        with pytest.raises(NotAllowedError, match="SP848"):
            find()
    finally:
        os.seteuid(mine)


def test_a_connection_never_shows_its_token() -> None:
    """Tracebacks and logs that print a connection do not print the token."""
    assert "sp_secret" not in repr(Connection("http://x", "sp_secret"))
