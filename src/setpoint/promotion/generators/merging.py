"""What is in force together with what generators made: one list of applications and environments, as if all were written by hand.

Called by the delivery reader; pure. What is written by hand stands, whatever a generator makes.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from setpoint.core.documents import Document, InvalidError
from setpoint.promotion.config import AppConfig, EnvironmentFile, SetpointFile
from setpoint.promotion.generators import products
from setpoint.promotion.generators.config import FromBranches, GeneratorFile
from setpoint.promotion.generators.model import Element, Expansion, Generated, Made, PreviewOf, environment_name
from setpoint.promotion.generators.previews import expires_at


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
        self.previews: dict[str, PreviewOf] = {}

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
        if name in self.environments or template is None:
            return ""
        # Where the template is another one by now, the one of then stands: the next look at the generator says what is wrong.
        for one in (template, before.get(spec.like)):
            with suppress(InvalidError):
                self.environments[name] = _made(spec, element, one)
                break
        else:
            return ""
        self.made_environments[name] = made
        self.like[name] = spec.like
        if spec.previews is not None and element.life is not None:
            self._preview(name, spec.previews, element)
        return name

    def _preview(self, name: str, spec: FromBranches, element: Element) -> None:
        """Note a preview's life, and which applications run in it."""
        assert element.life is not None, "only called for previews"  # noqa: S101 - the caller asks it
        host = products.host_name(spec, element)
        self.previews[name] = PreviewOf(spec.repository, expires_at(spec, element.life), element.life, host)
        built = tuple(app for app, config in self.apps.items() if config.source == spec.repository and config.runs_in(spec.like))
        self.only[name] = spec.applications if spec.applications is not None else built


def _made(spec: GeneratorFile, element: Element, template: EnvironmentFile | None) -> EnvironmentFile:
    if spec.previews is not None:
        return products.made_preview(spec.previews, element, template)
    assert spec.environments is not None, "it makes environments"  # noqa: S101 - the caller asks only such
    return products.environment(spec.environments.each, element, template)


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
    made = (merging.made_apps, merging.made_environments, merging.like, merging.only, merging.previews)
    generated = Generated(*made, known)
    return Merged(setpoint.model_copy(update={"apps": merging.apps}), merging.environments, generated)
