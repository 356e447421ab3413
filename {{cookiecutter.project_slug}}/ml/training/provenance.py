"""Where a bundle comes from: commit or tree, data, locks; nothing that two equal trainings would say differently."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ml.revision import CODE, commit
from ml.settings import ROOT


def provenance(records: Path) -> dict[str, str | None]:
    """Return hashes of data, locks and code, and the project's own commit where it has one."""
    return {
        "commit": commit(),
        "tree": _hash(_files(CODE)),
        "locks": _hash(_files(("requirements",))),
        "data": hash_of(records),
    }


def hash_of(records: Path) -> str:
    """Return what names the data: the hash of the file that holds it."""
    return hashlib.sha256(records.read_bytes()).hexdigest()


def _files(names: Iterable[str]) -> list[Path]:
    found = [ROOT / name for name in names]
    inside = [file for folder in found if folder.is_dir() for file in folder.rglob("*") if file.is_file()]
    plain = [file for file in found if file.is_file()]
    return sorted(file for file in inside + plain if "__pycache__" not in file.parts)


def _hash(files: Iterable[Path]) -> str:
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(ROOT)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
