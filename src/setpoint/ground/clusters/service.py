"""Keeps the clusters of a home; called by the API, and by who opens connections to them.

A kubeconfig lies on the disk before the journal tells of it, as with secrets of repositories. Nothing here logs any of its content, or
returns it to people, or raises it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from setpoint.core import suggest
from setpoint.core.documents import InvalidError
from setpoint.core.errors import NotFoundError, UserError
from setpoint.core.labels import label_key, label_value
from setpoint.ground.clusters.model import Cluster
from setpoint.ground.clusters.ports import ClusterRecords, KubeconfigReading
from setpoint.ground.journal.ports import Recorder
from setpoint.ground.secrets.ports import SecretValues

IN_CLUSTER: Final = "in-cluster"
"""The name of the cluster that this server runs in as a pod; nobody registers it."""
LONGEST: Final = 1 << 20
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_KUBECONFIG: Final = "kubeconfig"
_MOST_LABELS: Final = 50


class Clusters:
    """The clusters of one home."""

    def __init__(self, records: ClusterRecords, values: SecretValues, recorder: Recorder, read: KubeconfigReading) -> None:
        self._records = records
        self._values = values
        self._recorder = recorder
        self._read = read

    def listed(self) -> list[Cluster]:
        """Return the registered clusters, by name."""
        return self._records.clusters()

    def add(
        self, name: str, kubeconfig: str, context: str, actor: str, *, may_run: bool = False, labels: Mapping[str, str] | None = None
    ) -> Cluster:
        """Keep a kubeconfig as the next version for a name; without labels it keeps those that it has.

        Raises:
            UserError: no such name can be (SP691), the kubeconfig is not understood or not safe (SP680), it runs a program or
                reads a token file of the server's machine and nobody said that it may (SP692), or a label is none (SP586).
        """
        if _NAME.fullmatch(name) is None or name == IN_CLUSTER:
            fix = f"lower-case letters, digits and dashes, a letter first, at most 40; `{IN_CLUSTER}` is there by itself"
            raise UserError("SP691", f"`{name[:80]}` is no name of a cluster", where=name[:80], fix=fix)
        if len(kubeconfig) > LONGEST:
            raise UserError(
                "SP691", f"the kubeconfig has more than {LONGEST} characters", where=name, fix="kubectl config view --minify --flatten"
            )
        before = next((cluster.labels for cluster in self._records.clusters() if cluster.name == name), {})
        labelled = _labels(name, before if labels is None else labels)
        facts = self._read(kubeconfig, context)
        if facts.runs and not may_run:
            fix = "say --allow-exec, if the server's user may run it; else use a token or a client certificate"
            raise UserError("SP692", f"the kubeconfig runs the program `{facts.runs}` for its credentials", where=name, fix=fix)
        if facts.reads and not may_run:
            fix = "say --allow-exec (may_run), if it is the server's to read and to send there; else put the token into the kubeconfig"
            raise UserError("SP692", f"the kubeconfig sends what is in the server's file `{facts.reads}`", where=name, fix=fix)
        version = self._records.last_cluster(name) + 1
        self._values.write(name, _KUBECONFIG, version, json.dumps({"kubeconfig": kubeconfig, "context": context}))
        body = {"name": name, "server": facts.server, "context": context, "runs": facts.runs, "version": version, "labels": labelled}
        entry = self._recorder.record("cluster.added", name, actor, body)
        self._values.forget(name, _KUBECONFIG, version)
        return Cluster(name, facts.server, context, facts.runs, version, entry.at, actor, labelled)

    def label(self, name: str, labels: Mapping[str, str], actor: str) -> Cluster:
        """Give a cluster these labels and no others.

        Raises:
            NotFoundError: there is none of this name (SP693).
            UserError: a label is none (SP586).
        """
        found, labelled = self.find(name), _labels(name, labels)
        if labelled != found.labels:
            self._recorder.record("cluster.labelled", name, actor, {"name": name, "labels": labelled})
        return replace(found, labels=labelled)

    def remove(self, name: str, actor: str) -> Cluster:
        """Journal that a cluster is not ours to work on any more, and delete its kubeconfig; what runs there goes on.

        Raises:
            NotFoundError: there is none of this name (SP693).
        """
        found = self.find(name)
        self._recorder.record("cluster.removed", name, actor, {"name": name, "version": found.version})
        self._values.forget(name, _KUBECONFIG, found.version + 1)
        return found

    def sweep(self) -> None:
        """Delete kubeconfigs of clusters that the journal has removed, which a crash may have kept; called at the start."""
        known = {cluster.name: cluster.version for cluster in self._records.clusters()}
        for name, kind in self._values.names():
            self._values.forget(name, kind, known.get(name, self._records.last_cluster(name) + 1))

    def find(self, name: str) -> Cluster:
        """Return a registered cluster.

        Raises:
            NotFoundError: there is none of this name (SP693).
        """
        every = self._records.clusters()
        found = next((cluster for cluster in every if cluster.name == name), None)
        if found is None:
            known = [cluster.name for cluster in every]
            fix = f"{suggest.help_text(name, known, 'clusters')}; setpoint cluster add {name} --kubeconfig FILE registers it"
            raise NotFoundError("SP693", f"this home has no cluster `{name}`", where=name, fix=fix)
        return found

    def kubeconfig(self, name: str) -> tuple[str, str]:
        """Return (kubeconfig, context) of a cluster.

        Raises:
            NotFoundError: there is none of this name (SP693).
            UserError: its kubeconfig is not in this home (SP694).
        """
        found = self.find(name)
        kept = self._values.read(name, _KUBECONFIG, found.version)
        if kept is None:
            fix = f"setpoint cluster add {name} --kubeconfig FILE"
            raise UserError("SP694", f"the kubeconfig of `{name}` is not in this home: it was restored without it", where=name, fix=fix)
        value = json.loads(kept)
        return value["kubeconfig"], value["context"]


def _labels(name: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels that follow the rule, by key."""
    if len(labels) > _MOST_LABELS:
        raise UserError("SP586", f"more than {_MOST_LABELS} labels", where=name, fix="keep those that generators choose by")
    for key, value in labels.items():
        for check, text in ((label_key, key), (label_value, value)):
            try:
                check(text)
            except InvalidError as error:
                raise UserError(error.code, error.what, where=name, fix=error.fix) from error
    return dict(sorted(labels.items()))
