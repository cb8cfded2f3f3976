"""The stock Helm for tests: the machine's own, else the one that `make test` builds; without it a test says so."""

import os
import shutil
from pathlib import Path

import pytest

from setpoint.adapters.helm import HelmBinary

ROOT = Path(__file__).resolve().parent.parent


def stock_helm() -> Path:
    """Return the program, or skip."""
    cache = Path(os.environ.get("SETPOINT_CACHE", ROOT / ".cache"))
    built = sorted(cache.glob("helm-*"), key=lambda path: path.stat().st_mtime)
    found = shutil.which("helm") or (str(built[-1]) if built else None)
    if found is None:
        pytest.skip("INCOMPLETE: needs helm (tools/helm/build makes it with Go)")
    return Path(found).resolve()


def helm() -> HelmBinary:
    """Return the adapter with that program, or skip."""
    return HelmBinary(stock_helm())
