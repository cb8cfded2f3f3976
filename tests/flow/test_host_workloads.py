"""Secrets and Jobs on a live home: encrypted in Git, in clear in the replica only; a Job runs once, whatever becomes of the server."""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from leaks import everywhere
from live_home import APP, MANIFESTS, PIPELINE, TESTS, LiveHome, wait_for

SOPS = Path(__file__).parents[1] / "contract" / "sops"
PASSWORD = "correct horse battery staple"
SECRET_APP = (APP % "unused").replace('TEXT = b"unused"', 'TEXT = os.environ["PASSWORD"].encode()')
WITH_SECRET = MANIFESTS.replace(
    "          ports: [",
    "          env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: database, key: PASSWORD}}}]\n          ports: [",
)
IN_CLEAR = "apiVersion: v1\nkind: Secret\nmetadata: {name: database}\nstringData: {PASSWORD: hunter2}\n"
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: migrate
          image: web
          command: [python3, -c, %s]
"""


def reasons(live: LiveHome, code: str) -> list[dict[str, Any]]:
    """Return staging's reasons of a code."""
    return [reason for reason in live.why("staging")["reasons"] if reason["code"] == code]


def test_a_secret_in_clear_never_passes(live: LiveHome) -> None:
    """The gate says which file, which field, and how to encrypt it; nothing of the value is shown."""
    live.commit("delivery", {"apps/hello/hello.yaml": WITH_SECRET, "apps/hello/secret.yaml": IN_CLEAR}, who="sam")
    live.commit("hello", {"app.py": SECRET_APP, "tests.sh": TESTS, ".setpoint/pipeline.yaml": PIPELINE})
    (reason,) = wait_for("the refusal", lambda: reasons(live, "RENDER_FAILED"))
    assert "SP671" in json.dumps(reason)
    assert "setpoint secret-key" in json.dumps(reason)
    assert "hunter2" not in json.dumps([live.why("staging"), live.journal()])


def test_a_secret_for_another_home_waits_for_its_key(live: LiveHome) -> None:
    """Encrypted to a key that this home does not have: the reason names the home's own recipient; with the key it goes on."""
    live.commit("delivery", {"apps/hello/secret.yaml": (SOPS / "regex.yaml").read_text()}, who="sam")
    own = live.api().get("/api/v1/secret-key")["recipients"][0]
    wait_for("the missing key", lambda: any(own in json.dumps(reason) for reason in reasons(live, "RENDER_FAILED")))
    shutil.copy(SOPS / "age.key", live.home / "keys" / "age.key")
    (live.home / "keys" / "age.key").chmod(0o600)
    live.serves("staging", PASSWORD)


def test_the_value_is_in_the_replica_and_nowhere_else(live: LiveHome) -> None:
    """Not in the home, its work folder, the server's output, the API, the journal, or any other process."""
    pids = [str(replica["pid"]) for replica in live.api().get("/api/v1/replicas")]
    work = live.home.with_name("home.run").resolve()
    needle = PASSWORD.encode()
    server_log = live.work / "server.log"
    assert everywhere([live.home, work], needle) == [f"{pid} environ" for pid in pids]
    assert needle not in server_log.read_bytes()
    shown = [live.why("staging"), live.cell("staging"), live.journal(), live.api().get("/api/v1/replicas")]
    shown += [live.api().get(f"/api/v1/{verb}/hello/staging") for verb in ("plan", "diff")]
    assert PASSWORD not in json.dumps(shown)


def test_a_changed_file_that_sops_did_not_write_never_passes(live: LiveHome) -> None:
    """A label changed by hand breaks the MAC: the candidate is refused, and what runs goes on."""
    text = (SOPS / "regex.yaml").read_text().replace('tier: "1"', 'tier: "2"')
    live.commit("delivery", {"apps/hello/secret.yaml": text}, who="sam")
    wait_for("the refusal", lambda: any("SP672" in json.dumps(reason) for reason in reasons(live, "RENDER_FAILED")))
    assert live.answer(live.staging)[0] == PASSWORD
    live.commit("delivery", {"apps/hello/secret.yaml": (SOPS / "regex.yaml").read_text()}, who="sam")


