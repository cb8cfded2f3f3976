"""Drift on a live home: somebody kills, edits and reweighs behind Setpoint's back; each is a record, then it is healed, and shown."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from live_home import ENVIRONMENT, LiveHome, wait_for
from setpoint.adapters.host import processes
from setpoint.adapters.host.haproxy_socket import MasterSocket
from setpoint.app.home import Home

SOON_S = 60.0


def _cases(live: LiveHome, **where: str) -> list[dict[str, Any]]:
    """Every case of staging, newest first."""
    query = {"environment": "staging", "history": "true", **where}
    found: list[dict[str, Any]] = live.api().get("/api/v1/drift", query)
    return found


def _replica(live: LiveHome) -> dict[str, Any]:
    replicas = live.api().get("/api/v1/replicas")
    return next(r for r in replicas if r["shim_alive"] and r["pid"] and not r["stopping"])


def _shim(live: LiveHome, replica: str) -> int:
    """Return the process id of a replica's shim: its folder is the shim's last word."""
    folder = str(Home(live.home).replicas / replica).encode()
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and (place / "cmdline").read_bytes().split(b"\0")[-2:] == [folder, b""]:
                return int(place.name)
    pytest.fail(f"no shim of {replica}")


def _ended(live: LiveHome, field: str, known: set[str], holds: Callable[[dict[str, Any]], bool] = lambda _case: True) -> dict[str, Any]:
    """Wait for a new case of a field that is over; returns it."""

    def look() -> dict[str, Any] | None:
        return next((c for c in _cases(live) if c["field"] == field and c["drift"] not in known and c["ended_at"] and holds(c)), None)

    return wait_for(f"drift of {field}", look, SOON_S)


def _known(live: LiveHome) -> set[str]:
    return {case["drift"] for case in _cases(live)}


def test_a_release_is_no_drift(live: LiveHome) -> None:
    """What Setpoint starts, drains and stops is never taken for somebody else's doing."""
    for text in ("one", "two"):
        live.release(text)
        live.serves("staging", text)
    assert [(case["subject"], case["field"], case["live"]) for case in _cases(live)] == []


def test_a_killed_replica_is_recorded_with_its_exit_status_and_healed(live: LiveHome) -> None:
    """The application alone, then its shim with everything below it: each is one case with how it ended."""
    known, replica = _known(live), _replica(live)
    os.kill(replica["pid"], signal.SIGKILL)
    case = _ended(live, "process", known)
    assert (case["subject"], case["live"], case["state"]) == (replica["spec"]["replica"], "killed by SIGKILL", "healed")
    live.serves("staging", "two")
    known, replica = _known(live), _replica(live)
    os.kill(_shim(live, replica["spec"]["replica"]), signal.SIGKILL)
    case = _ended(live, "process", known)
    assert (case["state"], case["done"]) == ("healed", "another replica was started in its place")
    assert case["live"] == "killed by SIGKILL with its shim"
    live.serves("staging", "two")


def test_a_kill_while_the_server_is_down_is_told_by_the_next_one(live: LiveHome) -> None:
    """The shim has restarted it long ago; the record says so all the same."""
    known, replica = _known(live), _replica(live)
    live.stop(kill=True)
    os.kill(replica["pid"], signal.SIGKILL)
    assert processes.wait_gone(replica["pid"], 5)
    live.start()
    case = _ended(live, "process", known)
    assert (case["subject"], case["state"]) == (replica["spec"]["replica"], "healed")
    live.serves("staging", "two")


def test_a_weight_changed_through_the_proxys_socket_is_recorded_and_set_back(live: LiveHome) -> None:
    """Without a reload: the same worker goes on."""
    known, replica = _known(live), _replica(live)
    socket = MasterSocket(Home(live.home).proxies / "staging")
    backend = next(word for word in socket.ask_worker("show backend").split() if word.startswith("hello."))
    worker = socket.processes()
    socket.ask_worker(f"set server {backend}/{replica['spec']['replica']} weight 0")
    case = _ended(live, "traffic", known)
    assert (case["app"], case["kind"], case["state"]) == ("hello", "proxy", "healed")
    assert "weight 0" in case["live"]
    assert socket.processes() == worker
    assert live.answer(live.staging)[0] == "two"


