"""Finds weights: in a run, a file, a folder of exported weights, or a repository on the Hugging Face Hub.

A repository on the Hub is written ``hf://user/name``. Only access to the Hub needs the package ``huggingface_hub``.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from frih.common.errors import UserError, need
from frih.common.paths import at_home
from frih.models.checkpoint import find_checkpoint
from frih.models.weights import SHARED_NAME


def locate(name: str | Path, which: str = "last") -> Path:
    """The file meant by ``hf://user/name``, by a run, by a folder to be shared, or by a checkpoint.

    Raises:
        UserError: there is none.
    """
    path = Path(at_home(str(name)))
    scheme, _, repository = str(path).partition("/")  # paths make one slash of two
    if scheme == "hf:":
        return download(repository)
    return find_checkpoint(path, which)


def download(name: str) -> Path:
    """The weights of a repository on the Hub, ``user/name`` or ``user/name@revision``.

    What was downloaded before is found without a network.

    Raises:
        UserError: there is no such repository, it holds no such weights, or the Hub cannot be reached.
    """
    repository, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UserError(f"{name or 'hf://'}: names no repository on the Hub; write user/name, or user/name@revision")
    try:
        return Path(open_hub().hf_hub_download(repository, SHARED_NAME, revision=revision or None, library_name="frih"))
    except UserError:
        raise
    except Exception as error:  # its own, and those of the network libraries below it
        raise UserError(f"{name}: no {SHARED_NAME} to be had from the Hub: {first_line(error)}") from None


def open_hub() -> Any:
    """The package ``huggingface_hub``."""
    need("huggingface_hub", extra="hub")
    return import_module("huggingface_hub")


def first_line(error: Exception) -> str:
    """The first line of an error."""
    return next(filter(None, str(error).splitlines()), type(error).__name__)
