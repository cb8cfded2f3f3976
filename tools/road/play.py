"""The demo: a real application from `git push` to a traceable production, a bad release that goes back by itself, a drift that is healed.

Called by tools/demo with the archive of httpbin: `python -m tools.road.play ARCHIVE`. It writes into a temporary folder of its own and
stops everything it started when there is no terminal to stay for.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.road import parts
from tools.road.story import Story, command, free_ports, git, say, stage, wait_for
from tools.road.traffic import Traffic

from setpoint.client.http import Api
from setpoint.core.errors import NotFoundError

DANA = "Dana <dana@example.com>"
BUG = """

@app.before_request
def give_discount():
    customer = int(request.headers.get("X-Customer", 1))
    100 / (customer % 3)
"""
"""What no test of httpbin's own asks for: every third customer's discount divides by zero."""


@dataclass(frozen=True)
class Cast:
    """Who plays, and with what."""

    story: Story
    dana: Api
    dana_token: str
    sam: Api
    folder: Path
    """Dana's clone of httpbin."""

    def commit(self, file: str, change: Callable[[str], str], message: str) -> str:
        """Have Dana change a file and commit; returns the commit."""
        path = self.folder / file
        path.write_text(change(path.read_text()))
        git(self.folder, "commit", "-qam", message, who=DANA)
        return git(self.folder, "rev-parse", "HEAD")


def release(cast: Cast, name: str) -> str:
    """Push what is committed, follow it to staging, have it approved for production; returns its version."""
    commit = git(cast.folder, "rev-parse", "HEAD")
    command("git push origin main            # as Dana, the developer")
    with stage(cast.story, f"{name}: push to tested image", "70 tests, signed evidence"):
        git(cast.folder, "push", "-q", f"{cast.dana.connection.git}/httpbin.git", "main", who=DANA, token=cast.dana_token)
        report = parts.follow_run(cast.dana, commit)
    version = str(report["artifacts"][0]["version"])
    with stage(cast.story, f"{name}: staging serves it", "signed pin, rolling update"):
        parts.serving(cast.dana, "staging", version)
    with stage(cast.story, f"{name}: gates of production", "policy, HTTP check, then a person"):
        wait_for("the check of staging", lambda: _asks_for_approval(cast.dana))
        waiting = parts.why(cast.dana, "production")
    promotion = waiting["promotion"]["promotion"]
    command(f'setpoint approve {promotion} -m "looks good"      # as Sam, the SRE')
    cast.sam.post(f"/api/v1/promotions/{promotion}/approve", {"message": "looks good"})
    return version


def _asks_for_approval(api: Api) -> bool:
    waiting = parts.cell(api, "production")["waiting"]
    return waiting is not None and [reason["code"] for reason in waiting["reasons"]] == ["APPROVAL_MISSING"]


def good_release(cast: Cast, name: str, note: str) -> str:
    """Release, and see it in production."""
    version = release(cast, name)
    with stage(cast.story, f"{name}: approval to all of production", note):
        wait_for(f"{version} in production", lambda: _all_on(cast.sam, version))
        parts.serving(cast.sam, "production", version)
    return version


def _all_on(api: Api, version: str) -> bool:
    """Say whether an environment runs a version with all of its traffic, telling each step of a canary on the way."""
    found = parts.cell(api, "production")
    try:
        rollout = api.get("/api/v1/rollouts/httpbin/production")
    except NotFoundError:
        return False  # the pin is on its way
    _tell_step(rollout)
    return bool(found["version"] == version and found["health"] == "healthy" and rollout["phase"] == "finished")


_told: set[tuple[str, int]] = set()


def _tell_step(rollout: dict[str, Any]) -> None:
    step = (rollout["rollout"], rollout["weight"])
    if rollout["strategy"] == "canary" and rollout["phase"] == "holding" and step not in _told:
        _told.add(step)
        say(f"  canary: {rollout['weight']} % of the traffic; goes back when the evidence against it reaches {rollout['needed']:.0f}")


def bad_release(cast: Cast, before: str, traffic: Traffic) -> None:
    """Release a bug that no test and no gate sees; its customers show it, and it goes back by itself."""
    bad = cast.commit("httpbin/core.py", lambda text: text + BUG, "A discount for every customer")
    version = release(cast, "bad release")
    with stage(cast.story, "bad release: approval to sent back", "the canary's errors, judged while they come"):
        wait_for("the return", lambda: _sent_back(cast.sam, version))
        parts.serving(cast.sam, "production", before)
    parts.why(cast.sam, "production")
    lucky = traffic.answered[bad]
    say(f"  {traffic.failed[bad]} customers met the bug in the canary, {lucky} did not; nobody else saw {version}")


def _sent_back(api: Api, version: str) -> bool:
    """Say whether a version's canary went back, and why. The journal is asked: the phase itself passes when the way back is committed."""
    with suppress(NotFoundError):
        _tell_step(api.get("/api/v1/rollouts/httpbin/production"))
    entries = api.get("/api/v1/events", {"kind": "rollout.returned", "subject": "httpbin/production"})
    returned = next((entry["body"] for entry in entries if entry["body"]["new"]["version"] == version), None)
    for reason in returned["reasons"] if returned else ():
        say(f"  sent back: {reason['found']}")
    return returned is not None