def test_under_a_lease_a_weight_stays_as_somebody_set_it_while_a_killed_replica_comes_back(live: LiveHome) -> None:
    """Break-glass on the host: what serves is in people's hands until the end, what is dead is brought back."""
    live.serves("staging", "two")
    replica, known = _replica(live), _known(live)
    place = {"app": "hello", "environment": "staging"}
    live.api("sam").post("/api/v1/break-glass", place | {"for_s": 3600, "message": "drain it by hand", "then": "hold"})
    socket = MasterSocket(Home(live.home).proxies / "staging")
    backend = next(word for word in socket.ask_worker("show backend").split() if word.startswith("hello."))

    def drained() -> list[dict[str, Any]]:
        socket.ask_worker(f"set server {backend}/{replica['spec']['replica']} weight 7")
        return [c for c in _cases(live) if c["state"] == "held"]

    held = wait_for("the weight to be held", drained)
    assert "weight 7" in held[0]["live"]
    assert socket.ask_worker(f"get weight {backend}/{replica['spec']['replica']}").startswith("7 ")
    live.api("sam").post("/api/v1/break-glass/end", place | {"then": "correct"})
    assert _ended(live, held[0]["field"], known, lambda case: case["drift"] == held[0]["drift"])["state"] == "healed"
    live.api("sam").post("/api/v1/break-glass", place | {"for_s": 3600, "message": "see what happens"})
    os.kill(_replica(live)["pid"], signal.SIGKILL)
    assert _ended(live, "process", known)["state"] == "healed"
    live.api("sam").post("/api/v1/break-glass/end", place)


def test_a_killed_proxy_is_recorded_and_started_again(live: LiveHome) -> None:
    """It concerns the whole environment, and every application of it shows the case."""
    known = _known(live)
    socket = MasterSocket(Home(live.home).proxies / "staging")
    found = socket.processes()
    for pid in (found.master, found.worker or 0):
        os.kill(pid, signal.SIGKILL)
    case = _ended(live, "process", known)
    assert (case["app"], case["subject"], case["state"]) == ("", "proxy of staging", "healed")
    assert case["drift"] in {c["drift"] for c in _cases(live, application="hello")}
    live.serves("staging", "two")


def test_report_only_shows_until_somebody_orders_it(live: LiveHome) -> None:
    """The weight stays, why and status say what to do, and `heal` brings it back; the records outlive the database."""
    live.commit("delivery", {"environments/staging/environment.yaml": ENVIRONMENT % live.staging + "drift: {mode: report}\n"}, who="sam")
    socket, name = MasterSocket(Home(live.home).proxies / "staging"), _replica(live)["spec"]["replica"]
    backend = next(word for word in socket.ask_worker("show backend").split() if word.startswith("hello."))
    known = _known(live)

    def reported() -> dict[str, Any] | None:
        socket.ask_worker(f"set server {backend}/{name} weight 7")
        return next((c for c in _cases(live) if c["drift"] not in known and c["state"] == "reported"), None)

    case = wait_for("the report", reported, SOON_S)
    reasons = {reason["code"]: reason for reason in live.why("staging")["reasons"]}
    assert reasons["DRIFT_REPORTED"]["fix"] == "setpoint heal hello staging"
    status = live.api().get("/api/v1/status")
    assert "setpoint heal hello staging" in [need["command"] for need in status["needs"]]
    assert live.cell("staging")["drift"] == 1
    assert socket.ask_worker(f"get weight {backend}/{name}").startswith("7 ")
    live.stop()
    (live.home / "setpoint.db").unlink()
    live.start()
    assert [c["state"] for c in _cases(live) if c["drift"] == case["drift"]] == ["reported"]
    live.api("sam").post("/api/v1/drift/heal", {"app": "hello", "environment": "staging"})
    wait_for("the correction", lambda: socket.ask_worker(f"get weight {backend}/{name}").startswith("1 "), SOON_S)
    # The third time in a row: the record ends when it was quiet for half a minute.
    healed = wait_for("its end", lambda: next((c for c in _cases(live) if c["drift"] == case["drift"] and c["ended_at"]), None))
    assert (healed["state"], healed["ordered_by"]) == ("healed", "person:sam@example.com")


