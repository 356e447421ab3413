"""Read and write files below a directory or an object-store URL (s3://, gs://, ...), one way for all.

A file appears whole or not at all: locally by writing beside it and renaming, in an object store because a
put is atomic there.
"""

import os
import tempfile
from pathlib import Path

import fsspec

from ml.errors import ContractError


def join(url: str, *parts: str) -> str:
    """Return the URL of a file below `url`."""
    return "/".join([url.rstrip("/"), *parts])


def read(url: str) -> bytes:
    """Return the bytes of one file; raises FileNotFoundError when it is not there."""
    system, path = fsspec.core.url_to_fs(url)
    return bytes(system.cat_file(path))


def exists(url: str) -> bool:
    """Say whether there is a file or folder at `url`."""
    system, path = fsspec.core.url_to_fs(url)
    return bool(system.exists(path))


def names(url: str) -> list[str]:
    """Return the names of the files and folders directly below `url`, sorted; none where nothing is there."""
    system, path = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    try:
        found = system.ls(path, detail=False)
    except FileNotFoundError:
        return []
    return sorted(name.rstrip("/").rpartition("/")[2] for name in found)


def write(url: str, content: bytes) -> None:
    """Put one file, whole or not at all; raises ContractError when the store cannot be written."""
    system, path = fsspec.core.url_to_fs(url)
    try:
        if "file" not in system.protocol:
            system.pipe_file(path, content)
            return
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(dir=folder, prefix=".writing-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(beside).chmod(0o644)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ContractError("store", f"{url} cannot be written: {reason}", "See [store] url in project.toml") from error


def local(url: str, what: str) -> Path:
    """Return `url` as a local folder, made if need be; some writers append, which only a folder allows."""
    if "://" in url:
        raise ContractError("store", f"{what} need a local directory, not {url}", "See [store] url in project.toml")
    folder = Path(url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ContractError(
            "store", f"{url} cannot be written: {error.strerror}", "See [store] url in project.toml"
        ) from error
    if not os.access(folder, os.W_OK):
        raise ContractError("store", f"{url} cannot be written", "See [store] url in project.toml")
    return folder
