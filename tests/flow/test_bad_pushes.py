"""What a push can bring that is wrong: each gets one error with place and fix, nothing is lost, and what ran keeps running."""

import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from live_files import entries
from live_home import APP, ENVIRONMENT, MANIFESTS, PIPELINE, TESTS, LiveHome, wait_for
from pusher import Pusher

NOWHERE = "sha256:" + "0" * 64
GOOD: dict[str, str | None] = {"app.py": APP % "one", "tests.sh": TESTS, ".setpoint/pipeline.yaml": PIPELINE}
HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\n"


@pytest.fixture(scope="module")
def home(live: LiveHome) -> LiveHome:
    """A home whose staging serves `one`."""
    live.release("one")
    live.serves("staging", "one")
    return live


def refused(home: LiveHome, files: dict[str, str | None], *words: str) -> dict[str, Any]:
    """Push files: their run fails with all the words in what it says, and staging serves what it served."""
    report = home.ended(home.commit("hello", GOOD | files, " ".join(words)))
    said = "\n".join([report["run"]["error"], *(task["reason"] for task in report["tasks"])])
    assert report["run"]["state"] == "failed", said
    assert [word for word in words if word not in said] == [], said
    assert report["artifacts"] == []
    assert home.answer(home.staging)[0] == "one"
    return report


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{{", ("SP011", "pipeline.yaml:")),
        (HEAD + "tasks: [\n", ("pipeline.yaml:",)),
        (HEAD + "tasks:\n\ttest: {run: x}\n", ("pipeline.yaml:4:",)),
        (HEAD + "tasks:\n  test: {rum: x}\n", ("pipeline.yaml:4:", "`run`")),
        (HEAD + "tasks:\n  test: {run: x, needs: [tset]}\n", ("SP222", "pipeline.yaml:4:")),
        (HEAD + "tasks:\n  a: {run: x, needs: [b]}\n  b: {run: x, needs: [a]}\n", ("SP229", "pipeline.yaml:")),
        (HEAD + "tasks: &a\n  test: *a\n", ("pipeline.yaml:",)),
        ("kind: Pipeline\napiVersion: setpoint.dev/v9\ntasks: {}\n", ("pipeline.yaml:2:", "v1alpha1")),
    ],
)
def test_a_malformed_pipeline_fails_its_run_with_the_place(home: LiveHome, text: str, words: tuple[str, ...]) -> None:
    """Every fault is told with file, line and column, and with what would be right."""
    refused(home, {".setpoint/pipeline.yaml": text}, *words)


def test_a_base_that_is_not_there_is_named(home: LiveHome) -> None:
    """A digest that nobody has, a registry that nobody runs, and a tag instead of a digest are three errors with their fixes."""
    registry = home.ready["registry"]
    for base, words in (
        (f"{registry}/base/none@{NOWHERE}", ("SP306", NOWHERE)),
        (f"127.0.0.1:9/base/none@{NOWHERE}", ("127.0.0.1:9",)),
        ("debian:12", ("SP227", "pipeline.yaml:")),
    ):
        refused(home, {".setpoint/pipeline.yaml": PIPELINE.replace("base: host", f"base: {base}")}, *words)


@pytest.mark.parametrize(("link", "code"), [("/etc/passwd", "SP213"), ("../../outside", "SP213")])
def test_a_task_cannot_leave_a_link_that_leads_out(home: LiveHome, link: str, code: str) -> None:
    """Outputs with a link out of the tree are refused with its name; nothing behind it is read."""
    pipeline = PIPELINE.replace("    run: sh tests.sh\n", "    run: sh tests.sh\n    outputs: [dist/]\n")
    script = TESTS + f"mkdir dist && ln -s {link} dist/sly\n"
    refused(home, {"tests.sh": script, ".setpoint/pipeline.yaml": pipeline}, code, "dist/sly")


def test_a_link_in_the_sources_cannot_lead_out(home: LiveHome) -> None:
    """A link of the repository that leaves it cannot be an input, nor get into an image."""
    (home.work / "hello" / "sly").symlink_to("/etc/passwd")
    for pipeline, code in (
        (PIPELINE.replace("[app.py, tests.sh]", "[app.py, tests.sh, sly]"), "SP212"),
        (PIPELINE.replace('{"app.py": /app/}', '{"app.py": /app/, "sly": /app/}'), "SP314"),
    ):
        refused(home, {".setpoint/pipeline.yaml": pipeline}, code, "sly")
    home.commit("hello", GOOD | {"sly": None}, "no link")


def test_a_flood_of_one_line_is_cut(home: LiveHome) -> None:
    """A line of a hundred megabytes fills the task's log up to its quota and says so; the run goes on and the server answers meanwhile."""
    flood = "head -c 100000000 /dev/zero | tr '\\0' x\n" + TESTS
    commit = home.commit("hello", GOOD | {"tests.sh": flood}, "a flood")
    wait_for("the run", lambda: [r for r in home.api().get("/api/v1/runs") if r["revision"] == commit])
    assert home.answer(home.staging)[0] == "one"
    report = home.ended(commit)
    assert report["run"]["state"] == "passed", report
    size = sum(state.st_size for _, state in entries(home.home / "logs") if stat.S_ISREG(state.st_mode))
    assert size < 70 << 20


