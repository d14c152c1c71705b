"""The trainer's state in a checkpoint, checked before a run goes on from it.

A missing entry, a step of -3 or moments of another shape would end in an error far away, or in another run without a word.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from frih.models.checkpoint import Stored, validate
from frih.models.checks import Step, is_plain
from frih.models.damaged import damaged
from frih.training.meter import Meter


def read_state(found: Mapping[str, Any], path: Path) -> "State":
    """A stored state, of which nothing is missing or of another kind.

    Raises:
        UserError: naming what is.
    """
    return validate(State, found, path, "training")


def check_state(
    state: "State",
    meter: Meter,
    parameters: Sequence[nn.Parameter],
    images: int,
    fp16: bool,
    last: int,
    path: Path,
    *,
    partly: bool = False,
) -> None:
    """Checks that a state can be that of a run on the same images.

    Args:
        state: what was stored.
        meter: of the run.
        parameters: of its network, in the optimizer's order.
        images: with which it trains.
        fp16: whether it trains in float16.
        last: the last step of the stored run.
        path: the checkpoint, for messages.
        partly: whether some trained parameters may have had no gradient yet, so that the optimizer has nothing of them. Before
            the first step it has nothing of any.

    Raises:
        UserError: naming what cannot be.
    """
    sums, moments = state.meter.sums, state.optimizer.state
    trained = {index for index, parameter in enumerate(parameters) if parameter.requires_grad}
    faults = {
        "step": state.step > last,
        "validated": state.validated > state.step,
        "best": state.validated == 0 and state.best != -math.inf,
        "skips": not state.skips[1] <= state.skips[0] <= state.step,
        "meter.names": state.meter.names != list(meter.names),
        "meter.sums": sums.shape[1:] != (len(meter.sums) + len(meter.histogram),) or not len(sums),
        "costs": state.costs is not None and (state.costs.shape != (2, images, 2) or bool((state.costs < 0).any())),
        "optimizer.state": not set(moments) <= trained or (bool(moments) and not partly and set(moments) != trained),
        "scaler.scale": not fp16 and state.scaler.scale != 1.0,
    }
    if not faults["optimizer.state"]:
        faults |= {
            f"optimizer.state.{index}": not one.fits(parameters[index], state.step) for index, one in moments.items()
        }
    for name, fault in faults.items():
        if fault:
            raise damaged(path, f"training.{name} cannot be")


def _finite(value: Tensor) -> Tensor:
    if not (is_plain(value) and value.is_floating_point() and value.isfinite().all()):
        raise ValueError("must hold finite floating-point numbers")
    return value


def _psnr(value: float) -> float:
    if not (value == -math.inf or abs(value) < 200):  # nor NaN
        raise ValueError("must be a PSNR, or minus infinity for none")
    return value


Finite = Annotated[Tensor, AfterValidator(_finite)]


class _Moments(Stored):
    """Adam's, of one parameter."""

    step: Finite
    exp_avg: Finite
    exp_avg_sq: Finite

    def fits(self, parameter: nn.Parameter, steps: int) -> bool:
        """Whether they can be those of a parameter after so many steps."""
        shapes = self.exp_avg.shape == self.exp_avg_sq.shape == parameter.shape and self.step.shape == ()
        # 0: fused Adam makes them in a step that is then left out
        return shapes and 0 <= self.step.item() <= steps and bool((self.exp_avg_sq >= 0).all())


class _Optimizer(Stored):
    state: dict[int, _Moments]


class _Scaler(Stored):
    scale: Annotated[PositiveFloat, Field(allow_inf_nan=False)]
    growth: Annotated[NonNegativeInt, Field(alias="_growth_tracker")]


class _Meter(Stored):
    names: list[str]
    sums: Finite


class State(Stored):
    """What :meth:`frih.training.trainer.Trainer.state_dict` makes. The rest of it follows from the configuration."""

    step: Step
    validated: Step
    best: Annotated[float, AfterValidator(_psnr)]
    skips: Annotated[list[NonNegativeInt], Field(min_length=2, max_length=2)]
    meter: _Meter
    costs: Finite | None = None
    optimizer: _Optimizer
    scaler: _Scaler
    data: str
