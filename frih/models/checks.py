"""Whether weights are those of a model, and such that images can come of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from frih.common.errors import UserError
from frih.models.damaged import another

Step = Annotated[int, Field(ge=0, lt=2**53)]
"""A number of training steps."""


def check_weights(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> None:
    """Checks that weights are those of a model, and that no value of them gives images without meaning.

    Args:
        weights: a state dict.
        own: the model's own, perhaps without memory.
        path: where they come from, for messages.

    Raises:
        UserError: a name or a shape does not fit; a tensor holds integers in place of floating-point numbers, or complex
            ones; a value is not finite; a variance is negative.
    """
    missing = [name for name in own if name not in weights]
    surplus = [name for name in weights if name not in own]
    misshapen = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    for what, names in (
        ("lacks", missing),
        ("has, and the model has not,", surplus),
        ("has in another shape", misshapen),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"{path}: is a checkpoint of another model: it {what} {names[0][:80]}{more}")
    for name, value in weights.items():
        fault = _fault(value, own[name].dtype)
        if not fault and name.endswith("running_var") and (value < 0).any():
            fault = "variances that are negative"
        if fault:
            raise UserError(f"{path}: holds {fault}, in {name}; take {another(path)}")


def _fault(value: Tensor, dtype: torch.dtype) -> str | None:
    """What is wrong with a tensor that is to become one of another type, if anything is."""
    if not is_plain(value):
        return "a tensor without its values"
    if kind(value.dtype) != kind(dtype):
        return f"{str(value.dtype).removeprefix('torch.')} where weights are {str(dtype).removeprefix('torch.')}"
    if not value.to(dtype).isfinite().all():
        return "weights that are not finite (NaN or infinite)"
    return None


def is_plain(value: Tensor) -> bool:
    """Whether a tensor is an ordinary one, with memory for each of its elements."""
    return (
        value.device.type == "cpu"
        and value.layout is torch.strided
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def kind(dtype: torch.dtype) -> str:
    """``floating``, ``integer``, or the type's own name if it can stand for neither."""
    name = str(dtype).removeprefix("torch.")
    if dtype.is_complex or dtype is torch.bool or name.startswith("float4"):
        return name
    return "floating" if dtype.is_floating_point else "integer"