def test_a_job_runs_once_and_its_end_is_learned_by_a_server_that_was_away(live: LiveHome) -> None:
    """The server is killed while the Job runs: the same run ends, its end is journalled, and it is not run again."""
    code = '\'import time; print("migrating", flush=True); time.sleep(6); print("migrated")\''
    live.commit("delivery", {"apps/hello/job.yaml": JOB % code}, who="sam")

    def running() -> dict[str, Any] | None:
        return next((r for r in live.api().get("/api/v1/replicas") if r["spec"]["job"] and r["pid"]), None)

    run = wait_for("the Job", running)
    wait_for("its word", lambda: reasons(live, "JOB_RUNNING"))
    assert live.cell("staging")["health"] == "progressing"
    live.stop(kill=True)
    live.start()
    wait_for("its end", lambda: reasons(live, "JOB_COMPLETE"))
    live.serves("staging", PASSWORD)
    entries = [entry for entry in live.journal() if entry["kind"].startswith("job.") and entry["body"]["environment"] == "staging"]
    assert [(entry["kind"], entry["subject"]) for entry in entries] == [
        ("job.started", run["spec"]["replica"]),
        ("job.finished", run["spec"]["replica"]),
    ]
    assert (entries[1]["body"]["state"], entries[1]["body"]["exit"]) == ("succeeded", "exit status 0")
    assert "migrated" in live.api().get(f"/api/v1/replicas/{run['spec']['replica']}/log")["text"]


def test_a_job_that_is_killed_with_its_shim_and_the_server_is_told_as_lost_and_not_run_again(live: LiveHome) -> None:
    """Nobody saw its end: that is what journal and `why` say, and with no attempt left nothing of it is run a second time."""
    code = "'import time; print(\"begun\", flush=True); time.sleep(300)'"
    live.commit("delivery", {"apps/hello/job.yaml": JOB % code}, who="sam")
    running = wait_for("its word", lambda: [reason for reason in reasons(live, "JOB_RUNNING") if reason["found"] == "running"])
    run = running[0]["fix"].split()[2]
    folder = Path(f"{live.home}.run") / "replicas" / run
    wait_for("its output", lambda: "begun" in live.api().get(f"/api/v1/replicas/{run}/log")["text"])
    state = json.loads((folder / "state.json").read_text())
    live.stop(kill=True)
    for pid in (state["shim_pid"], state["child_pid"]):  # the shim first, or it may see the end and write it down
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    live.start()
    (reason,) = wait_for("the loss", lambda: reasons(live, "JOB_FAILED"))
    assert reason["found"].startswith("nobody saw it end, after 1 attempt")
    entries = [entry for entry in live.journal() if entry["subject"] == run]
    assert [(entry["kind"], entry["body"]["state"]) for entry in entries] == [("job.started", "started"), ("job.finished", "lost")]
    begun = [entry for entry in live.journal() if entry["kind"] == "job.started" and entry["index"] > entries[0]["index"]]
    assert begun == []
    live.commit("delivery", {"apps/hello/job.yaml": None}, who="sam")
    live.serves("staging", PASSWORD)


def test_a_failed_job_degrades_its_application_and_says_where_to_look(live: LiveHome) -> None:
    """The exit and the log's command are told; the Deployment goes on serving; without the Job all is well again."""
    live.commit("delivery", {"apps/hello/job.yaml": JOB % "'raise SystemExit(3)'"}, who="sam")
    (reason,) = wait_for("the failure", lambda: reasons(live, "JOB_FAILED"))
    run = reason["fix"].split()[2].rstrip(";")
    assert "exit status 3" in reason["found"], live.api().get(f"/api/v1/replicas/{run}/log")["text"]
    assert reason["fix"].startswith("setpoint log staging-hello-migrate-")
    assert live.cell("staging")["health"] == "degraded"
    assert live.answer(live.staging)[0] == PASSWORD
    live.commit("delivery", {"apps/hello/job.yaml": None}, who="sam")
    live.serves("staging", PASSWORD)
