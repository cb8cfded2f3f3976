"""The pages over fixed records: who gets in, what is shown, and that no user's text or foreign site gets through."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from setpoint.adapters.clock import SystemClock
from setpoint.adapters.journal_folder import JournalFolder
from setpoint.adapters.task_logs import TaskLogFolder
from setpoint.adapters.tokens import LoginLinks, TokenFile
from setpoint.api.asgi import api
from setpoint.api.auth import COOKIE
from setpoint.artifact.model import ArtifactRecord
from setpoint.core import clock
from setpoint.core.errors import NotAllowedError, NotFoundError
from setpoint.core.reasons import Outcome, Reason
from setpoint.evidence.model import PROVENANCE, TEST_RESULT, Document, EvidenceRecord
from setpoint.ground.hold.model import Hold
from setpoint.ground.identity.model import Principal
from setpoint.ground.journal.service import Journal
from setpoint.observe.model import Cell, Journey, Need, RolloutReport, RunReport, Status, Step, TaskRow, Waiting, Why
from setpoint.pipeline.model import LogRecord, Run, RunState
from setpoint.promotion.break_glass import Terms
from setpoint.promotion.checks.model import CommandRun, CommandState
from setpoint.promotion.checks.service import LOG
from setpoint.promotion.config import parse_environment, parse_setpoint
from setpoint.promotion.model import Candidate, PinnedArtifact, Promotion, PromotionState, Quarantine
from setpoint.promotion.repository import Delivery
from setpoint.reconcile.drift.model import Drift, DriftState
from setpoint.rollout.canary.reasons import StepView
from setpoint.rollout.model import Counts
from setpoint.web.pages import router

EVIL = "<script>alert('x')</script> & \"faster\" cart"
COMMIT = "41d2e0b7c8a9f0e1d2c3b4a5968778695a4b3c2d"
OLD = "9a1c77e0aa31b2c3d4e5f60718293a4b5c6d7e8f"
DIGEST = "sha256:" + "5b1e" * 16
SETPOINT = b"""apiVersion: setpoint.dev/v1alpha1
kind: Setpoint
apps: {shop: {source: shop}, docs: {source: docs}}
people: {ada: {emails: [ada@example.com]}, bob: {emails: [bob@example.com]}}
teams: {sre: [ada]}
"""
STAGING = b'apiVersion: setpoint.dev/v1alpha1\nkind: Environment\ntarget: {host: {listen: "127.0.0.1:7501"}}\n'
PRODUCTION = b"""apiVersion: setpoint.dev/v1alpha1
kind: Environment
target: {host: {listen: "127.0.0.1:7502"}}
after: [staging]
owners: [team:sre]
gates: {approvals: {required: 1, from: [team:sre], not: []}}
"""


def at(seconds_ago: float) -> str:
    """Return the instant so many seconds ago."""
    return clock.to_text(SystemClock().now() - timedelta(seconds=seconds_ago))


RUN = Run(
    run="r-2b8f01aa", repository="shop", ref="refs/heads/main", revision=COMMIT, tree="t" * 40, title=EVIL,
    author="bob@example.com", pusher="bob@example.com", state=RunState.FAILED, created_at=at(95), finished_at=at(62),
)  # fmt: skip
GREEN = Run(
    "r-91ce77d0",
    "docs",
    "refs/heads/main",
    OLD,
    "t" * 40,
    "Explain the gate",
    "ada@example.com",
    "operator",
    RunState.PASSED,
    at(7300),
    at(7250),
)


def promotion(name: str, state: PromotionState, revision: str, version: str, tree: str) -> Promotion:
    """Return a promotion of shop to production."""
    candidate = Candidate("shop", "production", {"web": PinnedArtifact("shop/web", DIGEST)}, tree * 40, "e" * 40)
    return Promotion(
        promotion=name, kind="advance", candidate=candidate, source_repository="shop", source_revision=revision, version=version,
        delivery_commit="d" * 40, accepted_commit="d" * 40, policy="p" * 40, binding=DIGEST, requested_by="setpoint", created_at=at(60),
        state=state, pinned_at=at(5000) if state is PromotionState.PINNED else None,
    )  # fmt: skip


OPEN = promotion("p-118c0ffe", PromotionState.OPEN, COMMIT, "v1.4.0", "a")
PINNED = promotion("p-77aa0011", PromotionState.PINNED, OLD, "12-9a1c77e", "b")
EARLIER = promotion("p-10000001", PromotionState.PINNED, OLD, "11-1111111", "c")
CHECK = CommandRun(
    "c-abcdefgh", "p-118c0ffe", "shop", "production", "staging", f"./smoke.sh {EVIL}", "5" * 40, 3, CommandState.FAILED, at(60), at(50), 1,
    f"exit status 1: {EVIL}", 3,
)  # fmt: skip
MISSING = Reason(
    "APPROVAL_MISSING", Outcome.WAIT, "approvals", "0 of 1 (nobody)", "1 from team:sre", "setpoint approve p-118c0ffe (as ada)"
)
PASSED = Reason("POLICY_PASSED", Outcome.ALLOW, "policy", "evidence.tests.failed is 0", "evidence.tests.failed == 0")
CELLS = (
    Cell("shop", "staging", "healthy", at(130), "v1.4.0", COMMIT, "p-1", {"web": DIGEST}, "http://127.0.0.1:7501/", 2, 2),
    Cell("shop", "production", "degraded", at(172_900), "12-9a1c77e", OLD, PINNED.promotion, {"web": DIGEST}, "http://127.0.0.1:7502/",
         1, 2, waiting=Waiting(OPEN.promotion, "v1.4.0", COMMIT, "wait", (MISSING,))),
    Cell("docs", "staging", "progressing", at(4), "3-9a1c77e", OLD, "p-2", {}, "http://127.0.0.1:7501/docs", 0, 1),
    Cell("docs", "production", "empty"),
)  # fmt: skip


class FakeStatus:
    """Answers with fixed records."""

    holds: tuple[Hold, ...] = ()
    rollout: RolloutReport | None = None

    def status(self, _app: str | None = None) -> Status:
        """Return the matrix."""
        need = Need("shop in production: v1.4.0 waits for approvals: 0 of 1 (nobody)", MISSING.fix, "shop", "production", OPEN.promotion)
        notice = Reason(
            "NOT_IN_FORCE", Outcome.WAIT, "environments/production/environment.yaml", "changed by bob, who is no owner", "", "ask team:sre"
        )
        cells = tuple(replace(cell, holds=self.holds, waiting=None) for cell in CELLS) if self.holds else CELLS
        return Status("delivery", ("shop", "docs"), ("staging", "production"), cells, (RUN, GREEN), (need,), (notice,))

    def why(self, app: str, environment: str) -> Why:
        """Return the reasons of one cell."""
        if app != "shop":
            raise NotFoundError("SP506", f"there is no application `{app}`", fix="applications: shop, docs")
        sentence = "v1.4.0 (41d2e0b7c8a9) is NOT in production yet. shop in production runs 12-9a1c77e, degraded."
        cell = replace(CELLS[1], holds=self.holds)
        return Why(app, environment, sentence, "wait", (PASSED, MISSING), cell, OPEN, (), MISSING.fix, self.rollout)


@dataclass
class FakeRollouts:
    """Keeps what was asked of it."""

    asked: list[tuple[str, ...]] = field(default_factory=list)

    def resume(self, app: str, environment: str, actor: str, message: str) -> None:
        """Note it."""
        self.asked.append(("resume", app, environment, actor, message))

    def abort(self, app: str, environment: str, actor: str, message: str) -> None:
        """Note it."""
        self.asked.append(("abort", app, environment, actor, message))


@dataclass
class FakeStops:
    """Keeps what was asked of it."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def hold(self, app: str, environment: str, who: Principal, for_s: int | None, message: str) -> None:
        """Note a hold."""
        self.asked.append(("hold", app, environment, who.actor, for_s, message))

    def release(self, app: str, environment: str, who: Principal) -> None:
        """Note a release."""
        self.asked.append(("release", app, environment, who.actor))


