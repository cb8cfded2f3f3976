"""Layers are the same bytes everywhere, and ordinary tar and gzip to everybody else."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from setpoint.artifact import layers
from setpoint.artifact.layers import LayerItem, write_layer
from setpoint.artifact.model import LayerFile
from setpoint.core.errors import BugError

LONG = "app/" + "/".join(["folder-with-a-long-name"] * 8) + "/file.txt"
CHILD = """
import json, os, random, sys
from pathlib import Path
from setpoint.artifact.layers import LayerItem, write_layer
os.umask(int(sys.argv[2], 8))
names = ["app", "app/a.py", "app/\\u00e9.txt", "app/link", sys.argv[3]]
random.Random(sys.argv[4]).shuffle(names)
def item(name):
    if name == "app":
        return LayerItem(name, "folder")
    if name == "app/link":
        return LayerItem(name, "link", link="a.py")
    data = name.encode() * 1000
    return LayerItem(name, "file", name.endswith(".py"), size_bytes=len(data), content=lambda: iter([data]))
made = write_layer([item(name) for name in names], Path(sys.argv[1]))
print(json.dumps([made.digest, made.diff_id, made.size_bytes, made.entries]))
"""


def _reader(data: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([data])


def _file(path: str, data: bytes, *, executable: bool = False) -> LayerItem:
    return LayerItem(path, "file", executable, size_bytes=len(data), content=_reader(data))


def _in_another_process(path: Path, zone: str, umask: str, seed: str) -> tuple[LayerFile, bytes]:
    environment = {"TZ": zone, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8" if seed == "1" else "C"}
    argv = [sys.executable, "-c", CHILD, str(path), umask, LONG, seed]
    made = subprocess.run(argv, env=environment, check=True, capture_output=True)
    return LayerFile(*json.loads(made.stdout)), path.read_bytes()


def test_two_processes_with_other_surroundings_write_the_same_bytes(tmp_path: Path) -> None:
    """Time zone, umask, hash seed, locale and the order of entries leave no trace."""
    first, one = _in_another_process(tmp_path / "one", "America/Anchorage", "0000", "1")
    second, two = _in_another_process(tmp_path / "two", "Asia/Tokyo", "0077", "2")
    assert first == second
    assert one == two


def test_the_layer_of_this_release_has_a_fixed_tar(tmp_path: Path) -> None:
    """The diff_id of a known layer never changes: a change here rebuilds every artifact that exists."""
    made = write_layer([LayerItem("app", "folder"), _file("app/a.py", b"print('hello')\n"), _file(LONG, b"x" * 700)], tmp_path / "layer")
    assert made.diff_id == "sha256:1f71e27aecf670318b51c9e6858eb65bc5c055a80a740db4788edbf76980f161"


def test_stock_readers_agree_on_what_is_inside(tmp_path: Path) -> None:
    """Python's gzip and tarfile find names, modes, owners, times, links and contents as they were asked for."""
    random_bytes = b"".join(hashlib.sha512(str(number).encode()).digest() for number in range(50_000))
    items = [
        _file("app/big", random_bytes),
        _file("app/run", b"#!/bin/sh\n", executable=True),
        _file("app/\u00e9\u4e16", b""),
        LayerItem("app/link", "link", link="x/" * 80 + "y"),
        _file(LONG, b"long"),
        LayerItem("app", "folder"),
    ]
    made = write_layer(items, tmp_path / "layer")
    data = (tmp_path / "layer").read_bytes()
    plain = gzip.decompress(data)
    assert made.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert made.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert (made.size_bytes, made.entries) == (len(data), len(items))
    assert data[4:10] == b"\0\0\0\0\0\xff"
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        members = {member.name: member for member in tar}
        assert list(members) == sorted((item.path for item in items), key=str.encode)
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members.values()} == {(0, 0, "", "", layers.MTIME)}
        assert {name: oct(member.mode) for name, member in members.items() if name in ("app", "app/big", "app/run")} == {
            "app": "0o755",
            "app/big": "0o644",
            "app/run": "0o755",
        }
        assert members["app/link"].linkname == "x/" * 80 + "y"
        content = tar.extractfile("app/big")
        assert content is not None
        assert content.read() == random_bytes


def test_content_that_is_not_as_long_as_announced_is_an_error(tmp_path: Path) -> None:
    """A layer whose header would lie is never finished."""
    with pytest.raises(BugError, match="SP318"):
        write_layer([LayerItem("a", "file", size_bytes=5, content=_reader(b"four"))], tmp_path / "layer")


def test_files_of_more_than_eight_gigabytes_get_a_pax_size() -> None:
    """A size that ustar's eleven octal digits cannot hold is written as a pax record that tarfile reads back."""
    header = layers._entry(LayerItem("app/huge", "file", size_bytes=9 << 30))
    with tarfile.open(fileobj=io.BytesIO(header)) as tar:
        member = tar.firstmember  # type: ignore[attr-defined]
    assert (member.name, member.size) == ("app/huge", 9 << 30)
