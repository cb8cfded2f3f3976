"""Writes tests/unit/reconcile/kubernetes_fields.json: every field of the kinds that the host accepts, with its type.

Usage: tools/kubernetes_fields.py KUBERNETES_WHEEL GATEWAY_API_MODULE. The first is a wheel of the Python package `kubernetes`, whose models
are generated from the Kubernetes OpenAPI document (`pip download --no-deps kubernetes`); the second is the folder of the Go module
sigs.k8s.io/gateway-api (`go mod download -json`). Run by hand when a new release is to be walked; nothing is imported from either.
"""

import ast
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import yaml

OUTPUT = Path(__file__).resolve().parents[1] / "tests" / "unit" / "reconcile" / "kubernetes_fields.json"
KINDS = {"ConfigMap": "V1ConfigMap", "Deployment": "V1Deployment", "Job": "V1Job", "Secret": "V1Secret", "Service": "V1Service"}
CRD = "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
OF_LIST = re.compile(r"[Ll]ist\[(.+)\]")


def main(wheel: str, gateway: str) -> None:
    """Read both and write the file."""
    models, release = _models(Path(wheel))
    found: dict[str, dict[str, str]] = {}
    waiting = list(KINDS.values())
    while waiting:
        name = waiting.pop()
        if name not in found and name in models:
            found[name] = models[name]
            waiting += [OF_LIST.sub(r"\1", kind) for kind in models[name].values()]
    document = yaml.safe_load((Path(gateway) / CRD).read_text(encoding="utf-8"))
    version = next(version for version in document["spec"]["versions"] if version["name"] == "v1")
    found["HTTPRoute"] = {"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta"}
    for part in ("spec", "status"):
        found["HTTPRoute"][part] = _crd(version["schema"]["openAPIV3Schema"]["properties"][part], f"HTTPRoute.{part}", found)
    source = {"kubernetes": f"{release}, {Path(wheel).name}", "gateway-api": Path(gateway).name}
    content = {"source": source, "kinds": {**KINDS, "HTTPRoute": "HTTPRoute"}, "types": dict(sorted(found.items()))}
    OUTPUT.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(OUTPUT)


def _models(wheel: Path) -> tuple[dict[str, dict[str, str]], str]:
    """Return ({model: {JSON field: type}}, release of the OpenAPI document)."""
    models: dict[str, dict[str, str]] = {}
    release = ""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if re.fullmatch(r"kubernetes/client/models/v1_\w+\.py", name):
                text = archive.read(name).decode()
                release = release or re.findall(r"OpenAPI document: (\S+)", text)[0]
                for node in ast.walk(ast.parse(text)):
                    if isinstance(node, ast.ClassDef):
                        values = {
                            item.target.id: item.value
                            for item in node.body
                            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None
                        }
                        if "openapi_types" in values and "attribute_map" in values:
                            types, names = (ast.literal_eval(values[key]) for key in ("openapi_types", "attribute_map"))
                            models[node.name] = {names[key]: kind for key, kind in types.items()}
    return models, release


def _crd(schema: dict[str, Any], name: str, found: dict[str, dict[str, str]]) -> str:
    """Add what a schema of a CRD describes, and return its type in the words of the models."""
    kind = schema.get("type")
    if kind == "array":
        return f"list[{_crd(schema['items'], name, found)}]"
    if kind == "object" and "properties" in schema:
        found[name] = {field: _crd(inner, f"{name}.{field}", found) for field, inner in schema["properties"].items()}
        return name
    return {"string": "str", "integer": "int", "boolean": "bool", "object": "dict[str, str]"}[str(kind)]


if __name__ == "__main__":
    main(*sys.argv[1:])
