"""The pages as a person meets them: one walk with Chromium through a live home, in light and dark, wide and narrow.

Every page is looked at by axe-core and photographed (build/pages); a request that fails, an error in the console, a breach of the
content policy and a page that is wider than its window are faults.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chromium import NARROW, WIDE, Chromium
from live_home import APP, PIPELINE, TESTS, LiveHome, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build" / "pages"
SLOW = TESTS + 'for i in $(seq 1 40); do printf "\\033[32mline %s\\033[0m of the slow task\\n" $i; sleep 0.1; done\n'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser that knows axe-core."""
    done = subprocess.run([ROOT / "tools" / "browser" / "axe"], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"INCOMPLETE: needs axe-core (tools/browser/axe): {done.stderr.strip()[-200:]}")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    found = Chromium(tmp_path_factory.mktemp("chromium"), Path(done.stdout.strip()).read_text())
    try:
        yield found
    finally:
        found.close()


def look(browser: Chromium, name: str) -> None:
    """Look at the page that is open in every light and width, have axe judge it, and find no fault so far."""
    for size, word in ((NARROW, "narrow"), (WIDE, "wide")):
        for scheme in ("dark", "light"):
            browser.look(size, scheme)
            browser.picture(PICTURES / f"{name}-{word}-{scheme}.png")
            assert browser.violations() == [], f"{name}, {word}, {scheme}"
            assert browser.overflow() <= 0, f"{name}, {word}: wider than the window"
    assert browser.faults == [], name


def as_sam(browser: Chromium, live: LiveHome) -> None:
    """Log in as a person, with the person's token."""
    token = live.api("sam").connection.token
    browser.visit(f"{live.ready['url']}/login")
    browser.write("#token", token)
    browser.follow("form.act button.primary")


def test_the_operator_comes_in_by_link_and_sees_what_runs(live: LiveHome, browser: Chromium) -> None:
    """The login page, then the one-time link leads to the matrix with what needs somebody; the link works once."""
    live.release("one", "say one & <b>two</b>")
    live.serves("staging", "one")
    wait_for("the candidate", live.only_approval_missing)
    url = live.ready["url"]
    browser.visit(f"{url}/login")
    look(browser, "login")
    link = live.api().post("/api/v1/login-links", {})["path"]
    browser.visit(url + link)
    browser.sees("Needs you")
    assert "<b>two</b>" in browser.text()
    look(browser, "matrix")
    assert browser.ask("location.search") == ""
    browser.key("?")
    assert browser.ask("document.getElementById('keys').open")
    look(browser, "keys")
    browser.click("#keys button")
    browser.follow("a.badge")
    browser.sees("log in as a person")
    look(browser, "why-operator")


def test_a_person_approves_by_button_and_sees_it_arrive(live: LiveHome, browser: Chromium) -> None:
    """Sam reads why, writes words, presses Approve; without a reload the page says that production became healthy."""
    as_sam(browser, live)
    browser.follow("#needs a[href^='/why/']")
    look(browser, "why-waiting")
    browser.write("#approve-message", "looks good")
    browser.follow("form.act button.primary")
    browser.sees("1 of 1 (sam)")
    browser.sees("healthy")
    live.serves("production", "one")
    look(browser, "why-approved")


def test_a_change_and_its_run_are_told(live: LiveHome, browser: Chromium) -> None:
    """The way of a commit, its run with tasks, log, artifacts and evidence, the list of runs and the journal."""
    as_sam(browser, live)
    browser.follow("a[href^='/change/']")
    browser.sees("say one & <b>two</b>")
    look(browser, "change")
    browser.visit(f"{live.ready['url']}/runs")
    look(browser, "runs")
    browser.follow("#list a[href^='/run/']")
    browser.sees("Artifacts and evidence")
    look(browser, "run")
    browser.visit(f"{live.ready['url']}/events")
    browser.click("details summary")
    look(browser, "events")


def test_a_log_is_followed_while_it_is_written(live: LiveHome, browser: Chromium) -> None:
    """Lines come in, in their colours, without a reload; when the task ends the page says so."""
    as_sam(browser, live)
    files = {"app.py": APP % "two", "tests.sh": SLOW, ".setpoint/pipeline.yaml": PIPELINE}
    commit = live.commit("hello", files, "say two, slowly")
    wait_for("the run", lambda: [run for run in live.api().get("/api/v1/runs") if run["revision"] == commit])
    browser.visit(f"{live.ready['url']}/run/{commit}?task=test")
    before = browser.ask("document.querySelectorAll('#lines li').length")
    browser.sees("line 20 of the slow task")
    assert browser.ask("document.querySelectorAll('#lines li').length") > before
    assert browser.ask("document.querySelectorAll('#lines .fg2').length") >= 20
    look(browser, "run-live")
    browser.sees("line 40 of the slow task")
    wait_for("the end of the task", lambda: browser.ask("document.getElementById('log-state').innerText.trim()") == "passed")
    assert browser.faults == []


def test_a_person_rolls_back_by_button(live: LiveHome, browser: Chromium) -> None:
    """From why to the page that asks where to and why, and back: the earlier version serves, and the quarantine is told."""
    live.serves("staging", "two")
    live.approve()
    live.serves("production", "two")
    as_sam(browser, live)
    browser.visit(f"{live.ready['url']}/why/hello/production")
    browser.follow("a[href$='/rollback']")
    look(browser, "rollback")
    browser.write("#message", "two is worse")
    browser.follow("button.danger")
    browser.sees("Quarantined")
    live.serves("production", "one")
    look(browser, "why-quarantined")
    browser.visit(live.ready["url"])
    look(browser, "matrix-after")


def test_a_wrong_turn_is_told_kindly(live: LiveHome, browser: Chromium) -> None:
    """A page that is not there, and a token that nobody has, are pages with code, words and a way on."""
    url = live.ready["url"]
    browser.visit(f"{url}/nowhere")
    browser.sees("SP862")
    assert [fault for fault in browser.faults if "404" not in fault] == []
    browser.faults.clear()
    look(browser, "not-found")
    browser.visit(f"{url}/login")
    browser.write("#token", "sp_nobody")
    browser.follow("form.act button.primary")
    browser.sees("SP864")
    assert [fault for fault in browser.faults if "401" not in fault] == []
    browser.faults.clear()


@pytest.mark.parametrize("path", ["/", "/why/hello/production", "/runs", "/run/latest", "/events"])
def test_pages_are_read_without_scripts(live: LiveHome, browser: Chromium, path: str) -> None:
    """With scripts off the server's own words are all there: the same headings, tables and buttons, and no script ran."""
    as_sam(browser, live)
    browser.visit(live.ready["url"] + path)
    headings = re.findall(r"<h[12][^>]*>(.*?)</h[12]>", browser.html(), re.DOTALL)
    browser.look(scripts=False)
    try:
        browser.visit(live.ready["url"] + path)
        plain = browser.html()
    finally:
        browser.look()
    assert re.findall(r"<h[12][^>]*>(.*?)</h[12]>", plain, re.DOTALL) == headings
    assert len(headings) > 1 or path in {"/runs", "/events"}
    assert browser.faults == []


def test_the_pictures_are_kept(browser: Chromium) -> None:
    """Whoever changes a page can look at all of them: build/pages has one for each page, width and light."""
    assert len(list(PICTURES.glob("*.png"))) == browser.pictures
    assert not os.environ.get("CI") or browser.pictures >= 40
