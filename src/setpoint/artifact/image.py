"""Image configuration and manifest as canonical JSON: what runs, on what base, from which layers.

Called by `ArtifactService`; pure. The revision, the run and the time are never in these bytes: provenance says them, so that two
revisions that build the same content are one artifact. Source: OCI image-spec 1.1 (config.md, manifest.md).
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from setpoint.artifact.model import CONFIG, LABEL_BASE, LABEL_PYTHON, LABEL_TOOLCHAIN, LAYER, MANIFEST, Descriptor, StoredManifest
from setpoint.artifact.recipe import HOST, ImageRecipe
from setpoint.core import canonical
from setpoint.core.errors import UserError
from setpoint.pipeline.model import ToolchainFacts

CREATED: Final = "1980-01-02T00:00:00Z"
"""The constant time of every layer entry (`layers.MTIME`)."""

_LAYERS: Final = {
    LAYER: LAYER,
    "application/vnd.oci.image.layer.v1.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER,
}
"""What a base's layers may be, and what they are called in an OCI manifest."""
_CONFIGS: Final = (CONFIG, "application/vnd.docker.container.image.v1+json")


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What is inherited from a base."""

    digest: str
    config: dict[str, Any]
    layers: tuple[Descriptor, ...]

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of the base's uncompressed layers."""
        return tuple(self.config["rootfs"]["diff_ids"])


def config_digest(manifest: StoredManifest) -> str:
    """Return the digest of the config that an image manifest names; SP305 when it is no image's."""
    config = json.loads(manifest.data).get("config", {})
    if config.get("mediaType") not in _CONFIGS:
        raise _unusable(manifest.digest, "it is not a container image")
    return str(config["digest"])


def _unusable(digest: str, why: str) -> UserError:
    return UserError("SP305", f"the base {digest} cannot be used: {why}", where=digest, fix="name another base image, by digest")


def read_base(manifest: StoredManifest, config: bytes) -> BaseImage:
    """Return a base from its manifest and config.

    Raises:
        UserError: it is not an image that can carry another layer (SP305).
    """
    try:
        value = json.loads(config)
        listed = json.loads(manifest.data)["layers"]
        names = [(_LAYERS.get(layer["mediaType"]), layer) for layer in listed]
        diff_ids = value["rootfs"]["diff_ids"]
        strings = [value["os"], value["architecture"], *diff_ids]
        inherited = value.get("config") or {}
    except (ValueError, KeyError, TypeError) as error:
        raise _unusable(manifest.digest, "its config is not an OCI image config") from error
    unknown = [str(layer["mediaType"]) for name, layer in names if name is None]
    if unknown:
        raise _unusable(manifest.digest, f"a layer is {unknown[0]}")
    if len(diff_ids) != len(listed) or not all(isinstance(text, str) for text in strings) or not isinstance(inherited, dict):
        raise _unusable(manifest.digest, "its config and manifest do not fit together")
    if (inherited.get("Labels") or {}).get(LABEL_BASE) == HOST:
        raise _unusable(manifest.digest, "it was made with base: host and has no system of its own")
    layers = tuple(Descriptor(name, layer["digest"], layer["size"]) for name, layer in names if name is not None)
    return BaseImage(manifest.digest, value, layers)


def _environment(base: list[str], own: dict[str, str]) -> list[str]:
    """Return the base's variables in their order, overridden in place, then our own by name."""
    named = dict(line.partition("=")[::2] for line in base)
    added = {name: own[name] for name in sorted(own)}
    return [f"{name}={value}" for name, value in {**named, **added}.items()]


def _labels(base: BaseImage | None, toolchain: ToolchainFacts) -> dict[str, str]:
    if base is None:
        return {LABEL_BASE: HOST, LABEL_TOOLCHAIN: toolchain.fingerprint, LABEL_PYTHON: toolchain.python}
    inherited: dict[str, str] = (base.config.get("config") or {}).get("Labels") or {}
    return {**inherited, LABEL_BASE: base.digest}


def image_config(recipe: ImageRecipe, toolchain: ToolchainFacts, base: BaseImage | None, diff_id: str, *, below_app: bool) -> bytes:
    """Return the config of an image whose last layer is diff_id; below_app says whether something lies in /app."""
    inherited: dict[str, Any] = dict((base.config.get("config") or {}) if base else {})
    if recipe.command:
        inherited.pop("Entrypoint", None)
        inherited["Cmd"] = list(recipe.command)
    environment = _environment(inherited.get("Env") or [], recipe.environment)
    if environment:
        inherited["Env"] = environment
    inherited["WorkingDir"] = recipe.workdir or inherited.get("WorkingDir") or ("/app" if below_app else "/")
    inherited["Labels"] = _labels(base, toolchain)
    system, _, architecture = toolchain.platform.partition("/")
    step = {"created": CREATED, "created_by": "setpoint"}
    config: dict[str, Any] = {
        "created": CREATED,
        "os": base.config["os"] if base else system,
        "architecture": base.config["architecture"] if base else architecture,
        "config": inherited,
        "rootfs": {"type": "layers", "diff_ids": [*(base.diff_ids if base else ()), diff_id]},
        "history": [*((base.config.get("history") or []) if base else []), step],
    }
    for name in ("variant", "os.version", "os.features"):
        if base and name in base.config:
            config[name] = base.config[name]
    return canonical.dumps(config)


def image_manifest(config: Descriptor, layers: tuple[Descriptor, ...]) -> bytes:
    """Return the manifest that ties a config and its layers together."""
    parts = [{"mediaType": part.media_type, "digest": part.digest, "size": part.size_bytes} for part in (config, *layers)]
    return canonical.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]})
