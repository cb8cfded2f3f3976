"""tools/shape.py finds what it is there to find; the code itself is held to it by tools/lint."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "shape.py"


@pytest.fixture(scope="module")
def shape() -> ModuleType:
    """The tool as a module."""
    spec = importlib.util.spec_from_file_location("setpoint_tools_shape", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_broken_limit_is_named(shape: ModuleType, tmp_path: Path) -> None:
    """A long file, a long function, many parameters and missing docstrings are faults, each with its place."""
    long_function = '"""m"""\n\n\ndef f(a, b, c, d, e, f, g):\n    """f"""\n' + "    a = 1\n" * 75
    (tmp_path / "long.py").write_text(long_function + "# filler\n" * 400)
    (tmp_path / "bare.py").write_text("class Public:\n    def method(self):\n        return 1\n\n\ndef _private():\n    return 2\n")
    faults = "\n".join(shape.measure(tmp_path).faults)
    assert "long.py: 480 lines" in faults
    assert "long.py:4 f: 76 lines" in faults
    assert "long.py:4 f: 7 parameters" in faults
    assert "bare.py: no docstring" in faults
    assert "bare.py:1 Public: public" in faults
    assert "bare.py:2 Public.method: public" in faults
    assert "_private" not in faults


def test_docstrings_and_self_do_not_count(shape: ModuleType, tmp_path: Path) -> None:
    """A function is as long as what it does, and a method has the parameters that a caller gives."""
    text = '"""m"""\n\n\nclass C:\n    """c"""\n\n    def m(self, a):\n        """One.\n\n        Two.\n        """\n        return a\n'
    (tmp_path / "one.py").write_text(text)
    found = shape.measure(tmp_path)
    assert found.faults == []
    assert list(found.functions.values()) == [2]
    assert list(found.parameters.values()) == [1]


def test_percentiles_are_nearest_rank(shape: ModuleType) -> None:
    """p50 and p95 are values that occur."""
    values = list(range(1, 101))
    assert (shape.percentile(values, 0.5), shape.percentile(values, 0.95), shape.percentile([], 0.5)) == (50, 95, 0)


def test_two_modules_of_tests_with_one_name_are_a_fault(shape: ModuleType, tmp_path: Path) -> None:
    """Pytest would stop at the second; modules that are no tests may be called alike."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name in ("test_same.py", f"test_{folder}.py", "conftest.py"):
            (tmp_path / folder / name).touch()
    (fault,) = shape.same_names(tmp_path)
    assert "one/test_same.py and" in fault
    assert "two/test_same.py" in fault
