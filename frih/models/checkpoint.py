"""Checkpoints: written atomically, and read without running any code in them."""

import io
import json
import os
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from frih import __version__
from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.config import CheckpointConfig, Config
from frih.models.build import build_model
from frih.models.network import Network
from frih.models.weights import SHARED_NAME, SUFFIX, read_weights

FORMAT = "frih-1"
"""Identifies the content of a checkpoint: ``format``, ``config`` (JSON), ``model`` (a state dict), ``versions``, and to resume
``training``, the trainer's state. With ``train.ema`` there are also the averaged weights, ``average``."""
_ANY = object()
_RETIRED = {
    ("model", "refine_blend"): False,
    ("train", "fused"): _ANY,
    ("train", "max_skips"): _ANY,
    ("validation", "pictures"): _ANY,
}
"""Keys of earlier versions and the value they must have had; any value if the key changed no result."""
_NEEDED = {"config": str, "model": dict, "training": dict, "versions": dict}


class Checkpoints:
    """The checkpoints of a run: ``last.pt``, those kept before it, and ``best.pt``.

    Each is written under a temporary name, flushed to the disk and renamed. So ``last.pt`` is always complete.

    Args:
        folder: is made when the first is written.
        config: which are kept.
    """

    def __init__(self, folder: Path, config: CheckpointConfig) -> None:
        self.folder, self.config = folder, config
        self.newest: int | None = None
        """The step of ``last.pt``, once this run has written it or gone on from it."""
        self.written = time.monotonic()

    def age(self) -> float:
        """Seconds since the last writing."""
        return time.monotonic() - self.written

    def save(self, content: Mapping[str, Any], step: int, epoch: int | None, *, best: bool = False) -> None:
        """Writes one as ``last.pt``, or as ``best.pt``.

        Args:
            content: as :func:`pack_checkpoint` makes it.
            step: how far the run has come.
            epoch: the epoch that ends with this step, if one does.
            best: whether it is only for ``best.pt``.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if best:
            write_checkpoint(self.folder / "best.pt", content)
            return
        last = self.folder / "last.pt"
        if self.config.keep > 1 and self.newest not in (None, step) and last.exists():
            _link(last, self.folder / f"step-{self.newest:08d}.pt")
        write_checkpoint(last, content)
        self.newest, self.written = step, time.monotonic()
        if epoch and self.config.keep_epochs and epoch % self.config.keep_epochs == 0:
            _link(last, self.folder / f"epoch-{epoch:04d}.pt")
        for old in self.before()[self.config.keep - 1 :]:
            old.unlink(missing_ok=True)

    def before(self) -> list[Path]:
        """The checkpoints that were ``last.pt``, the newest first."""
        return sorted(self.folder.glob("step-*.pt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def go_back_to(self, path: Path, step: int) -> None:
        """Makes the one that the run goes on from, at a step, ``last.pt``; what was that is not kept if it is another."""
        last = self.folder / "last.pt"
        if path.absolute() != last.absolute():
            _link(path, last)
            os.utime(last)  # newer than those of the future that is given up
        self.newest = step


def save_checkpoint(path: Path, config: Config, model: Network, training: Mapping[str, Any]) -> None:
    """Writes a checkpoint; see :func:`write_checkpoint`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, pack_checkpoint(config, model, training))


