"""Who and what gets in, on a real home: unlisted images, kinds outside of the project, pods that are not restricted, unsigned commits."""

import subprocess
from typing import Any

import pytest

from live_home import ENVIRONMENT, MANIFESTS, SETPOINT_FILE, LiveHome, wait_for

HARD = """
            allowPrivilegeEscalation: false
            runAsNonRoot: true
            capabilities: {drop: [ALL]}
"""
RESTRICTED = MANIFESTS.replace("          image: web\n", f"          image: web\n          securityContext:{HARD}")
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: once, image: %s, command: ["true"]}]
"""


@pytest.fixture(scope="module")
def home(live: LiveHome) -> LiveHome:
    """A home whose staging serves `one`."""
    live.release("one")
    live.serves("staging", "one")
    return live


def denied(home: LiveHome, code: str, *words: str) -> dict[str, Any]:
    """Wait until the gate of staging denies with a code; every word is in what the reason says, and staging serves what it served."""

    def look() -> list[dict[str, Any]]:
        return [r for r in home.why("staging")["reasons"] if r["code"] == code and r["outcome"] == "deny"]

    reason = wait_for(code, look)[0]
    said = f"{reason['subject']} {reason['found']} {reason['wanted']} {reason['fix']}"
    assert [word for word in words if word not in said] == [], said
    assert home.answer(home.staging)[0] == "one"
    return reason


def settled(home: LiveHome) -> None:
    """Wait until staging has pinned what the delivery repository holds, so that no pin commit comes between a pull and a push."""
    delivery = home.work / "delivery"

    def trees() -> bool:
        home.git(delivery, "pull", "-q", "--rebase", "origin", "main")
        pin = (delivery / "pins" / "staging" / "hello.yaml").read_text()
        return home.git(delivery, "rev-parse", "HEAD:apps/hello").stdout.strip() in pin and home.why("staging")["outcome"] == "allow"

    wait_for("the pin of what is at HEAD", trees)


def accepted(home: LiveHome, files: dict[str, str | None], message: str) -> None:
    """Push governed files as their owner, and wait until they are in force."""
    commit = home.commit("delivery", files, message, who="sam")
    wait_for("the files in force", lambda: any(e["kind"] == "baseline.accepted" and e["body"]["commit"] == commit for e in home.journal()))


def test_an_image_that_nobody_listed_gets_no_job_in(home: LiveHome) -> None:
    """Law 2 holds for a Job's image as for a Deployment's, with file and field."""
    home.commit("delivery", {"apps/hello/job.yaml": JOB % "busybox:1"}, "a job by tag")
    denied(home, "RENDER_FAILED", "SP621", "apps/hello/job.yaml:", "busybox:1")
    home.commit("delivery", {"apps/hello/job.yaml": None}, "no job")
    settled(home)


def test_a_kind_outside_of_the_project_is_refused_until_its_owner_widens_it(home: LiveHome) -> None:
    """The application's team cannot widen its own limits; the owner of setpoint.yaml can, and the same commit goes in then."""
    narrow = SETPOINT_FILE + "projects:\n  default: {kinds: [Deployment, Service, HTTPRoute]}\n"
    accepted(home, {"setpoint.yaml": narrow}, "a project")
    home.commit("delivery", {"apps/hello/job.yaml": JOB % "web"}, "a job")
    denied(home, "RENDER_FAILED", "SP628", "the project `default` may not have a Job", "apps/hello/job.yaml:")
    wide = narrow.replace("HTTPRoute]", "HTTPRoute, Job]")
    home.commit("delivery", {"setpoint.yaml": wide}, "widened by the wrong hand")
    denied(home, "RENDER_FAILED", "SP628")
    home.commit("delivery", {"setpoint.yaml": narrow}, "taken back")
    accepted(home, {"setpoint.yaml": wide}, "widened by its owner")
    settled(home)
    home.commit("delivery", {"apps/hello/job.yaml": None, "setpoint.yaml": SETPOINT_FILE}, "back", who="sam")
    settled(home)