@dataclass
class FakeGlass:
    """Keeps what was asked of it."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def open(self, app: str, environment: str, who: Principal, terms: Terms) -> None:
        """Note a lease."""
        self.asked.append(("open", app, environment, who.actor, terms.for_s, terms.why, terms.then))

    def extend(self, app: str, environment: str, who: Principal, terms: Terms) -> None:
        """Note more time."""
        self.asked.append(("extend", app, environment, who.actor, terms.for_s, terms.why))

    def end(self, app: str, environment: str, who: Principal, _terms: Terms, then: str | None) -> None:
        """Note an end."""
        self.asked.append(("end", app, environment, who.actor, then))


@dataclass
class FakeChecks:
    """Keeps what was asked of it."""

    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def find(self, check: str) -> CommandRun:
        """Return the one that there is."""
        if check != CHECK.check:
            raise NotFoundError("SP572", "there is no such check")
        return CHECK

    def again(self, check: str, principal: Principal, message: str) -> CommandRun:
        """Keep who asks again."""
        self.asked.append((check, principal.actor, message))
        return CHECK


@dataclass
class FakeAdoptions:
    """Keeps what was asked of it."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def adopt(self, drifts: list[str], who: Principal, message: str) -> None:
        """Note it."""
        self.asked.append((tuple(drifts), who.actor, message))


