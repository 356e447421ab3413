"""Proves what workflows of this repository have signed without a key, by GitHub's own tool.

A workflow gets a certificate that says which workflow of which repository it is, on which branch, and for minutes:
https://docs.github.com/en/actions/concepts/security/artifact-attestations. Only GitHub can make one.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ml.attestation.statement import Statement, Subject
from ml.errors import ContractError
from ml.github.repository import repository, server
from ml.settings import settings
from ml.store import files

BUNDLES, IMAGES = "(train|promote)", "image"  # the workflows that sign, as a regular expression
BRANCH = "refs/heads/main"  # else whoever can push a branch could sign by a workflow of the same name
DOWNLOADED = ".jsonl"  # what `gh attestation download` writes
ROOTS = "trusted_root.jsonl"  # what `gh attestation trusted-root` prints, kept beside the environments


class GitHub:
    """The workflows of this repository."""

    def proved(self, store: str, subject: Subject, type: str) -> list[Statement]:
        """Return what they say of the subject, of a type; raises ContractError where they say nothing.

        GitHub is asked, or, where the store holds what was downloaded, nobody.
        """
        with tempfile.TemporaryDirectory() as home:
            ran = subprocess.run(
                command(Path(home), store, subject, type), stdout=subprocess.PIPE, stderr=sys.stderr, check=False
            )
        if ran.returncode:
            mend = "gh says why above; see docs/deploy.md"
            raise ContractError("attestation", f"no workflow on {BRANCH} stands behind {subject}", mend)
        return [Statement.of(each["verificationResult"]["statement"]) for each in json.loads(ran.stdout)]


def command(home: Path, store: str, subject: Subject, type: str) -> list[str]:
    """Return the command that proves a subject; what it reads is put into `home`, a folder that goes again."""
    name = repository()
    words = ["gh", "attestation", "verify", _artifact(home, subject), "--repo", name, "--predicate-type", type]
    words += ["--cert-identity-regex", _signers(IMAGES if subject.file is None else BUNDLES), "--source-ref", BRANCH]
    kept = files.join(store, "attestations", subject.sha256)
    if downloaded := [each for each in files.names(kept) if each.endswith(DOWNLOADED)]:
        (home / DOWNLOADED).write_bytes(files.read(files.join(kept, downloaded[0])))
        words += ["--bundle", str(home / DOWNLOADED)]
    roots = Path(settings().path(settings().release.folder)) / ROOTS
    return [*words, *(["--custom-trusted-root", str(roots)] if roots.exists() else []), "--format", "json"]


def _signers(workflows: str) -> str:
    """Return who may have signed, as certificates name workflows; gh's own option for workflows takes one alone."""
    home = re.escape(f"{server()}/{repository()}/.github/workflows/")
    return rf"^{home}{workflows}\.yml@{BRANCH}$"


def _artifact(home: Path, subject: Subject) -> str:
    """Return how gh calls the subject: an image, or the file whose SHA-256 it is."""
    if subject.file is None:
        return f"oci://{subject.name}@sha256:{subject.sha256}"
    (home / subject.name).write_bytes(subject.file)
    return str(home / subject.name)
