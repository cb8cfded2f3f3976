"""Stock clients against the running server: cosign verifies the bundles, oras and skopeo read and write the registry, git the sources.

oras is built into the cache when Go is there (half a minute, once), cosign only by `make interop` (many minutes).
A client that is not at hand makes its test say so, loudly; dated results are in docs/interop.md.
"""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from live_home import APP, PIPELINE, TESTS, LiveHome, wait_for

ROOT = Path(__file__).resolve().parents[2]
Client = Callable[..., "subprocess.CompletedProcess[str]"]


FILES_PIPELINE = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  train:
    inputs: [data.txt]
    run: mkdir -p out/deep && tr a-z A-Z <data.txt | tee out/a.bin out/deep/b.bin >model.bin
    outputs: [out/, model.bin]
artifacts:
  model: {needs: [train], file: {from: "train:model.bin"}}
  weights: {needs: [train], file: {from: "train:out/"}}
"""
HOW = {"skopeo": "apt-get install skopeo", "oras": "Go 1.24 or newer builds it", "cosign": "make interop builds it"}


def program(name: str) -> str:
    """Return a client's path, or skip."""
    cache = Path(os.environ.get("SETPOINT_CACHE", ROOT / ".cache"))
    if name == "oras" and shutil.which(name) is None:
        subprocess.run([ROOT / "tools" / "interop" / "build", name], capture_output=True, timeout=600, check=False)
    built = sorted(cache.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
    found = shutil.which(name) or (str(built[-1]) if built else None)
    if found is None:
        pytest.skip(f"INCOMPLETE: needs {name} ({HOW[name]})")
    return found


@pytest.fixture(scope="module")
def client(live: LiveHome) -> Client:
    """Run a stock client that is logged in to the home's registry, with its Docker configuration in a folder of the test."""
    folder = live.work / "docker"
    folder.mkdir()
    auth = base64.b64encode(f"anybody:{live.ready['token']}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {live.ready["registry"]: {"auth": auth}}}))

    def run(name: str, *argv: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(live.work), "DOCKER_CONFIG": str(folder)}
        environment["REGISTRY_AUTH_FILE"] = str(folder / "config.json")
        return subprocess.run([program(name), *argv], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture(scope="module")
def image(live: LiveHome) -> str:
    """The reference of an image that staging serves, with provenance, test results and a gate statement."""
    live.release("interop")
    cell = live.serves("staging", "interop")
    return f"{live.ready['registry']}/hello/web@{cell['artifacts']['web']}"


def _key(live: LiveHome, role: str) -> str:
    """Write a role's public key, as the journal's first entry has it, to a file."""
    path = live.work / f"{role}.pub"
    path.write_text(live.api().get("/api/v1/events", {"after": "-1", "limit": "1000"})[0]["body"]["keys"][role])
    return str(path)


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("builder", "slsaprovenance1"),
        ("scanner", "https://in-toto.io/attestation/test-result/v0.1"),
        ("gate", "https://slsa.dev/verification_summary/v1"),
    ],
)
def test_cosign_accepts_what_each_role_signed(live: LiveHome, client: Client, image: str, role: str, kind: str) -> None:
    """Stock cosign verifies every kind of statement with the key of its role."""
    done = client("cosign", "verify-attestation", "--key", _key(live, role), "--insecure-ignore-tlog=true", "--type", kind, image)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("role", "kind"), [("scanner", "slsaprovenance1"), ("builder", "https://slsa.dev/verification_summary/v1")])
