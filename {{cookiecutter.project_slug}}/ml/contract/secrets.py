"""Secrets by reference: small files in a folder, as Kubernetes mounts a Secret.

On a laptop they are made when they are first asked for.
"""

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

from ml.errors import ContractError
from ml.settings import settings

SALT = "salt"  # from which assignments and hashed names follow: whoever knows it can foretell them
LAPTOP = "laptop"  # the sender where nobody has named one
SENDER = "sender-"  # and a name: how the file of who may send outcomes is called, which holds the token
CALLER = "caller-"  # and a name: the same of who may ask for predictions; where there is no such file, everybody may


@cache
def salt() -> bytes:
    """Return this environment's salt."""
    return hashlib.sha256(_made(_folder() / SALT).encode()).digest()


def digest(purpose: str, text: str) -> str:
    """Return 32 hex digits of a text that only who knows the salt can make, other ones for each purpose."""
    return _keyed(salt(), purpose, text)


@lru_cache(maxsize=100_000)  # busy entities come up often
def _keyed(key: bytes, purpose: str, text: str) -> str:
    return hashlib.blake2b(text.encode(), key=key, person=purpose.encode(), digest_size=16).hexdigest()


def senders() -> dict[str, str]:
    """Return who may send outcomes, by token; raises ContractError for tokens that are equal, or could be guessed."""
    if not any(_folder().glob(f"{SENDER}*")):
        token()
    return _tokens(SENDER)


def callers() -> dict[str, str]:
    """Return who may ask for predictions, by token, or nobody where everybody may; raises as `senders` does."""
    return _tokens(CALLER)


def token(sender: str = LAPTOP) -> str:
    """Return the token of a sender."""
    return _made(_folder() / (SENDER + sender))


def as_caller() -> dict[str, str]:
    """Return the header by which this process may ask for predictions; none where everybody may."""
    token = next(iter(callers()), None)  # of several, any will do
    return {"Authorization": f"Bearer {token}"} if token else {}


def _tokens(kind: str) -> dict[str, str]:
    found = dict[str, str]()
    for file in sorted(_folder().glob(f"{kind}*")):
        name = file.name.removeprefix(kind)
        if (other := found.setdefault(_read(file), name)) != name:
            raise ContractError("secrets", f"{other} and {name} have one token", f"Give each its own in {_folder()}")
    return found


def _folder() -> Path:
    return settings().secrets


def _read(file: Path) -> str:
    """Return a secret; raises ContractError where it could be guessed."""
    secret = file.read_text().strip()
    if len(secret) < 32:
        raise ContractError("secrets", f"what {file} holds is shorter than 32 characters", "Make a random one")
    return secret


def _made(file: Path) -> str:
    """Return a secret, a random one where there was none; of several who make it at once, all get the same."""
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".") as whole:  # for its owner alone
                whole.write(secrets.token_urlsafe(32))
                whole.flush()
                with suppress(FileExistsError):
                    os.link(whole.name, file)
    except OSError as error:
        mend = "Mount a Secret there, see docs/serving.md"
        raise ContractError("secrets", f"{file} cannot be made: {error.strerror}", mend) from error
    return _read(file)
