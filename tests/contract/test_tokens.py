"""Tokens on disk, login links and sessions in memory."""

import base64
import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.adapters.tokens import LoginLinks, TokenFile
from setpoint.core.errors import NotFoundError, UserError, WorldError
from setpoint.ground.identity.model import Principal


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 6, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time that was set."""
        return self.time


@pytest.fixture
def clock() -> HandClock:
    """A clock that stands."""
    return HandClock()


@pytest.fixture
def tokens(tmp_path: Path, clock: HandClock) -> TokenFile:
    """No tokens yet."""
    return TokenFile(tmp_path / "tokens.json", clock)


def basic(user: str, password: str) -> str:
    """Return a Basic header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_token_names_its_principal_by_bearer_and_basic(tokens: TokenFile) -> None:
    """The text works as Bearer and as any user's Basic password; the record carries who and when."""
    record, text = tokens.create("person", "ann@example.org", "laptop")
    ann = Principal("person", "ann@example.org", record.token_id)
    assert len(text) == 43
    assert text.startswith("sp_")
    assert (record.created_at, record.revoked_at) == ("2026-11-23T06:00:00.000Z", None)
    for header in (f"Bearer {text}", f"bearer  {text}", basic("", text), basic("any", text), f"BASIC {basic('ü', text)[6:]}"):
        assert tokens.authenticate(header) == ann, header
    operator, secret = tokens.create("operator", "", "up")
    assert tokens.authenticate(f"Bearer {secret}") == Principal("operator", "", operator.token_id)
    assert tokens.list() == (record, operator)


def test_a_token_for_pulls_is_nobody_and_may_pull(tokens: TokenFile) -> None:
    """No call that asks who it is lets it in; the registry's reads do, until it is revoked; people's tokens may pull too."""
    record, text = tokens.create("pull", "", "prod")
    assert tokens.authenticate(f"Bearer {text}") is None
    assert tokens.may_pull(basic("any", text))
    assert tokens.may_pull(f"Bearer {tokens.create('person', 'ann@example.org', '')[1]}")
    assert not tokens.may_pull(basic("any", text + "x"))
    assert not tokens.may_pull(None)
    tokens.revoke(record.token_id)
    assert not tokens.may_pull(basic("any", text))


def test_wrong_and_malformed_headers_are_nobody(tokens: TokenFile) -> None:
    """Anything but a right token is None, never an error."""
    _, text = tokens.create("operator", "", "up")
    colonless = base64.b64encode(text.encode()).decode()
    for header in (
        None,
        "",
        "Bearer",
        "Bearer ",
        text,
        f"Bearer {text}x",
        f"Bearer {text[:-1]}",
        f"Digest {text}",
        "Basic",
        "Basic !!!",
        "Basic /w==",
        f"Basic {colonless}",
        basic(text, ""),
        basic("u", text + "x"),
        "Bearer sp_\udcff",
        "Bearer " + "sp_" + "x" * 5000,
    ):
        assert tokens.authenticate(header) is None, header


def test_the_file_holds_no_token_and_is_private(tokens: TokenFile, tmp_path: Path) -> None:
    """On disk there are only hashes, in a file for its owner alone."""
    record, text = tokens.create("operator", "", "up")
    path = tmp_path / "tokens.json"
    assert text not in path.read_text()
    assert text[3:] not in path.read_text()
    assert json.loads(path.read_text())["tokens"][0]["sha256"] == record.sha256
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["tokens.json", "tokens.lock"]


def test_revoked_is_revoked(tokens: TokenFile, clock: HandClock) -> None:
    """A revoked token lets nobody in, stays in the list with its time, and can be revoked again."""
    record, text = tokens.create("operator", "", "up")
    clock.time += timedelta(minutes=1)
    revoked = tokens.revoke(record.token_id)
    assert revoked.revoked_at == "2026-11-23T06:01:00.000Z"
    assert tokens.authenticate(f"Bearer {text}") is None
    assert tokens.revoke(record.token_id) == revoked
    assert tokens.list() == (revoked,)
    assert not tokens.is_live(record.token_id)
    with pytest.raises(NotFoundError, match="SP841"):
        tokens.revoke("t-none")


