"""Cache of compiled kernels on disk: an entry is complete and belongs to its source, or it does not exist."""

import hashlib
import json
import logging
from pathlib import Path

from dnnlib.cache import cache_folder, private_folder
from dnnlib.errors import UserError
from dnnlib.files import replace_file
from dnnlib.limits import KERNEL_BYTES
from dnnlib.reading import read_bytes

_DIGEST_BYTES = hashlib.sha256().digest_size


def folder() -> Path:
    """Return the folder of the cache."""
    return cache_folder("kernels")


def entry_path(name: str, source: str, options: list[str], compiler: str) -> Path:
    """Return the path of the entry for a source, compiled with these options by this version of the compiler."""
    key = hashlib.sha256(json.dumps([source, options, compiler]).encode()).hexdigest()
    return folder() / f"{name}-{key[:40]}.kernel"


def read_entry(path: Path) -> bytes | None:
    """Return the code of an entry; None when it is missing or damaged."""
    try:
        private_folder(path.parent)  # code of another user would run
        content = read_bytes(path, KERNEL_BYTES)
    except UserError:
        return None
    digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def write_entry(path: Path, code: bytes) -> None:
    """Write the code in one step; on failure the next process compiles again."""
    try:
        private_folder(path.parent)
        with replace_file(path) as temporary:
            temporary.write_bytes(hashlib.sha256(code).digest() + code)
    except (OSError, UserError) as error:
        logging.info("compiled kernels are not kept: %s", error)
