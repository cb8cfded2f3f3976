"""Which runs are given secrets: the trusted ones of a server; fills the pipeline's `SecretSource`.

Called by the task runner. A local run takes them from the person's own environment, and nothing that it makes with them is reused.
"""

import os
import secrets

from setpoint.core.errors import UserError
from setpoint.ground.secrets.service import Secrets
from setpoint.pipeline.model import Run

PREFIX = "SETPOINT_SECRET_"


class ServerSecrets:
    """Secrets of this home, for trusted runs only (law 8)."""

    def __init__(self, kept: Secrets) -> None:
        self._kept = kept

    def version(self, run: Run, name: str) -> str:
        """Return the version in force.

        Raises:
            UserError: the run is not trusted (SP238). NotFoundError: there is no such secret (SP252).
        """
        if run.trust != "trusted":
            fix = "push it to the repository itself, so that the run is trusted"
            raise UserError("SP238", f"`{name}` is given to trusted runs only", where=run.run, fix=fix)
        return str(self._kept.find(run.repository, name).version)

    def value(self, run: Run, name: str, version: str) -> str:
        """Return the value of a version; UserError SP253 when it is not here."""
        return self._kept.value(run.repository, name, int(version))


class LocalSecrets:
    """`SETPOINT_SECRET_<NAME>` of the environment; every process has versions of its own, so nothing is reused by another value."""

    def __init__(self) -> None:
        self._mark = f"local-{secrets.token_hex(8)}"

    def version(self, run: Run, name: str) -> str:
        """Return this process's mark.

        Raises:
            UserError: the environment does not have it (SP238).
        """
        if not os.environ.get(PREFIX + name):
            fix = f"export {PREFIX}{name}=..., or run other tasks"
            raise UserError("SP238", f"a local run has no secret `{name}`", where=run.run, fix=fix)
        return self._mark

    def value(self, run: Run, name: str, version: str) -> str:  # noqa: ARG002 - there is only one
        """Return the value."""
        return os.environ[PREFIX + name]
