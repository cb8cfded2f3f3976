"""The signer about adoptions: it composes the commit from journal and Git, for files of the application only, and stock git verifies it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from setpoint.core.errors import UserError
from setpoint.core.records import encode
from setpoint.ground.identity.model import Role
from setpoint.promotion.pin import allowed_signers
from setpoint.reconcile.adopt.model import AdoptedField, Adoption, Edit

if TYPE_CHECKING:
    from pathlib import Path

    from contract.signer.conftest import Story

OWN = "environments/prod/web/web.yaml"
TEXT = "data: {a: old}  # note\n"


def _intended(story: Story, *edits: Edit, **changes: str) -> Adoption:
    """Journal an adoption of one value, or of these edits; the file is there."""
    parent = story.commit("delivery", {OWN: TEXT.encode(), "pins/prod/web.yaml": b"pin\n", "environments/prod/environment.yaml": b"e\n"})
    blob = story.git.tree_id("delivery", parent, OWN) or ""
    fields = (AdoptedField("d-1", "ConfigMap/web", "data.a", "new"),)
    wanted = edits or (Edit.between(OWN, blob, TEXT, TEXT.replace("old", "new")),)
    made = Adoption(
        "a-1", "web", "prod", fields, "person:ada@example.com", "it is right", "delivery", parent, wanted, "2026-11-23T06:00:00.000Z"
    )
    made = replace(made, **changes)  # type: ignore[arg-type]
    story.record("adoption.intended", made.adoption, made.by, encode(made))
    return made


def test_the_commit_has_one_changed_value_and_the_person_as_its_author(story: Story, tmp_path: Path) -> None:
    """Everything of it comes from the journal and the parent; asked again it is the same commit; stock git verifies the signature."""
    made = _intended(story)
    (signed,) = story.sign("adoption", "a-1")
    assert story.sign("adoption", "a-1")[0].payload == signed.payload
    commit = story.git.write_signed_commit("delivery", signed.payload, signed.signature)
    assert story.git.read("delivery", commit, OWN) == TEXT.replace("old", "new").encode()
    assert list(story.git.changed_paths("delivery", commit)) == [OWN]
    revision = story.git.revision("delivery", commit)
    assert (revision.author_email, revision.committer_email) == ("ada@example.com", "setpoint@localhost.invalid")
    assert revision.message.splitlines()[-5:] == [
        "Setpoint-Adoption: a-1",
        "Setpoint-App: web",
        "Setpoint-Environment: prod",
        "Setpoint-Drift: d-1",
        "Setpoint-Requested-By: person:ada@example.com",
    ]
    assert made.why in revision.message
    signers = tmp_path / "signers"
    signers.write_bytes(allowed_signers(story.trust.key(Role.COMMIT)))
    config = ["-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers}", "-c", "safe.directory=*"]
    argv = ["git", "-C", str(story.git.path("delivery")), *config, "verify-commit", commit]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path",
    [
        "pins/prod/web.yaml",
        "environments/prod/environment.yaml",
        "setpoint.yaml",
        "environments/prod/other/web.yaml",
        "environments/staging/web/web.yaml",
        "environments/prod/web/../environment.yaml",
        "apps/web/../../setpoint.yaml",
    ],
)
def test_a_pin_a_gate_and_another_applications_file_are_never_signed(story: Story, path: str) -> None:
    """Law 9: whatever the journal says, nothing but the application's own folders is touched."""
    _intended(story, Edit(path, "", 0, "", "x\n"))
    with pytest.raises(UserError) as caught:
        story.sign("adoption", "a-1")
    assert caught.value.code == "SP419"


@pytest.mark.parametrize(
    "edit",
    [
        Edit(OWN, "0" * 40, 9, "old", "new"),
        Edit(OWN, "", 0, "", "new file\n"),
        Edit("apps/web/new.yaml", "b" * 40, 0, "", "x"),
    ],
)
def test_an_edit_that_does_not_fit_the_file_is_not_signed(story: Story, edit: Edit) -> None:
    """The file that it was made for is another one, or is not there."""
    _intended(story, edit)
    with pytest.raises(UserError) as caught:
        story.sign("adoption", "a-1")
    assert caught.value.code == "SP419"


def test_what_is_not_journalled_or_for_no_delivery_repository_is_not_signed(story: Story) -> None:
    """An id is not enough, and a source repository is nobody's desired state."""
    with pytest.raises(UserError, match="no such adoption"):
        story.sign("adoption", "a-2")
    _intended(story, repository="hello")
    with pytest.raises(UserError, match="no such adoption"):
        story.sign("adoption", "a-1")


def test_words_forge_no_trailers_and_an_odd_name_no_author(story: Story) -> None:
    """What people write is one line of the message; who is no person of an email is Setpoint."""
    _intended(story, why="fine\n\nSetpoint-Promotion: p-1", by="person:x> <y@z")
    (signed,) = story.sign("adoption", "a-1")
    text = signed.payload.decode()
    assert "\nSetpoint-Promotion:" not in text
    assert "\nauthor Setpoint <setpoint@localhost.invalid> " in text
