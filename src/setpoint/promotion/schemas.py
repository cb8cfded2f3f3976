"""The published JSON Schemas of the files that people write, made from their models.

Called by tools/schemas and a test, never at run time.
"""

from typing import Any, Final

from setpoint.core.documents import FileModel
from setpoint.pipeline.written import Lock, Pipeline
from setpoint.promotion.config import EnvironmentFile, SetpointFile

_FILES: Final[dict[str, tuple[type[FileModel], str]]] = {
    "pipeline.json": (Pipeline, ".setpoint/pipeline.yaml"),
    "lock.json": (Lock, ".setpoint/lock.yaml"),
    "setpoint.json": (SetpointFile, "setpoint.yaml"),
    "environment.json": (EnvironmentFile, "environments/<env>/environment.yaml"),
}


def schemas() -> dict[str, dict[str, Any]]:
    """Return {file name under docs/schemas/: JSON Schema 2020-12}."""
    found: dict[str, dict[str, Any]] = {}
    for name, (model, path) in _FILES.items():
        schema = model.model_json_schema(by_alias=True)
        found[name] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": path}
    return found
