"""`helm.yaml`, in an application's folder or in an environment's: which chart, which values, for which Kubernetes.

Called by `sources.chart` and by the schemas. All of it lies in the pinned trees, so a render never depends on what is not pinned.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from setpoint.core import documents
from setpoint.core.documents import Document, FileModel, InvalidError

NAME: Final = "helm.yaml"
KUBE_VERSION: Final = "1.34.0"
"""What a chart is told when nobody says otherwise; it never changes, for a render would change with it."""
_OCI: Final = re.compile(r"oci://(?P<repository>[a-z0-9][a-z0-9._/-]{0,254})@(?P<digest>sha256:[0-9a-f]{64})")
_VERSION: Final = re.compile(r"v?1\.[0-9]{1,3}(\.[0-9]{1,3})?")
_API_VERSION: Final = re.compile(r"[a-z0-9.-]{1,253}(/[a-z0-9]{1,63}(/[A-Z][A-Za-z0-9]{0,62})?)?")
_BAD: Final = "SP617"


def _chart(text: str) -> str:
    if text.startswith("oci://") and not _OCI.fullmatch(text):
        fix = "write oci://REPOSITORY@sha256: and 64 hex digits, the repository without its registry's host"
        raise InvalidError(f"`{text}` is not named by digest", fix, _BAD)
    if "://" in text.removeprefix("oci://"):
        raise InvalidError(f"`{text}` is not fetched", "commit the chart, or push it to the embedded registry and name its digest", _BAD)
    return _path(text) if not text.startswith("oci://") else text


def _path(text: str) -> str:
    if not text or "\0" in text or "\n" in text or "://" in text:
        raise InvalidError(f"`{text}` is no path", "write it from this folder (../../charts/web), or from the root (/charts/web)", _BAD)
    return text


def _kube_version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise InvalidError(f"`{text}` is no version of Kubernetes", "write it like 1.34.0, in quotes", _BAD)
    return text


def _api_version(text: str) -> str:
    if not _API_VERSION.fullmatch(text):
        raise InvalidError(f"`{text}` is no API version", "write it like gateway.networking.k8s.io/v1/HTTPRoute", _BAD)
    return text


FilePath = Annotated[str, AfterValidator(_path)]


class HelmFile(FileModel):
    """`helm.yaml`: paths are from the folder it lies in, or with a leading slash from the root of the repository."""

    apiVersion: Literal["setpoint.dev/v1alpha1"]  # noqa: N815 - the key as it is written
    kind: Literal["Helm"]
    chart: Annotated[str, AfterValidator(_chart)] | None = None
    """A folder of the pinned trees, or a chart of the embedded registry by digest; left out: the folder of the application."""
    values: Annotated[tuple[FilePath, ...], Field(max_length=50)] | None = None
    """Values files, later ones over earlier ones; left out: `values.yaml`, when there is one."""
    kubeVersion: Annotated[str, AfterValidator(_kube_version)] | None = None  # noqa: N815 - the key as it is written
    """What `.Capabilities.KubeVersion` says; left out: 1.34.0."""
    apiVersions: Annotated[tuple[Annotated[str, AfterValidator(_api_version)], ...], Field(max_length=200)] = ()  # noqa: N815
    """What `.Capabilities.APIVersions` has beside Kubernetes' own."""


def is_one(data: bytes) -> bool:
    """Say whether a file of this name is ours, and no manifest of somebody's that is called the same."""
    return b"setpoint.dev/" in data


def parse(data: bytes, path: str) -> Document[HelmFile]:
    """Return a `helm.yaml`.

    Raises:
        ConfigError: with every finding.
    """
    return documents.read(data, path, HelmFile)


def oci_parts(chart: str) -> tuple[str, str] | None:
    """Return (repository, digest) of a chart in the registry; None when it is a folder."""
    match = _OCI.fullmatch(chart)
    return (match["repository"], match["digest"]) if match else None
