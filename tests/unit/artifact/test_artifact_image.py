"""What an image's config says, alone and on a base."""

import json
from typing import Any

import pytest

from setpoint.artifact.image import image_config, image_manifest, read_base
from setpoint.artifact.model import CONFIG, LAYER, MANIFEST, Descriptor, StoredManifest
from setpoint.artifact.recipe import ImageRecipe
from setpoint.core.errors import UserError
from setpoint.pipeline.model import ToolchainFacts

FACTS = ToolchainFacts("sha256:" + "f" * 64, "3.11.2", "linux/amd64", 300)
OURS = "sha256:" + "1" * 64
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def _manifest(layers: list[dict[str, Any]]) -> StoredManifest:
    config = {"mediaType": CONFIG, "digest": "sha256:" + "c" * 64, "size": 2}
    data = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
    return StoredManifest(MANIFEST, "sha256:" + "b" * 64, data)


def _base_config(**config: Any) -> dict[str, Any]:
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + "2" * 64]}
    return {
        "os": "linux",
        "architecture": "arm64",
        "variant": "v8",
        "config": config,
        "rootfs": rootfs,
        "history": [{"created_by": "them"}],
    }


def _on_base(recipe: ImageRecipe, **config: Any) -> dict[str, Any]:
    layer = {"mediaType": DOCKER_LAYER, "digest": "sha256:" + "3" * 64, "size": 9}
    base = read_base(_manifest([layer]), json.dumps(_base_config(**config)).encode())
    assert base.layers == (Descriptor(LAYER, "sha256:" + "3" * 64, 9),)
    value: dict[str, Any] = json.loads(image_config(recipe, FACTS, base, OURS, below_app=True))
    return value


def test_a_host_image_names_its_toolchain_and_nothing_of_the_revision() -> None:
    """Labels carry host, fingerprint and Python; the time is constant; the layer's diff_id is the only content."""
    recipe = ImageRecipe("host", (), ("python3", "-m", "hello"), {"B": "2", "A": "1"})
    value = json.loads(image_config(recipe, FACTS, None, OURS, below_app=True))
    assert value["config"] == {
        "Cmd": ["python3", "-m", "hello"],
        "Env": ["A=1", "B=2"],
        "Labels": {"dev.setpoint.base": "host", "dev.setpoint.host.fingerprint": FACTS.fingerprint, "dev.setpoint.host.python": "3.11.2"},
        "WorkingDir": "/app",
    }
    assert (value["os"], value["architecture"], value["created"]) == ("linux", "amd64", "1980-01-02T00:00:00Z")
    assert value["rootfs"]["diff_ids"] == [OURS]


@pytest.mark.parametrize(("workdir", "below_app", "expected"), [("", True, "/app"), ("", False, "/"), ("/srv", True, "/srv")])
def test_the_working_directory_follows_what_was_copied(workdir: str, below_app: bool, expected: str) -> None:  # noqa: FBT001
    """The recipe's own, else /app when something lies there, else the root."""
    recipe = ImageRecipe("host", workdir=workdir)
    assert json.loads(image_config(recipe, FACTS, None, OURS, below_app=below_app))["config"]["WorkingDir"] == expected


def test_a_base_is_inherited_and_overridden_only_where_the_recipe_speaks() -> None:
    """User, entry point, variables and platform are the base's; our variables win; the last layer is ours."""
    base = {
        "Env": ["PATH=/x", "A=0"],
        "Entrypoint": ["/init"],
        "Cmd": ["serve"],
        "User": "app",
        "WorkingDir": "/home",
        "Labels": {"k": "v"},
    }
    value = _on_base(ImageRecipe("x", environment={"A": "1"}), **base)
    assert value["config"] == {**base, "Env": ["PATH=/x", "A=1"], "Labels": {"k": "v", "dev.setpoint.base": "sha256:" + "b" * 64}}
    assert (value["architecture"], value["variant"]) == ("arm64", "v8")
    assert value["rootfs"]["diff_ids"] == ["sha256:" + "2" * 64, OURS]
    assert len(value["history"]) == 2


def test_a_command_replaces_the_bases_entry_point_too() -> None:
    """What the recipe says runs is what runs, not an argument of something else."""
    config = _on_base(ImageRecipe("x", command=("serve", "--now")), Entrypoint=["/init"], Cmd=["old"])["config"]
    assert config["Cmd"] == ["serve", "--now"]
    assert "Entrypoint" not in config


@pytest.mark.parametrize(
    ("layers", "config"),
    [
        ([], _base_config()),
        ([{"mediaType": "application/x-unknown", "digest": "sha256:" + "3" * 64, "size": 1}], _base_config()),
        ([{"mediaType": LAYER, "digest": "sha256:" + "3" * 64, "size": 1}], {"os": "linux"}),
        ([{"mediaType": LAYER, "digest": "sha256:" + "3" * 64, "size": 1}], _base_config(Labels={"dev.setpoint.base": "host"})),
    ],
    ids=["layers-missing", "unknown-layer", "no-config", "made-on-host"],
)
def test_a_base_that_cannot_carry_a_layer_is_refused(layers: list[dict[str, Any]], config: dict[str, Any]) -> None:
    """What does not fit together, or has no system of its own, is SP305."""
    with pytest.raises(UserError, match="SP305"):
        read_base(_manifest(layers), json.dumps(config).encode())


def test_a_manifest_is_canonical() -> None:
    """Keys are sorted and there is no white space, so equal images have equal digests."""
    data = image_manifest(Descriptor(CONFIG, OURS, 2), (Descriptor(LAYER, OURS, 3),))
    assert data == (
        b'{"config":{"digest":"%(d)s","mediaType":"%(c)s","size":2},"layers":[{"digest":"%(d)s","mediaType":"%(l)s","size":3}],'
        b'"mediaType":"%(m)s","schemaVersion":2}'
        % {b"d": OURS.encode(), b"c": CONFIG.encode(), b"l": LAYER.encode(), b"m": MANIFEST.encode()}
    )