def test_cosign_refuses_the_key_of_another_role(live: LiveHome, client: Client, image: str, role: str, kind: str) -> None:
    """One role's key does not open another role's statement."""
    done = client("cosign", "verify-attestation", "--key", _key(live, role), "--insecure-ignore-tlog=true", "--type", kind, image)
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("policy", "role", "kind"),
    [
        ("gate", "gate", "https://slsa.dev/verification_summary/v1"),
        ("tests", "scanner", "https://in-toto.io/attestation/test-result/v0.1"),
        ("built", "builder", "slsaprovenance1"),
    ],
)
def test_cosign_with_the_documented_policies(live: LiveHome, client: Client, image: str, policy: str, role: str, kind: str) -> None:
    """A signature is no approval: the policies of docs/security.md pass what says PASSED, and the same text turned to FAILED does not."""
    page = (ROOT / "docs" / "security.md").read_text()
    found = re.search(rf"cat >{policy}\.cue <<'CUE'\n(.*?)\nCUE", page, re.DOTALL)
    assert found is not None
    text = found.group(1).replace("/gate/production", "/gate/staging").replace("p-7d2kq4ma", live.cell("staging")["promotion"])
    argv = ["verify-attestation", "--key", _key(live, role), "--insecure-ignore-tlog=true", "--type", kind, "--policy"]
    for words, accepted in ((text, True), (text.replace("PASSED", "FAILED").replace("/sandbox/", "/local/"), False)):
        file = live.work / f"{policy}.cue"
        file.write_text(words)
        done = client("cosign", *argv, str(file), image)
        assert (done.returncode == 0) is accepted, done.stderr


def test_oras_discovers_the_evidence(client: Client, image: str) -> None:
    """`oras discover` lists the bundles as referrers of the image."""
    done = client("oras", "discover", "--plain-http", "--format", "json", image)
    assert done.returncode == 0, done.stderr
    types = {entry["artifactType"] for entry in json.loads(done.stdout)["referrers"]}
    assert types == {"application/vnd.dev.sigstore.bundle.v0.3+json"}


def test_oras_pushes_and_pulls(live: LiveHome, client: Client) -> None:
    """What oras pushes it can pull again, byte for byte."""
    folder = live.work / "docker"
    (folder / "note.txt").write_text("hello, registry\n")
    reference = f"{live.ready['registry']}/notes/hello:v1"
    pushed = client("oras", "push", "--plain-http", reference, "note.txt:text/plain")
    assert pushed.returncode == 0, pushed.stderr
    (folder / "note.txt").unlink()
    pulled = client("oras", "pull", "--plain-http", reference)
    assert pulled.returncode == 0, pulled.stderr
    assert (folder / "note.txt").read_text() == "hello, registry\n"


def test_oras_copies_an_image_with_its_evidence(live: LiveHome, client: Client, image: str) -> None:
    """`oras cp -r` takes an image out with everything that refers to it, and into another repository: the same digest and referrers."""
    digest = image.partition("@")[2]
    copied = client("oras", "cp", "-r", "--from-plain-http", "--to-oci-layout", image, "layout:web")
    assert copied.returncode == 0, copied.stderr
    there = f"{live.ready['registry']}/copies/by-oras"
    back = client("oras", "cp", "-r", "--from-oci-layout", "--to-plain-http", "layout:web", f"{there}:v1")
    assert back.returncode == 0, back.stderr
    seen = [client("oras", "discover", "--plain-http", "--format", "json", name) for name in (image, f"{there}@{digest}")]
    lists = [{entry["digest"] for entry in json.loads(done.stdout)["referrers"]} for done in seen]
    assert lists[0] == lists[1]
    assert len(lists[0]) >= 3


