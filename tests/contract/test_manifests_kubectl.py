"""Our manifest loader types every scalar as kubectl does; kubectl itself is asked, offline."""

import json
import subprocess
from typing import Any

import pytest

from setpoint.adapters.kustomize import find_kubectl
from setpoint.core.errors import ConfigError
from setpoint.reconcile import manifests

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
LIST = "apiVersion: v1\nkind: List\nitems:\n"
SCALARS = [
    "yes",
    "on",
    "NO",
    "Off",
    "y",
    "n",
    "Y",
    "N",
    "~",
    "Null",
    "null",
    "",
    "True",
    "TRUE",
    "tRue",
    "012",
    "0o14",
    "0x1F",
    "0X1F",
    "0O14",
    "0b101",
    "-0b101",
    "0B1",
    "1e3",
    "1.5e3",
    "1E3",
    "1_000",
    "1_000.5",
    "+1",
    "-1",
    "+.5",
    ".5",
    "1.",
    "190:20:30",
    "2024-01-01",
    "2024-1-1",
    "2024-01-01T00:00:00Z",
    "2001-12-14t21:59:43.10-05:00",
    "2024-01-01 10:11:12",
    "0o8",
    "08",
    "09.5",
    "0.0",
    "-0",
    "-0.0",
    "00",
    "123456789012345678901234567890",
    "9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775809",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "+9223372036854775808",
    "0x_1",
    '"yes"',
    "'1'",
    '"0o14"',
    "!!str 1",
    '!!int "3"',
    "!!float 1",
    "!!float 3.5",
    '!!bool "yes"',
    "<<",
    "=",
    "1__0",
    "_1",
    "-012",
    "-0o14",
    "+012",
    "+0o14",
    "1e+3",
    "1e-3",
    ".e3",
    "e3",
    "1.0",
    "3.0e0",
    "0xFFFFFFFFFFFFFFFF",
    "0777777777777",
    "!!binary aGVsbG8=",
    "-0x1f",
    "+0x1f",
    "12e03",
    "1e21",
    "1e20",
    "123456789.5e3",
    "0b",
    "0x",
    "0o",
    "+",
    ".",
    "1_",
    "5_",
    "0_1",
    "1e_3",
    "1_0e3",
    "+0",
    "-1.5",
    "1.e3",
    ".5e1",
    ".5_0",
    ".5__0",
    ".5_",
    ".5e1_0",
    ".5e_1",
    "._5",
    "00012",
    "0128",
    "-08",
    "0129.5",
    "1.7976931348623157e308",
    "1e400",
    "0.1",
    "100000000000000000000.0",
    "1e22",
    "0xfffffffffffffffff",
    "0b2",
    "1:30",
    "12:30:45",
    "1,000",
    "1e",
    "--1",
    "+-1",
    "0x1.8p1",
    "1.2.3",
    "v1",
    "1h30m",
    "a b",
    "null null",
    "TRUE1",
    ".inf1",
    "-.5",
    "00.5",
    "0e0",
    "1e0",
    "!!str yes",
    "!!str ~",
    "!!null ''",
    "99999999999999999",
    "4503599627370497.5",
    "1.0000000000000002",
]
DOCUMENTS = (
    HEAD + "data:\n  1: b\n  yes: c\n  1.5: e\n  0x10: f\n  2024-01-01: g\n  1e3: h\n  -0: i\n  'on': j\n",
    "---\n# c\n---\n" + HEAD + "data: {a: b}\n---\n",
    HEAD + "data:\n  a: 1\n...\n---\n" + HEAD.replace("x}", "z}") + "data: {b: 2}\n",
    HEAD + "data: &d\n  a: b\nmore:\n  <<: *d\n  c: d\n",
    HEAD + "data:\n  <<: [{a: 1}, {a: 2, b: 3}]\n  b: 4\n",
    LIST + "- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n",
    "apiVersion: v1\nkind: ConfigMapList\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n",
    '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":1.0,"b":12345678901234567890,"c":1e3,"d":"\\u00e9\\n\\/"}}',
    HEAD + "data:\n  a: |\n    one\n    two\n  b: >-\n    folded\n    text\n  c: 'it''s'\n  d: \"\\x41\\u00e9\"\n  e: [1, [2, {f: on}]]\n",
    "\ufeff" + HEAD + "data: {a: é日本}\n",
)


def kubectl(text: str) -> list[Any] | None:
    """Return the objects that kubectl reads, None when it refuses."""
    program = find_kubectl()
    assert program is not None
    argv = [str(program), "label", "--local", "-f", "-", "-o", "json", "setpoint=test"]
    done = subprocess.run(argv, input=text.encode(), capture_output=True, check=False, timeout=30)
    if done.returncode:
        return None
    decoder, output, found, position = json.JSONDecoder(), done.stdout.decode(), [], 0
    while position < len(output.rstrip()):
        value, position = decoder.raw_decode(output, position)
        found.append(value)
        position += len(output[position:]) - len(output[position:].lstrip())
    for value in found:
        del value["metadata"]["labels"]
    return found


def exact(value: Any) -> Any:
    """Return a value in a form in which 1, 1.0, true and "1" all differ, as far as JSON lets them."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return ("number", float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else (type(value).__name__, value)


def test_scalars_agree_with_kubectl() -> None:
    """Every scalar of the corpus is typed as kubectl types it."""
    text = HEAD + "data:\n" + "".join(f"  k{index}: {scalar}\n" for index, scalar in enumerate(SCALARS))
    theirs, ours = kubectl(text), manifests.load(text.encode(), "x.yaml")
    assert theirs is not None
    wrong = [
        (scalar, theirs[0]["data"][f"k{index}"], ours[0].value["data"][f"k{index}"])
        for index, scalar in enumerate(SCALARS)
        if exact(theirs[0]["data"][f"k{index}"]) != exact(ours[0].value["data"][f"k{index}"])
    ]
    assert wrong == []


@pytest.mark.parametrize("text", DOCUMENTS)
def test_documents_agree_with_kubectl(text: str) -> None:
    """Keys, merges, lists, several documents and JSON come out as kubectl reads them."""
    theirs = kubectl(text)
    assert theirs is not None
    assert exact([manifest.value for manifest in manifests.load(text.encode(), "x.yaml")]) == exact(theirs)


@pytest.mark.parametrize("scalar", [".inf", "-.Inf", ".NaN", "*a", "!!int x", "!!float x", "@x", "[a", "!!bool x", "{? [a] : b}", "{~: d}"])
def test_what_kubectl_refuses_is_refused(scalar: str) -> None:
    """Nothing is accepted here that kubectl could not read."""
    text = f"{HEAD}data: {scalar}\n"
    assert kubectl(text) is None
    with pytest.raises(ConfigError):
        manifests.load(text.encode(), "x.yaml")