@dataclass
class FakePromotions:
    """Keeps what was asked of it."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def find(self, _promotion: str) -> Promotion:
        """Return the open one."""
        return OPEN

    def approve(self, name: str, who: Principal, message: str) -> Promotion:
        """Refuse the operator, as the real one does."""
        if who.kind != "person":
            raise NotAllowedError("SP511", "the operator's token is nobody's approval", where=name, fix="ask one of: ada")
        self.asked.append(("approve", name, who.email, message))
        return OPEN

    def rollback(self, app: str, environment: str, who: Principal, to: str, message: str) -> Promotion:
        """Note a rollback."""
        self.asked.append(("rollback", app, environment, who.actor, to, message))
        return EARLIER

    def lift(self, app: str, environment: str, who: Principal) -> int:
        """Note a lift."""
        self.asked.append(("lift", app, environment, who.actor))
        return 1

    def request(self, app: str, environment: str, who: Principal, note: str) -> Promotion:
        """Note a request."""
        self.asked.append(("promote", app, environment, who.actor, note))
        return OPEN


SCAN = EvidenceRecord(
    "https://setpoint.dev/attestations/sarif/v1",
    DIGEST,
    DIGEST,
    "shop/web",
    DIGEST,
    "PASSED",
    RUN.run,
    "lint",
    at=at(61),
    summary="scan: 3 errors by <b>semgrep</b> 1.2",
    report="scan",
    document=Document(DIGEST, 10, "application/sarif+json", 'a".sarif', DIGEST),
)


def report(_text: str) -> RunReport:
    """Return the failed run."""
    rows = (
        TaskRow("deps", "reused", (), at(99_000), at(98_990), 10.0, 0, GREEN.run, "unchanged since run r-91ce77d0", networked=True),
        TaskRow("lint", "passed", (), at(94), at(88), 6.0, 0, None, ""),
        TaskRow("test", "failed", ("deps",), at(92), at(62.5), 29.5, 1, None, "exit status 1"),
        TaskRow("publish", "skipped", ("test",), None, None, None, None, None, "needs test, which is failed"),
    )
    artifact = ArtifactRecord("shop", "web", "shop/web", DIGEST, 1_234_567, RUN.run, COMMIT, "v1.4.0", at(62), ("test",), DIGEST, "host")
    evidence = (
        EvidenceRecord(
            TEST_RESULT, DIGEST, DIGEST, "shop/web", DIGEST, "FAILED", RUN.run, "test", at=at(61), summary="69 of 70 tests passed"
        ),
        EvidenceRecord(PROVENANCE, DIGEST, DIGEST, "shop/web", DIGEST, "PASSED", RUN.run, at=at(61), summary="built in the sandbox"),
        SCAN,
    )
    return RunReport(RUN, rows, (artifact,), evidence)


def journey(_commit: str) -> Journey:
    """Return the way of the commit."""
    steps = (
        Step("revision", COMMIT, f"{EVIL} (Bob <bob@example.com>)", at(120), "shop"),
        Step("run", RUN.run, f"passed: {EVIL}", at(62), "shop"),
        Step("artifact", DIGEST, "shop/web v1.4.0", at(61), "shop"),
        Step("evidence", DIGEST, "sarif: PASSED scan: 3 errors by semgrep 1.2", at(60), ""),
        Step("evidence", DIGEST, "tests: PASSED 70 of 70 tests passed", at(60), ""),
        Step("promotion", "p-1", "advance: pinned in staging", at(50), "staging"),
        Step("deployment", "http://127.0.0.1:7501/", "healthy in staging", at(45), "staging"),
        Step("promotion", OPEN.promotion, "advance: open in production", at(44), "production"),
        Step("approval", "ada", "looks good", at(20), "production"),
        Step("deployment", "javascript:alert(1)", "degraded in production", at(10), "production"),
    )
    return Journey("shop", COMMIT, EVIL, "bob@example.com", steps)


def world(folder: Path) -> Any:
    """Return an application of fixed records with real tokens, sessions, journal and logs."""
    time = SystemClock()
    tokens = TokenFile(folder / "tokens.json", time)
    journal = Journal(JournalFolder(folder / "journal", writable=True), time)
    journal.append("home.created", "h-1", "setpoint", {"version": 1})
    journal.append("run.created", RUN.run, "setpoint", {"title": EVIL})
    logs = TaskLogFolder(folder / "logs")
    lines = [f"tests/test_cart.py::test_{n} \x1b[32mPASSED\x1b[0m" for n in range(2100)]
    lines += ["\x1b[1;31mE   assert '<b>' == 1\x1b[0m", "\x1b]0;title\x07\x1b[38;5;196mred\x1b[39m plain"]
    for seq, line in enumerate(lines):
        logs.append(RUN.run, "test", [LogRecord(seq, at(80), "out", line + "\n")])
    environments = {name: parse_environment(data, name).model for name, data in (("staging", STAGING), ("production", PRODUCTION))}
    delivery = Delivery("delivery", "main", "d" * 40, "d" * 40, parse_setpoint(SETPOINT).model, environments)
    barred = Quarantine("production", "shop", DIGEST, {}, (None, None), at(900), "person:ada@example.com", "too loud")
    records = SimpleNamespace(
        runs=lambda _repository=None, limit=100: [RUN, GREEN][:limit],
        promotions=lambda _app=None, _environment=None, _limit=100: [OPEN, PINNED, EARLIER],
        quarantines=lambda _app, _environment: [barred],
        drifts=lambda _app, _environment, limit: list[Any]()[:limit],
        command_runs=lambda _promotion: [CHECK],
    )
    logs.append(CHECK.check, LOG, [LogRecord(0, at(50), "out", f"{EVIL}\n")])
    store = SimpleNamespace(clock=time, tokens=tokens, journal=journal, logs=logs, records=records)
    return SimpleNamespace(
        store=store, links=LoginLinks(time, tokens), status=FakeStatus(), promotions=FakePromotions(), stops=FakeStops(),
        break_glass=FakeGlass(),
        adoptions=FakeAdoptions(),
        delivery=SimpleNamespace(load=lambda: delivery, require=lambda _app, _environment: delivery),
        rollouts=FakeRollouts(), checks=FakeChecks(),
        prune=SimpleNamespace(held=lambda _app, _environment: None),
        runs=SimpleNamespace(report=report), trace=SimpleNamespace(journey=journey),
    )  # fmt: skip


@dataclass
class Answer:
    """What a request gave."""

    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Browser:
    """A browser without a screen: keeps the cookie and says which page a form comes from."""

    app: Any
    application: Any
    cookie: str = ""

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """Send one request straight to the ASGI application."""
        path, _, query = target.partition("?")
        sent = {"host": "127.0.0.1:7420", **({"cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}), **(headers or {})}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "scheme": "http", "server": ("127.0.0.1", 7420), "client": ("127.0.0.1", 1), "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }  # fmt: skip
        events: list[Any] = []

        requests = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not requests:
                await asyncio.Event().wait()  # the browser stays until everything has come
            return requests.pop()

        async def send(message: Any) -> None:
            events.append(message)

        asyncio.run(self.app(scope, receive, send))
        found = {name.decode(): value.decode() for name, value in events[0]["headers"]}
        text = b"".join(event.get("body", b"") for event in events[1:]).decode()
        if match := re.match(rf'{COOKIE}="?([^;"]*)', found.get("set-cookie", "")):
            self.cookie = match[1]
        return Answer(events[0]["status"], found, text)

    def get(self, target: str, **headers: str) -> Answer:
        """Visit a page."""
        return self.ask("GET", target, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, target: str, site: str = "same-origin", **fields: str) -> Answer:
        """Send a form from a page of ours, or of another site."""
        return self.ask("POST", target, {"sec-fetch-site": site}, urlencode(fields).encode())

    def enter(self, who: Principal) -> "Browser":
        """Log in as somebody."""
        self.cookie = self.application.links.session(who)
        return self


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Return an anonymous browser at a server of fixed records."""
    application = world(tmp_path)
    yield Browser(api(application, router), application)
    application.store.logs.close()


