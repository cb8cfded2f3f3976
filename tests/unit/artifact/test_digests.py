"""The digests under which a node may report an image: those of its index, manifests and configurations, as far as the store has them."""

import json
from pathlib import Path

from setpoint.adapters.oci.store import OciStoreFolder
from setpoint.artifact.digests import aliases
from setpoint.artifact.model import Descriptor

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def _json(one: Descriptor) -> dict[str, object]:
    return {"mediaType": one.media_type, "digest": one.digest, "size": one.size_bytes}


def test_an_index_is_known_by_everything_below_it(tmp_path: Path) -> None:
    """Index, both platforms and both configurations are one image; a digest that is not here is only itself."""
    store = OciStoreFolder(tmp_path)
    configs = [store.put_blob("web", json.dumps({"os": "linux", "n": n}).encode()) for n in (1, 2)]
    platforms = [
        store.put_manifest(
            "web", json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": _json(one), "layers": []}).encode(), MANIFEST
        )
        for one in configs
    ]
    text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [_json(one) for one in platforms]})
    index = store.put_manifest("web", text.encode(), INDEX)
    assert aliases(store, "web", index.digest) == {index.digest, *(one.digest for one in platforms), *(one.digest for one in configs)}
    assert aliases(store, "web", platforms[0].digest) == {platforms[0].digest, configs[0].digest}
    assert aliases(store, "registry.example.com:5000/other", "sha256:" + "0" * 64) == {"sha256:" + "0" * 64}
    assert aliases(store, "../../etc", "sha256:" + "0" * 64) == {"sha256:" + "0" * 64}
