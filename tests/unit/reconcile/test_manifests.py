"""Kubernetes manifests from bytes: what is an object, what is a fault, and where (typing is held to kubectl in tests/contract)."""

import pytest

from setpoint.core.errors import ConfigError, Finding
from setpoint.reconcile import manifests

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def fault(text: str | bytes) -> Finding:
    """Return what is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        manifests.load(text.encode() if isinstance(text, str) else text, "apps/web/x.yaml")
    (found,) = caught.value.findings
    return found


def test_documents_lists_and_empty_documents() -> None:
    """Every object has the line it begins on; lists are taken apart and empty documents skipped."""
    listed = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n"
    text = f"# nothing\n---\n{CONFIG_MAP}---\n---\n{listed}"
    found = manifests.load(text.encode(), "x.yaml")
    assert [(item.value["kind"], item.line) for item in found] == [("ConfigMap", 3), ("Secret", 11)]
    assert manifests.load(b"", "x.yaml") == []


def test_yaml_1_1_typing_is_kubernetes_own() -> None:
    """`yes` is true, 012 is ten, 1e3 is a thousand, and a date is text."""
    (item,) = manifests.load(f"{CONFIG_MAP}data: {{a: yes, b: 012, c: 1e3, d: 2024-01-01, e: 'yes'}}\n".encode(), "x.yaml")
    assert item.value["data"] == {"a": True, "b": 10, "c": 1000, "d": "2024-01-01", "e": "yes"}
    assert type(item.value["data"]["c"]) is int


@pytest.mark.parametrize(
    ("text", "code", "place", "word"),
    [
        (CONFIG_MAP + "data:\n  a: 1\n  a: 2\n", "SP602", (6, 3), "`a`"),
        (CONFIG_MAP + "data:\n  1: a\n  '1': b\n", "SP602", (6, 3), "`1`"),
        (CONFIG_MAP + "data: [a\n", "SP601", (5, 1), "flow sequence"),
        (CONFIG_MAP + "\tdata: a\n", "SP601", (4, 1), "tab"),
        (CONFIG_MAP + "data: .nan\n", "SP601", (4, 7), ".nan"),
        (CONFIG_MAP + "data: !foo {a: b}\n", "SP601", (4, 7), "!foo"),
        ("- a\n", "SP603", (1, 1), "mapping"),
        ("kind: ConfigMap\nmetadata: {name: a}\n", "SP603", (1, 1), "apiVersion"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", "SP603", (1, 1), "metadata.name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n", "SP603", (1, 1), "metadata.name"),
        (CONFIG_MAP + "data: &a [*a]\n", "SP601", (4, 7), "aliases"),
        (CONFIG_MAP + "data: " + "[" * 100_000, "SP601", (4, 507 - 1), "levels"),
        (b"a: \xff", "SP601", (1, 4), "UTF-8"),
    ],
)
def test_faults_have_a_place(text: str | bytes, code: str, place: tuple[int, int], word: str) -> None:
    """What cannot be read names its line and column."""
    found = fault(text)
    assert found.code == code
    assert found.line == place[0]
    assert found.column == place[1] or f"(column {place[1]})" in found.what
    assert word in found.what
    assert found.path == "apps/web/x.yaml"


def test_an_alias_bomb_ends_by_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aliases are counted as often as they expand."""
    monkeypatch.setattr(manifests, "_MAX_NODES", 10_000)
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(6)
    )
    assert "aliases" in fault(CONFIG_MAP + bomb).what


def test_a_file_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Size is bounded before anything is parsed."""
    monkeypatch.setattr(manifests, "LIMIT_BYTES", 1 << 20)
    assert "larger than 1 MiB" in fault(b"#" * ((1 << 20) + 1)).what
