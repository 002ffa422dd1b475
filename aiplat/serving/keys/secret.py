"""What an API key looks like, and how it is recognised by one who does not keep it.

`aip_<prefix>_<secret>`: the prefix finds the key and may be shown, the secret proves it.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass

_MARK = "aip"
_SECRET_BYTES = 32
_PREFIX_CHARS = 10
# A letter leads: a command line must not take a prefix for a number.
_PREFIX = rf"[a-z][a-z0-9]{{{_PREFIX_CHARS - 1}}}"
_KEY = re.compile(rf"{_MARK}_({_PREFIX})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")
_TYPED = re.compile(rf"(?:{_MARK}_)?({_PREFIX})(?:_[0-9a-f]*)?")


@dataclass(frozen=True)
class KeyText:
    """A whole key, as its owner has it."""

    prefix: str
    secret: str

    def __str__(self) -> str:
        return f"{_MARK}_{self.prefix}_{self.secret}"

    def __repr__(self) -> str:
        # What logs and tracebacks show.
        return f"KeyText({self.prefix!r}, ...)"


def new_key_text() -> KeyText:
    """A key that nobody has, of 256 random bits."""
    letters, others = string.ascii_lowercase, string.ascii_lowercase + string.digits
    rest = "".join(secrets.choice(others) for _ in range(_PREFIX_CHARS - 1))
    return KeyText(secrets.choice(letters) + rest, secrets.token_hex(_SECRET_BYTES))


def parsed(text: str) -> KeyText | None:
    """The key that a request gave; None where it cannot be one of ours."""
    found = _KEY.fullmatch(text)
    return KeyText(found[1], found[2]) if found else None


def typed_prefix(text: str) -> str | None:
    """The prefix in what a person typed: itself, `aip_<prefix>` or a whole key."""
    found = _TYPED.fullmatch(text.strip())
    return found[1] if found else None


def hashed(secret: str) -> str:
    """What is kept of a secret."""
    # Slow hashes protect what people choose. 256 random bits cannot be guessed however quick the
    # hash, and every request waits for it.
    return hashlib.sha256(secret.encode()).hexdigest()


_NOBODYS_HASH = hashed("")


def matches(secret: str, secret_hash: str | None) -> bool:
    """Whether the secret is the one kept; None: of a key that is not there.

    Takes as long either way, so that nobody learns from time which prefixes there are.
    """
    is_same = hmac.compare_digest(hashed(secret), secret_hash or _NOBODYS_HASH)
    return is_same and secret_hash is not None
