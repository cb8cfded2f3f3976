"""Reports of scanners in the pipeline file, and what a task says of them when it ends."""

import json
from pathlib import Path

import pytest

from setpoint.core.errors import ConfigError
from setpoint.pipeline.config import parse_pipeline
from setpoint.pipeline.decide import key_manifest
from setpoint.pipeline.model import RunState, ToolchainFacts
from unit.builders_home import World
from unit.builders_pipeline import Machine, begin, ended, make_service, run_story

HEAD = "apiVersion: setpoint.dev/v1alpha1\nkind: Pipeline\ntasks:\n  a: "
TOOLCHAIN = ToolchainFacts("sha256:" + "e" * 64, "3.11.2", "linux/amd64", 3)
LOG = {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "semgrep", "version": "1.2"}}, "results": [{"level": "error"}]}]}


@pytest.mark.parametrize(
    ("task", "code", "word"),
    [
        ("{run: x, reports: {scan: {file: s.sarif}}}", "SP262", "it is not said what `scan` is"),
        ("{run: x, reports: {scan: {file: s.sarif, format: sarif, schema: s.json}}}", "SP262", "has a format and a schema"),
        (
            "{run: x, reports: {scan: {file: s.sarif, format: sarif, predicate: 'https://example.com/x'}}}",
            "SP262",
            "`predicate` is for reports",
        ),
        ("{run: x, reports: {scan: {file: s.sarif, format: spdx}}}", "SP015", "cyclonedx"),
        (
            "{run: x, reports: {scan: {file: s.json, schema: s.json, predicate: 'https://cyclonedx.org/bom'}}}",
            "SP261",
            "no type for a report",
        ),
        ("{run: x, once: true, reports: {scan: {file: s.sarif, format: sarif}}}", "SP236", "`reports` does not go with"),
    ],
)
def test_a_report_says_what_it_is_exactly_once(task: str, code: str, word: str) -> None:
    """A format or a schema, no type beside a format, and none that Setpoint speaks under itself."""
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(f"{HEAD}{task}\n".encode(), "p")
    (found,) = caught.value.findings
    assert (found.code, found.line) == (code, 4)
    assert word in found.what + found.fix


def test_the_format_is_part_of_the_key_and_no_input() -> None:
    """Another format is another question; nothing is read for it."""
    keys = set()
    for kind in ("sarif", "cyclonedx"):
        text = f"{HEAD}{{run: x, inputs: [a], reports: {{scan: {{file: s, format: {kind}}}}}}}\n"
        task = parse_pipeline(text.encode(), "p").tasks["a"]
        assert task.reads == ("a",)
        keys.add(key_manifest(task, "i", {}, TOOLCHAIN, "trusted").outputs)
    assert keys == {("scan=s format:sarif ",), ("scan=s format:cyclonedx ",)}


@pytest.mark.parametrize(
    ("data", "state", "words"),
    [
        (json.dumps(LOG).encode(), RunState.PASSED, "scan: 1 error by semgrep 1.2"),
        (b"<sarif/>", RunState.FAILED, "s.sarif cannot be used as sarif: it is XML"),
        (json.dumps({**LOG, "version": "1.0.0"}).encode(), RunState.FAILED, "not 2.1.0, at /version"),
    ],
)
def test_a_task_says_what_its_scanner_found_or_why_it_cannot_be_used(
    world: World, machine: Machine, tmp_path: Path, data: bytes, state: RunState, words: str
) -> None:
    """In its log, and as its reason when it fails; findings alone fail nothing, for the gate judges."""

    async def story() -> None:
        machine.report = data
        service = make_service(world, machine, tmp_path)
        pipeline = f"{HEAD}{{run: scan, inputs: [lock], reports: {{scan: {{file: s.sarif, format: sarif}}}}}}\n"
        run = begin(world, service, {".setpoint/pipeline.yaml": pipeline.encode()})
        assert run is not None
        assert (await ended(world, service, run)).state is state
        (result,) = world.records.results(run.run)
        noted = (tmp_path / "logs" / run.run / "a.jsonl").read_text()
        assert words in noted
        assert result.reason == "" or words in result.reason

    run_story(story())


@pytest.fixture
def machine() -> Machine:
    """A machine that does everything right."""
    return Machine()