def drift(cast: Cast) -> None:
    """Change a file of production's image behind Setpoint's back, same size, same time stamp; it is found, told and healed."""
    images = Path(f"{cast.story.home}.run") / "images"
    digest = parts.cell(cast.sam, "production")["artifacts"]["web"].partition(":")[2]
    page = images / digest / "rootfs" / "app" / "httpbin" / "templates" / "index.html"
    seen = page.stat()
    command(
        f"sed -i s/HTTP/HTTQ/ {page.relative_to(images.parent)}      # somebody with a shell on the host, who also sets the old time stamp"
    )
    with stage(cast.story, "drift: a file of the image edited", "found by what it is, not by its time stamp"):
        with page.open("r+b") as file:
            data = file.read().replace(b"HTTP", b"HTTQ", 1)
            file.seek(0)
            file.write(data)
        os.utime(page, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        found = wait_for("the healed drift", lambda: _healed(cast.sam))
    command("setpoint drift httpbin production --history")
    say(f"  {found['subject']}: {found['field']}: {found['desired']} -> {found['live']}, writer {found['writer']}; {found['done']}")


def _healed(api: Api) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = api.get("/api/v1/drift", {"history": "true"})
    return next((row for row in rows if row["ended_at"] and "index.html" in row["subject"] + row["field"]), None)


def rollback(cast: Cast, version: str, first: str) -> None:
    """Have a person take production back one more release: traffic first, the signed commit after it."""
    command('setpoint rollback httpbin production -m "not yet"')
    with stage(cast.story, "rollback", f"{version} back to {first}, traffic first, then a signed commit"):
        cast.sam.post("/api/v1/rollbacks", {"app": "httpbin", "environment": "production", "message": "not yet"})
        parts.serving(cast.sam, "production", first)
    parts.why(cast.sam, "production")


def play(story: Story, archive: Path) -> None:
    """Play the road."""
    with stage(story, "server up", "runner, signer, registry, Git"):
        operator = parts.start_server(story)
    parts.delivery_repository(story, operator)
    people = {name: parts.as_person(operator, f"{name}@example.com") for name in ("dana", "sam")}
    cast = Cast(story, *people["dana"], people["sam"][0], parts.source_repository(story, archive))
    first = good_release(cast, "release 1", "gate statement, pin, first replicas")
    with stage(story, "trace", "from the URL back to the commit"):
        parts.show_trace(operator, f"{story.production}/")

    traffic = Traffic(story.ports[1])
    traffic.start()
    cast.commit("httpbin/templates/index.html", lambda text: text + "<!-- the second release -->\n", "Mark the second release")
    second = good_release(cast, "release 2", "canary: 20 %, 50 %, all")
    bad_release(cast, second, traffic)
    drift(cast)
    rollback(cast, second, first)
    traffic.stop()
    parts.verify(cast.sam)
    closing(cast, traffic)


def closing(cast: Cast, traffic: Traffic) -> None:
    """Print the table of the road and the page's address; stop when somebody noticed more than the bad release."""
    bug = git(cast.folder, "rev-parse", "HEAD")
    lost = sum(count for revision, count in traffic.failed.items() if revision != bug)
    answered = sum(traffic.answered.values())
    story = cast.story
    say(f"\n{'the road':<38} {'seconds':>8}  note")
    for row in story.stages:
        say(f"{row.name:<38} {row.seconds:>8.1f}  {row.note}")
    said = f"{answered} requests answered, {traffic.failed[bug]} failed by the bad release, {lost} by anything else"
    say(f"{'all':<38} {sum(row.seconds for row in story.stages):>8.1f}  {said}")
    say(f"\npage:        {story.url.splitlines()[-1].removeprefix('log in once: ')}")
    say(f"staging:     http://127.0.0.1:{story.ports[0]}/\nproduction:  {story.production}/")
    say(f"try:         .venv/bin/setpoint status --home {story.home}")
    if lost:
        sys.exit(f"demo: {lost} requests failed that the bad release did not answer")


def stay() -> bool:
    """Say whether somebody is there to look at it."""
    return sys.stdout.isatty() and os.environ.get("CI") != "true"


def main() -> int:
    """Run the demo and clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    archive = parser.parse_args().archive
    work = Path(tempfile.mkdtemp(prefix="setpoint-demo-"))
    work.chmod(0o711)
    story = Story(work, work / "home", free_ports(7501, 7502))
    began = time.monotonic()
    try:
        play(story, archive)
        say(f"\ndone in {time.monotonic() - began:.0f} s")
        if stay():
            say("everything stays up; Ctrl-C stops it")
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
    except KeyboardInterrupt:
        say("\ninterrupted")
        return 130
    except BaseException:
        parts.tell_where_it_stands(story)
        raise
    finally:
        subprocess.run([str(parts.SETPOINT), "down", "--home", str(story.home)], check=False)
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
