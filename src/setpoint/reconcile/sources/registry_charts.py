"""Charts of the embedded registry, as the files they hold: what `helm push` stored, read by the digest of its manifest.

Filled into reconcile.ports.ChartStore by wiring and by `check`. Hostile archives are the rule here: bounded, plain files below one folder
only, and every digest is checked on the way (law 1). The media types are those of Helm's OCI documentation.
"""

import io
import json
import posixpath
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any, Final

from setpoint.artifact.ports import OciStore
from setpoint.core import digest as digests
from setpoint.core.errors import UserError

NO_CHART: Final = "SP619"
NO_REGISTRY: Final = "SP620"
CHART_LAYER: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_ARCHIVE_BYTES: Final = 20 << 20
_UNPACKED_BYTES: Final = 100 << 20
_FILES: Final = 10_000


class RegistryCharts:
    """Reads charts from an OCI store."""

    def __init__(self, store: OciStore) -> None:
        self._store = store

    def chart(self, repository: str, digest: str) -> Mapping[str, bytes]:
        """Return {path in the chart: bytes}.

        Raises:
            UserError: it is not there, is no chart, or is damaged or hostile (SP619).
        """
        where = f"oci://{repository}@{digest}"
        stored = self._store.manifest(repository, digest)
        if stored is None or digests.sha256(stored.data) != digest:
            fix = f"helm push CHART.tgz oci://REGISTRY/{repository.rpartition('/')[0]}, and name the digest that it prints"
            raise UserError(NO_CHART, "the registry has no such chart", where=where, fix=fix)
        layer = _layer(stored.data, where)
        data = self._store.read_blob(repository, layer, _ARCHIVE_BYTES)
        if digests.sha256(data) != layer:
            raise UserError(NO_CHART, "the chart's archive is not what its manifest names", where=where, fix="push the chart again")
        return unpack(data, where)


class NoCharts:
    """Where there is no registry: `check` looks at files only."""

    def chart(self, repository: str, digest: str) -> Mapping[str, bytes]:
        """Refuse; UserError SP620."""
        raise UserError(NO_REGISTRY, "a chart of the registry is rendered by the server only", where=f"oci://{repository}@{digest}")


def _layer(manifest: bytes, where: str) -> str:
    """Return the digest of the one layer that is a chart's archive."""
    try:
        value: Any = json.loads(manifest)
        found = [str(layer["digest"]) for layer in value["layers"] if layer["mediaType"] == CHART_LAYER]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(NO_CHART, "it is no OCI manifest", where=where, fix="push a chart with helm push") from error
    if len(found) != 1:
        raise UserError(
            NO_CHART, f"it is no Helm chart: it has no layer of type {CHART_LAYER}", where=where, fix="push a chart with helm push"
        )
    return found[0]


def unpack(data: bytes, where: str) -> dict[str, bytes]:
    """Return {path in the chart: bytes} of a chart's archive, in which all lies in one folder.

    Raises:
        UserError: it is no archive, too large, or holds links or paths that leave the folder (SP619).
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_inflated(data, where)), mode="r:") as archive:
            for member in archive:
                name = posixpath.normpath(member.name)
                if member.isdir():
                    continue
                if not member.isfile() or name.startswith(("/", "..")) or "/" not in name or "\0" in name:
                    raise _hostile(f"`{member.name[:200]}` is no plain file of the chart's folder", where)
                file = archive.extractfile(member)
                found[name.partition("/")[2]] = file.read() if file is not None else b""
                if len(found) > _FILES:
                    raise _hostile(f"it has more than {_FILES} files", where)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise _hostile("its archive is damaged", where) from error
    if "Chart.yaml" not in found:
        raise _hostile("its archive has no Chart.yaml", where)
    return found


def _inflated(data: bytes, where: str) -> bytes:
    """Return the tar in a gzip stream, bounded."""
    stream = zlib.decompressobj(wbits=31)
    try:
        tar = stream.decompress(data, _UNPACKED_BYTES)
    except zlib.error as error:
        raise _hostile("its archive is no gzip stream", where) from error
    if stream.unconsumed_tail or not stream.eof:
        raise _hostile(f"its archive is cut off, or has more than {_UNPACKED_BYTES >> 20} MiB", where)
    return tar


def _hostile(what: str, where: str) -> UserError:
    return UserError(NO_CHART, f"the chart cannot be used: {what}", where=where, fix="package it with helm package, and push it again")