OPERATOR = Principal("operator")
ADA = Principal("person", "ada@example.com")
BOB = Principal("person", "bob@example.com")


@pytest.mark.parametrize("path", ["/", "/runs", f"/run/{RUN.run}", "/why/shop/production", "/events", f"/change/{COMMIT}", "/no/such/page"])
def test_an_anonymous_visit_says_how_to_get_in(browser: Browser, path: str) -> None:
    """Every page answers 401 with the way in, and tells nothing."""
    answer = browser.get(path)
    assert answer.status == 401
    assert "setpoint up -d" in answer.text
    assert "shop" not in answer.text


def test_a_login_link_works_once(browser: Browser) -> None:
    """The link sets a strict cookie and leads home; the second time it says why not."""
    code = browser.application.links.login_code(OPERATOR)
    answer = browser.get(f"/?login={code}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert browser.get("/").status == 200
    other = Browser(browser.app, browser.application)
    again = other.get(f"/?login={code}")
    assert again.status == 401
    assert "used already" in again.text


def test_a_person_logs_in_by_token_and_out_again(browser: Browser) -> None:
    """A known token begins a session, an unknown one does not, and logging out ends it on the server too."""
    assert browser.post("/login", token="sp_wrong").status == 401
    _, token = browser.application.store.tokens.create("person", "ada@example.com", "test")
    assert browser.post("/login", token=token).status == 303
    assert "ada@example.com" in browser.get("/").text
    kept = browser.cookie
    assert browser.post("/logout").status == 303
    browser.cookie = kept
    assert browser.get("/").status == 401


def test_a_link_followed_from_another_site_is_tried_again_from_ours(browser: Browser) -> None:
    """The strict cookie is missing on such a visit, so the page asks once more by itself."""
    assert 'http-equiv="refresh"' in browser.get("/runs", sec_fetch_site="cross-site").text
    assert 'http-equiv="refresh"' not in browser.get("/runs", sec_fetch_site="same-origin").text


def test_the_matrix_shows_words_builds_and_what_needs_a_person(browser: Browser) -> None:
    """Health is a word beside its shape; versions, replicas, waiting candidates, needs and notices are there."""
    text = browser.enter(OPERATOR).get("/").text
    for wanted in (
        "healthy",
        "degraded",
        "progressing",
        "empty",
        "#s-bad",
        "v1.4.0",
        "1/2 ready",
        "Needs you",
        "setpoint approve p-118c0ffe",
    ):
        assert wanted in text
    assert "changed by bob, who is no owner" in text
    assert f'href="/change/{COMMIT}"' in text


def test_the_filter_in_the_url_leaves_rows_out(browser: Browser) -> None:
    """Only applications whose name contains the words are listed."""
    text = browser.enter(OPERATOR).get("/?q=DOC").text
    assert 'data-name="docs"' in text
    assert 'data-name="shop"' not in text


@pytest.mark.parametrize("path", ["/", "/runs", f"/run/{RUN.run}", f"/change/{COMMIT}", "/events"])
def test_what_users_wrote_is_never_markup(browser: Browser, path: str) -> None:
    """A commit title with a script in it is shown, not run."""
    answer = browser.enter(OPERATOR).get(path)
    assert answer.status == 200
    assert "<script>alert" not in answer.text
    assert "alert(" in answer.text
    assert 'href="javascript:' not in answer.text


@pytest.mark.parametrize("path", ["/", "/login", "/no/such/page", "/static/0/setpoint.css"])
def test_every_answer_carries_the_security_headers(browser: Browser, path: str) -> None:
    """Pages, errors and static files forbid inline code, framing and sniffing; nothing inline is needed."""
    answer = browser.enter(OPERATOR).get(path)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<[^>]+ (style|on[a-z]+)=", answer.text)
    assert not re.search(r"<script(?![^>]* src=)", answer.text)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_form_of_another_site_does_nothing(browser: Browser, site: str) -> None:
    """With the cookie but from elsewhere, a button is refused."""
    answer = browser.enter(ADA).post(f"/promotion/{OPEN.promotion}/approve", site, message="x")
    assert answer.status in (401, 403)
    assert browser.application.promotions.asked == []


def test_an_approver_approves_and_is_led_back(browser: Browser) -> None:
    """The button calls the service as the session's person, with the message."""
    answer = browser.enter(ADA).post(f"/promotion/{OPEN.promotion}/approve", message="looks good & safe")
    assert (answer.status, answer.headers["location"]) == (303, "/why/shop/production")
    assert browser.application.promotions.asked == [("approve", OPEN.promotion, "ada@example.com", "looks good & safe")]


def test_a_refusal_is_a_page_with_code_and_fix(browser: Browser) -> None:
    """What the service refuses is shown with what, where and what to do."""
    answer = browser.enter(OPERATOR).post(f"/promotion/{OPEN.promotion}/approve")
    assert answer.status == 403
    assert "SP511" in answer.text
    assert "ask one of: ada" in answer.text


def test_buttons_are_for_those_who_may(browser: Browser) -> None:
    """Ada may approve and operate, Bob neither, the operator only operate; who may is said instead."""
    ada = browser.enter(ADA).get("/why/shop/production").text
    assert ">Approve</button>" in ada
    assert ">Lift quarantine</button>" in ada
    bob = browser.enter(BOB).get("/why/shop/production").text
    assert "<form" not in bob.partition("<main")[2].partition("</main>")[0]
    assert "approvals come from team:sre (ada)" in bob
    operator = browser.enter(OPERATOR).get("/why/shop/production").text
    assert ">Approve</button>" not in operator
    assert "Roll back" in operator


def test_a_command_of_a_gate_has_a_page_and_is_asked_again_by_those_who_may(browser: Browser) -> None:
    """The why page leads to it; its words are text; the button is for who may operate, and an unknown check is a page too."""
    assert f'href="/check/{CHECK.check}"' in browser.enter(ADA).get("/why/shop/production").text
    page = browser.get(f"/check/{CHECK.check}").text
    assert EVIL not in page
    for words in ("attempt 3", "failed", "Ask again now", "exit status 1", "1 of 1 lines"):
        assert words in page
    browser.post(f"/check/{CHECK.check}/retry", message="mended")
    assert browser.application.checks.asked == [(CHECK.check, ADA.actor, "mended")]
    assert "Ask again now" not in browser.enter(BOB).get(f"/check/{CHECK.check}").text
    assert "SP572" in browser.get("/check/c-none").text


def test_a_canary_is_drawn_and_decided_by_those_who_may(browser: Browser) -> None:
    """Step, weight, evidence and what each step finds; a held one is resumed or aborted by who may operate, and nobody else."""
    held = StepView(5, 120, "now", 4.1, "detects >= 4.1x")
    report = RolloutReport(
        "shop", "production", "ro-1", "canary", "held", f"canary of {EVIL}, held", 5, "v1.4.0", "p-1", "12-9a1c77e", at(60), at(9),
        1.0, 100.0, 1.0, Counts(3, 0, 60, 0), (held,), (), "evidence against it: 1 of 100 needed", (), "",
    )  # fmt: skip
    browser.application.status.rollout = report
    ada = browser.enter(ADA).get("/why/shop/production").text
    assert EVIL not in ada
    for words in ("5 % of the traffic is with v1.4.0", "detects &gt;= 4.1x", "1 of 100 needed", ">Resume</button>", ">Abort</button>"):
        assert words in ada
    assert ">Resume</button>" not in browser.enter(BOB).get("/why/shop/production").text
    browser.enter(ADA).post("/why/shop/production/rollout/resume", message="quiet")
    browser.post("/why/shop/production/rollout/abort", message="odd")
    assert browser.application.rollouts.asked == [
        ("resume", "shop", "production", ADA.actor, "quiet"),
        ("abort", "shop", "production", ADA.actor, "odd"),
    ]
    assert browser.post("/why/shop/production/rollout/finish").status in {404, 422}
    assert "SP514" in browser.enter(BOB).post("/why/shop/production/rollout/abort", message="odd").text


def test_holding_and_releasing_are_buttons_for_those_who_may(browser: Browser) -> None:
    """Ada holds an application for two hours or the whole environment, and releases; no words or no time is a page with a fix."""
    assert ">Hold</button>" in browser.enter(ADA).get("/why/shop/production").text
    browser.post("/why/shop/production/hold", message="audit", until="2h")
    browser.post("/why/shop/production/hold", message="incident", all="1")
    browser.post("/why/shop/production/release")
    browser.post("/why/shop/production/release", all="1")
    assert browser.application.stops.asked == [
        ("hold", "shop", "production", ADA.actor, 7200, "audit"),
        ("hold", "", "production", ADA.actor, None, "incident"),
        ("release", "shop", "production", ADA.actor),
        ("release", "", "production", ADA.actor),
    ]
    assert "SP518" in browser.post("/why/shop/production/hold", message="audit", until="soon").text


def test_a_hold_is_shown_with_who_why_and_its_way_out(browser: Browser) -> None:
    """The cell says it is on hold; the why page says since when, by whom, why, and has the release button."""
    held = Hold("hold-1", "stop", "production", "", "person:bob@example.com", "incident <7>", at(60), at(-60))
    browser.application.status.holds = (held,)
    text = browser.enter(ADA).get("/why/shop/production").text
    assert "incident &lt;7&gt;" in text
    assert "Everything in production is on hold" in text
    assert ">Release</button>" in text
    assert "on hold" in browser.get("/").text


def test_the_glass_is_broken_and_given_back_by_buttons(browser: Browser) -> None:
    """Ada takes an application or all of them, extends and ends; no time is a page with a fix, and nothing else can become of drift."""
    assert ">Break glass</button>" in browser.enter(ADA).get("/why/shop/production").text
    place = "/why/shop/production/break-glass"
    browser.post(place, **{"message": "stuck", "for": "2h", "then": "hold"})
    browser.post(place, **{"message": "stuck", "for": "30m", "all": "1"})
    browser.post(f"{place}/extend", **{"message": "nearly", "for": "1h"})
    browser.post(f"{place}/end", all="1")
    assert browser.application.break_glass.asked == [
        ("open", "shop", "production", ADA.actor, 7200, "stuck", "hold"),
        ("open", "", "production", ADA.actor, 1800, "stuck", "correct"),
        ("extend", "shop", "production", ADA.actor, 3600, "nearly"),
        ("end", "", "production", ADA.actor, None),
    ]
    assert "SP560" in browser.post(place, **{"message": "stuck", "for": "soon"}).text
    assert "SP863" in browser.post(place, **{"message": "stuck", "for": "1h", "then": "forget"}).text


def test_a_lease_is_shown_with_who_why_until_when_and_its_way_out(browser: Browser) -> None:
    """The cell says break-glass; the why page has its words, its objects, what comes then, and the buttons."""
    lease = Hold("hold-2", "break-glass", "production", "shop", "person:bob@example.com", "stuck <7>", at(60), at(-60))
    browser.application.status.holds = (replace(lease, objects="Deployment/web", then="hold"),)
    text = browser.enter(ADA).get("/why/shop/production").text
    assert "broke the glass for Deployment/web of shop" in text
    assert "stuck &lt;7&gt;" in text
    assert "then: hold" in text
    assert ">End break-glass</button>" in text
    assert "break-glass" in browser.get("/").text


def test_a_case_is_adopted_by_a_button(browser: Browser) -> None:
    """It stands beside what an object has, and not beside what waits on a branch or is over; the service decides who may."""
    one = Drift("d-1", "shop", "production", "object", "ConfigMap/shop", "data.a", "x", "y", "kubectl", at(9), DriftState.HELD)
    waits = replace(one, drift="d-2", held_by="a-1", held_why="its value waits on setpoint/adopt/a-1")
    over, dead = replace(one, drift="d-3", ended_at=at(1)), replace(one, drift="d-4", kind="replica")
    browser.application.store.records.drifts = lambda _app, _environment, limit: [one, waits, over, dead][:limit]
    text = browser.enter(ADA).get("/why/shop/production").text
    assert text.count(">Adopt</button>") == 1
    assert 'name="drift" value="d-1"' in text
    assert "its value waits on setpoint/adopt/a-1" in text
    assert ">Adopt</button>" not in browser.enter(BOB).get("/why/shop/production").text
    browser.enter(ADA).post("/why/shop/production/adopt", drift="d-1")
    assert browser.application.adoptions.asked == [(("d-1",), ADA.actor, "")]


def test_the_journal_is_filtered_by_its_form(browser: Browser) -> None:
    """The form keeps what was asked for; a filter that fits nothing says so and leads back to all entries."""
    text = browser.enter(ADA).get("/events?kind=nothing.there&actor=%22nobody%22").text
    assert 'name="kind" value="nothing.there"' in text
    assert 'value="&#34;nobody&#34;"' in text
    assert "The journal has nothing that fits." in text
    assert '<a href="/events">all entries</a>' in text


def test_rolling_back_asks_first(browser: Browser) -> None:
    """The confirm page offers earlier versions, not the running one, and posts the chosen promotion."""
    text = browser.enter(ADA).get("/why/shop/production/rollback").text
    assert f'value="{EARLIER.promotion}"' in text
    assert f'value="{PINNED.promotion}"' not in text
    assert browser.application.promotions.asked == []
    browser.post("/why/shop/production/rollback", to=EARLIER.promotion, message="too loud")
    assert browser.application.promotions.asked == [("rollback", "shop", "production", ADA.actor, EARLIER.promotion, "too loud")]


def test_a_failed_task_is_opened_at_its_end(browser: Browser) -> None:
    """Without a choice the failed task's last lines are shown, coloured and escaped; the others are folded."""
    text = browser.enter(OPERATOR).get(f"/run/{RUN.run}").text
    assert 'id="L2101"' in text
    assert 'id="L1"' not in text
    assert '<span class="bold fg1">E   assert &#39;&lt;b&gt;&#39; == 1</span>' in text
    assert "▸ lint" in text
    assert "\x1b" not in text


def test_a_long_log_is_shown_in_windows(browser: Browser) -> None:
    """A chosen task begins at its first line, says how much follows, and the rest is one link away."""
    text = browser.enter(OPERATOR).get(f"/run/{RUN.run}?task=test").text
    assert 'id="L2000"' in text
    assert 'id="L2001"' not in text
    assert "102 more lines" in text
    assert 'id="L2102"' in browser.get(f"/run/{RUN.run}?task=test&after=1999").text
    raw = browser.get(f"/run/{RUN.run}/raw/test")
    assert raw.headers["content-type"].startswith("text/plain")
    assert raw.text.count("\n") == 2102


def test_a_fragment_is_the_main_part_alone(browser: Browser) -> None:
    """A live page fetches what stands in main, without the frame around it."""
    answer = browser.enter(OPERATOR).get("/", x_fragment="main")
    assert 'id="matrix"' in answer.text
    assert "<html" not in answer.text
    assert "X-Fragment" in answer.headers["vary"]


def test_unknown_pages_are_pages_and_unknown_calls_are_problems(browser: Browser) -> None:
    """A person gets a page with a code; the API answers with a problem."""
    browser.enter(OPERATOR)
    page = browser.get("/nowhere")
    assert (page.status, "SP862" in page.text) == (404, True)
    assert browser.get("/why/nothing/production").status == 404
    assert browser.get("/api/v1/nowhere").headers["content-type"].startswith("application/problem+json")


def test_static_files_are_kept_by_their_digest(browser: Browser) -> None:
    """The linked name holds the content's digest, needs no login, and is immutable; a revisit costs nothing."""
    path = re.search(r"/static/[0-9a-f]+/setpoint\.js", browser.get("/login").text)
    assert path is not None
    answer = browser.get(path[0])
    assert answer.status == 200
    assert "immutable" in answer.headers["cache-control"]
    assert browser.get(path[0], if_none_match=answer.headers["etag"]).status == 304


def test_the_change_page_draws_the_road(browser: Browser) -> None:
    """Commit, run, build, proof, environments and approval stand on one line, with links."""
    text = browser.enter(OPERATOR).get(f"/change/{COMMIT}").text
    names = re.findall(r"<strong>(?:<a[^>]*>)?([^<]+)", text)
    assert names == ["committed", "run", "built", "proved", "to staging", "in staging", "to production", "approved", "in production"]


def test_scans_are_told_where_a_change_was_proved_and_where_it_ran(browser: Browser) -> None:
    """In words, with the tool's own words harmless, and with the original to be had as a file."""
    entered = browser.enter(OPERATOR)
    road = entered.get(f"/change/{COMMIT}").text
    assert "2 signed statements; sarif: PASSED scan: 3 errors by semgrep 1.2" in road
    page = entered.get(f"/run/{RUN.run}").text
    assert "scan: 3 errors by &lt;b&gt;semgrep&lt;/b&gt; 1.2" in page
    link = f'href="/api/v1/evidence/original?thing={RUN.run}&name={quote(DIGEST, safe="")}"'
    assert link in page.replace("&amp;", "&")
    assert 'download="a&#34;.sarif"' in page


def test_an_empty_home_shows_one_command(browser: Browser) -> None:
    """One sentence and one command to copy, not an empty table."""
    browser.application.status.status = lambda: Status("", (), (), (), (), ())
    text = browser.enter(OPERATOR).get("/").text
    assert "setpoint init --example hello" in text
    assert "<table" not in text