def test_a_person_has_an_email_and_the_operator_none(tokens: TokenFile) -> None:
    """Kinds and emails that do not go together are SP842."""
    for kind, email in (("person", " "), ("operator", "a@b")):
        with pytest.raises(UserError, match="SP842"):
            tokens.create(kind, email, "x")  # type: ignore[arg-type]
    assert tokens.list() == ()


def test_another_process_is_heard(tokens: TokenFile, tmp_path: Path) -> None:
    """What another process writes counts at the next call, and nothing of either is lost."""
    first, _ = tokens.create("operator", "", "here")
    script = (
        "import sys; from pathlib import Path; from setpoint.adapters.tokens import TokenFile; "
        "from setpoint.adapters.clock import SystemClock; "
        "print(TokenFile(Path(sys.argv[1]), SystemClock()).create('person', 'bob@example.org', 'there')[1])"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "tokens.json")]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    found = tokens.authenticate(f"Bearer {text}")
    assert found is not None
    assert found.email == "bob@example.org"
    assert tokens.list()[0] == first


def test_writers_do_not_lose_each_others_tokens(tmp_path: Path, clock: HandClock) -> None:
    """Two stores on one file that write at the same time keep every token."""
    stores = [TokenFile(tmp_path / "tokens.json", clock) for _ in range(2)]
    threads = [threading.Thread(target=lambda store=store: [store.create("operator", "", "x") for _ in range(10)]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores[0].list()) == 20


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2, "tokens": []}', '{"version": 1, "tokens": [{"x": 1}]}'])
def test_a_damaged_file_lets_nobody_in(tokens: TokenFile, tmp_path: Path, text: str) -> None:
    """A file that cannot be read is SP840, never an empty list that `create` would then overwrite."""
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(WorldError, match="SP840"):
        tokens.authenticate("Bearer sp_x")
    with pytest.raises(WorldError, match="SP840"):
        tokens.create("operator", "", "x")
    assert (tmp_path / "tokens.json").read_text() == text


def test_a_login_code_works_once_and_for_ten_minutes(tokens: TokenFile, clock: HandClock) -> None:
    """A code logs in once; a used, old or invented one logs nobody in."""
    links = LoginLinks(clock, tokens)
    operator = Principal("operator")
    code = links.login_code(operator)
    assert links.redeem("invented") is None
    assert links.redeem(code) == operator
    assert links.redeem(code) is None
    late = links.login_code(operator)
    clock.time += timedelta(minutes=10)
    assert links.redeem(late) is None


def test_a_session_ends_with_its_token_a_day_or_logout(tokens: TokenFile, clock: HandClock) -> None:
    """A session names its principal until a day passed, its token was revoked, or it was ended."""
    links = LoginLinks(clock, tokens)
    record, _ = tokens.create("person", "ann@example.org", "x")
    ann = Principal("person", "ann@example.org", record.token_id)
    first, second, third = (links.session(ann) for _ in range(3))
    assert links.principal_of_session(first) == ann
    assert links.principal_of_session("") is None
    links.end_session(first)
    assert links.principal_of_session(first) is None
    tokens.revoke(record.token_id)
    assert links.principal_of_session(second) is None
    operator = links.session(Principal("operator"))
    assert links.principal_of_session(operator) == Principal("operator")
    clock.time += timedelta(hours=24)
    assert links.principal_of_session(operator) is links.principal_of_session(third) is None


def test_sessions_do_not_grow_without_end(tokens: TokenFile, clock: HandClock) -> None:
    """A flood of logins drops the oldest, not the memory of the server."""
    links = LoginLinks(clock, tokens)
    first = links.session(Principal("operator"))
    last = [links.session(Principal("operator")) for _ in range(1000)][-1]
    assert links.principal_of_session(first) is None
    assert links.principal_of_session(last) == Principal("operator")
