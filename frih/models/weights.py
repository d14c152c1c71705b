"""Weights in a safetensors file. It holds only numbers and text, so a file from anyone is safe to read.

The weights have their names in the network. The metadata have one entry, ``frih``, in JSON: ``format`` (:data:`FORMAT`),
``config``, ``step``, ``versions``, ``strength`` and ``limits`` if they were measured (:mod:`frih.models.findings`), and further
remarks of the writer.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from frih import __version__
from frih.common.errors import UserError
from frih.common.files import sha256_of, write_whole
from frih.config import Config
from frih.models.checks import Step, kind
from frih.models.damaged import SUFFIX, damaged
from frih.models.findings import Findings, fault

FORMAT = "weights-1"
"""Identifies the content of such a file."""
SHARED_NAME = f"model{SUFFIX}"
"""The file's name in a shared folder."""
_PLACES = (
    ("", "run"),
    ("data", "root"),
    ("data", "label_cache"),
    ("train", "init_from"),
    ("validation", "list"),
    ("evaluation", "lpips"),
)
"""Keys that name folders and files of the training machine."""


class _About(Findings):
    """What the metadata must hold."""

    config: dict[str, object]
    step: Step
    steps: Step = 0
    versions: dict[str, str]


def describe(content: Mapping[str, Any], config: Config, checkpoint: Path, *, half: bool = False) -> dict[str, Any]:
    """The metadata of an exported file, as JSON.

    Args:
        content: of the checkpoint, with ``findings`` (:func:`frih.models.findings.add_findings`) if they were measured.
        config: of the checkpoint; the names of folders are left out.
        checkpoint: its file.
        half: whether the weights become float16.
    """
    tree = config.model_dump(mode="json")
    for section, key in _PLACES:
        (tree[section] if section else tree)[key] = None
    return {
        "config": tree,
        "step": content["training"].get("step", 0),
        **{key: value for key, value in content["training"].items() if key == "steps"},
        "precision": "float16" if half else "float32",
        "versions": dict(content["versions"]),
        "exported_by": {"frih": __version__, "torch": str(torch.__version__)},
        "source_sha256": sha256_of(checkpoint),
        **content.get("findings", {}),
    }


def write_weights(path: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any], *, half: bool = False) -> None:
    """Writes weights atomically. The same weights give the same bytes.

    Args:
        path: the file, in a folder that exists.
        weights: a state dict.
        about: ``config``, ``step``, ``versions`` and more, for the metadata.
        half: round the kernels, tensors of two and more dimensions, to float16, which halves the file. The others, such as
            running variances, may be too large or too small for it and take little room: they stay as they are.

    Raises:
        UserError: a kernel's value is too large for float16.
    """
    tensors = {name: (_half(value, name) if half else value).contiguous() for name, value in weights.items()}
    # one entry: the library writes several in random order
    write_whole(path, save(tensors, {"frih": json.dumps({**about, "format": FORMAT})}))


def read_weights(path: Path) -> dict[str, Any]:
    """Reads weights in the form of a checkpoint (:func:`frih.models.checkpoint.load_checkpoint`).

    Returns:
        ``config`` (JSON), ``model`` (a state dict, in float32), ``training`` (``step`` and ``steps`` alone), ``versions``, and
        ``findings`` (JSON of :class:`~frih.models.findings.Findings`) if they were measured.

    Raises:
        UserError: the file is damaged or another program's.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get("frih", "null")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except SafetensorError:
        raise damaged(path) from None
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(f"{path}: does not hold weights of this version of FRIH (no {FORMAT!r} in its metadata)")
    try:
        _About.model_validate(about)
    except ValidationError as error:
        wrong = sorted({str(detail["loc"][0]) for detail in error.errors()})
        if {*wrong} <= Findings.model_fields.keys():
            again = "call scripts/limits.py and export again"
            raise UserError(f"{path}: its metadata are damaged ({fault(error)}); {again}") from None
        raise UserError(f"{path}: its metadata lack {', '.join(wrong)}; export it again") from None
    findings = {key: about[key] for key in Findings.model_fields if key in about}
    return {
        "config": json.dumps(about["config"]),
        "model": {name: value.float() if kind(value.dtype) == "floating" else value for name, value in weights.items()},
        "training": {key: about[key] for key in ("step", "steps") if key in about},
        "versions": about["versions"],
        **({"findings": findings} if findings else {}),
    }


def _half(value: Tensor, name: str) -> Tensor:
    if not value.is_floating_point() or value.ndim < 2:
        return value
    rounded = value.half()
    if value.isfinite().all() and not rounded.isfinite().all():
        raise UserError(f"{name}: holds {value.abs().max().item():.6g}, too large for float16; export without --half")
    return rounded