def test_a_project_that_is_narrowed_stops_nothing_that_runs(home: LiveHome) -> None:
    """What runs keeps serving, the reconciler says which object may not be there any more, and widening ends that."""
    narrow = SETPOINT_FILE + "projects:\n  default: {kinds: [Deployment, Service]}\n"
    accepted(home, {"setpoint.yaml": narrow}, "no routes")
    wait_for("the refusal", lambda: "SP628" in home.codes("staging"))
    reason = next(reason for reason in home.why("staging")["reasons"] if reason["code"] == "SP628")
    assert "the project `default` may not have a HTTPRoute" in reason["found"]
    assert home.answer(home.staging)[0] == "one"
    assert home.cell("staging")["health"] == "degraded"
    accepted(home, {"setpoint.yaml": SETPOINT_FILE}, "routes again")
    home.serves("staging", "one")


def test_pods_keep_to_the_standard_that_the_environment_asks_for(home: LiveHome) -> None:
    """Every field is told by gate, plan and why alike; a manifest that keeps to it goes in."""
    strict = (ENVIRONMENT % home.staging).replace("gates:\n", "gates:\n  pods: restricted\n")
    accepted(home, {"environments/staging/environment.yaml": strict}, "restricted")
    home.commit("delivery", {"apps/hello/hello.yaml": MANIFESTS + "# again\n"}, "not restricted")
    denied(home, "POD_SECURITY", "spec.template.spec.containers[0]", "restricted:v1.35", "apps/hello/hello.yaml:")
    plan = home.api().get("/api/v1/plan/hello/staging")
    assert {reason["subject"] for reason in plan["refusals"]} == {"pods of Deployment/hello"}
    home.commit("delivery", {"apps/hello/hello.yaml": RESTRICTED}, "restricted")
    settled(home)
    assert "POD_SECURITY_KEPT" in home.codes("staging")
    home.serves("staging", "one")


def test_unsigned_commits_stay_out_and_signed_ones_name_their_signer(home: LiveHome) -> None:
    """Stock git signs with an SSH key of setpoint.yaml; a commit without a signature, or by another key, is named with its way out."""
    keys = home.work / "keys"
    keys.mkdir()
    for name in ("dana", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", str(keys / name)], check=True)
    public = (keys / "dana.pub").read_text().strip()
    people = SETPOINT_FILE.replace("{emails: [dana@example.com]}", f'{{emails: [dana@example.com], keys: ["{public}"]}}')
    gate = (ENVIRONMENT % home.staging).replace("gates:\n", "gates:\n  commits: signed\n")
    accepted(home, {"setpoint.yaml": people, "environments/staging/environment.yaml": gate}, "signed commits only")
    delivery = home.work / "delivery"

    def push(comment: str, *options: str) -> str:
        home.git(delivery, "pull", "-q", "--rebase", "origin", "main")
        (delivery / "apps" / "hello" / "hello.yaml").write_text(RESTRICTED + f"# {comment}\n")
        home.git(delivery, "add", "-A")
        home.git(delivery, *options[:-1], "commit", "-q", "-m", comment, *options[-1:])
        home.git(delivery, "push", "-q", "origin", "main")
        return home.git(delivery, "rev-parse", "HEAD").stdout.strip()

    def key(name: str) -> tuple[str, ...]:
        return "-c", "gpg.format=ssh", "-c", f"user.signingKey={keys / name}", "-S"

    push("signed by dana", *key("dana"))
    settled(home)
    reason = next(reason for reason in home.why("staging")["reasons"] if reason["code"] == "COMMITS_SIGNED")
    assert reason["found"] == "1 signed by dana"
    unsigned = push("in a hurry", "--no-gpg-sign")
    denied(home, "COMMIT_NOT_SIGNED", f"commit {unsigned[:12]} of delivery", "carries no signature (in a hurry)", "commit.gpgSign")
    stranger = push("by somebody else", *key("stranger"))
    wait_for("the unknown signer", lambda: "COMMIT_SIGNER_UNKNOWN" in home.codes("staging"))
    codes = {(reason["code"], reason["subject"]) for reason in home.why("staging")["reasons"] if reason["code"].startswith("COMMIT")}
    assert codes == {
        ("COMMIT_NOT_SIGNED", f"commit {unsigned[:12]} of delivery"),
        ("COMMIT_SIGNER_UNKNOWN", f"commit {stranger[:12]} of delivery"),
    }
    refusals = home.api().get("/api/v1/plan/hello/staging")["refusals"]
    assert {reason["code"] for reason in refusals} == {"COMMIT_NOT_SIGNED"}
    accepted(home, {"environments/staging/environment.yaml": ENVIRONMENT % home.staging}, "set aside once")
    settled(home)
    home.serves("staging", "one")
