"""The refusal of a file of weights that no network can be built from, and what to take instead."""

import re
from pathlib import Path

from frih.common.errors import UserError

SUFFIX = ".safetensors"
"""Of files of weights alone."""


def damaged(path: Path, why: str = "") -> UserError:
    """The error for a file that is damaged, with what is wrong in it, if that is known."""
    kind = "safetensors file" if path.suffix == SUFFIX else "checkpoint of FRIH"
    return UserError(f"{path}: is damaged, incomplete or no {kind}; take {another(path)}{f' ({why})' if why else ''}")


def another(path: Path) -> str:
    """Which checkpoint to take instead."""
    step = _step(path)
    before = [one for at, one in by_step(path.parent).items() if step is None or at < step]
    return f"the one before it, {before[0]}" if before else "another"


def by_step(folder: Path) -> dict[int, Path]:
    """The checkpoints ``step-00001000.pt`` in a folder, by their step, the highest first.

    Not by their time: clocks are set back, and copies have other times.
    """
    steps = ((_step(path), path) for path in folder.glob("step-*.pt") if path.is_file())
    return dict(sorted(((step, path) for step, path in steps if step is not None), reverse=True))


def _step(path: Path) -> int | None:
    match = re.fullmatch(r"step-(\d+)\.pt", path.name)
    return int(match[1]) if match else None
