"""Writes a first pipeline file from what lies in a source repository; called by a bare `setpoint init`, never overwrites anything.

It looks at names of files only: whoever runs it reads and edits the result.
"""

from pathlib import Path

from setpoint.core.errors import ConflictError
from setpoint.pipeline.service import PIPELINE_PATH

_HEAD = """\
# What happens at every push to main. Each task runs in a sandbox that holds its inputs and nothing else; without changes to them it
# is not run again. `setpoint check` looks at this file, `setpoint run` plays it here.
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
on: {push: {branches: [main]}}
tasks:
"""
_DEPS = """\
  deps:                               # networked, so keyed on a file that locks every package by hash
    inputs: [requirements.lock]
    network: true
    valid: 30d
    run: python3 -m pip install --no-compile --require-hashes -r requirements.lock --target vendor
    outputs: [vendor/]
"""
_IMAGE = """\
artifacts:
  web:
    needs: [{needs}]
    image:
      base: host                      # the machine's own Python; or an image, by digest
      copy: {{{copy}}}
      command: [python3, -m, {module}]
"""
_NO_IMAGE = """\
# artifacts:                          # what comes out; an image is assembled without a container engine
#   web:
#     needs: [test]
#     image:
#       base: host
#       copy: {"src/": /app/}
#       command: [python3, -m, yourmodule]
"""


def write_pipeline(folder: Path) -> Path:
    """Write `.setpoint/pipeline.yaml` and return its path.

    Raises:
        ConflictError: it is there already (SP827).
    """
    place = folder / PIPELINE_PATH
    place.parent.mkdir(exist_ok=True)
    try:
        with place.open("x", encoding="utf-8") as file:
            file.write(pipeline(folder))
    except FileExistsError as error:
        raise ConflictError("SP827", f"{PIPELINE_PATH} is there already", where=str(place), fix="look at it: setpoint check") from error
    return place


def pipeline(folder: Path) -> str:
    """Return the text of a pipeline file for what lies in a folder."""
    locked = (folder / "requirements.lock").is_file() and "--hash=" in (folder / "requirements.lock").read_text(errors="replace")
    module = next((path.parent.name for path in sorted(folder.glob("src/*/__main__.py")) if path.parent.name.isidentifier()), "")
    text = _HEAD + (_DEPS if locked else "") + _test(folder, locked=locked)
    if not module:
        return text + _NO_IMAGE
    copy = '"src/": /app/' + (', "deps:vendor/": /app/' if locked else "")
    return text + _IMAGE.format(needs="deps, test" if locked else "test", copy=copy, module=module)


def _test(folder: Path, *, locked: bool) -> str:
    """Return the task `test`: pytest when the lock brings it, unittest when there are tests, make when it has a recipe."""
    has_tests, has_source = (any((folder / name).rglob("*.py")) for name in ("tests", "src"))
    inputs = ", ".join(f"{name}/**" for name, there in (("src", has_source), ("tests", has_tests)) if there)
    path = ":".join([*(["vendor"] if locked else []), *(["src"] if has_source else [])]) or "."
    lines = ["  test:", *(["    needs: [deps]"] if locked else [])]
    if has_tests and locked and "pytest==" in (folder / "requirements.lock").read_text(errors="replace"):
        lines += [f"    inputs: [{inputs}]", f"    run: PYTHONPATH={path} python3 -m pytest -q --junitxml=report.xml"]
        lines += ["    evidence: {tests: report.xml}"]
    elif has_tests:
        lines += [f"    inputs: [{inputs}]", f"    run: PYTHONPATH={path} python3 -m unittest discover -s tests"]
        lines += ["    # evidence: {tests: report.xml}   # a runner that writes JUnit XML makes the result evidence for gates"]
    elif (folder / "Makefile").is_file() and "\ntest:" in "\n" + (folder / "Makefile").read_text(errors="replace"):
        lines += ["    run: make test"]
    else:
        lines += ['    run: test -n "$(ls)"          # replace this by your tests']
    return "\n".join(lines) + "\n"
