"""What generators made, as data, and what of it belongs to an application in an environment; the reasons are the decision's own (law 6).

Used by status and `why`, and by the API; computes nothing that `promotion.generators` has not decided.
"""

from collections.abc import Iterator
from dataclasses import replace

from setpoint.core import clock, digest, suggest
from setpoint.core.errors import NotFoundError
from setpoint.core.reasons import Outcome, Reason
from setpoint.observe.generated import GeneratorReport, PreviewReport, Product
from setpoint.observe.model import Need
from setpoint.promotion.generators.config import path_of
from setpoint.promotion.generators.model import Made
from setpoint.promotion.repository import Delivery


def reports(delivery: Delivery) -> list[GeneratorReport]:
    """Return all generators of the delivery repository, by name."""
    found = []
    made = delivery.generated
    for name, expansion in sorted(made.expansions.items()):
        apps = [Product(app, one.element) for app, one in made.apps.items() if one.generator == name]
        environments = [
            Product(environment, one.element, leaving=one.element in {element.source for element in expansion.leaving})
            for environment, one in made.environments.items()
            if one.generator == name
        ]
        makes = "environments" if environments else "applications" if apps else ""
        if any(element.life is not None for element in (*expansion.elements, *expansion.leaving)):
            makes = "previews"
        products = tuple(sorted([*apps, *environments], key=lambda one: one.name))
        found.append(GeneratorReport(name, path_of(name), makes, products, expansion.reasons, expansion.since, expansion.held))
    return found


def previews(delivery: Delivery) -> list[PreviewReport]:
    """Return the previews of the delivery repository, by name."""
    found = []
    for name, one in sorted(delivery.generated.previews.items()):
        life, target = one.life, delivery.environments[name].target
        address = target.url
        if one.host and target.host is not None:
            address = f"http://{one.host}:{life.port}"
        elif one.host and not address:
            address = f"http://{one.host}"
        lives = (life.begun_at, life.pushed_at, one.expires_at)
        generator, apps = delivery.generated.environments[name].generator, tuple(delivery.apps_in(name))
        found.append(PreviewReport(name, generator, one.repository, life.branch, life.commit, *lives, address, apps, life.ended))
    return found


def report(delivery: Delivery | None, generator: str) -> GeneratorReport:
    """Return one generator.

    Raises:
        NotFoundError: there is none of this name (SP594).
    """
    every = {one.generator: one for one in reports(delivery)} if delivery is not None else {}
    if generator not in every:
        raise NotFoundError("SP594", f"there is no generator `{generator}`", fix=suggest.help_text(generator, every, "generators"))
    return every[generator]


def reasons(delivery: Delivery, app: str, environment: str) -> tuple[Reason, ...]:
    """Return where an application and its environment come from, and what stands against the generators that made them."""
    places = (
        (f"application {app}", delivery.generated.apps.get(app)),
        (f"environment {environment}", delivery.generated.environments.get(environment)),
    )
    return tuple(reason for subject, made in places if made is not None for reason in _reasons(delivery, subject, made))


def _reasons(delivery: Delivery, subject: str, made: Made) -> Iterator[Reason]:
    preview = delivery.generated.previews.get(subject.rpartition(" ")[2])
    life = f" at {digest.short(preview.life.commit)}; it ends at {clock.spoken(preview.expires_at)}" if preview is not None else ""
    yield Reason("GENERATED", Outcome.ALLOW, subject, f"made by {made.place} of {made.element}{life}")
    expansion = delivery.generated.expansions[made.generator]
    since = f" (since {clock.spoken(expansion.since)})" if expansion.since else ""
    for reason in expansion.reasons:
        yield replace(reason, outcome=Outcome.WAIT, found=f"{reason.found}{since}")


def needs(delivery: Delivery) -> list[Need]:
    """Return what a person can do about generators."""
    found = []
    for name, expansion in sorted(delivery.generated.expansions.items()):
        since = f", since {clock.spoken(expansion.since)}" if expansion.since else ""
        found += [Need(f"generator {name}{since}: {reason.subject}: {reason.found}", reason.fix) for reason in expansion.reasons]
    return found
