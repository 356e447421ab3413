"""What is said of a bundle or an image, in the form that signers share: in-toto's statement in a DSSE envelope.

https://github.com/in-toto/attestation/tree/main/spec/v1, https://github.com/secure-systems-lab/dsse
"""

import base64
import binascii
import json
from typing import Any, NamedTuple

from ml.errors import ContractError

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD = "application/vnd.in-toto+json"


class Subject(NamedTuple):
    """A bundle or an image, by the SHA-256 of its sums or of its manifest; `file` are the sums, None of an image."""

    name: str
    sha256: str
    file: bytes | None = None

    def __str__(self) -> str:
        return f"bundle {self.sha256[:12]}" if self.file is not None else f"{self.name} {self.sha256[:12]}"


class Statement(NamedTuple):
    """What is said: a predicate of a type, about a subject."""

    subject: Subject
    type: str
    predicate: dict[str, Any]

    def dump(self) -> bytes:
        """Return the statement as JSON."""
        subject = {"name": self.subject.name, "digest": {"sha256": self.subject.sha256}}
        told = {"_type": STATEMENT, "subject": [subject], "predicateType": self.type, "predicate": self.predicate}
        return json.dumps(told, sort_keys=True).encode()

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Statement":
        """Read a statement; raises ValueError, KeyError or TypeError for what is none, or has several subjects."""
        if told["_type"] != STATEMENT:
            raise ValueError(f"{told['_type']} is no statement")
        ((name, digest),) = ((each["name"], each["digest"]["sha256"]) for each in told["subject"])
        return cls(Subject(str(name), str(digest)), str(told["predicateType"]), dict(told["predicate"]))


class Envelope(NamedTuple):
    """A statement as it was signed: the bytes, the signature over them, and a hint by which key."""

    payload: bytes
    signature: bytes
    key: str

    @property
    def signed(self) -> bytes:
        """What the signature is over: the payload with its type and both lengths (DSSE's PAE)."""
        return signed(self.payload)

    def dump(self) -> bytes:
        """Return the envelope as JSON."""
        signature = {"keyid": self.key, "sig": base64.b64encode(self.signature).decode()}
        told = {"payloadType": PAYLOAD, "payload": base64.b64encode(self.payload).decode(), "signatures": [signature]}
        return json.dumps(told, indent=1).encode()

    @classmethod
    def load(cls, content: bytes) -> "Envelope":
        """Read what `dump` wrote; raises ContractError for anything else."""
        try:
            told = json.loads(content)
            (signature,) = told["signatures"]
            payload, sig = (base64.b64decode(each, validate=True) for each in (told["payload"], signature["sig"]))
            return cls(payload, sig, str(signature["keyid"]))
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise ContractError("attestation", "an envelope cannot be read", "Run `ml attest` again") from error


def signed(payload: bytes) -> bytes:
    """Return what is signed for a payload."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