def pack_checkpoint(
    config: Config, model: Network, training: Mapping[str, Any], average: Network | None = None
) -> dict[str, Any]:
    """The content of a checkpoint.

    Args:
        config: by which the model is rebuilt.
        model: the network.
        training: the trainer's own state.
        average: the network of averaged weights, if there is one.
    """
    return {
        "format": FORMAT,
        "config": config.model_dump_json(),
        "model": model.state_dict(),
        **({"average": average.state_dict()} if average else {}),
        "training": dict(training),
        "versions": {"frih": __version__, "torch": str(torch.__version__)},
    }


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint under a temporary name, flushes it to the disk and renames it. A crash leaves the old one intact.

    Raises:
        OSError: the disk is full, or refuses.
    """
    memory = io.BytesIO()  # torch would report a full disk by an error of its own
    torch.save(dict(content), memory)
    write_whole(path, memory.getbuffer(), durable=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of this project onto the CPU, or weights alone (:func:`frih.models.weights.read_weights`).

    Raises:
        UserError: the file is missing, damaged, or another program's.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    if path.suffix == SUFFIX:
        return read_weights(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are no checkpoints
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a damaged or hostile file makes the unpickler raise
        raise UserError(f"{path}: is damaged, incomplete or no checkpoint of FRIH; take {_another(path)}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: is not a checkpoint of this version of FRIH (no format {FORMAT!r} in it)")
    lacking = [key for key, kind in _NEEDED.items() if not isinstance(content.get(key), kind)]
    if lacking:
        raise UserError(f"{path}: is an incomplete checkpoint of FRIH (without {', '.join(lacking)}); take another")
    odd = [name for name, value in weights(content).items() if not isinstance(value, Tensor)]
    if odd:
        raise UserError(f"{path}: is a damaged checkpoint of FRIH ({odd[0]} is no tensor); take {_another(path)}")
    return content


def load_model(path: Path) -> tuple[Network, Config]:
    """Rebuilds a trained model, in evaluation mode on the CPU, from its checkpoint and the configuration within.

    Raises:
        UserError: as :func:`load_checkpoint` and :func:`rebuild_model`.
    """
    return rebuild_model(load_checkpoint(path), path)


def rebuild_model(content: Mapping[str, Any], path: Path) -> tuple[Network, Config]:
    """:func:`load_model` from what :func:`load_checkpoint` has read from ``path``.

    Raises:
        UserError: its configuration is of another version, or its weights are not those of the model that this describes.
    """
    config = read_config(content["config"], path)
    model = build_model(config)
    load_weights(model, weights(content), path)
    return model.eval(), config


def weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights to work with: the averaged ones, if the run has them."""
    found: dict[str, Tensor] = content.get("average", content["model"])
    return found


def read_config(text: str, path: Path) -> Config:
    """The configuration within a checkpoint.

    Raises:
        UserError: it is of another version.
    """
    try:
        return Config.model_validate_json(_modern(text, path))
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, detail["loc"])) for detail in error.errors())
        what = f"was made by another version of frih, whose keys {keys} this one ({__version__}) does not know"
        raise UserError(
            f"{path}: {what if keys else 'is damaged (its configuration is no JSON); take another'}"
        ) from None


def _modern(text: str, path: Path) -> str:
    """A stored configuration without retired keys. Each must have had the value that is now the only one."""
    try:
        tree = json.loads(text)
        for (section, key), only in _RETIRED.items():
            value = tree.get(section, {}).pop(key, only)
            if only is not _ANY and value != only:
                raise UserError(
                    f"{path}: was trained with {section}.{key}={json.dumps(value)}, a key that no longer exists"
                )
        return json.dumps(tree)
    except (ValueError, TypeError, AttributeError):
        return text  # and validation says what is wrong


def load_weights(model: Network, weights: Mapping[str, Tensor], path: Path, *, partly: bool = False) -> list[str]:
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
    """The checkpoint meant by a run folder (``last`` or ``best``), by a folder of exported weights, or by the file itself.

    Raises:
        UserError: there is none.
    """
    if run_or_file.is_file():
        return run_or_file
    path = run_or_file / "checkpoints" / f"{which}.pt"
    if not run_or_file.is_dir():
        raise UserError(f"{run_or_file}: no such run folder or checkpoint")
    if (run_or_file / SHARED_NAME).is_file() and not path.parent.is_dir():
        return run_or_file / SHARED_NAME
    if not path.is_file():
        found = sorted(one.stem for one in path.parent.glob("*.pt"))
        raise UserError(f"{path}: no such checkpoint" + (f"; the run has {', '.join(found)}" if found else " yet"))
    return path


def _another(path: Path) -> str:
    """Which checkpoint to take instead of a damaged one."""
    before = max(path.parent.glob("step-*.pt"), key=lambda one: one.stat().st_mtime_ns, default=None)
    return "another" if before is None or before == path else f"the one before it, {before}"


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name, or where the file system knows no such thing, copies it."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        shutil.copy2(source, part)
    part.replace(target)
    part.unlink(missing_ok=True)  # two names of one file: then renaming does nothing
