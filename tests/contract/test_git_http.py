"""Smart HTTP with stock git as the client, over a real server on a free port."""

import asyncio
import base64
import gzip
import http.client
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest
import uvicorn

from setpoint.adapters.git.http import GitHttp
from setpoint.adapters.git.pkt import FLUSH, ProtocolError, PushHead, band, line, parse_head, refusal
from setpoint.adapters.git.process import Limits
from setpoint.adapters.git.report import PushReport
from setpoint.adapters.git.spool import IntendedPush, PushSpool
from setpoint.adapters.git.store import GitRepositories
from setpoint.core.errors import NotAllowedError, WorldError
from setpoint.ground.identity.model import Principal
from setpoint.source.model import RefUpdate

TOKEN = "sp_right"
ANN = Principal("person", "ann@example.org", "t-1")
ZERO = "0" * 40
BASIC = base64.b64encode(f"any:{TOKEN}".encode()).decode()


class Server:
    """A uvicorn in a thread with the Git endpoint, and what it was asked and told."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.store = GitRepositories(root)
        self.store.create("shop")
        self.pushes: list[tuple[Principal, str, list[RefUpdate]]] = []
        self.refuse = ""
        self.before: Callable[[], str] = lambda: ""
        """Happens after the client looked and before git moves anything."""
        self.on_push: Callable[[], None] = lambda: None
        self.spool = PushSpool(root / ".pushes")
        self.noted: list[IntendedPush] = []
        app = GitHttp(self.store, self._authenticate, self._pushed, self._may_push, limits, self.spool)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://any:{TOKEN}@127.0.0.1:{self.port}/git/shop.git"
        self._uvicorn = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", access_log=False))
        self._thread = threading.Thread(target=self._uvicorn.run, kwargs={"sockets": [self._socket]})

    def _authenticate(self, authorization: str | None) -> Principal | None:
        return ANN if authorization == f"Basic {BASIC}" else None

    async def _pushed(self, principal: Principal, name: str, updates: list[RefUpdate]) -> None:
        await asyncio.sleep(0)
        self.pushes.append((principal, name, updates))
        self.noted = self.spool.pending()
        self.on_push()

    def _may_push(self, _principal: Principal, _name: str, updates: list[RefUpdate]) -> str:
        if any(update.ref == "refs/heads/raising" for update in updates):
            raise NotAllowedError("SP999", "not yours", fix="ask Bob")
        return self.before() or self.refuse

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._uvicorn.started)
        return self

    def __exit__(self, *_: object) -> None:
        self._uvicorn.should_exit = True
        self._thread.join()
        self._socket.close()

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Send one raw request with the right token unless headers say otherwise."""
        every = {"authorization": f"Basic {BASIC}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {name: value for name, value in every.items() if value})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()


def wait_for(condition: Callable[[], object], timeout_s: float = 20) -> None:
    """Return when the condition holds; fail after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with the empty repository `shop`."""
    with Server(tmp_path / "repositories", Limits()) as running:
        yield running


def run(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    """Run stock git away from the machine's configuration."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(at),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Ann",
        "GIT_AUTHOR_EMAIL": "ann@example.org",
        "GIT_COMMITTER_NAME": "Ann",
        "GIT_COMMITTER_EMAIL": "ann@example.org",
        "LC_ALL": "C",
    }
    return subprocess.run(["git", *arguments], cwd=at, env=environment, capture_output=True, text=True, check=False, timeout=60)


def git(*arguments: str, at: Path) -> str:
    """Run stock git, expect success, return what it prints."""
    done = run(*arguments, at=at)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work tree with one commit on main."""
    folder = tmp_path / "work"
    folder.mkdir()
    git("init", "-q", "-b", "main", at=folder)
    (folder / "readme").write_text("hello\n")
    git("add", ".", at=folder)
    git("commit", "-qm", "first", at=folder)
    return folder


def grow(work: Path, name: str, data: bytes = b"x") -> str:
    """Commit one more file and return the commit."""
    (work / name).write_bytes(data)
    git("add", ".", at=work)
    git("commit", "-qm", name, at=work)
    return git("rev-parse", "HEAD", at=work)


def test_push_clone_and_fetch(server: Server, work: Path, tmp_path: Path) -> None:
    """Stock git pushes, clones and fetches; each push is told once, with who, where and what moved."""
    first = git("rev-parse", "HEAD", at=work)
    git("push", "-q", server.url, "main", "main:refs/tags/v1", at=work)
    assert server.pushes == [(ANN, "shop", [RefUpdate("refs/heads/main", ZERO, first), RefUpdate("refs/tags/v1", ZERO, first)])]
    git("clone", "-q", server.url, "copy", at=tmp_path)
    second = grow(work, "more")
    git("push", "-q", server.url, "main", at=work)
    assert server.pushes[1:] == [(ANN, "shop", [RefUpdate("refs/heads/main", first, second)])]
    git("pull", "-q", at=tmp_path / "copy")
    assert git("rev-parse", "HEAD", at=tmp_path / "copy") == second == server.store.heads("shop")["main"]
    git("push", "-q", server.url, "main", at=work)
    assert len(server.pushes) == 2, "a push that moves nothing is no push"
    git("push", "-q", server.url, ":refs/tags/v1", at=work)
    assert server.pushes[2][2] == [RefUpdate("refs/tags/v1", first, ZERO)]
    git("fsck", "--strict", at=server.store.path("shop"))


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_every_protocol_version_is_spoken(server: Server, work: Path, tmp_path: Path, version: str) -> None:
    """Clients of each protocol version push and clone."""
    option = ("-c", f"protocol.version={version}")
    git(*option, "push", "-q", server.url, "main", at=work)
    git(*option, "clone", "-q", server.url, "copy", at=tmp_path)
    assert (tmp_path / "copy" / "readme").read_text() == "hello\n"


def test_wrong_or_no_token_is_refused(server: Server, work: Path) -> None:
    """Without the right token git fails to authenticate, the server asks for Basic, and nothing moved."""
    for url in (server.url.replace(TOKEN, "sp_wrong"), server.url.replace(f"any:{TOKEN}@", "")):
        done = run("push", url, "main", at=work)
        assert done.returncode != 0
        assert "Authentication failed" in done.stderr or "could not read Username" in done.stderr
    status, text, headers = server.request("GET", "/git/shop.git/info/refs?service=git-upload-pack", authorization="")
    assert status == 401
    assert b"token" in text
    assert headers["www-authenticate"].startswith("Basic ")
    assert server.store.heads("shop") == {}
    assert server.pushes == []


def test_what_is_not_there_is_said(server: Server, work: Path) -> None:
    """An unknown repository, a missing .git and the dumb protocol get a sentence each, which git shows."""
    done = run("ls-remote", server.url.replace("shop", "nothing"), at=work)
    assert done.returncode != 0
    assert "remote: there is no repository nothing" in done.stderr
    assert "with .git at its end" in run("ls-remote", server.url.removesuffix(".git"), at=work).stderr
    for path in ("/git/shop.git/HEAD", "/git/shop.git/objects/info/packs", "/git/../shop.git/info/refs", "/git/.git/info/refs", "/"):
        assert server.request("GET", path)[0] == 404, path
    for query in ("", "?service=git-upload-archive", "?service=x&service=git-upload-pack"):
        status, text, _ = server.request("GET", f"/git/shop.git/info/refs{query}")
        assert (status, b"smart" in text) == (403, True)
    assert server.request("POST", "/git/shop.git/info/refs?service=git-upload-pack", b"")[0] == 405
    assert server.request("GET", "/git/shop.git/git-upload-pack")[0] == 405
    assert server.request("GET", "/git/Shop.git/info/refs?service=git-upload-pack")[0] == 404


def test_the_prefix_may_be_stripped(server: Server, work: Path) -> None:
    """A mount that strips /git serves the same."""
    git("push", "-q", server.url.replace("/git/", "/"), "main", at=work)
    assert "main" in server.store.heads("shop")


def test_a_refused_push_reads_as_a_sentence(server: Server, work: Path) -> None:
    """The refusal reaches the user as a `remote:` line and per ref, also for a large pack; nothing moves."""
    server.refuse = "pins/ is written by Setpoint only"
    grow(work, "big", os.urandom(2 << 20))
    done = run("push", server.url, "main", "main:side", at=work)
    assert done.returncode == 1
    assert "remote: pins/ is written by Setpoint only" in done.stderr
    assert "[remote rejected] main -> side (pins/ is written by Setpoint only)" in done.stderr
    server.refuse = ""
    raising = run("push", server.url, "main:raising", at=work)
    assert "remote: error[SP999]: not yours" in raising.stderr
    assert "remote:   = help: ask Bob" in raising.stderr
    assert server.store.refs("shop") == {}
    assert server.pushes == []


def test_setpoints_own_refs_are_closed_and_hidden(server: Server, work: Path) -> None:
    """Nobody pushes to refs/setpoint/ or sees it."""
    git("push", "-q", server.url, "main", at=work)
    assert "belongs to Setpoint" in run("push", server.url, "main:refs/setpoint/seen/main", at=work).stderr
    git("update-ref", "refs/setpoint/seen/main", "refs/heads/main", at=server.store.path("shop"))
    assert "setpoint" not in git("ls-remote", server.url, at=work)


def test_history_is_never_rewritten(server: Server, work: Path) -> None:
    """A forced push is rejected by the repository and not told."""
    grow(work, "more")
    git("push", "-q", server.url, "main", at=work)
    git("reset", "-q", "--hard", "HEAD~1", at=work)
    grow(work, "other")
    done = run("push", "--force", server.url, "main", at=work)
    assert done.returncode == 1
    assert "non-fast-forward" in done.stderr
    assert "remote: error[SP112]: history is not rewritten here: `main` has commits that your push would drop" in done.stderr
    assert "remote:   = help: git pull --rebase origin main, then push again" in done.stderr
    assert len(server.pushes) == 1


def test_the_loser_of_a_race_is_told_so(server: Server, work: Path) -> None:
    """Somebody moves the branch between the client's look and its push: git's own words, then what happened and how to go on."""
    git("push", "-q", server.url, "main", at=work)
    base = git("rev-parse", "HEAD", at=work).strip()
    grow(work, "winner")
    winner = git("rev-parse", "HEAD", at=work).strip()
    git("push", "-q", server.url, "main:side", at=work)
    git("reset", "-q", "--hard", base, at=work)
    grow(work, "loser")

    def overtake() -> str:
        git("update-ref", "refs/heads/main", winner, base, at=server.store.path("shop"))
        return ""

    server.before = overtake
    done = run("push", server.url, "main", at=work)
    assert done.returncode == 1
    assert "[remote rejected] main -> main (failed to update ref)" in done.stderr
    assert "remote: error[SP111]: somebody else moved `main` while you pushed, so your push of it was not taken" in done.stderr
    assert "remote:   = help: git pull --rebase origin main, then push again" in done.stderr
    assert server.store.heads("shop")["main"] == winner


@pytest.mark.parametrize("banded", [True, False])
def test_a_full_disk_is_told_to_the_pusher(*, banded: bool) -> None:
    """Git's report of a pack that found no room passes unchanged, in whatever pieces; the sentence comes before the last flush."""
    update = RefUpdate("refs/heads/main", ZERO, "a" * 40)
    report = PushReport(PushHead((update,), frozenset({"report-status", *(["side-band-64k"] if banded else [])})))
    status = line(b"unpack index-pack abnormal exit\n") + line(b"ng refs/heads/main unpacker error\n") + FLUSH
    said = band(2, b"fatal: write error: No space left on device\n") + band(1, status) + FLUSH
    passed = b"".join(report.feed(said[at : at + 7]) for at in range(0, len(said), 7))
    error = report.fault({})
    last = report.end(error)
    if banded:
        assert error is not None
        assert passed == said[:-4]
        assert last == band(2, f"{error.render()}\n".encode()) + FLUSH
        assert "error[SP110]: the disk of the server is full, so the push was not taken" in error.render()
    else:
        assert passed + last == said


@pytest.mark.parametrize("answer", [b"", b"0000", b"no packet at all", b"000", b"0009\x01half"])
def test_what_git_says_is_never_lost(answer: bytes) -> None:
    """Whatever comes, every byte of it reaches the client, in order and once."""
    report = PushReport(PushHead((), frozenset({"side-band-64k"})))
    assert report.feed(answer) + report.end(None) == answer


def test_a_push_that_is_stored_and_not_journalled_says_so(server: Server, work: Path) -> None:
    """The push succeeded; what kept its entry back, and that it follows, is told."""

    def full() -> None:
        raise WorldError("SP002", "the journal cannot be written", fix="make room")

    server.on_push = full
    done = run("push", server.url, "main", at=work)
    assert done.returncode == 0
    assert "remote: error[SP114]: the push is stored; it is journalled later, by itself" in done.stderr
    assert "remote:   = help: the journal cannot be written; make room" in done.stderr


def test_a_failing_listener_does_not_fail_the_push(server: Server, work: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is stored is stored: an error after the push is logged, and git sees success."""

    def fail() -> None:
        raise RuntimeError("listener")

    server.on_push = fail
    git("push", "-q", server.url, "main", at=work)
    assert "main" in server.store.heads("shop")
    assert "not announced" in caplog.text


def test_twenty_pushes_at_once(server: Server, work: Path) -> None:
    """Twenty clients push twenty branches at the same time: all arrive, each told exactly once."""
    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(lambda number: run("push", "-q", server.url, f"main:b{number}", at=work), range(20)))
    assert [one.stderr for one in done if one.returncode] == []
    assert set(server.store.heads("shop")) == {f"b{number}" for number in range(20)}
    assert sorted(update.ref for _, _, updates in server.pushes for update in updates) == sorted(f"refs/heads/b{n}" for n in range(20))


def test_one_branch_pushed_by_many_is_moved_once(server: Server, work: Path, tmp_path: Path) -> None:
    """Of pushes that race for one branch exactly one wins and is told; the others fail cleanly."""
    clones = []
    git("push", "-q", server.url, "main", at=work)
    for number in range(6):
        git("clone", "-q", server.url, f"c{number}", at=tmp_path)
        grow(tmp_path / f"c{number}", f"f{number}")
        clones.append(tmp_path / f"c{number}")
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda folder: run("push", "-q", at=folder), clones))
    won = [folder for folder, one in zip(clones, done, strict=True) if one.returncode == 0]
    assert len(won) == 1
    head = server.store.heads("shop")["main"]
    assert head == git("rev-parse", "HEAD", at=won[0])
    assert [updates[0].new for _, _, updates in server.pushes[1:]] == [head]


def test_a_large_push_streams(server: Server, work: Path, tmp_path: Path) -> None:
    """Five megabytes that do not compress arrive (git probes first and then sends chunks), and come back the same."""
    data = os.urandom(5 << 20)
    grow(work, "blob", data)
    git("push", "-q", server.url, "main", at=work)
    git("clone", "-q", server.url, "copy", at=tmp_path)
    assert (tmp_path / "copy" / "blob").read_bytes() == data
    assert len(server.pushes) == 1, "the probe is no push"


def test_shallow_and_partial_clones(server: Server, work: Path, tmp_path: Path) -> None:
    """`--depth 1` and `--filter` work, and a shallow clone may push."""
    for number in range(3):
        grow(work, f"f{number}")
    git("push", "-q", server.url, "main", at=work)
    git("clone", "-q", "--depth", "1", server.url, "shallow", at=tmp_path)
    assert git("rev-list", "--count", "HEAD", at=tmp_path / "shallow") == "1"
    made = grow(tmp_path / "shallow", "again")
    git("push", "-q", at=tmp_path / "shallow")
    assert server.store.heads("shop")["main"] == made
    git("clone", "-q", "--filter=blob:none", "--no-checkout", server.url, "partial", at=tmp_path)
    assert "?" in git("rev-list", "--objects", "--all", "--missing=print", at=tmp_path / "partial")


def test_a_zipped_request_is_understood(server: Server, work: Path) -> None:
    """Git zips long negotiations: the same request zipped gets the same answer; rubbish and cut zips get 400."""
    git("push", "-q", server.url, "main", at=work)
    head = server.store.heads("shop")["main"]
    asked = line(b"command=ls-refs\n") + b"0001" + line(b"ref-prefix refs/heads/") + FLUSH
    headers = {"content_type": "application/x-git-upload-pack-request", "git_protocol": "version=2"}
    plain = server.request("POST", "/git/shop.git/git-upload-pack", asked, **headers)
    zipped = server.request("POST", "/git/shop.git/git-upload-pack", gzip.compress(asked), **headers, content_encoding="gzip")
    assert plain[:2] == zipped[:2] == (200, line(f"{head} refs/heads/main\n".encode()) + FLUSH)
    for body in (b"rubbish", gzip.compress(asked)[:-12]):
        assert server.request("POST", "/git/shop.git/git-upload-pack", body, **headers, content_encoding="gzip")[0] == 400
    assert server.request("POST", "/git/shop.git/git-upload-pack", asked, **headers, content_encoding="br")[0] == 415


def test_a_long_negotiation_is_zipped_by_git_itself(server: Server, work: Path, tmp_path: Path) -> None:
    """A fetch with many commits of its own makes git send gzip; the answer is right."""
    git("push", "-q", server.url, "main", at=work)
    git("clone", "-q", server.url, "copy", at=tmp_path)
    copy = tmp_path / "copy"
    script = "\n".join(
        f"commit refs/heads/own\ncommitter A <a@b> {1_700_000_000 + number} +0000\ndata 1\nx"
        + ("\nfrom refs/remotes/origin/main" if not number else "")
        for number in range(200)
    )
    (copy / "script").write_text(script + "\n")
    with (copy / "script").open() as stdin:
        subprocess.run(["git", "fast-import", "--quiet"], cwd=copy, stdin=stdin, check=True)
    grow(work, "more")
    git("push", "-q", server.url, "main", at=work)
    git("-c", "protocol.version=0", "fetch", "-q", at=copy)
    assert git("rev-parse", "origin/main", at=copy) == server.store.heads("shop")["main"]


def test_malformed_pushes_get_an_answer(server: Server) -> None:
    """Bodies that are no push, wrong types and bodies over the limit are refused, and git is not started for them."""
    headers = {"content_type": "application/x-git-receive-pack-request"}
    path = "/git/shop.git/git-receive-pack"
    for body in (b"", b"hello", b"0010not a push", line(b"x y refs/heads/a\0report-status") + FLUSH, b"00", b"0001" + FLUSH):
        assert server.request("POST", path, body, **headers)[0] == 400, body
    assert server.request("POST", path, b"0000", content_type="text/plain")[0] == 415
    assert server.request("POST", path, FLUSH, **headers)[:2] == (200, b"")
    commands = b"".join(line(f"{ZERO} {'1' * 40} refs/heads/{number:060}".encode()) for number in range(9000))
    assert server.request("POST", path, commands + FLUSH, **headers)[0] == 413


def test_a_body_over_the_limit_moves_nothing(tmp_path: Path, work: Path) -> None:
    """A push above the configured size fails, zipped or not, and the repository stays as it was."""
    grow(work, "big", os.urandom(200_000))
    with Server(tmp_path / "repositories", Limits(body_bytes=100_000)) as server:
        assert run("push", server.url, "main", at=work).returncode != 0
        bomb = gzip.compress(line(b"command=ls-refs\n") + FLUSH + b"\0" * 10_000_000)
        headers = {"content_type": "application/x-git-upload-pack-request", "content_encoding": "gzip"}
        assert server.request("POST", "/git/shop.git/git-upload-pack", bomb, **headers)[0] == 413
        assert server.store.refs("shop") == {}
        assert server.pushes == []


def git_children() -> set[str]:
    """Return the git processes that descend from this test process."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = status.read_text().rpartition(")")
        except OSError:
            continue
        if words[0].partition("(")[2] in {"git", "git-upload-pack", "git-receive-pack"} and words[2].split()[1] == str(os.getpid()):
            found.add(status.parent.name)
    return found


def test_a_client_that_goes_away_ends_its_process(server: Server) -> None:
    """A push that breaks off in the middle leaves no git process and moves nothing."""
    url = urlsplit(server.url)
    command = line(f"{ZERO} {'1' * 40} refs/heads/main\0report-status".encode()) + FLUSH
    head = (
        f"POST /git/shop.git/git-receive-pack HTTP/1.1\r\nHost: {url.hostname}\r\nAuthorization: Basic {BASIC}\r\n"
        "Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 100000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + command + b"PACK\0\0\0\2")
        wait_for(git_children)
    wait_for(lambda: not git_children())
    assert server.store.refs("shop") == {}


def test_a_silent_client_is_let_go(tmp_path: Path) -> None:
    """A client that sends nothing for the idle time loses its process and its place."""
    with Server(tmp_path / "repositories", Limits(processes=1, idle_s=0.2)) as server:
        head = (
            f"POST /git/shop.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {BASIC}\r\n"
            "Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 1000\r\n\r\n00"
        )
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head.encode())
            assert server.request("GET", "/git/shop.git/info/refs?service=git-upload-pack")[0] == 200
        wait_for(lambda: not git_children())


def test_too_many_at_once_are_told_to_come_back(tmp_path: Path) -> None:
    """When every place is taken for longer than the queue waits, the answer is 503 with Retry-After."""
    with Server(tmp_path / "repositories", Limits(processes=1, queue_s=0.1)) as server:
        head = (
            f"POST /git/shop.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {BASIC}\r\n"
            "Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 1000\r\n\r\n00"
        )
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head.encode())
            wait_for(git_children)
            status, _, headers = server.request("GET", "/git/shop.git/info/refs?service=git-upload-pack")
            assert (status, headers["retry-after"]) == (503, "5")


def test_git_sees_nothing_of_the_servers_environment(server: Server, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hook runs and no variable of the server reaches git: a hook planted in the repository stays silent."""
    hook = server.store.path("shop") / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    git("push", "-q", server.url, "main", at=work)
    assert set(server.store.heads("shop")) == {"main"}


def test_heads_of_pushes_are_parsed_strictly() -> None:
    """A cut head asks for more; anything that is no command list is an error; refusals follow the client's capabilities."""
    update = RefUpdate("refs/heads/ü", ZERO, "1" * 40)
    data = line(f"{update.old} {update.new} {update.ref}\0 report-status side-band-64k".encode()) + FLUSH
    assert [parse_head(data[:end]) for end in range(len(data))] == [None] * len(data)
    head = parse_head(data + b"PACK")
    assert head is not None
    assert head.commands == (update,)
    assert b"ng refs/heads/\xc3\xbc no\n" in refusal(head, "no\nmore")
    for bad in (b"zzzz", b"0003", b"-001", b"0008a b\n", line(b"\xff" * 90)):
        with pytest.raises(ProtocolError):
            parse_head(bad + FLUSH)
    silent = parse_head(line(f"{ZERO} {'1' * 40} refs/heads/a".encode()) + FLUSH)
    assert silent is not None
    assert refusal(silent, "no") == b""


def test_a_push_is_noted_until_it_is_told(server: Server, work: Path) -> None:
    """Before a ref moves the disk knows who is pushing what; a push that is told, refused or moves nothing leaves no note."""

    def fail() -> None:
        raise OSError("the journal's disk is full")

    first = git("rev-parse", "HEAD", at=work)
    git("push", "-q", server.url, "main", at=work)
    (note,) = server.noted
    assert (note.repository, note.pusher, note.in_flight) == ("shop", ANN.pusher, True)
    assert note.updates == (RefUpdate("refs/heads/main", ZERO, first),)
    git("push", "-q", server.url, "main", at=work)
    server.refuse = "no"
    grow(work, "more")
    assert run("push", server.url, "main", at=work).returncode
    server.refuse = ""
    wait_for(lambda: not server.spool.pending())
    server.on_push = fail
    git("push", "-q", server.url, "main", at=work)
    (note,) = server.spool.pending()
    assert not note.in_flight, "it could not be told: from now on it is to be mended"


def test_a_push_that_cannot_be_noted_is_not_taken(server: Server, work: Path) -> None:
    """The client hears why, and no ref moved."""
    (server.store.root / ".pushes").write_text("a file in the way")
    done = run("push", server.url, "main", at=work)
    assert done.returncode
    assert "remote: error[SP109]: the push cannot be noted" in done.stderr
    assert server.store.heads("shop") == {}
