"""Checkpoints: written whole or not at all, read without running any code they might hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from frih import __version__
from frih.config import Config
from frih.errors import UserError
from frih.files import whole_file
from frih.models import FRIH, build_model

FORMAT = "frih-1"
"""Names what a checkpoint holds: ``format``, ``config`` (JSON), ``model`` (a state dict), ``versions``; for going on with a run
also ``training``, the trainer's own state."""


def save_checkpoint(path: Path, config: Config, model: FRIH, training: Mapping[str, Any]) -> None:
    """Writes a checkpoint under a temporary name, waits for the disk, and renames: a crash leaves the old one whole."""
    content = {
        "format": FORMAT,
        "config": config.model_dump_json(),
        "model": model.state_dict(),
        "training": dict(training),
        "versions": {"frih": __version__, "torch": str(torch.__version__)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, durable=True) as file:
        torch.save(content, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of this project onto the CPU.

    Raises:
        UserError: the file is missing, damaged, or another program's.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a damaged or hostile file makes the unpickler raise
        raise UserError(f"{path}: is damaged, incomplete or no checkpoint of FRIH; take another") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: is not a checkpoint of this version of FRIH (no format {FORMAT!r} in it)")
    lacking = [key for key in ("config", "model", "training", "versions") if key not in content]
    if lacking:
        raise UserError(f"{path}: is an incomplete checkpoint of FRIH (without {', '.join(lacking)}); take another")
    return content


def load_model(path: Path) -> tuple[FRIH, Config]:
    """Rebuilds a trained model, in evaluation mode on the CPU, from its checkpoint and the configuration within.

    Raises:
        UserError: as :func:`load_checkpoint` and :func:`rebuild_model`.
    """
    return rebuild_model(load_checkpoint(path), path)


def rebuild_model(content: Mapping[str, Any], path: Path) -> tuple[FRIH, Config]:
    """:func:`load_model` from what :func:`load_checkpoint` has read from ``path``.

    Raises:
        UserError: its configuration is of another version, or its weights are not those of the model that this describes.
    """
    try:
        config = Config.model_validate_json(content["config"])
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, detail["loc"])) for detail in error.errors())
        made_by = content["versions"]["frih"]
        raise UserError(f"{path}: was made by frih {made_by}, whose keys {keys} this version does not know") from None
    model = build_model(config)
    load_weights(model, content["model"], path)
    return model.eval(), config


def load_weights(model: FRIH, weights: Mapping[str, Tensor], path: Path, *, partly: bool = False) -> list[str]:
    """Loads weights into a model.

    Args:
        model: changed in place.
        weights: a state dict.
        path: where it comes from, for messages.
        partly: let the model keep its own values for whole parts (base, cascade, head) that the weights lack.

    Returns:
        The parts that kept their own values.

    Raises:
        UserError: a name or a shape does not fit.
    """
    own = model.state_dict()
    absent = {part for part, _ in model.named_children()} - {name.partition(".")[0] for name in weights}
    kept = sorted(absent) if partly else []
    missing = [name for name in own if name not in weights and name.partition(".")[0] not in kept]
    surplus = [name for name in weights if name not in own]
    misshapen = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    for what, names in (
        ("lacks", missing),
        ("has, and the model has not,", surplus),
        ("has in another shape", misshapen),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"{path}: is a checkpoint of another model: it {what} {names[0]}{more}")
    model.load_state_dict({**own, **weights})
    return kept


def find_checkpoint(run_or_file: Path, which: str = "last") -> Path:
    """The checkpoint meant by a run folder (``last`` or ``best``) or by the file itself.

    Raises:
        UserError: there is none.
    """
    if run_or_file.is_file():
        return run_or_file
    path = run_or_file / "checkpoints" / f"{which}.pt"
    if not run_or_file.is_dir():
        raise UserError(f"{run_or_file}: no such run folder or checkpoint")
    if not path.is_file():
        found = sorted(one.stem for one in path.parent.glob("*.pt"))
        raise UserError(f"{path}: no such checkpoint" + (f"; the run has {', '.join(found)}" if found else " yet"))
    return path
