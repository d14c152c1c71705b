"""Checkpoints: written atomically, and read without running any code in them."""

import io
import json
import os
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from frih import __version__
from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.config import CheckpointConfig, Config
from frih.models.build import build_model, shapes
from frih.models.checks import Step, check_weights
from frih.models.damaged import SUFFIX, another, by_step, damaged
from frih.models.network import Network
from frih.models.weights import SHARED_NAME, read_weights

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
_LONGEST = 1 << 20
"""Most characters of a configuration; the usual ones have 3,000."""


class Stored(BaseModel):
    """A part of a checkpoint, as it must be. Whatever else it holds is not looked at."""

    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True)


Part = TypeVar("Part", bound=BaseModel)


class _Training(Stored):
    step: Step = 0
    steps: Step = 0


class _Content(Stored):
    """A checkpoint; the trainer checks its own state (:mod:`frih.training.state`)."""

    format: Literal["frih-1"]
    config: str
    model: dict[str, Tensor]
    average: dict[str, Tensor] = {}
    training: _Training
    versions: dict[str, str]


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
        """The checkpoints that were ``last.pt``, the newest first; then those of a future that was given up."""
        found, newest = by_step(self.folder), self.newest
        return [found[step] for step in sorted(found, key=lambda step: newest is not None and step >= newest)]

    def go_back_to(self, path: Path, step: int) -> None:
        """Makes the one that the run goes on from, at a step, ``last.pt``; what was that is not kept if it is another."""
        last = self.folder / "last.pt"
        if path.absolute() != last.absolute():
            _link(path, last)
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
        raise UserError(f"{path}: {'is no file' if path.exists() else 'no such checkpoint'}")
    if path.suffix == SUFFIX:
        return read_weights(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are no checkpoints
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a damaged or hostile file makes the unpickler raise
        raise damaged(path) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: is not a checkpoint of this version of FRIH (no format {FORMAT!r} in it)")
    validate(_Content, content, path)
    return content


def validate(kind: type[Part], content: object, path: Path, above: str = "") -> Part:
    """A part of a checkpoint, checked.

    Args:
        kind: what it must be.
        content: what it is.
        path: the checkpoint, for messages.
        above: the part's own name.

    Raises:
        UserError: naming what is missing or wrong.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part)[:80] for part in (*filter(None, [above]), *first["loc"]))
        raise damaged(path, f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


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
    try:
        expected = shapes(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if expected is not None:  # before memory is taken for what the configuration only claims
        check_weights(weights(content), expected, path)
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
    if len(text) > _LONGEST:
        raise damaged(path, f"its configuration has {len(text)} characters")
    try:
        return Config.model_validate_json(_modern(text, path))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
        keys = [".".join(str(part)[:80] for part in detail["loc"]) for detail in unknown or details]
        named = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        if unknown:
            what = f"was made by another version of frih, whose keys {named} this one ({__version__}) does not know"
            raise UserError(f"{path}: {what}") from None
        raise UserError(
            f"{path}: is damaged (its configuration "
            f"{f'has no valid value of {named}' if any(keys) else 'is no JSON'}); take {another(path)}"
        ) from None


def _modern(text: str, path: Path) -> str:
    """A stored configuration without retired keys. Each must have had the value that is now the only one."""
    try:
        tree = json.loads(text)
        for (section, key), only in _RETIRED.items():
            keys = tree.get(section)
            value = keys.pop(key, only) if isinstance(keys, dict) else only
            if only is not _ANY and value != only:
                raise UserError(
                    f"{path}: was trained with {section}.{key}={json.dumps(value)}, a key that no longer exists"
                )
        return json.dumps(tree)
    except (ValueError, TypeError, AttributeError, RecursionError):
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
    check_weights(weights, {name: one for name, one in own.items() if name.partition(".")[0] not in kept}, path)
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
        raise UserError(
            f"{run_or_file}: {'is neither' if run_or_file.exists() else 'no such'} run folder or checkpoint"
        )
    if (run_or_file / SHARED_NAME).is_file() and not path.parent.is_dir():
        return run_or_file / SHARED_NAME
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is no file; take {another(path)}")
    if not path.is_file():
        found = sorted(one.stem for one in path.parent.glob("*.pt"))
        raise UserError(f"{path}: no such checkpoint" + (f"; the run has {', '.join(found)}" if found else " yet"))
    return path


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
