"""Assembles artifacts: recipe + source files + task outputs -> layer, config and manifest in the registry, reproducibly.

Called in a worker thread by the application when a run's tasks are green; it blocks on disk and, for a foreign base, on the network.
It never runs anything and never journals: its caller records `artifact.built`.
"""

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from setpoint.artifact import files, image, layers, recipe
from setpoint.artifact.contents import Origin, OutputsArchive, SourceSpool
from setpoint.artifact.layers import LayerItem
from setpoint.artifact.model import CONFIG, EMPTY, EMPTY_BYTES, LAYER, MANIFEST, ArtifactAssembled, LayerFile
from setpoint.artifact.ports import BaseSource, OciStore
from setpoint.artifact.recipe import HOST, FileRecipe, ImageRecipe, Placement, Recipe
from setpoint.core.errors import ConfigError, Finding
from setpoint.pipeline.model import ToolchainFacts


@dataclass(frozen=True, slots=True)
class AssembleRequest:
    """Everything an artifact is made of; nothing else may influence its bytes."""

    oci_repository: str
    """`<source repository>/<artifact>`"""
    recipe: ImageRecipe | FileRecipe
    source: Iterable[tuple[str, int, bytes]]
    """(path, git mode, bytes); read once, and only what `recipe.wants_source` wants needs to be in it."""
    outputs: Mapping[str, Path]
    """task -> its outputs tar"""
    toolchain: ToolchainFacts
    scratch: Path
    """A folder for temporary files, best in the registry's file system."""
    tag: str | None = None


class ArtifactService:
    """Builds artifacts into a store."""

    def __init__(self, store: OciStore, bases: BaseSource) -> None:
        self._store = store
        self._bases = bases

    def assemble(self, request: AssembleRequest) -> ArtifactAssembled:
        """Make the artifact and return what was made; the same request gives the same digest.

        Raises:
            ConfigError: faults of the copy rules, all of them (SP311 to SP314).
            UserError: unusable outputs (SP315) or base (SP305).
            NotFoundError: the base is not there (SP306).
            WorldError: the base's registry (SP307) or the disk (SP309) failed.
        """
        wanted = request.recipe
        base = self._base(request)
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=request.scratch, prefix="assemble-")))
            origins: dict[str, Origin] = {"": SourceSpool(scratch / "source", request.source, wanted.wants_source)}
            for task in wanted.tasks:
                if task in request.outputs:
                    origins[task] = stack.enter_context(OutputsArchive(task, request.outputs[task]))
            placements, faults = recipe.resolve(wanted, {name: list(origin.entries()) for name, origin in origins.items()})
            if faults:
                raise ConfigError(faults)
            path = scratch / "layer"
            if isinstance(wanted, FileRecipe):
                layer = _write_files(wanted, placements, origins, path)
                return self._publish_files(request, wanted, placements, (layer, path))
            layer = layers.write_layer(_items(wanted, placements, origins), path)
            return self._publish(request, wanted, (base, placements), (layer, path))

    def _base(self, request: AssembleRequest) -> image.BaseImage | None:
        if request.recipe.base in ("", HOST):
            return None
        manifest = self._bases.fetch(request.recipe.base, request.oci_repository)
        return image.read_base(manifest, self._store.read_blob(request.oci_repository, image.config_digest(manifest)))

    def _publish(
        self,
        request: AssembleRequest,
        wanted: ImageRecipe,
        content: tuple[image.BaseImage | None, tuple[Placement, ...]],
        layer: tuple[LayerFile, Path],
    ) -> ArtifactAssembled:
        """Store layer, config and manifest, in the order in which each names the one before."""
        repository = request.oci_repository
        base, placements = content
        own = self._store.put_blob_file(repository, layer[1], LAYER)
        below_app = any(item.target == "app" or item.target.startswith("app/") for item in placements)
        data = image.image_config(wanted, request.toolchain, base, layer[0].diff_id, below_app=below_app)
        config = self._store.put_blob(repository, data, CONFIG)
        every = (*(base.layers if base else ()), own)
        manifest = self._store.put_manifest(repository, image.image_manifest(config, every), MANIFEST, request.tag)
        return ArtifactAssembled(
            descriptor=manifest,
            config=config,
            layers=every,
            diff_ids=(*(base.diff_ids if base else ()), layer[0].diff_id),
            base=base.digest if base else HOST,
            source_paths=_source_paths(placements),
            tasks=wanted.tasks,
            compressor=layers.COMPRESSOR,
        )

    def _publish_files(
        self, request: AssembleRequest, wanted: FileRecipe, placements: tuple[Placement, ...], layer: tuple[LayerFile, Path]
    ) -> ArtifactAssembled:
        repository = request.oci_repository
        own = self._store.put_blob_file(repository, layer[1], files.layer_type(is_folder=wanted.is_folder))
        config = self._store.put_blob(repository, EMPTY_BYTES, EMPTY)
        data = files.files_manifest(own, wanted.title, layer[0].diff_id if wanted.is_folder else "")
        return ArtifactAssembled(
            descriptor=self._store.put_manifest(repository, data, MANIFEST, request.tag),
            config=config,
            layers=(own,),
            diff_ids=(layer[0].diff_id,),
            base="",
            source_paths=_source_paths(placements),
            tasks=wanted.tasks,
            compressor=layers.COMPRESSOR if wanted.is_folder else "",
        )


def _source_paths(placements: Iterable[Placement]) -> tuple[str, ...]:
    return tuple(sorted({item.entry.path for item in placements if not item.origin}))


def _write_files(wanted: FileRecipe, placements: tuple[Placement, ...], origins: Mapping[str, Origin], path: Path) -> LayerFile:
    """Write the one layer: a folder's tar, or the one file as it is."""
    if wanted.is_folder:
        return layers.write_layer(_items(wanted, placements, origins), path)
    (placed,) = placements
    if placed.entry.kind == "link":
        what = f"from {placed.rule.label!r}: it is a symbolic link"
        raise ConfigError([Finding("SP314", what, recipe.PIPELINE_FILE, fix=f"name the file itself: {placed.entry.link}")])
    size, content = origins[placed.origin].content(placed.entry.path)
    return files.write_file(content(), size, path)


def _items(wanted: Recipe, placements: Iterable[Placement], origins: Mapping[str, Origin]) -> list[LayerItem]:
    """Return the layer's entries: the folders it states, then files and links."""
    placed = list(placements)
    items = [LayerItem(path, "folder") for path in recipe.folders(placed, wanted.base)]
    for placement in placed:
        entry = placement.entry
        if entry.kind == "link":
            items.append(LayerItem(placement.target, "link", link=entry.link))
        elif entry.kind == "file":
            size, content = origins[placement.origin].content(entry.path)
            items.append(LayerItem(placement.target, "file", entry.executable, size_bytes=size, content=content))
    return items
