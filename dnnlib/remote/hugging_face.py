"""Repositories of the Hugging Face hub: addresses, downloads, uploads; errors of the hub as one sentence.

Only this file imports `huggingface_hub`, and only when a repository is used.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError

SCHEME = "hf://"
SUFFIX = ".safetensors"
CANONICAL = f"network{SUFFIX}"  # name of the network in a hub
EXAMPLE = f"{SCHEME}owner/name"
_NAME = r"[A-Za-z0-9][\w.-]*"


@dataclass(frozen=True)
class HubAddress:
    """A repository with an optional revision (branch, tag or commit) and an optional file."""

    repository: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}" + (f"@{self.revision}" if self.revision else "")


def parse(text: str) -> HubAddress:
    """Parse `hf://owner/name[@revision][/file]`; raise UserError for anything else.

    A revision whose name has a slash cannot be written this way.
    """
    match = re.fullmatch(rf"{SCHEME}({_NAME}/{_NAME})(?:@([\w.-]+))?(?:/(.+))?", text)
    if match is None or {"", ".", ".."} & set((match[3] or "file").split("/")):
        raise UserError(f"{text} names no repository of the hub; write {EXAMPLE}, or {EXAMPLE}@revision/file{SUFFIX}")
    return HubAddress(repository=match[1], revision=match[2], file=match[3])


def network_file(address: HubAddress) -> Path:
    """Return the local path of a network, downloaded unless the hub's cache has it.

    An address without a file means the only network of the repository; raises UserError when it has none or several.
    """
    return download(address, address.file or _only_network(address))


def is_logged_in() -> bool | None:
    """Return whether the hub would know who asks, from what is stored here; None where huggingface_hub is missing."""
    try:
        import huggingface_hub
    except ImportError:
        return None
    return huggingface_hub.get_token() is not None


def list_files(address: HubAddress) -> list[str]:
    """Return the names of all files of a repository, sorted."""
    with _hub(address) as api:
        return sorted(api.list_repo_files(address.repository, revision=address.revision))


def download(address: HubAddress, file: str) -> Path:
    """Return the local path of one file, downloaded unless the hub's cache has it."""
    with _hub(address) as api:
        return Path(api.hf_hub_download(address.repository, file, revision=address.revision))


def upload(address: HubAddress, folder: str | os.PathLike, private: bool, message: str) -> None:
    """Add all files of a folder to a repository in one commit; create the repository if it is missing.

    Args:
        address: address of the repository; its revision, where given, is the branch.
        folder: folder whose files go to the repository's root.
        private: whether a new repository is private.
        message: message of the commit.
    """
    with _hub(address) as api:
        api.create_repo(address.repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=address.repository, folder_path=folder, revision=address.revision, commit_message=message
        )


def _only_network(address: HubAddress) -> str:
    """Return the name of the only network in a repository."""
    names = [name for name in list_files(address) if name.endswith(SUFFIX)]
    if len(names) == 1:
        return names[0]
    if not names:
        raise UserError(f"{address} has no {SUFFIX} file; name another repository")
    raise UserError(f"{address} has several networks; choose one: {', '.join(f'{address}/{name}' for name in names)}")


@contextlib.contextmanager
def _hub(address: HubAddress) -> Iterator[Any]:
    """Yield the hub's interface; its errors become UserErrors."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise UserError(f"{address} needs the package huggingface_hub; pip install -r requirements.txt") from error
    huggingface_hub.logging.set_verbosity_error()  # it warns before each new attempt
    try:
        yield huggingface_hub.HfApi()
    except errors.LocalTokenNotFoundError as error:
        raise UserError(f"{address} needs a token, and there is none; run `hf auth login` or set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{address} has no revision {address.revision}; choose another, or leave it out") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{address} is not there, or is private and the token does not open it; check the name, then the token "
            "(`hf auth login` or HF_TOKEN)"
        ) from error
    except errors.HfHubHTTPError as error:
        raise _refused(address, error) from error
    except (errors.LocalEntryNotFoundError, errors.HTTPError) as error:  # neither an answer nor a copy in the cache
        raise UserError(f"cannot reach the hub for {address}; check the network connection") from error
    except errors.HFValidationError as error:
        raise UserError(f"{address} names no repository of the hub; write {EXAMPLE}") from error


def _refused(address: HubAddress, error: Any) -> UserError:
    """Return the error for an HTTP answer of the hub that is no success."""
    status = getattr(error.response, "status_code", None)
    if status == 404:
        return UserError(f"{address} does not have the file that was asked for; look at its list of files")
    if status in (401, 403):
        return UserError(
            f"the hub does not allow this for {address} (HTTP {status}); give a token that may, by `hf auth login` or "
            "HF_TOKEN"
        )
    return UserError(f"the hub refuses {address} (HTTP {status}); try again later")
