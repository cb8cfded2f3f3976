"""Which executors on clusters a run may use: what the accepted `setpoint.yaml` offers, to whom, and what the home calls its clusters.

Built by wiring; fills the pipeline's port `Offers`. It decides at the moment when a task is prepared, so a change of the file holds for
the next task.
"""

from setpoint.core import suggest
from setpoint.core.errors import UserError
from setpoint.pipeline.model import Run
from setpoint.pipeline.offers import Offer
from setpoint.promotion.repository import DeliveryReader


class DeliveryOffers:
    """The executors of the home's delivery repository."""

    def __init__(self, delivery: DeliveryReader) -> None:
        self._delivery = delivery

    def listed(self) -> list[Offer]:
        """Return every executor, by name."""
        loaded = self._delivery.load()
        return [one.offer(name) for name, one in sorted(loaded.setpoint.executors.items())] if loaded is not None else []

    def offer(self, run: Run, name: str) -> Offer:
        """Return an executor that a run may use (see the port)."""
        loaded = self._delivery.load()
        known = loaded.setpoint.executors if loaded is not None else {}
        if loaded is None or name not in known:
            fix = suggest.help_text(name, known, "executors") if known else "its owners offer one under `executors:` of setpoint.yaml"
            raise UserError("SP270", f"there is no executor `{name}`", where=run.repository, fix=fix)
        if run.trust != "trusted":
            fix = "only what was pushed to a hosted repository is trusted"
            raise UserError("SP271", f"`{name}` is for trusted runs, and this one is {run.trust}", where=run.run, fix=fix)
        sources = known[name].sources
        allowed = sources if sources is not None else tuple(app.source for app in loaded.setpoint.apps.values() if app.source)
        if run.repository not in allowed:
            fix = f"the owners of setpoint.yaml name it under `sources:` of `{name}`"
            raise UserError("SP271", f"`{name}` is not offered to the repository `{run.repository}`", where=run.repository, fix=fix)
        return known[name].offer(name)
