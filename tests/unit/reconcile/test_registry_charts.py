"""Charts of the registry: what `helm push` stores is read, and whatever else lies there is refused with a reason."""

import gzip
import io
import json
import tarfile
from typing import cast

import pytest

from setpoint.artifact.model import StoredManifest
from setpoint.artifact.ports import OciStore
from setpoint.core import digest
from setpoint.core.errors import UserError
from setpoint.reconcile.sources.registry_charts import CHART_LAYER, NoCharts, RegistryCharts, unpack


class Store:
    """One manifest and its blobs."""

    def __init__(self, layer: bytes, media_type: str = CHART_LAYER) -> None:
        self.blobs = {digest.sha256(layer): layer}
        config = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest.sha256(b"{}"), "size": 2}
        layers = [{"mediaType": media_type, "digest": digest.sha256(layer), "size": len(layer)}]
        self.data = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()

    @property
    def named(self) -> str:
        """The manifest's digest."""
        return digest.sha256(self.data)

    def manifest(self, _repository: str, reference: str) -> StoredManifest | None:
        """Find it."""
        return StoredManifest(reference, "application/vnd.oci.image.manifest.v1+json", self.data) if reference == self.named else None

    def read_blob(self, _repository: str, name: str, limit_bytes: int = 0) -> bytes:
        """Read one."""
        assert limit_bytes
        return self.blobs[name]


def archive(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    """Return a gzip'd tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            data = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(file.getvalue())


def charts(store: Store) -> RegistryCharts:
    """Return what reads that store."""
    return RegistryCharts(cast("OciStore", store))


GOOD = archive(("web/Chart.yaml", b"name: web\n"), ("web/templates/a.yaml", b"a"), ("web/charts/db/Chart.yaml", b"name: db\n"))


def test_a_pushed_chart_is_read_by_its_digest() -> None:
    """The archive's one folder falls away, subcharts stay where they are."""
    store = Store(GOOD)
    found = charts(store).chart("charts/web", store.named)
    assert found == {"Chart.yaml": b"name: web\n", "templates/a.yaml": b"a", "charts/db/Chart.yaml": b"name: db\n"}


def test_what_is_not_there_or_no_chart_is_refused() -> None:
    """Another digest, an image, a manifest that is none, and an archive that was changed on the disk."""
    store = Store(GOOD)
    with pytest.raises(UserError, match="SP619") as caught:
        charts(store).chart("charts/web", "sha256:" + "0" * 64)
    assert "helm push" in caught.value.fix
    image = Store(GOOD, "application/vnd.oci.image.layer.v1.tar+gzip")
    with pytest.raises(UserError, match="no Helm chart"):
        charts(image).chart("charts/web", image.named)
    store.blobs = dict.fromkeys(store.blobs, b"changed")
    with pytest.raises(UserError, match="not what its manifest names"):
        charts(store).chart("charts/web", store.named)
    store.data = b"[]"
    with pytest.raises(UserError, match="no OCI manifest"):
        charts(store).chart("charts/web", store.named)
    with pytest.raises(UserError, match="SP620"):
        NoCharts().chart("charts/web", store.named)


def _link(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"no gzip", "no gzip"),
        (gzip.compress(b"no tar" * 200), "damaged"),
        (GOOD[:-20], "cut off"),
        (archive(("web/values.yaml", b"")), "no Chart.yaml"),
        (archive(("web/Chart.yaml", b""), ("web/../../etc/x", b"")), "no plain file"),
        (archive(("web/Chart.yaml", b""), ("/etc/x", b"")), "no plain file"),
        (archive(("web/Chart.yaml", b""), ("loose", b"")), "no plain file"),
        (archive(("web/Chart.yaml", b""), _link("web/templates/a.yaml")), "no plain file"),
        (gzip.compress(b"\0" * (101 << 20)), "more than 100 MiB"),
    ],
)
def test_a_hostile_archive_is_refused(data: bytes, word: str) -> None:
    """Bombs, links, paths that leave the folder and what is no archive end with one sentence."""
    with pytest.raises(UserError, match="SP619") as caught:
        unpack(data, "oci://charts/web")
    assert word in caught.value.what
