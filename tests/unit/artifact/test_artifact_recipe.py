"""What copy rules mean, and what they refuse."""

import pytest

from setpoint.artifact.recipe import PIPELINE_FILE, CopyRule, Entry, ImageRecipe, folders, recipe_of, resolve
from setpoint.pipeline.config import parse_pipeline

SOURCE = [
    Entry(".setpoint/pipeline.yaml", "file"),
    Entry("apps/web/deployment.yaml", "file"),
    Entry("lib/tool", "file", executable=True),
    Entry("pins/prod/web.yaml", "file"),
    Entry("setpoint.yaml", "file"),
    Entry("src/hello/__init__.py", "file"),
    Entry("src/hello/data.txt", "file"),
    Entry("src2/other.py", "file"),
]
DEPS = [Entry("vendor", "folder"), Entry("vendor/empty", "folder"), Entry("vendor/six.py", "file")]


def _recipe(*rules: tuple[str, str], base: str = "host") -> ImageRecipe:
    return ImageRecipe(base, tuple(CopyRule.parse(source, destination) for source, destination in rules))


def _targets(*rules: tuple[str, str]) -> list[str]:
    placed, faults = resolve(_recipe(*rules), {"": SOURCE, "deps": DEPS})
    assert faults == ()
    return [item.target for item in placed]


def _codes(*rules: tuple[str, str], source: list[Entry] | None = None, base: str = "host") -> list[str]:
    _, faults = resolve(_recipe(*rules, base=base), {"": SOURCE if source is None else source, "deps": DEPS})
    return [fault.code for fault in faults]


def test_a_trailing_slash_copies_what_is_inside() -> None:
    """`src/` puts its content below the destination, and nothing of a folder whose name only starts alike."""
    assert _targets(("src/", "/app/")) == ["app/hello/__init__.py", "app/hello/data.txt"]
    assert _targets(("src/", "/app")) == ["app/hello/__init__.py", "app/hello/data.txt"]


def test_outputs_of_a_task_are_copied_with_their_empty_folders() -> None:
    """`task:path/` copies from that task's outputs, empty folders too."""
    assert _targets(("deps:vendor/", "/app/vendor/")) == ["app/vendor/empty", "app/vendor/six.py"]


def test_a_single_file_goes_to_a_file_or_into_a_folder() -> None:
    """A destination that ends with a slash keeps the name, another one gives it."""
    assert _targets(("lib/tool", "/app/")) == ["app/tool"]
    assert _targets(("lib/tool", "/app/start")) == ["app/start"]


def test_everything_means_everything_but_delivery_files() -> None:
    """`./` leaves out .setpoint/, apps/, environments/, pins/ and setpoint.yaml, also when asked file by file."""
    wanted = ["app/lib/tool", "app/src/hello/__init__.py", "app/src/hello/data.txt", "app/src2/other.py"]
    assert _targets(("./", "/app/")) == wanted
    recipe = _recipe(("./", "/app/"))
    assert [entry.path for entry in SOURCE if recipe.wants_source(entry.path)] == [target.removeprefix("app/") for target in wanted]


def test_nothing_matched_is_a_fault_with_the_rule_named() -> None:
    """A misspelt path, a folder without slash and a task without outputs are SP311."""
    assert _codes(("scr/", "/app/"), ("src", "/app/"), ("build:x/", "/app/")) == ["SP311"] * 3
    _, faults = resolve(_recipe(("src", "/app/")), {"": SOURCE})
    assert "'src/'" in faults[0].fix


def test_two_sources_for_one_path_are_a_fault() -> None:
    """The same target twice, and a file where another rule needs a folder, are SP312."""
    assert _codes(("src/hello/data.txt", "/app/x"), ("lib/tool", "/app/x")) == ["SP312"]
    assert _codes(("lib/tool", "/app/hello"), ("src/", "/app/")) == ["SP312", "SP312"]
    assert _codes(("lib/tool", "/app/vendor"), ("deps:./", "/app/")) == ["SP312"] * 3


