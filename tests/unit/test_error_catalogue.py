"""docs/errors.md and the code know the same error codes, and no code means two things."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "setpoint"
CATALOGUE = ROOT / "docs" / "errors.md"

CODE = re.compile(r"SP[0-9]{3}")
ROW = re.compile(r"^\| `(SP[0-9]{3})` \| (.+?) \| (.+?) \|$", re.MULTILINE)
HEADING = re.compile(r"^## SP([0-9])xx", re.MULTILINE)
REASON = re.compile(r"^\| `([A-Z][A-Z_]+)` \| .+? \| .+? \|$", re.MULTILINE)

SHARED = {
    "SP003": "an answer that has to be asked for again, at the server and at the client that does so",
    "SP107": "a repository that cannot be used",
    "SP101": "a name, branch or path that Git must not be given",
    "SP103": "something in Git that is larger than it may be",
    "SP104": "an object of Git, or a file of a working tree, that is not there",
    "SP105": "a commit that is malformed or names objects of another kind",
    "SP213": "a link that leaves the workspace, found while walking or while packing",
    "SP214": "content that is not stored here",
    "SP216": "outputs that cannot be kept",
    "SP680": "a kubeconfig that cannot be used, as it is read and as its certificates are loaded",
    "SP231": "a run or task that is to be cancelled and does not run",
    "SP222": "a need that is no task",
    "SP223": "a copy line or a place in an image that cannot work",
    "SP227": "a base that is none or has no digest",
    "SP232": "a matrix that cannot be expanded",
    "SP234": "a line of `from` that takes nothing or goes nowhere",
    "SP235": "two sources for one place of a workspace",
    "SP247": "a task without a sandbox where none may run",
    "SP241": "a sandbox that cannot be made for a task",
    "SP243": "a task id that is no folder name",
    "SP303": "a blob that is too large",
    "SP304": "a manifest that is not acceptable",
    "SP305": "a base that cannot be used",
    "SP306": "a base that the registry does not have",
    "SP307": "a registry that gives no usable answer",
    "SP309": "a disk of the registry that refuses",
    "SP314": "a link that an artifact cannot hold, or cannot be",
    "SP318": "content of an artifact that contradicts what was announced",
    "SP401": "a bundle that is no bundle",
    "SP403": "evidence that does not prove what is wanted",
    "SP404": "a request that journal, Git or bytes do not bear out",
    "SP405": "a signer that does not answer",
    "SP406": "role keys that cannot be used",
    "SP409": "a request that the signer does not understand",
    "SP502": "a repository or commit that is not there, to register or to look at",
    "SP507": "a signer that returned no commit, of a pin or of the removal of pins",
    "SP520": "a name that is none",
    "SP535": "an address that two listen on: environments, or the ports of previews",
    "SP542": "a project that is not there, of an application or of those that a generator makes",
    "SP586": "a label that is none, or that an element lacks",
    "SP588": "a template that is none, in the file and when an environment is made of it",
    "SP603": "a manifest that is no Kubernetes object",
    "SP611": "what Kustomize refuses, and what rendering does about it",
    "SP612": "a render that gives too much or takes too long",
    "SP613": "a renderer that cannot be run",
    "SP617": "a file of a chart that is faulty or not pinned",
    "SP631": "an image that cannot run here",
    "SP633": "an image that is damaged or none",
    "SP643": "a word that must not reach the proxy's configuration",
    "SP682": "a cluster that does not answer as it should",
    "SP653": "a stable side of a canary that is not to be had: not now, or not as the canary began with it",
    "SP687": "a kind that a cluster does not serve, and whose objects are gone with it",
    "SP705": "no such task in a run",
    "SP804": "something that only the operator may do",
    "SP845": "no server, or none that answers",
    "SP807": "a server that already serves the home",
    "SP827": "something that `init` would make is there",
    "SP850": "a command line that is not understood",
    "SP862": "no such page or file",
    "SP871": "an address to pull from that is not complete, or that no other machine can name",
    "SP863": "a form that cannot be used",
}
"""Codes that more than one module uses, with their one meaning; a new entry here was compared with the row in docs/errors.md."""

MAPPED = ("adapters/oci/wire.py",)
"""Modules that translate codes of others and raise none of these themselves."""

FAMILIES = {
    "UserError": "user",
    "NotFoundError": "user",
    "ConfigError": "user",
    "InvalidError": "user",
    "Finding": "user",
    "NotAllowedError": "refused",
    "NotLoggedInError": "refused",
    "ConflictError": "conflict",
    "WorldError": "world",
    "BugError": "bug",
    "SetpointError": "bug",
}


@cache
def trees() -> dict[str, ast.Module]:
    """Return every module of the package, parsed, by its path below the package."""
    return {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def constants(tree: ast.Module) -> Iterator[str]:
    """Yield the codes that stand alone in a string, which is how code uses them (texts of docstrings only mention them)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
            yield node.value


