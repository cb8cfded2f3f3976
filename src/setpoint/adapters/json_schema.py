"""Does a JSON report keep to a JSON Schema: asked of a process of its own, which holds nothing and is short of time and memory.

Called when a task has ended, and again by the signer, which thereby keeps parsers of untrusted bytes away from its keys. Report and schema
come from project code: a schema may loop, explode or name files and hosts. So no reference is fetched, patterns are matched in linear
time, and the process is killed at its limits. Source: JSON Schema 2020-12 and the drafts before it, as `jsonschema-rs` has them.
"""

import json
import sys
from typing import Any, Final

from setpoint.adapters import bounded_check
from setpoint.core.errors import SetpointError
from setpoint.evidence.reports import parse_report

SCHEMA_LIMIT_BYTES: Final = 1 << 20
_CPU_S: Final = 5
_WALL_S: Final = 40.0
"""Less than the server waits for its signer."""
_PATTERN_BYTES: Final = 1 << 20
_TEXT: Final = 300


class JsonSchemaProcess:
    """Fills `pipeline.ports.ReportCheck`; every call is a process."""

    def fault(self, schema: bytes, report: bytes) -> str:
        """Return why report cannot be used under schema, with the place in it; empty when it keeps to it.

        Raises:
            WorldError: the machine is too busy to say (SP414).
        """
        if len(schema) > SCHEMA_LIMIT_BYTES:
            return f"the schema has {len(schema)} bytes, more than {SCHEMA_LIMIT_BYTES}"
        answer = bounded_check.ask("setpoint.adapters.json_schema", [str(len(schema)), str(_CPU_S)], schema + report, _WALL_S)
        if answer is None:
            return f"checking it against its schema {bounded_check.takes_too_much(_CPU_S)}"
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
    bounded_check.be_short_of(int(argv[1]))
    data = sys.stdin.buffer.read()
    length = int(argv[0])
    sys.stdout.write(json.dumps({"fault": _fault(data[:length], data[length:])}))


if __name__ == "__main__":
    main(sys.argv[1:])
