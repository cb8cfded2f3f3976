"""What is in force together with what generators made: one list of applications and environments, as if all were written by hand.

Called by the delivery reader; pure. What is written by hand stands, whatever a generator makes.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from setpoint.core.documents import Document, InvalidError
from setpoint.promotion.config import AppConfig, EnvironmentFile, SetpointFile
from setpoint.promotion.generators import products
from setpoint.promotion.generators.config import GeneratorFile
from setpoint.promotion.generators.model import Element, Expansion, Generated, Made, environment_name


@dataclass(frozen=True, slots=True)
class Merged:
    """Files that judge, and what was made."""

    setpoint: SetpointFile
    environments: Mapping[str, EnvironmentFile]
    generated: Generated = field(default_factory=Generated)


Then = Callable[[str, str], tuple[Document[GeneratorFile] | None, Mapping[str, EnvironmentFile]]]
"""(commit, generator) -> the generator's file and the environments as of that commit; no file when it cannot be read any more."""


class _Merging:
    def __init__(self, setpoint: SetpointFile, environments: Mapping[str, EnvironmentFile]) -> None:
        self.apps: dict[str, AppConfig] = dict(setpoint.apps)
        self.environments = dict(environments)
        self.made_apps: dict[str, Made] = {}
        self.made_environments: dict[str, Made] = {}
        self.like: dict[str, str] = {}
        self.only: dict[str, tuple[str, ...]] = {}

    def add(self, document: Document[GeneratorFile], expansion: Expansion, before: Mapping[str, EnvironmentFile]) -> None:
        """Add what an expansion makes; before are the environments as they were when it was made."""
        spec, place = document.model, products.each_place(document)
        for element in expansion.elements:
            made = Made(expansion.generator, place, element.source)
            if spec.applications is not None:
                if element.name not in self.apps:
                    with suppress(InvalidError):  # found sound when it was taken up; an older release may have judged otherwise
                        self.apps[element.name] = products.application(spec.applications.each, element)
                        self.made_apps[element.name] = made
            else:
                self._environment(document, (expansion.generator, element), made, before)
        for element in expansion.leaving:
            made = Made(expansion.generator, place, element.source)
            name = self._environment(document, (expansion.generator, element), made, before)
            if name:
                self.only[name] = ()

    def _environment(
        self, document: Document[GeneratorFile], what: tuple[str, Element], made: Made, before: Mapping[str, EnvironmentFile]
    ) -> str:
        spec, (generator, element) = document.model, what
        name = environment_name(generator, element.name)
        template = self.environments.get(spec.like) or before.get(spec.like)
        if name in self.environments or template is None or spec.environments is None:
            return ""
        try:
            self.environments[name] = products.environment(spec.environments.each, element, template)
        except InvalidError:
            # The template is another one by now; the next look at the generator says so, and this one stands until then.
            if spec.like not in before:
                return ""
            self.environments[name] = products.environment(spec.environments.each, element, before[spec.like])
        self.made_environments[name] = made
        self.like[name] = spec.like
        return name


def merge(setpoint: SetpointFile, environments: Mapping[str, EnvironmentFile], expansions: Sequence[Expansion], then: Then) -> Merged:
    """Return everything together; every expansion with the file that made it, which owners accepted then."""
    if not expansions:
        return Merged(setpoint, environments)
    merging = _Merging(setpoint, environments)
    for expansion in sorted(expansions, key=lambda one: one.generator):
        if expansion.commit:
            document, before = then(expansion.commit, expansion.generator)
            if document is not None:
                merging.add(document, expansion, before)
    known = {one.generator: one for one in expansions}
    generated = Generated(merging.made_apps, merging.made_environments, merging.like, merging.only, known)
    return Merged(setpoint.model_copy(update={"apps": merging.apps}), merging.environments, generated)
