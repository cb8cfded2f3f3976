"""Policies in CEL by Google's cel-expr-python, held so that nothing but the value `true` can pass.

Fills promotion.ports.PolicyEngine. The library returns run-time errors as values whose text is truthy, so a result's type is checked and it
is compared with `is True`; compile errors and exhausted budgets (9,999 iterations, recursion 32) deny. Never calls out, never sees secrets.
"""

import json
import re
import threading
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from setpoint.core import canonical
from setpoint.promotion import policy_names
from setpoint.promotion.model import PolicyResult
from setpoint.promotion.policy_names import VARIABLES

_MAX_EXPRESSION: Final = 10_000
_MAX_DETAIL: Final = 400
_MAX_SHOWN: Final = 8
_COMPILE_PLACE: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*?)(?:\n \||\s*\[INVALID_ARGUMENT\]|$)", re.DOTALL)


class CelPolicy:
    """Compiles and evaluates policies; safe to call from several threads."""

    def __init__(self) -> None:
        self._environment = cel.NewEnv(None, variables=dict.fromkeys(VARIABLES, cel.Type.DYN))
        self._lock = threading.Lock()
        self._compiled = lru_cache(maxsize=256)(self._environment.compile)

    def compile_error(self, expression: str) -> str:
        """Return why the expression does not compile (`line:column: reason`), or an empty string."""
        if len(expression) > _MAX_EXPRESSION:
            return f"longer than {_MAX_EXPRESSION} characters"
        try:
            with self._lock:
                found = self._compiled(expression).return_type()
        except Exception as error:  # noqa: BLE001 - whatever the library raises is the answer
            match = _COMPILE_PLACE.search(str(error))
            return f"{match[1]}:{match[2]}: {match[3].strip()[:_MAX_DETAIL]}" if match else str(error)[:_MAX_DETAIL]
        if found not in (cel.Type.BOOL, cel.Type.DYN):
            return f"1:1: the policy gives {found.name()}, not true or false"
        return ""

    def evaluate(self, expression: str, facts: dict[str, Any]) -> PolicyResult:
        """Return the result; anything but the value `true` is no pass, and an exception is no pass with its text.

        facts hold JSON values for any of `VARIABLES`; a variable that is left out is an empty map.
        """
        fault = self.compile_error(expression)
        if fault:
            return PolicyResult(expression, passed=False, detail=f"the policy does not compile: {fault}")
        try:
            known: dict[str, Any] = {name: {} for name in VARIABLES}
            # Through JSON: tuples become lists, and what CEL has no form for is refused here instead of misread there.
            known.update({name: json.loads(canonical.dumps(facts[name])) for name in VARIABLES if name in facts})
            with self._lock:
                result = self._compiled(expression).eval(data=known)
                kind, value = result.type(), result.value()
        except Exception as error:  # noqa: BLE001 - any failure denies; its text is the reason
            return PolicyResult(expression, passed=False, detail=f"the policy failed: {str(error)[:_MAX_DETAIL]}")
        if kind == cel.Type.BOOL and value is True:
            return PolicyResult(expression, passed=True, detail=_mentioned(expression, known) or "true")
        if kind == cel.Type.BOOL and value is False:
            return PolicyResult(expression, passed=False, detail=_mentioned(expression, known) or "false")
        shown = str(value)[:_MAX_DETAIL]
        missing = {one.name: one for one in (*policy_names.absent(expression, known), *policy_names.unknown(expression))}
        hints = "".join(f"; there is no {one.name}, {one.fix}" for one in list(missing.values())[:_MAX_SHOWN])
        what = (
            f"the policy failed: {shown}{hints}"
            if kind == cel.Type.ERROR
            else f"the policy gave {kind.name()} {shown!r}, not true or false"
        )
        return PolicyResult(expression, passed=False, detail=what)


def _mentioned(expression: str, facts: dict[str, Any]) -> str:
    """Return the values that the expression names directly: `evidence.tests.failed = 2, evidence.tests.total = 70`."""
    found: dict[str, str] = {}
    for _offset, path in policy_names.paths(expression):
        parts = path.split(".")
        value: Any = facts
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and not isinstance(value, dict):
            shown = json.dumps(value, ensure_ascii=False)
            found[path] = shown if len(shown) <= 80 else shown[:79] + "…"
    return ", ".join(f"{path} = {text}" for path, text in list(found.items())[:_MAX_SHOWN])
