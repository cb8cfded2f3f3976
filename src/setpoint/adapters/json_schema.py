"""Does a JSON report keep to a JSON Schema: asked of a process of its own, which holds nothing and is short of time and memory.

Called when a task has ended, and again by the signer, which thereby keeps parsers of untrusted bytes away from its keys. Report and schema
come from project code: a schema may loop, explode or name files and hosts. So no reference is fetched, patterns are matched in linear
time, and the process is killed at its limits. Source: JSON Schema 2020-12 and the drafts before it, as `jsonschema-rs` has them.
"""

import json
import os
import resource
import subprocess
import sys
from typing import Any, Final

from setpoint.core.errors import SetpointError, WorldError
from setpoint.evidence.reports import parse_report

SCHEMA_LIMIT_BYTES: Final = 1 << 20
_CPU_S: Final = 5
_WALL_S: Final = 40.0
"""Less than the server waits for its signer."""
_MEMORY_BYTES: Final = 2 << 30
_PATTERN_BYTES: Final = 1 << 20
_TEXT: Final = 300
_PASSED_ON: Final = ("PATH", "PYTHONPATH")


class JsonSchemaProcess:
    """Fills `pipeline.ports.ReportCheck`; every call is a process."""

    def fault(self, schema: bytes, report: bytes) -> str:
        """Return why report cannot be used under schema, with the place in it; empty when it keeps to it.

        Raises:
            WorldError: the machine is too busy to say (SP414).
        """
        if len(schema) > SCHEMA_LIMIT_BYTES:
            return f"the schema has {len(schema)} bytes, more than {SCHEMA_LIMIT_BYTES}"
        argv = [sys.executable, "-P", "-m", "setpoint.adapters.json_schema", str(len(schema)), str(_CPU_S)]
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            done = subprocess.run(
                argv, input=schema + report, capture_output=True, timeout=_WALL_S, env=environment, cwd="/", check=False
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            what = f"a report could not be checked within {_WALL_S:.0f} s"
            raise WorldError("SP414", what, fix="try again when the machine is less busy") from error
        if done.returncode != 0:
            return f"checking it against its schema takes more than {_CPU_S} s of a processor or {_MEMORY_BYTES >> 30} GiB"
        answer = json.loads(done.stdout)
        return str(answer["fault"])


def _fault(schema_data: bytes, report_data: bytes) -> str:
    import jsonschema_rs  # noqa: PLC0415 - 15 MB that only this process needs

    try:
        report = parse_report(report_data)
    except SetpointError as error:
        return f"{error.what}, {error.where}" if error.where else error.what
    options: dict[str, Any] = {
        "offline": True,
        "pattern_options": jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES),
        "validate_formats": False,
    }
    try:
        schema = parse_report(schema_data)
    except SetpointError as error:
        return "the schema cannot be used" + error.what.removeprefix("the report cannot be used")
    try:
        check = jsonschema_rs.validator_for(schema, **options)
    except jsonschema_rs.ValidationError as error:
        return f"the schema cannot be used: {error.message[:_TEXT]}"
    try:
        check.validate(report)
    except jsonschema_rs.ValidationError as error:
        place = "/" + "/".join(str(part) for part in error.instance_path)
        return f"at {place[:_TEXT]}: {error.message[:_TEXT]}"
    return ""


def main(argv: list[str]) -> None:
    """Answer one question: argv holds the schema's length and the seconds of CPU, standard input the schema and then the report."""
    seconds = int(argv[1])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    data = sys.stdin.buffer.read()
    length = int(argv[0])
    sys.stdout.write(json.dumps({"fault": _fault(data[:length], data[length:])}))


if __name__ == "__main__":
    main(sys.argv[1:])
