"""Coverage: a result counts only for what the task really saw."""

from setpoint.evidence.coverage import Made, judge


def test_a_subset_is_covered() -> None:
    """Same blobs at the same paths and the same output digests: it counts, whatever else the task saw."""
    artifact = Made({"src/a.py": "1"}, {"deps": "sha256:d"})
    assert judge(artifact, Made({"src/a.py": "1", "tests/t.py": "2"}, {"deps": "sha256:d", "lint": "x"})).covers


def test_a_missing_file_is_named() -> None:
    """A file of the artifact that the task did not see is the example in the verdict."""
    verdict = judge(Made({"src/a.py": "1", "src/b.py": "2"}, {}), Made({"src/a.py": "1"}, {}))
    assert not verdict.covers
    assert verdict.missing == ("src/b.py",)
    assert verdict.text == "EVIDENCE_DOES_NOT_COVER: src/b.py is in the artifact and was not an input of the task"


def test_other_bytes_at_the_same_path_do_not_cover() -> None:
    """The blob counts, not the name."""
    assert judge(Made({"a": "1"}, {}), Made({"a": "2"}, {})).missing == ("a",)


def test_other_outputs_do_not_cover() -> None:
    """A task output in the artifact must be the very one the task was given."""
    assert judge(Made({}, {"deps": "sha256:1"}), Made({}, {"deps": "sha256:2"})).missing == ("deps:",)
    assert judge(Made({}, {"deps": "sha256:1"}), Made({}, {})).missing == ("deps:",)


def test_examples_are_bounded_and_the_count_is_exact() -> None:
    """A thousand missing files do not bloat the statement."""
    verdict = judge(Made({f"f{n:04}": "1" for n in range(1000)}, {}), Made({}, {}))
    assert (len(verdict.missing), verdict.missing_count) == (20, 1000)
    assert verdict.content()["missingCount"] == 1000
    assert "and 999 more" in verdict.text
