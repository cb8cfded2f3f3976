"""Whether a commit is Setpoint's own, by the trust root; built by wiring, asked by admission and `verify`."""

from setpoint.adapters.git.store import GitRepositories
from setpoint.adapters.sshsig import commit_signed
from setpoint.evidence.verify import TrustRoot
from setpoint.ground.identity.model import Role


class CommitKeyCheck:
    """Verifies commits by the trust root's commit key; fills reconcile's `CommitCheck`."""

    def __init__(self, git: GitRepositories, trust: TrustRoot) -> None:
        self._git = git
        self._key = trust.key(Role.COMMIT)

    def signed(self, repository: str, commit: str) -> bool:
        """Say whether exactly this commit is signed by Setpoint."""
        return bool(commit) and commit_signed(self._git, repository, commit, self._key)
