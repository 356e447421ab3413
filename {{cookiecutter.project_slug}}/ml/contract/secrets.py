"""Secrets by reference: small files in a folder, as Kubernetes mounts a Secret.

On a laptop they are made when they are first asked for.
"""

import hashlib
import os
import secrets
from functools import cache
from pathlib import Path

from ml.errors import ContractError
from ml.settings import settings

SALT = "salt"  # from which assignments and hashed names follow: whoever knows it can foretell them
LAPTOP = "laptop"  # the sender where nobody has named one
SENDERS = "senders"  # a folder: who may send outcomes, a file each that holds the token


@cache
def salt() -> bytes:
    """Return this environment's salt."""
    return hashlib.sha256(_made(_folder() / SALT).encode()).digest()


def digest(purpose: str, text: str) -> str:
    """Return 32 hex digits of a text that only who knows the salt can make, other ones for each purpose."""
    keyed = hashlib.blake2b(text.encode(), key=salt(), person=purpose.encode(), digest_size=16)
    return keyed.hexdigest()


def senders() -> dict[str, str]:
    """Return who may send outcomes, by token; raises ContractError for a token that could be guessed."""
    folder, found = _folder() / SENDERS, {}
    if not any(folder.glob("[!.]*")):
        token()
    for file in sorted(folder.glob("[!.]*")):
        secret = file.read_text().strip()
        if len(secret) < 32:
            raise ContractError("secrets", f"the token in {file} is shorter than 32 characters", "Make a random one")
        found[secret] = file.name
    return found


def token(sender: str = LAPTOP) -> str:
    """Return the token of a sender."""
    return _made(_folder() / SENDERS / sender)


def _folder() -> Path:
    return settings().secrets


def _made(file: Path) -> str:
    """Return a secret, a random one where there was none."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass
    except OSError as error:
        if not file.exists():
            mend = "Mount a Secret there, see docs/serving.md"
            raise ContractError("secrets", f"{file} cannot be made: {error.strerror}", mend) from error
    return file.read_text().strip()
