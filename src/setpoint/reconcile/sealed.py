"""Whether the rendered Secrets are what sops wrote, and open: asked before a candidate is decided on, so that a broken one never passes.

Called by rendering. Kustomize may have changed labels and order, so the MAC is checked on the file that a Secret comes from, and what
counts of the object has to be equal to it. Values are looked at and forgotten: nothing of them leaves this module.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from setpoint.core.errors import ConfigError, Finding, UserError
from setpoint.reconcile import manifests
from setpoint.reconcile.model import Container, DesiredState, identity
from setpoint.reconcile.ports import Vault

CHANGED: Final = "SP672"
NO_KEY: Final = "SP673"
BAD_KEYS: Final = "SP674"
UNUSABLE: Final = "SP675"
_CONTENT: Final = ("data", "stringData", "type", "immutable")
_MANIFESTS: Final = (".yaml", ".yml", ".json")


def check(objects: Sequence[dict[str, Any]], files: Mapping[str, bytes], desired: DesiredState, vault: Vault) -> None:
    """Check every Secret of a render; files are the pinned trees it was made from.

    Raises:
        UserError: a file was changed or does not open (SP672, SP673), for the first one found.
        ConfigError: a Secret is not in the files as it was rendered (SP672), or a value cannot be used as it is asked for (SP675).
    """
    secrets = [value for value in objects if value.get("kind") == "Secret" and value.get("apiVersion") == "v1"]
    if not secrets:
        return
    written = list(_written(files))
    findings = []
    for value in secrets:
        path = next((path for path, other in written if _same(value, other)), None)
        if path is None:
            what = f"{identity(value)}: it is not as sops wrote it into any file of the application"
            fix = "leave `data` and `stringData` to sops: no generators, patches or replacements for them"
            findings.append(Finding(CHANGED, what, identity(value), fix=fix))
        else:
            vault.verify(files[path], path)
    for container in (*(w.container for w in desired.workloads), *(job.container for job in desired.jobs)):
        findings += _unusable(container, vault)
    if findings:
        raise ConfigError(findings)


def _written(files: Mapping[str, bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the Secrets of the files with their paths; what is no manifest is passed over, rendering has judged it."""
    for path, data in sorted(files.items()):
        if path.endswith(_MANIFESTS) and b"sops" in data:
            try:
                found = manifests.load(data, path)
            except UserError:
                continue
            yield from ((path, manifest.value) for manifest in found if manifest.value.get("kind") == "Secret")


def _same(value: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    block, written = value.get("sops"), other.get("sops")
    if not isinstance(block, dict) or not isinstance(written, dict) or block.get("mac") != written.get("mac"):
        return False
    return all((value.get(name) or None) == (other.get(name) or None) for name in _CONTENT)


def _unusable(container: Container, vault: Vault) -> Iterator[Finding]:
    """Yield a finding for every variable that cannot hold its value."""
    opened = {secret.name: vault.open(secret) for secret in container.sealed}
    for name, key in container.secret_environment.items():
        values = opened[key.secret]
        value = values.get(f"stringData:{key.key}", values.get(f"data:{key.key}", b""))
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            what = f"Secret/{key.secret}: `{key.key}` is no text, so the variable {name} cannot hold it"
            yield Finding(UNUSABLE, what, f"Secret/{key.secret}", fix="mount it as a file")
