"""The machine's package-client configuration: what a networked task needs to reach an index through a mirror, a proxy, a private CA.

Called by the client (`relevant`: what the runner's environment may hold) and by the runner (`inspect`: variables, mounts and secrets of
one networked task). It never enters a task key and is never given to a task without `network: true`. Standard library only.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setpoint.adapters.sandbox import Mount

_FILES: Final = (
    "/etc/pip.conf",
    "/etc/ssl",
    "/etc/ca-certificates",
    "/etc/pki",
    "/etc/resolv.conf",
    "/etc/hosts",
)
_PRIVATE: Final = ("/etc/ssl/private", "/etc/pki/tls/private")
"""Keys of the machine's own services lie beside the public certificates; they are covered, whoever may read them."""
_NAMES: Final = re.compile(
    r"PIP_\w+|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS|NPM_CONFIG_.+"
    r"|(HTTP|HTTPS|FTP|ALL|NO)_PROXY|GOPROXY|GONOPROXY|GOSUMDB|GONOSUMDB|GOPRIVATE",
    re.IGNORECASE,
)
"""Where packages come from and how to trust it. Not GOFLAGS: it changes what is built, so it belongs into the task's own `env:`."""
_RESULT: Final = re.compile(
    r"PIP_(TARGET|PREFIX|ROOT|USER|SRC|LOG|CACHE_DIR|PYTHON|REQUIRE_VIRTUALENV|REQUIREMENT|CONSTRAINT|EDITABLE|REPORT)|NPM_CONFIG_(PREFIX|CACHE)",
    re.IGNORECASE,
)
"""Left out: these choose what is installed and where to, not how it is reached."""
_SECRET_NAME: Final = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|API_?KEY|_AUTH$|:_AUTH", re.IGNORECASE)
_IN_URL: Final = re.compile(r"://([^/\s]+)@")
_IN_NPMRC: Final = re.compile(r"_(?:authToken|auth|password)\s*=\s*(\S+)", re.IGNORECASE)
_CONFIGURATION: Final = ("PIP_CONFIG_FILE", "NPM_CONFIG_USERCONFIG", "NPM_CONFIG_GLOBALCONFIG")
_CONFIGURATION_BYTES: Final = 1 << 20
_LONGEST_USER: Final = 15
"""A lone user name in a URL that is longer than this is taken for a token (`https://<token>@host/`)."""
_TAKEN: Final = ("/work", "/proc", "/dev")
_ASIDE: Final = "/run/setpoint"


@dataclass(frozen=True, slots=True)
class PackageClient:
    """What a networked task gets on top of every other task."""

    environment: dict[str, str]
    mounts: tuple[Mount, ...]
    secrets: tuple[str, ...]


def relevant(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that configure package clients, as they are."""
    return {name: value for name, value in environment.items() if _NAMES.fullmatch(name) and not _RESULT.fullmatch(name)}


def inspect(environment: Mapping[str, str], kept_out: Path) -> PackageClient:
    """Return variables, read-only mounts and secret values; a folder that holds kept_out (the workspaces, the home) is never mounted."""
    variables = relevant(environment)
    mounts = [Mount("ro", path, path) for path in _FILES if Path(path).exists()]
    mounts += [Mount("tmpfs", "", path) for path in _PRIVATE if Path(path).is_dir()]
    for name, value in variables.items():
        for word in _paths(name, value):
            target = _mount(word, mounts, kept_out.resolve())
            variables[name] = variables[name].replace(word, target)
    return PackageClient(variables, tuple(mounts), tuple(_secrets(variables, environment)))


def _paths(name: str, value: str) -> Iterator[str]:
    """Yield the absolute local paths that a variable names."""
    separator = ":" if name.upper() == "SSL_CERT_DIR" else None
    for word in value.split(separator):
        path = word.removeprefix("file://")
        if path.startswith("/") and path != "/" and "proxy" not in name.lower():
            yield path


def _mount(path: str, mounts: list[Mount], kept_out: Path) -> str:
    """Add mounts for a path and for what it links to; return where it is found inside (itself, unless the sandbox needs that place)."""
    try:
        real = Path(path).resolve(strict=True)
    except OSError:
        return path
    if kept_out.is_relative_to(real):
        return path
    inside = path
    if any(Path(path).is_relative_to(taken) for taken in _TAKEN):
        inside = f"{_ASIDE}/{len(mounts)}/{Path(path).name}"
        mounts.append(Mount("ro", str(real), inside))
        return inside
    visible = [Path("/usr"), *(Path(mount.target) for mount in mounts if mount.kind == "ro" and mount.source == mount.target)]
    hidden = [place for place in sorted({str(real), path}) if not any(Path(place).is_relative_to(seen) for seen in visible)]
    mounts += [Mount("ro", str(real), place) for place in hidden]
    return inside


def _secrets(variables: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in variables.items():
        if _SECRET_NAME.search(name):
            yield value
        yield from _credentials(value)
    named = (environment.get(name) or environment.get(name.lower()) for name in _CONFIGURATION)
    for text in _texts(["/etc/pip.conf", *(path for path in named if path)]):
        yield from _credentials(text)
        yield from _IN_NPMRC.findall(text)


def _texts(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        try:
            with Path(path).open("rb") as file:
                yield file.read(_CONFIGURATION_BYTES).decode(errors="replace")
        except OSError:
            continue


def _credentials(text: str) -> Iterator[str]:
    """Yield what URLs in text carry before their `@`: `user:password`, the password alone, and a user that looks like a token."""
    for found in _IN_URL.findall(text):
        user, _, password = found.partition(":")
        if password:
            yield found
            yield password
        if len(user) > _LONGEST_USER:
            yield user
