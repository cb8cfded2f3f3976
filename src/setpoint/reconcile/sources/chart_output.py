"""What Helm wrote, as objects that know the template they came from; and whether it writes the same again.

Called by `reconcile.render`; pure.
"""

import re
import zlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from setpoint.core.errors import ConfigError, Finding
from setpoint.reconcile import manifests
from setpoint.reconcile.manifests import Manifest
from setpoint.reconcile.model import identity

VARIES: Final = "SP616"
_SOURCE: Final = re.compile(rb"^# Source: [^/\n]+/(?P<path>[^\n]+)$", re.MULTILINE)
_VARYING: Final = re.compile(
    rb"\{\{(?:[^}]|\}(?!\})){0,2000}?\b(rand(AlphaNum|Alpha|Numeric|Ascii|Bytes|Int)|uuidv4|shuffle|now|ago|gen(PrivateKey|CA|SignedCert|SelfSignedCert)\w*"
    rb"|htpasswd|bcrypt|encryptAES|getHostByName)\b"
)
"""Functions of Sprig whose answer differs from call to call, inside of an action."""
_PROSE: Final = (".md", "NOTES.txt")
"""Files of a chart that make no objects, and say `now` to people."""
_UNPACKED_BYTES: Final = 100 << 20


def read(output: bytes, label: str) -> list[Manifest]:
    """Return the objects of a chart, each with its template as its path.

    Raises:
        ConfigError: what a template wrote is no object, or has a key twice (SP601 to SP603), with the template's path.
    """
    lines, paths = _templates(output, label)
    try:
        found = manifests.load(output, label)
    except ConfigError as error:
        raise ConfigError([_placed(finding, lines, paths) for finding in error.findings]) from error
    return [replace(one, path=_path(one.line, lines, paths) or f"{label}/", line=0) for one in found]


def may_vary(files: Mapping[str, bytes]) -> bool:
    """Say whether a chart's files, or those of a vendored archive, name a function that gives another answer each time."""
    return any(_names_chance(path, data) for path, data in files.items() if not path.endswith(_PROSE))


def _names_chance(path: str, data: bytes) -> bool:
    if not path.endswith(".tgz"):
        return _VARYING.search(data) is not None
    stream = zlib.decompressobj(wbits=31)
    try:
        tar = stream.decompress(data, _UNPACKED_BYTES)
    except zlib.error:
        return True  # Helm says what is wrong with it
    return not stream.eof or b".tgz\0" in tar or _VARYING.search(tar) is not None


def refuse_varying(first: bytes, second: bytes, label: str) -> None:
    """Refuse a chart that made two different things of the same files.

    Raises:
        ConfigError: each object that differs (SP616).
    """
    if first == second:
        return
    before = {identity(one.value): one for one in read(first, label)}
    after = {identity(one.value): one for one in read(second, label)}
    fix = "set in values what the template makes up: a name, a password in a Secret that sops has sealed; see docs/rendering.md"
    findings = [
        Finding(VARIES, f"{name} is another one at every render: a template takes chance or the time", (before | after)[name].path, fix=fix)
        for name in sorted(before.keys() | after.keys())
        if name not in before or name not in after or before[name].value != after[name].value
    ]
    if findings:
        raise ConfigError(findings)


def _templates(output: bytes, label: str) -> tuple[list[int], list[str]]:
    """Return the lines on which Helm names a template, and the templates' paths."""
    lines, paths = [], []
    line, at = 1, 0
    for match in _SOURCE.finditer(output):
        line, at = line + output.count(b"\n", at, match.start()), match.start()
        lines.append(line)
        paths.append(f"{label}/{match['path'].decode(errors='replace')}")
    return lines, paths


def _path(line: int, lines: list[int], paths: list[str]) -> str:
    before = bisect_right(lines, line)
    return paths[before - 1] if before else ""


def _placed(finding: Finding, lines: list[int], paths: list[str]) -> Finding:
    """Return a finding at its template: the line is one of what was rendered, which nobody has in a file."""
    path = _path(finding.line, lines, paths)
    what = f"{finding.what} (line {finding.line} of what Helm rendered: `{finding.source.strip()}`)" if finding.line else finding.what
    return Finding(finding.code, what, path or finding.path, fix=finding.fix)
