"""Seal small secrets for the database: AES-256-GCM, each value bound to the place where it is stored."""

import binascii
import os
from base64 import b64decode
from collections.abc import Mapping
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.base.errors import Misconfigured

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_KEY_ID_CHARS_MAX: Final = 64


class SealBroken(Misconfigured):
    """A sealed value was altered, or it was moved here from another place."""

    code = "seal_broken"


class Sealer:
    """The first key seals, every key opens: to rotate, put a new key in front and keep the old ones behind it."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise Misconfigured("There is no sealing key; one is made by: echo key1:$(openssl rand -base64 32)")
        for key_id, key in keys.items():
            if len(key) != KEY_BYTES:
                raise Misconfigured(f"Sealing key {key_id!r} has {len(key)} bytes; it must have exactly {KEY_BYTES}.")
        self._current = next(iter(keys))
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}

    @classmethod
    def parse(cls, setting: str) -> Self:
        """From "id1:base64key,id2:base64key". The errors name a key by its id, never by what it holds."""
        keys: dict[str, bytes] = {}
        for position, part in enumerate(filter(None, map(str.strip, setting.split(","))), start=1):
            key_id, colon, encoded = part.partition(":")
            if not (colon and key_id.isascii() and key_id.isprintable() and 0 < len(key_id) <= _KEY_ID_CHARS_MAX):
                raise Misconfigured(f"Sealing key number {position} must be written as id:base64.")
            if key_id in keys:
                raise Misconfigured(f"Sealing key {key_id!r} is given twice.")
            try:
                keys[key_id] = b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                # "from None": the original error would carry the key into a traceback.
                raise Misconfigured(f"Sealing key {key_id!r} is not valid base64.") from None
        return cls(keys)

    def seal(self, plain: bytes, context: str) -> tuple[str, bytes]:
        """The id of the key used, and the sealed value, which opens only with the same `context`."""
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self._current]
        return self._current, nonce + cipher.encrypt(nonce, plain, _bound_to(self._current, context))

    def open(self, key_id: str, sealed: bytes, context: str) -> bytes:
        """The plain value; raises SealBroken for a value that was not sealed for this context by this key."""
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise Misconfigured(
                f"A value was sealed with key {key_id!r}, which is not configured; add that key behind the others."
            )
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound_to(key_id, context))
        except (InvalidTag, ValueError) as error:
            raise SealBroken("A sealed value was altered or moved from where it was sealed; set it again.") from error


def _bound_to(key_id: str, context: str) -> bytes:
    return f"{key_id}\0{context}".encode()
