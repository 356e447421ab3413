"""Signs statements and proves them. By a key nobody else is needed: it works without a network, for ever.

The other signer is GitHub, for its own workflows (ml/attestation/keyless.py).
"""

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ml.attestation.keyless import GitHub
from ml.attestation.statement import Envelope, Statement, Subject, signed
from ml.errors import ContractError
from ml.progress import say
from ml.settings import settings
from ml.store import files

ENVELOPE = ".dsse.json"


class Signer(Protocol):
    """Who stands behind what is said of a bundle or an image."""

    def proved(self, store: str, subject: Subject, type: str) -> list[Statement]:
        """Return what is said of the subject and truly signed, of a type; raises ContractError where nothing is."""


def signer() -> Signer:
    """Return the signer of [signing] by."""
    return Key(settings().public_key) if settings().signing.by == "key" else GitHub()


class Key:
    """An Ed25519 key (RFC 8032), of which a file of the repository holds the public half."""

    def __init__(self, public: Path) -> None:
        self._file = public

    @cached_property
    def _public(self) -> Ed25519PublicKey:
        try:
            found = serialization.load_pem_public_key(self._file.read_bytes())
        except FileNotFoundError:
            mend = "Run `ml attest --new-key` and commit it"
            raise ContractError("signing", f"{self._file} is not there: no signature can be proved", mend) from None
        except ValueError as error:
            raise ContractError("signing", f"{self._file} is no public key", "Restore it") from error
        if not isinstance(found, Ed25519PublicKey):
            raise ContractError("signing", f"{self._file} is no Ed25519 key", "Run `ml attest --new-key`")
        return found

    def sign(self, store: str, statement: Statement, private: Path, name: str) -> str:
        """Sign a statement by a private key, and put it into the store under a name; returns the key's own.

        Raises ContractError where there is no such key, or it is not the other half of the public one.
        """
        key = _private(private)
        if _named(key.public_key()) != _named(self._public):
            raise ContractError(
                "signing", f"{private} is not the key of {self._file}", "Take the key that belongs to it"
            )
        payload = statement.dump()
        envelope = Envelope(payload, key.sign(signed(payload)), _named(self._public))
        files.write(files.join(folder(store, statement.subject), f"{name}{ENVELOPE}"), envelope.dump())
        return envelope.key

    def proved(self, store: str, subject: Subject, type: str) -> list[Statement]:
        """Return the statements of the store on the subject that this key has signed, of a type.

        Raises ContractError, with the reason why the last one does not count, where none does.
        """
        home, name = folder(store, subject), _named(self._public)
        broken, found = "is not attested", list[Statement]()
        for file in files.names(home):
            if file.endswith(ENVELOPE):
                envelope = Envelope.load(files.read(files.join(home, file)))
                told, broken = self._opened(envelope, name, subject, type)
                found += [told] if told else []
        if not found:
            raise ContractError("attestation", f"{subject} {broken}", f"Run `ml attest {_words(subject)}`")
        return found

    def _opened(self, envelope: Envelope, name: str, subject: Subject, type: str) -> tuple[Statement | None, str]:
        """Return what an envelope says of the subject, else why it does not count."""
        if envelope.key != name:
            return None, f"is attested by another key, {envelope.key}, than {self._file.name}"
        try:
            self._public.verify(envelope.signature, envelope.signed)
        except InvalidSignature:
            return None, "has an attestation that was altered after it was signed"
        statement = Statement.of(json.loads(envelope.payload))  # whoever has the key wrote it
        if statement.subject.sha256 != subject.sha256:
            return None, f"lies beside an attestation of {statement.subject}"
        if statement.type != type:
            return None, f"is attested as {statement.type} alone, not as {type}"
        return statement, ""


def new_key(private: Path, public: Path) -> None:
    """Make a key: the private half for its owner alone, the public half to be committed.

    Raises ContractError where one of the files is there: what it signed could not be proved any more.
    """
    for file in (private, public):
        if file.exists():
            raise ContractError("signing", f"{file} is there already", "Move it away, if it is to be replaced")
        file.parent.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file_:
        file_.write(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    say("attest", f"key {_named(key.public_key())}: keep {private} to yourself, and commit {public}")


def folder(store: str, subject: Subject) -> str:
    """Return where the attestations of a subject lie in the store."""
    return files.join(store, "attestations", subject.sha256)


def _words(subject: Subject) -> str:
    """Return by which words `ml attest` signs a subject."""
    if subject.file is None:
        return f"--image {subject.name}@sha256:{subject.sha256}"
    return f"{subject.sha256[:12]} --environment {settings().release.environment}"


def _private(file: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except FileNotFoundError:
        mend = "Name it by ML_SIGNING_KEY, or make one by `ml attest --new-key`"
        raise ContractError("signing", f"{file} is not there: nothing can be signed", mend) from None
    except (ValueError, TypeError) as error:
        raise ContractError("signing", f"{file} is no private key without a password", "Restore it") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ContractError("signing", f"{file} is no Ed25519 key", "Run `ml attest --new-key`")
    return key


def _named(key: Ed25519PublicKey) -> str:
    """Return a key's name: the first 16 hex digits of its SHA-256."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]
