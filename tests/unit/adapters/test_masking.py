"""What the masker must never let through, and what it must leave alone."""

import base64
import json
from urllib.parse import quote

import pytest

from setpoint.adapters.masking import Masker, variants

SECRET = "s3cr/et+wörd"


def masked(values: list[str], *pieces: bytes) -> bytes:
    """Return a stream masked piece by piece."""
    masker = Masker(values)
    return b"".join(map(masker.feed, pieces)) + masker.finish()


def test_every_split_of_the_stream_gives_the_same_result() -> None:
    """A secret is masked wherever the chunks of the stream end."""
    text = b"a s3cr-et b s3cr-e s3cr-ets3cr-et s3"
    wanted = b"a *** b s3cr-e ****** s3"
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            assert masked(["s3cr-et"], text[:first], text[first:second], text[second:]) == wanted


def test_a_possible_beginning_is_held_back_and_nothing_more() -> None:
    """Only the tail that could begin a secret waits, so live output stays live."""
    masker = Masker(["token-1", "toll"])
    assert masker.feed(b"progress to") == b"progress "
    assert masker.feed(b"day") == b"today"
    assert masker.feed(b"token-") == b""
    assert masker.finish() == b"token-"


def test_the_longer_of_two_secrets_with_one_beginning_wins() -> None:
    """A secret that begins with another is masked whole, also when it arrives in pieces."""
    assert masked(["abcd", "abcdefgh"], b"abcd", b"efgh abcd") == b"*** ***"


@pytest.mark.parametrize("pad", [b"", b"x", b"xy"])
def test_base64_is_masked_at_every_alignment(pad: bytes) -> None:
    """A secret inside a longer text that was encoded as base64 does not come through."""
    text = base64.b64encode(pad + SECRET.encode() + b" and more")
    shown = masked([SECRET], text)
    assert b"***" in shown
    assert len(text) - len(shown) + 3 >= len(SECRET)


@pytest.mark.parametrize("form", [quote(SECRET, safe=""), json.dumps(SECRET)[1:-1], SECRET.encode().hex()])
def test_usual_encodings_are_masked(form: str) -> None:
    """URL, JSON and hexadecimal forms count as the secret."""
    assert masked([SECRET], f"<{form}>".encode()) == b"<***>"


def test_a_percent_encoded_value_masks_its_plain_form() -> None:
    """What is written `%2F` in a URL is masked where a program prints it decoded."""
    assert masked(["p%2Fass-word"], b"p/ass-word p%2Fass-word") == b"*** ***"


def test_short_values_and_short_lines_are_not_registered() -> None:
    """Three characters would mask every log, and so would the brace of a multi-line JSON secret."""
    assert variants("abc") == set()
    assert masked(['{\n"private-key"\n}'], b'{} {\n"private-key"\n}') == b"{} ***"
    assert masked(['{\n"private-key"\n}'], b'x "private-key" }') == b"x *** }"


def test_without_secrets_nothing_changes() -> None:
    """No secret, no copy, no hold."""
    assert masked([], b"\xff\x00 any bytes") == b"\xff\x00 any bytes"
