"""Read and write files below a directory or an object-store URL (s3://, gs://, ...), one way for all.

A file appears whole or not at all: locally by writing beside it and renaming, in an object store because a
put is atomic there.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from ml.errors import ContractError

WRITING = ".writing-"  # how a file begins that is not whole yet; one that a crash left is never listed


def forget(kind: str) -> None:
    """Let go of connections to stores of a kind, as s3: the next one is made by what the variables say then."""
    fsspec.get_filesystem_class(kind).clear_instance_cache()


def join(url: str, *parts: str) -> str:
    """Return the URL of a file below `url`."""
    return "/".join([url.rstrip("/"), *parts])


@contextlib.contextmanager
def _opened(url: str, doing: str) -> Iterator[tuple[Any, str]]:
    """Yield the file system and the path of `url`; every other failure than an absent file is a ContractError.

    Stores have errors of their own, few of which are OSErrors: no driver, no credentials, no answer.
    """
    try:
        system, path = fsspec.core.url_to_fs(url)
        system.invalidate_cache()  # other processes write, too
        yield system, path
    except FileNotFoundError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        broken = f"{url} cannot be {doing}: {reason.rstrip('.')}"
        raise ContractError("store", broken, "See [store] and [data] url in project.toml") from error


def read(url: str) -> bytes:
    """Return the bytes of one file; raises FileNotFoundError when it is not there, ContractError when unreadable."""
    with _opened(url, "read") as (system, path):
        return bytes(system.cat_file(path))


def opened(url: str) -> BinaryIO:
    """Return one file, open to be read from any place in it; raises as `read` does."""
    with _opened(url, "read") as (system, path):
        return cast(BinaryIO, system.open(path, "rb"))


def state(url: str) -> str:
    """Return what names a file's content as its store knows it: another after every write; raises as `read` does."""
    with _opened(url, "read") as (system, path):
        return str(system.ukey(path))


def states(url: str) -> dict[str, str]:
    """Return for each file below `url` what names its content as its store knows it; none where nothing is there."""
    try:
        with _opened(url, "listed") as (system, path):
            found = system.find(path, detail=True)
    except FileNotFoundError:
        return {}
    said = {name: fsspec.utils.tokenize(sorted(told.items())) for name, told in found.items()}
    return {name.removeprefix(path).lstrip("/"): state for name, state in sorted(said.items()) if WRITING not in name}


def names(url: str) -> list[str]:
    """Return the names of the files and folders directly below `url`, sorted; none where nothing is there."""
    try:
        with _opened(url, "listed") as (system, path):
            found = [name.rstrip("/").rpartition("/")[2] for name in system.ls(path, detail=False)]
    except FileNotFoundError:
        return []
    return sorted(name for name in found if not name.startswith(WRITING))


def write(url: str, content: bytes) -> None:
    """Put one file, whole or not at all; raises ContractError when the store cannot be written."""
    with _opened(url, "written") as (system, path):
        try:
            if "file" in system.protocol:
                _write_here(Path(path), content)
            else:
                system.pipe_file(path, content)
        except FileNotFoundError as error:  # no bucket
            raise OSError(error.errno, error.strerror or str(error)) from error


def remove(url: str) -> None:
    """Remove one file; one that is not there already is fine."""
    try:
        with _opened(url, "removed") as (system, path):
            system.rm_file(path)
    except FileNotFoundError:
        pass


def clear(url: str) -> None:
    """Remove a folder with all that is in it; one that is not there, as an empty one of an object store, is fine."""
    try:
        with _opened(url, "removed") as (system, path):
            system.rm(path, recursive=True)
    except FileNotFoundError:
        pass


def create(url: str, content: bytes) -> bool:
    """Put one file unless there is one, which stays; says whether it was put. Of several who try, one succeeds."""
    with _opened(url, "written") as (system, path):
        try:
            if "file" in system.protocol:
                _write_here(Path(path), content, anew=True)
            else:
                system.pipe_file(path, content, mode="create")
        except Exception:
            system.invalidate_cache()
            if system.exists(path):  # object stores have an error of their own for a broken condition
                return False
            raise
    return True


def _write_here(path: Path, content: bytes, anew: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=WRITING)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(beside).chmod(0o644)
        if anew:
            os.link(beside, path)  # unlike a rename, it refuses to take a file's place
            Path(beside).unlink()
        else:
            Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


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


@contextlib.contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder's lock; raises ContractError when another process does.

    The operating system frees it when the process ends, however it ends.
    """
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ContractError(what, f"another {what} is running on this store", "Wait until it has ended") from None
        yield