def test_folders_that_two_rules_share_are_no_fault() -> None:
    """Two rules may fill one folder."""
    assert _codes(("deps:./", "/app/"), ("lib/tool", "/app/vendor/")) == []


@pytest.mark.parametrize(("source", "destination"), [("../x", "/app/"), ("/etc/passwd", "/app/"), ("src/", "app/"), ("src/", "/app/../x")])
def test_a_path_that_leaves_is_a_fault(source: str, destination: str) -> None:
    """Sources stay in their tree and destinations in the image (SP313)."""
    assert _codes((source, destination)) == ["SP313"]


@pytest.mark.parametrize("destination", ["/usr/lib/", "//usr/lib/", "/./usr/", "/tmp/x"])  # noqa: S108 - a place in an image
def test_the_hosts_own_folders_are_refused_on_base_host(destination: str) -> None:
    """What the sandbox would cover is refused on `host` and allowed on another base."""
    assert _codes(("src/", destination)) == ["SP313"]
    assert _codes(("src/", destination), base="registry.test/python@sha256:" + "0" * 64) == []


@pytest.mark.parametrize("link", ["/etc/passwd", "../../outside", "", "hello/../../../x"])
def test_a_link_that_leaves_is_a_fault(link: str) -> None:
    """Absolute links and links that climb out of their tree are SP314."""
    assert _codes(("src/", "/app/deep/down/"), source=[Entry("src/link", "link", link=link)]) == ["SP314"]


def test_a_link_inside_is_kept() -> None:
    """A relative link to something beside it is copied as it is."""
    assert _codes(("src/", "/app/"), source=[Entry("src/a/link", "link", link="../b")]) == []


def test_a_link_that_leaves_the_image_from_its_new_place_is_a_fault() -> None:
    """A link that was inside of its tree must also stay inside of the image."""
    assert _codes(("src/a/b/", "/"), source=[Entry("src/a/b/link", "link", link="../../x")]) == ["SP314"]


@pytest.mark.parametrize("name", [".wh.hello", "a/.wh..wh..opq", "bad\udcff"])
def test_names_that_mean_something_else_in_a_layer_are_refused(name: str) -> None:
    """Whiteouts and names that are not UTF-8 are SP313."""
    assert _codes(("./", "/app/"), source=[Entry(name, "file")]) == ["SP313"]


def test_all_faults_are_found_at_once() -> None:
    """Every rule's fault is reported, not only the first."""
    assert _codes(("nope/", "/app/"), ("src/", "relative/"), ("lib/tool", "/app/t"), ("src/hello/data.txt", "/app/t")) == [
        "SP311",
        "SP313",
        "SP312",
    ]


def test_a_layer_states_all_folders_on_host_and_only_its_own_on_another_base() -> None:
    """On another base the parents of a destination belong to the base."""
    recipe = _recipe(("src/", "/opt/shop/"), ("lib/tool", "/var/lib/tool"))
    placed, _ = resolve(recipe, {"": SOURCE})
    assert folders(placed, "host") == ("opt", "opt/shop", "opt/shop/hello", "var", "var/lib")
    assert folders(placed, "sha256:0") == ("opt/shop", "opt/shop/hello")


def test_a_recipe_is_read_from_a_pipeline_file() -> None:
    """Base, copy lines with their tasks, command, variables and working directory come over as they are written."""
    text = """
apiVersion: setpoint.dev/v1alpha1
kind: Pipeline
tasks:
  deps: {run: make, outputs: [vendor/]}
artifacts:
  web:
    needs: [deps]
    image:
      base: host
      copy: {"src/": /app/, "deps:vendor/": /app/vendor/}
      command: [python3, -m, hello]
      env: {A: "1"}
"""
    recipe = recipe_of(parse_pipeline(text.encode(), PIPELINE_FILE), "web")
    assert isinstance(recipe, ImageRecipe)
    rules = (CopyRule("", "src/", "/app/"), CopyRule("deps", "vendor/", "/app/vendor/"))
    assert recipe == ImageRecipe("host", rules, ("python3", "-m", "hello"), {"A": "1"}, "")
    assert recipe.tasks == ("deps",)