def _image_file(live: LiveHome) -> Path:
    """Return app.py of the unpacked image that staging runs."""
    digest = str(live.cell("staging")["artifacts"]["web"]).partition(":")[2]
    return Home(live.home).images / digest / "rootfs" / "app" / "app.py"


def _edit(path: Path) -> None:
    """Edit a file as somebody does who wants to stay unseen: the same size, the same time."""
    facts = path.stat()
    mode = facts.st_mode & 0o7777
    path.chmod(mode | 0o200)
    path.write_text(path.read_text().replace('b"two"', 'b"bad"'))
    path.chmod(mode)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)


def test_an_edited_file_of_an_image_is_brought_back_and_its_replicas_are_replaced_without_a_lost_request(live: LiveHome) -> None:
    """Same size, same time: found within seconds, unpacked anew; the replica that could have read it is replaced under load."""
    live.commit("delivery", {"environments/staging/environment.yaml": ENVIRONMENT % live.staging}, who="sam")
    live.serves("staging", "two")
    known, before = _known(live), _replica(live)["spec"]["replica"]
    answers: list[str] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            answers.append(live.answer(live.staging)[0])

    thread = threading.Thread(target=load)
    thread.start()
    try:
        _edit(_image_file(live))
        limit_s = 60.0

        def ended() -> dict[str, Any] | None:
            return next((c for c in _cases(live) if c["kind"] == "image" and c["drift"] not in known and c["ended_at"]), None)

        case = wait_for("the end of the case", ended, limit_s)
    finally:
        stop.set()
        thread.join()
    assert (case["app"], case["field"], case["state"]) == ("hello", "content", "healed")
    assert case["subject"].endswith(" /app/app.py")
    assert 'b"two"' in _image_file(live).read_text()
    assert _replica(live)["spec"]["replica"] != before
    assert set(answers) == {"two"}
    live.serves("staging", "two")
    wait_for("the old tree's end", lambda: not list(Home(live.home).images.glob(".old-*")), limit_s)


def test_a_reported_edit_stays_until_it_is_ordered_and_diff_shows_it(live: LiveHome) -> None:
    """Replicas go on as they are; `diff` names the file, `heal` brings it back."""
    live.commit("delivery", {"environments/staging/environment.yaml": ENVIRONMENT % live.staging + "drift: {mode: report}\n"}, who="sam")
    known, before = _known(live), _replica(live)["spec"]["replica"]
    path = _image_file(live)
    live.stop()
    _edit(path)
    live.start()

    def open_one() -> dict[str, Any] | None:
        return next((c for c in _cases(live) if c["kind"] == "image" and c["drift"] not in known), None)

    case = wait_for("the case", open_one, 30.0)
    assert case["state"] == "reported"
    assert case["subject"] in {one["subject"] for one in live.api().get("/api/v1/diff/hello/staging")["differences"]}
    assert 'b"bad"' in _image_file(live).read_text()
    assert _replica(live)["spec"]["replica"] == before
    live.api().post("/api/v1/drift/heal", {"app": "hello", "environment": "staging"})
    wait_for("its end", lambda: any(c["drift"] == case["drift"] and c["state"] == "healed" for c in _cases(live)), 60.0)
    assert 'b"two"' in _image_file(live).read_text()
    live.serves("staging", "two")
