"""The published JSON Schemas of the files that people write, made from their models.

Called by tools/schemas and a test, never at run time.
"""

from typing import Any, Final

from pydantic import TypeAdapter

from setpoint.core.documents import FileModel
from setpoint.pipeline.written import Lock, Pipeline
from setpoint.promotion.config import EnvironmentFile, SetpointFile
from setpoint.promotion.generators.config import GeneratorFile
from setpoint.promotion.render_content import RenderContent
from setpoint.reconcile.sources.helm_file import HelmFile

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_FILES: Final[dict[str, tuple[type[FileModel], str]]] = {
    "pipeline.json": (Pipeline, ".setpoint/pipeline.yaml"),
    "lock.json": (Lock, ".setpoint/lock.yaml"),
    "setpoint.json": (SetpointFile, "setpoint.yaml"),
    "environment.json": (EnvironmentFile, "environments/<env>/environment.yaml"),
    "generator.json": (GeneratorFile, "generators/<generator>.yaml"),
    "helm.json": (HelmFile, "apps/<app>/helm.yaml or environments/<env>/<app>/helm.yaml"),
}


def schemas() -> dict[str, dict[str, Any]]:
    """Return {file name under docs/schemas/: JSON Schema 2020-12}."""
    found: dict[str, dict[str, Any]] = {}
    for name, (model, path) in _FILES.items():
        schema = model.model_json_schema(by_alias=True)
        found[name] = {"$schema": _DIALECT, **schema, "title": path}
    found["policy-render.json"] = {"$schema": _DIALECT, **_content(), "title": "`render` in gates.policy"}
    return found


def _content() -> dict[str, Any]:
    """Return the schema of what a policy sees of a render, each name with its sentence."""
    schema = TypeAdapter(RenderContent).json_schema(mode="serialization")
    more = {
        "digest": {"type": "string", "description": "sha256 over the objects."},
        "objects": {"type": "array", "items": {"type": "string"}, "description": "`Kind/name` of every object."},
        "losses": {"type": "array", "items": {"type": "string"}, "description": "What pinning it destroys, a sentence each."},
    }
    schema["properties"] = more | schema["properties"]
    return schema
