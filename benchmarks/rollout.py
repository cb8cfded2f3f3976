"""Rollouts under an open-loop load without retries: how many requests fail while an application is rolled twenty times.

The application drains as it should: after SIGTERM it finishes what it has taken. The manifest gives it time for the slowest request.
Every class of requests has its row; twenty canaries can be measured in the same way.
"""

import sys
import time
from collections.abc import Iterator

from harness import Row, at, home, publish
from load import SLOW_S, Load

from live_home import ENVIRONMENT, MANIFESTS, PIPELINE, TESTS, LiveHome

_APP = (
    """
import hashlib, http.server, os, signal, threading, time

TEXT = b"%s"
SLOW_S = """
    + str(SLOW_S)
    + """
busy = threading.Semaphore(0)
lock = threading.Lock()
open_requests = 0

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def handle_one_request(self):
        global open_requests
        self.counted = False
        try:
            super().handle_one_request()
        finally:
            with lock:
                open_requests -= self.counted
    def parse_request(self):
        global open_requests
        with lock:
            open_requests += 1
        self.counted = True
        return super().parse_request()
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(SLOW_S)
        self.answer(TEXT)
    def do_POST(self):
        self.answer(hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode())
    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

def end(*args):
    def drain():
        while open_requests:
            time.sleep(0.05)
        server.shutdown()
    threading.Thread(target=drain).start()

server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, end)
server.serve_forever()
"""
)
_CANARY = "rollout: {canary: {weights: [25, 50], hold: 3s, look: 1s, keep: 1s}}\n"


def _release(live: LiveHome, text: str) -> None:
    live.commit("hello", {"app.py": _APP % text, "tests.sh": TESTS, ".setpoint/pipeline.yaml": PIPELINE}, f"say {text}")
    live.serves("staging", text)


def _measured(count: int, environment: str) -> tuple[Load, float, int]:
    """Roll `count` times under load; returns the load, the seconds of a release, and how many rollouts the journal knows."""
    with home() as live:
        manifests = MANIFESTS.replace("terminationGracePeriodSeconds: 5", f"terminationGracePeriodSeconds: {SLOW_S + 5}")
        files: dict[str, str | None] = {"apps/hello/hello.yaml": manifests}
        files["environments/staging/environment.yaml"] = ENVIRONMENT % live.staging + environment
        live.commit("delivery", files, who="sam")
        _release(live, "r0")
        load = Load(live.staging)
        load.start()
        try:
            time.sleep(1)
            began = time.time()
            for number in range(1, count + 1):
                _release(live, f"r{number}")
            each = (time.time() - began) / count
        finally:
            load.stop()
        canaries = len({entry["body"]["rollout"] for entry in live.journal() if entry["kind"] == "rollout.stepped"})
    return load, each, canaries


def _rows(load: Load) -> Iterator[Row]:
    for name, tally in load.tallies.items():
        for fault in tally.faults[:20]:
            print(f"failed: {name}: {fault}", file=sys.stderr, flush=True)
        took = [seconds * 1000 for seconds in tally.took] or [0.0]
        value = f"{tally.good} answered, {len(tally.faults)} failed"
        beside = f"p50 {at(took, 0.5):.0f}, p99 {at(took, 0.99):.0f}, max {max(took):.0f} ms; {tally.connections} connections"
        yield Row(name, value, beside, "0 failed")


def _row_of_all(load: Load, what: str, each: float) -> Row:
    good = sum(tally.good for tally in load.tallies.values())
    bad = sum(len(tally.faults) for tally in load.tallies.values())
    late = max(tally.late_s for tally in load.tallies.values())
    beside = f"{each:.1f} s a release; the schedule was late by {late * 1000:.0f} ms at most"
    return Row(f"{what}, no retries", f"{good} answered, {bad} failed", beside, "0 failed")


def run(count: int = 20) -> None:
    """Roll an application many times under load."""
    load, each, _ = _measured(count, "")
    publish("rollout", "Rollouts under load", [_row_of_all(load, f"{count} rolling updates", each), *_rows(load)])


def run_canaries(count: int = 20) -> None:
    """The same with a canary of two steps each time."""
    load, each, canaries = _measured(count, _CANARY)
    if canaries != count:
        raise SystemExit(f"{canaries} of {count} releases went by canary")
    publish("canary", "Canaries under load", [_row_of_all(load, f"{canaries} canaries of 25 and 50 %", each), *_rows(load)])
