"""Steps whose gradient is not finite: left out by the optimizer, found later, named."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from frih.common.distributed import World
from frih.common.errors import SharedError
from frih.data.batches import Batch, Packed
from frih.data.iharmony4 import Item

MOST_IN_A_ROW = 10
"""With ``train.on_nonfinite=skip``: a run stops after more left-out steps in a row."""


class NonFinite:
    """Watches for steps whose gradient holds NaN or infinity.

    The gradient scaler leaves such a step out on the device. So weights and checkpoints stay finite, and an ordinary step does
    not wait for a GPU. Which steps they were is found in :meth:`check`, at each line of the log and before each checkpoint.

    Args:
        skip: go on after such a step; otherwise :meth:`check` raises.
        network: looked at for where the first such value comes from.
        scaler: of float16; it lowers its scale after an overflow, which is no fault. None in other precisions.
        world: whose processes share the steps.
        batch_of: makes this process's batch of a step again.
    """

    def __init__(
        self,
        skip: bool,
        network: nn.Module,
        scaler: torch.amp.GradScaler | None,
        world: World,
        batch_of: Callable[[int], Packed],
    ) -> None:
        self.skip, self.network, self.scaler, self.world, self.batch_of = skip, network, scaler, world, batch_of
        self.skips = self.in_a_row = 0
        """Steps left out so far, and since the last that was not."""
        self.open: list[tuple[int, Tensor, Tensor, list[Item]]] = []
        self.buffers: list[Tensor] = []

    def before(self) -> None:
        """Keeps the running statistics, which a forward pass with NaN would spoil."""
        self.buffers = [buffer.clone() for buffer in self.network.buffers()] if self.skip else []

    def after(self, step: int, norm: Tensor, losses: Tensor, items: list[Item]) -> Tensor:
        """Takes note of a step.

        Args:
            step: its number, from 1.
            norm: (), of the gradient, the same in every process.
            losses: (B,), of this process's images.
            items: B of them.

        Returns:
            (), bool: whether the step counts.
        """
        counts = norm.isfinite()
        self.open.append((step, norm, losses, items))
        if self.buffers:
            pairs = zip(self.network.buffers(), self.buffers, strict=True)
            restore(self.network.buffers(), (torch.where(counts, now, before) for now, before in pairs))
        return counts

    def check(self, autocast: torch.autocast) -> None:
        """Finds the steps since the last check that were left out. Every process must call it.

        Raises:
            SharedError: there is one, and ``skip`` is off; or there are too many in a row.
        """
        if not self.open:
            return
        steps, self.open = self.open, []
        finite = torch.stack([norm for _, norm, *_ in steps]).isfinite().tolist()
        for (step, _, losses, items), fine in zip(steps, finite, strict=True):
            names = [] if fine else self._names(losses, items)
            if fine:
                self.in_a_row = 0
            elif names or not self._overflowed():
                self._tell(step, names, autocast)

    def _overflowed(self) -> bool:
        """Whether float16's scale was too high. At a scale of 1 or less it was not that."""
        return self.scaler is not None and self.scaler.get_scale() > 1

    def _names(self, losses: Tensor, items: list[Item]) -> list[str]:
        """Images of all processes whose loss is not finite."""
        bad = (~losses.isfinite()).nonzero().flatten().tolist()
        names = [items[i].name for i in bad]
        return [name for part in self.world.gather(names) for name in part]

    def _tell(self, step: int, names: list[str], autocast: torch.autocast) -> None:
        with autocast:
            batch = self.batch_of(step).unpack(self.world.device)
            origins = self.world.gather(first_nonfinite(self.network, batch))
        origin = next((one for one in origins if one), "the loss or its gradient")
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        what = f"the loss of {', '.join(names[:4])}{more} is not finite" if names else "the gradient is not finite"
        message = f"step {step}: {what}; the first such value is in {origin}"
        self.skips += 1
        self.in_a_row += 1
        if not self.skip:
            raise SharedError(
                f"{message}. The step was left out. Look at these images; or train with a lower train.lr, with "
                "train.warmup_steps or train.clip_norm, in train.precision=fp32; or leave such steps out by "
                "train.on_nonfinite=skip"
            )
        if self.in_a_row > MOST_IN_A_ROW:
            raise SharedError(f"{message}; {self.in_a_row} such steps in a row are too many")
        if self.world.is_main:
            tqdm.write(f"{message}. Left out")


def first_nonfinite(network: nn.Module, batch: Batch) -> str | None:
    """Where the first value that is not finite comes from: a weight, or the output of a module, by its name; None: elsewhere.

    Runs the batch through the network once more. Every process must call it, for they share the statistics of batches.
    """
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            return f"the weights {name}"
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not found and not output.isfinite().all():
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(look(name)) for name, module in network.named_modules() if name]
    buffers = [buffer.clone() for buffer in network.buffers()]
    try:
        with torch.no_grad():
            network.forward(batch.composite, batch.mask, batch.labels)  # a compiled call would not see the hooks
    finally:
        for hook in hooks:
            hook.remove()
        restore(network.buffers(), buffers)
    return f"the output of {found[0]}" if found else None


def restore(tensors: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Gives tensors other values, as those they had before."""
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