def test_of_two_pushes_one_wins_and_none_is_lost(home: LiveHome) -> None:
    """Who pushes second from the same parent is told to fetch; after a rebase both commits have a run of their own, each one."""
    home.commit("hello", GOOD, "start of the race")
    folder, other = home.work / "hello", home.work / "racer"
    home.git(home.work, "clone", "-q", f"{home.ready['git']}/hello.git", str(other), who="sam")
    for place, who in ((folder, "dana"), (other, "sam")):
        (place / f"{who}.txt").write_text(who)
        home.git(place, "add", "-A", who=who)
        home.git(place, "commit", "-qm", f"by {who}", who=who)
    with_dana = home.git(folder, "push", "-q", "origin", "main", check=False)
    with_sam = home.git(other, "push", "-q", "origin", "main", who="sam", check=False)
    assert (with_dana.returncode, with_sam.returncode != 0) == (0, True)
    assert "fetch first" in with_sam.stderr or "rejected" in with_sam.stderr
    home.git(other, "pull", "-q", "--rebase", "origin", "main", who="sam")
    home.git(other, "push", "-q", "origin", "main", who="sam")
    heads = [home.git(place, "rev-parse", "HEAD").stdout.strip() for place in (folder, other)]
    for head in heads:
        assert home.ended(head)["run"]["state"] == "passed"
    made = [entry["body"]["revision"] for entry in home.journal() if entry["kind"] == "run.created"]
    assert [made.count(head) for head in heads] == [1, 1]


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_a_layer_that_climbs_out_is_not_unpacked(home: LiveHome, name: str) -> None:
    """An image on such a base never starts: staging says which entry, keeps what it ran, and nothing was written outside."""
    base = Pusher(home, "base/sly").image([(tarfile.TarInfo(name), b"sly")])
    before = home.cell("staging")["artifacts"]["web"]
    home.commit("hello", GOOD | {".setpoint/pipeline.yaml": PIPELINE.replace("base: host", f"base: {base}")}, name)
    told = wait_for("the reason", lambda: [reason for reason in home.why("staging")["reasons"] if "SP633" in str(reason)])
    assert "outside" in str(told)
    assert home.answer(home.staging)[0] == "one"
    assert [path for path, _ in entries(home.work) if path.name == "outside"] == []
    home.commit("hello", GOOD, "good again")
    wait_for("the way back", lambda: _serves_whole(home, before) and not told_still(home))


def _serves_whole(home: LiveHome, digest: str) -> bool:
    cell = home.cell("staging")
    return bool(cell["health"] == "healthy" and cell["artifacts"]["web"] == digest)


def told_still(home: LiveHome) -> bool:
    """Say whether staging's reasons still speak of the layer."""
    return "SP633" in str(home.why("staging")["reasons"])


def test_an_image_that_does_not_exist_is_never_pinned(home: LiveHome) -> None:
    """An outside image whose digest nobody has: the promotion says so, what runs stays, and an owner's mended file ends it."""
    ghost = f"{home.ready['registry']}/base/ghost@{NOWHERE}"
    listed = ENVIRONMENT % home.staging + f"images: ['{ghost}']\n"
    manifest = MANIFESTS.replace("image: web", f"image: {ghost}")
    files = {"environments/staging/environment.yaml": listed, "apps/hello/hello.yaml": manifest}
    home.commit("delivery", files, "a ghost", who="sam")
    wait_for("the reason", lambda: NOWHERE in str(home.why("staging")["reasons"]) and "SP634" in home.codes("staging"))
    assert home.answer(home.staging)[0] == "one"
    mended = {"environments/staging/environment.yaml": ENVIRONMENT % home.staging, "apps/hello/hello.yaml": MANIFESTS}
    home.commit("delivery", mended, "no ghost", who="sam")
    wait_for("no reason", lambda: NOWHERE not in str(home.why("staging")["reasons"]))
    assert home.answer(home.staging)[0] == "one"


def test_a_tampered_bundle_proves_nothing(home: LiveHome) -> None:
    """A changed byte in a signed statement stops the promotion that rests on it, and is named; what runs keeps running."""
    home.release("two")
    cell = home.serves("staging", "two")
    wait_for("the candidate", home.only_approval_missing)
    evidence = home.api().get("/api/v1/evidence", {"thing": cell["artifacts"]["web"]})
    bundle = next(row for row in _bundles(evidence) if "provenance" in row["predicate_type"])
    blob = _blob(home, bundle["bundle"])
    good = blob.read_bytes()
    blob.chmod(0o600)
    blob.write_bytes(good.replace(b"hello", b"jello", 1) if b"hello" in good else good[:-20] + b"x" * 20)
    try:
        wait_for("the doubt", lambda: {"PROVENANCE_SIGNED"} - home.codes("production"))
        assert home.answer(home.staging)[0] == "two"
        lines = home.api().get("/api/v1/verify", {"thing": "hello", "environment": "staging"})["lines"]
        assert not all(line["passed"] for line in lines)
    finally:
        blob.write_bytes(good)
    wait_for("the proof", lambda: "PROVENANCE_SIGNED" in home.codes("production"))


def _bundles(evidence: dict[str, Any]) -> list[dict[str, Any]]:
    return [bundle for subject in evidence["subjects"] for bundle in subject["bundles"]]


def _blob(home: LiveHome, digest: str) -> Path:
    algorithm, _, name = digest.partition(":")
    return home.home / "registry" / "blobs" / algorithm / name


def test_nothing_was_lost(home: LiveHome) -> None:
    """After all of that the chain holds and both repositories are whole."""
    assert home.api().get("/api/v1/journal/check")["holds"] is True
    for name in ("hello", "delivery"):
        done = subprocess.run(
            ["git", "-C", str(home.home / "repositories" / f"{name}.git"), "fsck", "--strict"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
