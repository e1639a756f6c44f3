"""Signed notes, keys and checkpoints against the reference implementation's published note."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from governance.audit.ed25519 import ORDER, PRIME, _decode_point, verify_ed25519
from governance.audit.notes import (
    NoteError,
    TreeHead,
    checkpoint_text,
    decode64,
    encode64,
    format_note,
    make_key,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_key,
)

KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
NOTE = f"{TEXT}\n\u2014 PeterNeumann {SIGNATURE}\n".encode()


def test_the_published_note_opens_with_the_published_key() -> None:
    assert open_note(NOTE, [parse_key(KEY)]) == TEXT
    assert str(parse_key(KEY)) == KEY


def test_signing_gives_the_published_note_byte_for_byte() -> None:
    secret = Ed25519PrivateKey.from_private_bytes(decode64(SECRET)[1:])
    assert format_note(TEXT, parse_key(KEY), secret.sign(TEXT.encode())) == NOTE


def test_no_changed_byte_of_the_note_opens() -> None:
    key = parse_key(KEY)
    for place in range(len(NOTE)):
        for bit in (1, 0x20, 0x80):
            changed = NOTE[:place] + bytes([NOTE[place] ^ bit]) + NOTE[place + 1 :]
            with pytest.raises(NoteError):
                open_note(changed, [key])


def test_the_spare_bits_of_base64_cannot_be_changed() -> None:
    assert NOTE.endswith(b"nAM=\n")
    for letter in b"NOP":
        with pytest.raises(NoteError, match="exact base64"):
            open_note(NOTE[:-3] + bytes([letter]) + b"=\n", [parse_key(KEY)])


def test_no_part_and_no_mangling_of_a_key_is_a_key() -> None:
    for start in range(len(KEY)):
        for end in range(start + 1, len(KEY) + 1):
            if (start, end) != (0, len(KEY)):
                with pytest.raises(NoteError):
                    parse_key(KEY[start:end])
    for place in range(len(KEY)):
        with pytest.raises(NoteError):
            parse_key(KEY[:place] + chr(ord(KEY[place]) + 1) + KEY[place + 1 :])


@pytest.mark.parametrize(
    "key",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "",
    ],
)
def test_keys_of_another_length_or_algorithm_are_refused(key: str) -> None:
    with pytest.raises(NoteError):
        parse_key(key)


@pytest.mark.parametrize("name", ["", "with blank", "with+plus", "with\u2003wide blank"])
def test_key_names_that_a_note_cannot_carry_are_refused(name: str) -> None:
    with pytest.raises(NoteError):
        make_key(name, bytes(32))


def test_lines_of_unknown_witnesses_are_left_alone_but_must_be_signature_lines() -> None:
    key = parse_key(KEY)
    witness = "\u2014 witness.example " + encode64(bytes(40)) + "\n"
    assert open_note(NOTE + witness.encode(), [key]) == TEXT
    for line in (
        "- witness.example AAAA\n",
        "\u2014 witness.example\n",
        "\u2014 witness.example AAAA\n",
        "\n",
    ):
        with pytest.raises(NoteError):
            open_note(NOTE + line.encode(), [key])
    with pytest.raises(NoteError, match="101 signatures"):
        open_note(NOTE + witness.encode() * 100, [key])


@pytest.mark.parametrize(
    "note", [b"", b"text\n", b"\xff\n\n", TEXT.encode() + b"\n", NOTE[:-1], b"a\x01b" + NOTE]
)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(NoteError):
        open_note(note, [parse_key(KEY)])


def test_a_note_by_nobody_known_is_refused() -> None:
    with pytest.raises(NoteError, match="no known key"):
        open_note(NOTE, [])


def test_a_checkpoint_is_exactly_three_lines() -> None:
    head = TreeHead("pawl/log", 12, hashlib.sha256(b"x").digest())
    text = checkpoint_text(head)
    assert parse_checkpoint(text) == head
    root = text.split("\n")[2]
    for wrong in (
        text + "extra\n", text[:-1], f"\n12\n{root}\n", f"o\n012\n{root}\n", f"o\n-1\n{root}\n", f"o\n\n{root}\n",
        f"o\n12\n{root[:-4]}\n", f"o\n12\n{encode64(bytes(31))}\n", f"o\n\u0661\n{root}\n",
    ):  # fmt: skip
        with pytest.raises(NoteError):
            parse_checkpoint(wrong)


def test_a_checkpoint_of_another_log_is_refused_even_when_the_key_signed_it() -> None:
    secret = Ed25519PrivateKey.generate()
    key = make_key("pawl/log", secret.public_key().public_bytes_raw())
    for origin, fits in (("pawl/log", True), ("pawl/other", False)):
        text = checkpoint_text(TreeHead(origin, 1, bytes(32)))
        note = format_note(text, key, secret.sign(text.encode()))
        if fits:
            assert open_checkpoint(note, [key]).size == 1
        else:
            with pytest.raises(NoteError, match="another log"):
                open_checkpoint(note, [key])


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511))
def test_plain_and_library_ed25519_agree(seed: bytes, message: bytes, bit: int) -> None:
    secret = Ed25519PrivateKey.from_private_bytes(seed)
    public = secret.public_key().public_bytes_raw()
    signature = bytearray(secret.sign(message))
    assert verify_ed25519(public, message, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    assert verify_ed25519(public, message, bytes(signature)) == _library_says(
        public, message, bytes(signature)
    )


def test_malleable_and_malformed_signatures_are_refused() -> None:
    secret = Ed25519PrivateKey.generate()
    public = secret.public_key().public_bytes_raw()
    signature = secret.sign(b"m")
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify_ed25519(public, b"m", signature[:32] + scalar.to_bytes(32, "little"))
    assert not verify_ed25519(public, b"m", signature[:63])
    assert not verify_ed25519(public[:31], b"m", signature)
    assert not verify_ed25519((PRIME + 1).to_bytes(32, "little"), b"m", signature)
    assert not verify_ed25519((1 | 1 << 255).to_bytes(32, "little"), b"m", signature)
    assert not verify_ed25519((2).to_bytes(32, "little"), b"m", signature)
    assert _decode_point((2).to_bytes(32, "little")) is None


def _library_says(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True