def test_skopeo_takes_an_image_out_and_in(live: LiveHome, client: Client, image: str) -> None:
    """Skopeo reads, lists and copies: to an OCI layout, to the archive that Docker loads, and back under another name, digest and all."""
    _, _, digest = image.partition("@")
    seen = client("skopeo", "inspect", "--tls-verify=false", f"docker://{image}")
    assert seen.returncode == 0, seen.stderr
    assert json.loads(seen.stdout)["Digest"] == digest
    listed = client("skopeo", "list-tags", "--tls-verify=false", f"docker://{image.partition('@')[0]}")
    assert json.loads(listed.stdout)["Tags"], listed.stderr
    there = f"docker://{live.ready['registry']}/copies/by-skopeo:v1"
    keep = ("--insecure-policy", "copy", "--preserve-digests")
    for argv in (
        (*keep, "--src-tls-verify=false", f"docker://{image}", "oci:out:web"),
        (*keep, "--dest-tls-verify=false", "oci:out:web", there),
        ("--insecure-policy", "copy", "--src-tls-verify=false", there, "docker-archive:web.tar:web:v1"),
    ):
        done = client("skopeo", *argv)
        assert done.returncode == 0, done.stderr
    back = client("skopeo", "inspect", "--tls-verify=false", there)
    assert json.loads(back.stdout)["Digest"] == digest
    nobody = client("skopeo", "inspect", "--tls-verify=false", "--no-creds", f"docker://{image}")
    assert nobody.returncode != 0
    assert "unauthorized" in nobody.stderr.lower() or "authentication required" in nobody.stderr.lower()


def test_stock_git_with_a_token_in_the_address(live: LiveHome) -> None:
    """What a person types: a clone by URL with a token, shallow, deepened, a tag pushed and fetched; without the token nothing."""
    live.release("git", "for git")
    first = live.git(live.work / "hello", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    live.commit("hello", {"more.txt": "x"}, "more", push=True)
    url = f"{live.ready['git']}/hello.git".replace("http://", f"http://dana:{live.api('dana').connection.token}@")
    environment = {"PATH": os.environ["PATH"], "HOME": str(live.work), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*argv: str, cwd: Path = live.work) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["git", *argv], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)

    shallow, other = live.work / "shallow", live.work / "other"
    assert git("clone", "-q", "--depth", "1", url, str(shallow)).returncode == 0
    assert git("rev-list", "--count", "HEAD", cwd=shallow).stdout.strip() == "1"
    assert git("fetch", "-q", "--unshallow", cwd=shallow).returncode == 0
    assert git("rev-list", "--max-parents=0", "HEAD", cwd=shallow).stdout.strip() == first
    named = ("-c", "user.name=Dana", "-c", "user.email=dana@example.com")
    assert git(*named, "tag", "-a", "v1.0", "-m", "the first", cwd=shallow).returncode == 0
    pushed = git("push", "-q", "origin", "v1.0", cwd=shallow)
    assert pushed.returncode == 0, pushed.stderr
    assert git("clone", "-q", "--branch", "v1.0", url, str(other)).returncode == 0
    assert git("describe", "--exact-match", cwd=other).stdout.strip() == "v1.0"
    assert git("clone", "-q", f"{live.ready['git']}/hello.git", str(live.work / "nobody")).returncode != 0


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_oras_pulls_file_and_folder_artifacts(live: LiveHome, client: Client, kind: str) -> None:
    """What a task made comes out of the registry by stock oras byte for byte: a file by its name, a folder with all that is in it."""
    program("oras")
    files: dict[str, str | None] = {".setpoint/pipeline.yaml": FILES_PIPELINE, "data.txt": "numbers", "kind.txt": kind}
    commit = live.commit("hello", files, f"artifacts for {kind}")
    artifacts = wait_for("the build", lambda: _built(live, commit))
    name = {"file": "model", "folder": "weights"}[kind]
    target = live.work / "docker" / f"pulled-{kind}"
    reference = f"{live.ready['registry']}/hello/{name}@{artifacts[name]}"
    pulled = client("oras", "pull", "--plain-http", "--output", str(target), reference)
    assert pulled.returncode == 0, pulled.stderr
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    wanted = {"file": {"model.bin": b"NUMBERS"}, "folder": {"out/a.bin": b"NUMBERS", "out/deep/b.bin": b"NUMBERS"}}[kind]
    assert found == wanted
    copied = client(
        "skopeo",
        "--insecure-policy",
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        f"docker://{reference}",
        f"oci:out-{kind}:one",
    )
    assert copied.returncode == 0, copied.stderr
    index = json.loads((live.work / "docker" / f"out-{kind}" / "index.json").read_text())
    assert [manifest["digest"] for manifest in index["manifests"]] == [artifacts[name]]