def raised(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (code, family) of every error that is made with a literal code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for argument in node.args:
                if name in FAMILIES and isinstance(argument, ast.Constant) and CODE.fullmatch(str(argument.value)):
                    yield str(argument.value), FAMILIES[name]


def rows() -> list[tuple[str, str, str]]:
    """Return (code, meaning, remedy) of the catalogue."""
    return ROW.findall(CATALOGUE.read_text())


def test_every_code_is_in_the_catalogue_and_the_catalogue_has_no_other() -> None:
    """A code that somebody sees can be looked up, and nothing is described that cannot happen."""
    used = {code for tree in trees().values() for code in constants(tree)}
    listed = [code for code, _, _ in rows()]
    assert len(listed) == len(set(listed)), "a code has two rows"
    assert sorted(used - set(listed)) == [], "codes without a row in docs/errors.md"
    assert sorted(set(listed) - used) == [], "rows in docs/errors.md for codes that no module uses"


def test_the_installed_copy_is_the_page() -> None:
    """`setpoint explain` reads the page's own words; after a change of docs/errors.md run tools/catalogue."""
    assert (SOURCE / "cli" / "catalogue.md").read_bytes() == CATALOGUE.read_bytes()


def test_rows_stand_in_order_under_their_hundred() -> None:
    """A code is found by its number."""
    text = CATALOGUE.read_text()
    place = {f"SP{found[1]}": found.start() for found in HEADING.finditer(text)}
    hundred = ""
    for found in sorted([*HEADING.finditer(text), *ROW.finditer(text)], key=lambda match: match.start()):
        if found[1].startswith("SP"):
            assert found[1].startswith(hundred), f"{found[1]} stands under {hundred}xx"
        else:
            hundred = f"SP{found[1]}"
    listed = [code for code, _, _ in rows()]
    assert listed == sorted(listed)
    assert list(place) == sorted(place)


def test_docstrings_mention_only_codes_that_exist() -> None:
    """A docstring that promises a code promises one that is listed."""
    listed = {code for code, _, _ in rows()}
    texts = {name: (SOURCE / name).read_text() for name in trees()}
    strange = sorted((name, code) for name, text in texts.items() for code in set(CODE.findall(text)) - listed)
    assert strange == []


def test_a_code_of_two_modules_is_a_known_one() -> None:
    """Two modules that pick the same number by accident are found; a shared meaning is written down in SHARED."""
    users: dict[str, set[str]] = defaultdict(set)
    for name, tree in trees().items():
        for code in constants(tree):
            if name not in MAPPED:
                users[code].add(name)
    several = {code: sorted(names) for code, names in users.items() if len(names) > 1}
    assert sorted(set(several) - set(SHARED)) == [], several
    assert sorted(set(SHARED) - set(several)) == [], "SHARED lists codes that one module uses"


def test_a_code_has_one_family() -> None:
    """Exit code, HTTP status and whether the loop tries again follow from the code alone."""
    families: dict[str, set[str]] = defaultdict(set)
    for tree in trees().values():
        for code, family in raised(tree):
            families[code].add(family)
    assert {code: sorted(found) for code, found in families.items() if len(found) > 1} == {}


def test_every_reason_is_in_the_catalogue() -> None:
    """The words that gates, health and `why` use are listed too, and no others."""
    used = set()
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Reason", "DeployReason", "_nothing") and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    used.add(str(first.value))
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.IfExp):
                used |= _alternatives(node.value)
    listed = REASON.findall(CATALOGUE.read_text())
    assert listed == sorted(set(listed)), "reasons stand in order, each once"
    assert sorted(used - set(listed)) == [], "reasons without a row in docs/errors.md"
    assert sorted(set(listed) - used) == [], "rows for reasons that no module gives"


def _alternatives(value: ast.IfExp) -> set[str]:
    """Return the reason codes of `code, what = (A, ...) if ... else (B, ...)`."""
    firsts = [side.elts[0] for side in (value.body, value.orelse) if isinstance(side, ast.Tuple) and side.elts]
    words = [first.value for first in firsts if isinstance(first, ast.Constant) and isinstance(first.value, str)]
    return {word for word in words if re.fullmatch(r"[A-Z][A-Z_]{4,}", word)}
