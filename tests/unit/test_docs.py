"""Documents keep their promises: links lead somewhere, and the examples of docs/formats.md are read by the real readers."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from setpoint.adapters.host.haproxy_config import _HEADERS
from setpoint.adapters.host.replica_sandbox import identity_variables
from setpoint.adapters.policy import CelPolicy
from setpoint.adapters.task_logs import TaskLogFolder
from setpoint.app.home import Home
from setpoint.cli.output import exit_code, problem_of
from setpoint.client.connection import of_home
from setpoint.core import digest
from setpoint.core.errors import NotFoundError
from setpoint.evidence.model import CYCLONEDX, SIGNER_OF, ArtifactEvidence, ReportFacts
from setpoint.evidence.scans.freshness import aged
from setpoint.evidence.scans.summary import summarize
from setpoint.ground.journal.model import GENESIS, LEAF_VERSION, parse
from setpoint.pipeline.config import parse_lock, parse_pipeline
from setpoint.pipeline.model import ScanFormat, ScanSummary
from setpoint.promotion.config import parse_environment, parse_setpoint
from setpoint.promotion.delivery import validate_delivery
from setpoint.promotion.facts import policy_facts
from setpoint.promotion.generators.config import parse_generator
from setpoint.promotion.model import Candidate, RenderFacts
from setpoint.promotion.pin import parse_pin, parse_trailers, pin_path, render_pin
from setpoint.reconcile.model import Container, Identity, ReplicaSpec
from setpoint.reconcile.sources import helm_file

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ROOT / "docs" / "formats.md"
EXAMPLE = re.compile(r"<!-- example: (\w+) -->\n```\w+\n(.*?)```", re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CITED = re.compile(r"`((?:src|tests|tools|docs|benchmarks)/[A-Za-z0-9_./-]+)(?:::(\w+))?`")


def documents() -> list[Path]:
    """Return every document that readers get."""
    return [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if path.exists()]


def examples(path: Path = FORMATS) -> dict[str, str]:
    """Return the marked examples of a document by name."""
    return dict(EXAMPLE.findall(path.read_text()))


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(path: Path) -> None:
    """A reader who clicks a link inside the repository arrives, at the heading too."""
    broken = []
    for target in LINK.findall(FENCE.sub("", path.read_text())):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        found = (path.parent / name).resolve() if name else path
        inside = found.is_relative_to(ROOT) and found.exists()
        if not inside or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_tests_that_a_document_names_exist(path: Path) -> None:
    """A path in code quotes is there, and a test that is named as proof is a test of that file."""
    gone = []
    for name, test in CITED.findall(path.read_text()):
        place = ROOT / name
        if not place.exists() or (test and f"def {test}(" not in place.read_text()):
            gone.append(f"{name}::{test}" if test else name)
    assert gone == []


def test_every_decision_is_numbered_once_and_complete() -> None:
    """A decision says its context, the choice and what it costs."""
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    for name in names:
        headings = re.findall(r"^## (\w+)", (ROOT / "docs" / "decisions" / name).read_text(), re.MULTILINE)
        assert headings == ["Context", "Choice", "Cost"], name


def test_pipeline_and_lock() -> None:
    """The pipeline example is sound and finds its base in the lock example."""
    found = examples()
    lock = parse_lock(found["lock"].encode(), ".setpoint/lock.yaml")
    pipeline = parse_pipeline(found["pipeline"].encode(), ".setpoint/pipeline.yaml", lock)
    assert pipeline.order == ["deps", "test", "lint", "train"]
    assert pipeline.base("web") == f"registry.example.com/python:3.12@{lock['registry.example.com/python:3.12']}"
    assert pipeline.starts_for("release/1")


def test_includes() -> None:
    """The example of includes is sound."""
    assert parse_setpoint(examples()["setpoint_includes"].encode()).model.apps["hello"].includes == ("charts/web", "kustomize/common")


def test_depends_on() -> None:
    """The example of applications that wait is sound."""
    assert parse_setpoint(examples()["setpoint_depends"].encode()).model.apps["hello"].dependsOn == ("db", "queue@shared")


def test_helm_file() -> None:
    """The example of helm.yaml is one, and its chart is named by digest."""
    document = helm_file.parse(examples()["helm"].encode(), "apps/hello/helm.yaml")
    assert helm_file.oci_parts(document.model.chart or "") == ("charts/web", "sha256:" + "9a" * 32)


@pytest.mark.parametrize("name", [name for name in examples() if name.startswith("pipeline_")])
def test_every_part_of_a_pipeline_that_is_shown_is_sound(name: str) -> None:
    """What a reader copies from the page parses and expands."""
    assert parse_pipeline(examples()[name].encode(), ".setpoint/pipeline.yaml").order


SCANS = ROOT / "docs" / "scans.md"
NAMES = re.compile(r"<!-- names: (\w+) -->\n(.*?)\n\n", re.DOTALL)


def test_scans_in_a_pipeline_and_in_a_policy() -> None:
    """The examples of docs/scans.md are sound, and the policy passes over a clean scan and a fresh inventory, and over nothing less."""
    found = examples(SCANS)
    tasks = parse_pipeline(found["pipeline_scans"].encode(), ".setpoint/pipeline.yaml").tasks
    assert [report.format for task in tasks.values() for report in task.reports.values()] == ["sarif", "cyclonedx"]
    policy = parse_environment(found["environment_scans"].encode(), "environments/production/environment.yaml").model.gates.policy
    assert policy is not None
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def passes(**scans: ScanSummary) -> bool:
        reports = {
            name: ReportFacts("PASSED", one.facts, one.says, name.replace("scan", "sarif").replace("sbom", "cyclonedx"), {name: one.facts})
            for name, one in scans.items()
        }
        web = ArtifactEvidence("web", "sha256:1", True, "b", "r", 3, 0, 0, "PASSED", reports=reports)
        facts = policy_facts(Candidate("web", "prod", {}, None, None), (web,), RenderFacts("", ()), now=now)
        return CelPolicy().evaluate(policy, facts).passed

    clean, fresh = _scanned("sarif"), _scanned("cyclonedx")
    assert passes(scan=clean, sbom=fresh)
    assert not passes(scan=clean)
    assert not passes(sbom=fresh)
    assert not passes(scan=clean, sbom=_scanned("cyclonedx", "2026-11-01T00:00:00Z"))


@pytest.mark.parametrize("format_", ["sarif", "cyclonedx"])
def test_every_name_of_a_scan_is_documented_and_there(format_: ScanFormat) -> None:
    """The tables of docs/scans.md name what a policy sees of a scan, all of it and nothing else."""
    (table,) = [text for name, text in NAMES.findall(SCANS.read_text()) if name == format_]
    written = {name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    facts = aged(_scanned(format_).facts, datetime(2026, 11, 25, tzinfo=UTC))

    def leaves(value: dict[str, Any], above: str = "") -> Iterator[str]:
        for key, item in value.items():
            whole = isinstance(item, dict) and above + key != "subject"
            yield from leaves(item, f"{above}{key}.") if whole else [above + key]

    assert written == set(leaves(facts))


def _scanned(format_: ScanFormat, updated: str = "2026-11-24T00:00:00Z") -> ScanSummary:
    """Return what a scan says that found nothing, with everything that it can say."""
    at = "2026-11-24T10:00:00Z"
    run = {"tool": {"driver": {"name": "t"}}, "results": [], "invocations": [{"executionSuccessful": True, "endTimeUtc": at}]}
    log = {"version": "2.1.0", "runs": [{**run, "properties": {"db:updated": updated}}]}
    about = {"timestamp": at, "properties": [{"name": "db:updated", "value": updated}]}
    part = {"type": "library", "name": "a", "purl": "pkg:pypi/a@1"}
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": about, "components": [part], "vulnerabilities": []}
    found = summarize(format_, json.dumps(log if format_ == "sarif" else bom).encode())
    assert not found.fault
    return found


def test_delivery_files() -> None:
    """The two delivery examples fit each other, and the policy compiles; only the environment they come after is not shown."""
    found = examples()
    setpoint = parse_setpoint(found["setpoint"].encode())
    production = parse_environment(found["environment"].encode(), "environments/production/environment.yaml")
    findings = validate_delivery(setpoint, {"production": production}, {"hello"}, CelPolicy().compile_error)
    assert [finding.code for finding in findings] == ["SP533"]
    assert production.model.gates.soak == 1800


@pytest.mark.parametrize("name", [name for name in examples() if name.startswith("generator")])
def test_generators(name: str) -> None:
    """Each example is a sound generator."""
    assert parse_generator(examples()[name].encode(), "generators/example.yaml").model.max in (10, 100, 200)


def test_pin_candidate_and_commit() -> None:
    """The pin is byte for byte what Setpoint writes, and candidate and trailers are of this pin."""
    found = examples()
    pin = parse_pin(found["pin"].encode(), pin_path("production", "hello"))
    assert render_pin(pin).decode() == found["pin"]
    assert pin.candidate.data().decode() == found["candidate"].strip()
    trailers = parse_trailers(found["commit"])
    assert trailers["Setpoint-Promotion"] == pin.promotion
    assert trailers["Setpoint-Candidate"] == digest.sha256(found["candidate"].strip().encode()) == pin.candidate.digest


def test_server_file(tmp_path: Path) -> None:
    """The command line finds a server by this file."""
    (tmp_path / "server.json").write_text(examples()["server"])
    connection = of_home(tmp_path)
    written = json.loads(examples()["server"])
    assert {name: getattr(connection, name) for name in written} == written
    assert Home(tmp_path).server_file.name == "server.json"


def test_journal_leaves() -> None:
    """Leaves are read, and written again as the same bytes."""
    lines = examples()["leaf"].strip().splitlines()
    entries = [parse(line.encode()) for line in lines]
    assert [entry.leaf().decode() for entry in entries] == lines
    assert (entries[0].index, entries[0].kind, entries[0].prev) == (0, "home.created", GENESIS)
    assert LEAF_VERSION == 1


def test_log_records(tmp_path: Path) -> None:
    """A log file with these lines is read whole."""
    (tmp_path / "r-1").mkdir()
    (tmp_path / "r-1" / "test.jsonl").write_text(examples()["log"])
    assert [(record.seq, record.stream) for record in TaskLogFolder(tmp_path).read("r-1", "test")] == [(0, "out"), (1, "note")]


def test_an_error_as_json() -> None:
    """The problem of docs/json-output.md is what the command line prints for that error."""
    written = json.loads(examples(ROOT / "docs" / "json-output.md")["problem"])
    error = NotFoundError(written["code"], written["detail"], where=written["where"], fix=written["fix"])
    assert {**problem_of(error), "exit": exit_code(error)} == written


def _replica() -> ReplicaSpec:
    container = Container("web", "hello/web@sha256:0", None, None, {}, {}, 8080, None, None)
    return ReplicaSpec("production-hello-web-abc-1", "web", "abc", 20000, container, Identity("hello", "production", "", "", ""), 30.0)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        (r"^\| `(Setpoint-\w+)` \|", lambda: [f"Setpoint-{name}" for name in (*_HEADERS, "Replica")]),
        (r"^\| `((?:PORT|SETPOINT_\w+))` \|", lambda: list(identity_variables(_replica()))),
        (r"^\| `(https://[^`]+)` \|", lambda: [*SIGNER_OF, CYCLONEDX]),
    ],
    ids=["headers", "variables", "predicates"],
)
def test_tables_list_what_the_code_has(pattern: str, wanted: Callable[[], list[str]]) -> None:
    """Headers, variables and predicate types of the page are those of the code."""
    assert sorted(re.findall(pattern, FORMATS.read_text(), re.MULTILINE)) == sorted(wanted())


def test_pin_commits_are_read_by_stock_git(tmp_path: Path) -> None:
    """`git interpret-trailers` finds the trailers that Setpoint finds."""
    message = tmp_path / "message"
    message.write_text(examples()["commit"])
    done = subprocess.run(["git", "interpret-trailers", "--parse", str(message)], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert dict(line.split(": ", 1) for line in done.stdout.splitlines()) == parse_trailers(examples()["commit"])
