"""Which Jobs on clusters tasks of a run may have left there: by what an earlier server began, not by what this one follows.

Called by the task runner before such tasks are forgotten; it only says what there is to let go of, and never asks a cluster.
"""

import logging
from collections.abc import Iterable, Mapping

from setpoint.core.errors import UserError
from setpoint.pipeline.model import Run
from setpoint.pipeline.offers import Offer
from setpoint.pipeline.ports import Offers
from setpoint.pipeline.tasks import Task

_log = logging.getLogger(__name__)


def left(offers: Offers, run: Run, tasks: Mapping[str, Task], names: Iterable[str]) -> list[tuple[str, Offer]]:
    """Return (task id, where) of the named tasks that have an executor; one that is not offered any more is logged."""
    found = []
    for name in names:
        config = tasks.get(name)
        if config is None or config.executor is None:
            continue
        task_id = f"{run.run}-{name}"
        try:
            offer = offers.offer(run, config.executor)
        except UserError as error:
            _log.warning("what is left of %s on a cluster stays until its time is over: %s", task_id, error.render())
            continue
        found += [(task_id, offer), *([(f"{task_id}-probe", offer)] if config.probe is not None else [])]
    return found
