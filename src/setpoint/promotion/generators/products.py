"""What an element becomes: an application as setpoint.yaml would say it, or an environment as its own file would; validated like those.

Called by the decision (so that nothing is taken up that cannot be) and by merging; pure.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from setpoint.core.documents import Document, InvalidError, Loc
from setpoint.promotion.config import AppConfig, EnvironmentFile
from setpoint.promotion.generators.config import EachApplication, EachEnvironment, FromBranches, GeneratorFile
from setpoint.promotion.generators.model import Element
from setpoint.promotion.generators.substitution import fill, missing
from setpoint.promotion.targets import Target

_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_LONGEST_HOST: Final = 253


def each_place(document: Document[GeneratorFile], key: str = "") -> str:
    """Return where the file says what an element becomes: path:line:column of `each`, of a key of it, or of what makes it."""
    loc: Loc = (document.model.makes, "each", key) if key else (document.model.makes,)
    return document.finding(loc, "", "", at="key").place


def application(each: EachApplication, element: Element) -> AppConfig:
    """Return the application of an element.

    Raises:
        InvalidError: it has no such value, or what comes out is none that setpoint.yaml could have.
    """
    texts = {name: _filled(name, getattr(each, name), element) for name in ("source", "branch")}
    includes = [_filled("includes", path, element) for path in each.includes]
    more = {"artifacts": each.artifacts, "project": each.project, "environments": each.environments}
    data: dict[str, Any] = {**texts, "includes": includes, **more}
    try:
        return AppConfig.model_validate_json(json.dumps({key: value for key, value in data.items() if value is not None}))
    except ValidationError as error:
        raise _told(error) from error


def environment(each: EachEnvironment, element: Element, template: EnvironmentFile | None) -> EnvironmentFile:
    """Return the environment of a cluster: the template's file with the cluster's target.

    Raises:
        InvalidError: it has no such value, or what comes out is no target.
    """
    base = template.target.kubernetes if template is not None else None
    if template is None or base is None:
        raise InvalidError("its template is no environment of a cluster", "name one with `target: {kubernetes: ...}`", "SP588")
    changed = {key: _filled(key, getattr(each, key), element) for key in ("namespace", "registry", "url")}
    target = {**base.model_dump(), **{key: value for key, value in changed.items() if value is not None}, "cluster": element.name}
    if changed["url"] is None:
        target["url"] = None  # the template's own leads to the template
    try:
        found = Target.model_validate_json(json.dumps({"kubernetes": {key: v for key, v in target.items() if v is not None}}))
    except ValidationError as error:
        raise _told(error) from error
    return template.model_copy(update={"target": found})


def preview(spec: FromBranches, element: Element, template: EnvironmentFile | None) -> EnvironmentFile:
    """Return the environment of a preview: the template's file with an address or a namespace of its own.

    Raises:
        InvalidError: the template is none, or what comes out is no target.
    """
    life = element.life
    if template is None or life is None:
        raise InvalidError("its template is no environment", "name one that has an environment.yaml", "SP588")
    target: dict[str, Any] = template.target.model_dump(exclude_none=True)
    if "host" in target:
        target["host"]["listen"] = f"{target['host']['listen'].rpartition(':')[0]}:{life.port}"
    else:
        target["kubernetes"].pop("url", None)
        for key in ("namespace", "url"):
            text = _filled(key, getattr(spec.each, key), element)
            if text is not None:
                target["kubernetes"][key] = text
    try:
        found = Target.model_validate_json(json.dumps(target))
    except ValidationError as error:
        raise _told(error) from error
    return template.model_copy(update={"target": found})


def made_preview(spec: FromBranches, element: Element, template: EnvironmentFile | None) -> EnvironmentFile:
    """Return the environment of a preview whose routes can have their host name too.

    Raises:
        InvalidError: what comes out is no target, or no host name.
    """
    host_name(spec, element)
    return preview(spec, element, template)


def host_name(spec: FromBranches, element: Element) -> str:
    """Return the host name of a preview's routes; empty when the manifests say it.

    Raises:
        InvalidError: what comes out is no host name.
    """
    text = _filled("host", spec.each.host, element) or ""
    if text and (len(text) > _LONGEST_HOST or not _HOST.fullmatch(text)):
        raise InvalidError(f"`{text}` is no host name", "lower-case letters, digits, dashes and dots: ${name}.preview.example.com", "SP586")
    return text


def _filled(key: str, text: str | None, element: Element) -> str | None:
    lacking = missing(text, element.values) if text is not None else []
    if lacking:
        raise InvalidError(
            f"`{key}` needs `${{{lacking[0]}}}`, and {element.source} has none", "give it one, or write another text", "SP586"
        )
    return fill(text, element.values) if text is not None else None


def _told(error: ValidationError) -> InvalidError:
    """Return the first fault in the words of the file's own check."""
    first: Mapping[str, Any] = error.errors(include_url=False)[0]
    cause = (first.get("ctx") or {}).get("error")
    if isinstance(cause, InvalidError):
        return cause
    return InvalidError(f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}", "change `each`")
