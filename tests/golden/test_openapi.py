"""The published OpenAPI document is the application's own."""

import json
from pathlib import Path

from setpoint.api.asgi import api

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def test_the_checked_in_document_is_what_the_application_describes() -> None:
    """Clients made from docs/openapi.json fit the server; after a change of the API run tools/openapi and read the difference."""
    assert json.loads(PUBLISHED.read_text()) == json.loads(json.dumps(api(None).openapi()))


def test_every_operation_is_named_and_described() -> None:
    """A generated client has readable methods: every operation has one id of its own and a sentence."""
    operations = [(method, path, operation) for path, item in api(None).openapi()["paths"].items() for method, operation in item.items()]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(names) == len(set(names))
    assert [(method, path) for method, path, operation in operations if not operation.get("description")] == []


def test_pages_and_liveness_are_not_part_of_it() -> None:
    """The document holds the API and the metrics, nothing that only a browser or a probe calls."""
    strange = [path for path in api(None).openapi()["paths"] if not path.startswith("/api/v1/") and path != "/metrics"]
    assert strange == []