def _built(live: LiveHome, commit: str) -> dict[str, str] | None:
    runs = [run for run in live.api().get("/api/v1/runs") if run["revision"] == commit and run["state"] == "passed"]
    report = live.api().get(f"/api/v1/runs/{runs[0]['run']}") if runs else {"artifacts": []}
    return {artifact["name"]: artifact["digest"] for artifact in report["artifacts"]} or None


REPORTS = """
  scan:
    inputs: [app.py, scan.sarif, bom.json, lint.json]
    run: cp scan.sarif a.sarif; cp bom.json b.json; cp lint.json c.json
    reports:
      scan: {file: a.sarif, format: sarif}
      sbom: {file: b.json, format: cyclonedx}
      lint: {file: c.json, schema: lint.schema.json, predicate: "https://example.com/lint/v1"}
artifacts:
"""
BOM = json.dumps(
    {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "components": [{"type": "library", "name": "jinja2", "purl": "pkg:pypi/jinja2@3.1"}],
        "vulnerabilities": [],
    },
    indent=1,
)
SARIF = json.dumps({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "semgrep", "version": "1.2"}}, "results": []}]})


@pytest.fixture(scope="module")
def scanned(live: LiveHome) -> str:
    """The reference, by digest, of an image with an inventory, a scan and a JSON report."""
    files: dict[str, str | None] = {
        "app.py": APP % "scanned",
        "tests.sh": TESTS,
        "scan.sarif": SARIF,
        "bom.json": BOM,
        "lint.json": '{"errors": 0}',
        "lint.schema.json": '{"type": "object"}',
        ".setpoint/pipeline.yaml": PIPELINE.replace("\nartifacts:\n", REPORTS),
    }
    report = live.ended(live.commit("hello", files, "scanned"))
    (artifact,) = report["artifacts"]
    return f"{live.ready['registry']}/{artifact['oci_repository']}@{artifact['digest']}"


@pytest.mark.parametrize("kind", ["cyclonedx", "https://setpoint.dev/attestations/sarif/v1", "https://example.com/lint/v1"])
def test_cosign_accepts_reports_of_scanners(live: LiveHome, client: Client, scanned: str, kind: str) -> None:
    """CycloneDX under cosign's own name for it, whose predicate is the document; the counts of SARIF; and JSON of the project's own."""
    done = client("cosign", "verify-attestation", "--key", _key(live, "scanner"), "--insecure-ignore-tlog=true", "--type", kind, scanned)
    assert done.returncode == 0, done.stderr
    statement = json.loads(base64.b64decode(json.loads(done.stdout.splitlines()[-1])["payload"]))
    if kind == "cyclonedx":
        assert (statement["predicateType"], statement["predicate"]) == ("https://cyclonedx.org/bom", json.loads(BOM))
    refused = client("cosign", "verify-attestation", "--key", _key(live, "builder"), "--insecure-ignore-tlog=true", "--type", kind, scanned)
    assert refused.returncode != 0


@pytest.mark.parametrize(
    ("kind", "name", "text"), [("application/vnd.cyclonedx+json", "b.json", BOM), ("application/sarif+json", "a.sarif", SARIF)]
)
def test_oras_finds_originals_by_their_media_type(live: LiveHome, client: Client, scanned: str, kind: str, name: str, text: str) -> None:
    """Stock tools look for an SBOM among the referrers by artifact type; what they pull is the tool's file, byte for byte."""
    done = client("oras", "discover", "--plain-http", "--format", "json", "--artifact-type", kind, scanned)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["referrers"]
    pulled = client("oras", "pull", "--plain-http", "--output", "originals", f"{scanned.partition('@')[0]}@{found['digest']}")
    assert pulled.returncode == 0, pulled.stderr
    assert (live.work / "docker" / "originals" / name).read_text() == text
