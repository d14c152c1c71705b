"""How near a step comes to the device's limits: its bytes and multiply-adds, and how fast the device moves and multiplies."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from frih.common.distributed import set_tf32
from frih.tools.machine.device import Device
from frih.tools.machine.fast import worker
from frih.tools.machine.record import NO_TIME, Record, Row, skipped
from frih.tools.machine.setting import PRECISIONS, Setting


def rates(setting: Setting) -> Iterator[Row]:
    """Bytes a second of a large copy, read plus written; multiply-adds a second of a large matrix product."""
    gpu = setting.device.is_gpu
    size, side = large(setting.device)
    seconds = copying(setting.device, size)
    yield {"name": "bandwidth", "status": "measured", "bytes_per_second": 2 * size / seconds, "bytes": 2 * size}
    for precision in setting.precisions():
        name = f"matrix rate, {precision}"
        if not gpu and precision == "fp16":
            yield skipped(name, "measured on GPUs only")
            continue
        rate = side**3 / multiplying(setting.device, side, precision)
        found = {"precision": precision, "side": side, "multiply_adds_per_second": rate}
        yield {"name": name, "status": "measured", **found}


def large(device: Device) -> tuple[int, int]:
    """Bytes of a large copy, and the side of a large matrix."""
    return (2**30, 8192) if device.is_gpu else (2**27, 1024)


def copying(device: Device, size: int) -> float:
    """Seconds to copy so many bytes."""
    source = torch.zeros(size, dtype=torch.uint8, device=device.device)
    target = torch.empty_like(source)
    return device.seconds(lambda: target.copy_(source), most=50)


def multiplying(device: Device, side: int, precision: str) -> float:
    """Seconds to multiply two square matrices."""
    set_tf32(PRECISIONS[precision].tf32)
    a, b = (torch.randn(side, side, device=device.device).to(PRECISIONS[precision].dtype) for _ in range(2))
    return device.seconds(lambda: a @ b, most=50)


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes and multiply-adds of each operator that PyTorch runs, uncompiled.

    Each operator reads and writes its tensors once. Views move nothing, and a value repeated by stride 0 counts once. A kernel
    that reads its input twice moves more; one that finds it in a cache moves less. Multiply-adds are those of convolutions and
    matrix products, as PyTorch's own counter knows them. The device's two rates are for :attr:`seconds`.
    """

    def __init__(self, bytes_per_second: float = 1.0, multiply_adds_per_second: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rates = bytes_per_second, multiply_adds_per_second
        self.bytes = self.multiply_adds = self.operators = 0
        self.seconds = 0.0
        """The time that the rates allow: the sum over operators of the longer of two times."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator and counts it."""
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry:
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        out = self.run(func, args, kwargs)
        if not _is_view(func):
            moved = sum(map(held, tree_leaves((args, kwargs, out, _written(func, args)))))
            products = flop_registry[packet](*args, **kwargs, out_val=out) // 2 if packet in flop_registry else 0
            self.bytes += moved
            self.multiply_adds += products
            self.operators += 1
            allowed = max(moved / self.rates[0], products / self.rates[1])
            self.seconds += allowed
            self.note(packet.__name__, moved, products, allowed)
        return out

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Runs an operator."""
        return func(*args, **kwargs)

    def note(self, name: str, moved: int, products: int, allowed: float) -> None:
        """Hears of each operator's bytes, multiply-adds and allowed seconds, after :meth:`run`."""


def held(value: Any) -> int:
    """Bytes of a tensor's different values; 0 for anything else."""
    if not isinstance(value, Tensor):
        return 0
    count = 1
    for size, stride in zip(value.shape, value.stride(), strict=True):
        count *= size if stride or not size else 1
    return count * value.element_size()


def _written(func: Any, args: Any) -> list[Any]:
    """The arguments that an operator without a result changes."""
    if func._schema.returns:
        return []
    changed = (one.alias_info is not None and one.alias_info.is_write for one in func._schema.arguments)
    return [value for value, written in zip(args, changed, strict=False) if written]


def _is_view(func: Any) -> bool:
    """Whether an operator only views its input or reserves memory."""
    name = func._overloadpacket.__name__
    returns = func._schema.returns
    aliases = bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)
    return aliases or name.startswith(("empty", "new_empty", "_unsafe_view", "lift_fresh", "_local_scalar_dense"))


def count(work: Callable[[], object], bytes_per_second: float = 1.0, multiply_adds_per_second: float = 1.0) -> Counter:
    """Does a piece of work once and counts it."""
    counter = Counter(bytes_per_second, multiply_adds_per_second)
    with counter:
        work()
    return counter


def limits(setting: Setting, record: Record) -> Iterator[Row]:
    """The fastest batch of each network, mode and precision, against the time that the rates allow."""
    known = {row["name"]: row for row in record.rows("rates") if row["status"] == "measured"}
    if "bandwidth" not in known:
        yield skipped("what the device allows", "its bandwidth is not known")
        return
    bandwidth = known["bandwidth"]["bytes_per_second"]
    for row in fastest(record):
        rate = known.get(f"matrix rate, {row['precision']}")
        if rate is None or record.left(0.95) < 0:
            yield skipped(row["name"], "its matrix rate is not known" if rate is None else NO_TIME)
        else:
            yield limit(setting, row, bandwidth, rate["multiply_adds_per_second"])


def limit(setting: Setting, row: Row, bandwidth: float, rate: float) -> Row:
    """One network in one mode and precision, counted at the batch at which it was timed."""
    config = setting.recipe(row["network"], row["precision"], batch=1, lr=1e-5)
    trainer = setting.trainer(config, f"limit-{row['name']}")
    # not inference_mode, which hides the operators inside others
    work = worker(trainer, row["mode"], [setting.batch(row["batch"])], torch.no_grad)
    work()  # what is computed once
    counter = count(work, bandwidth, rate)
    return {
        "name": row["name"],
        "status": "measured",
        **{key: row[key] for key in ("network", "mode", "precision", "batch")},
        "bytes": counter.bytes,
        "multiply_adds": counter.multiply_adds,
        "operators": counter.operators,
        "seconds": row["seconds"],
        "seconds_by_bandwidth": counter.bytes / bandwidth,
        "seconds_by_matrix_rate": counter.multiply_adds / rate,
        "seconds_allowed": counter.seconds,
        "ratio": row["seconds"] / counter.seconds,
    }


def fastest(record: Record) -> list[Row]:
    """The row with the highest rate of each network, mode and precision."""
    best: dict[tuple[str, str, str], Row] = {}
    for row in record.rows("fast"):
        if row["status"] == "measured" and not row["compiled"]:
            key = row["network"], row["mode"], row["precision"]
            best[key] = max(best.get(key, row), row, key=lambda one: one["images_per_second"])
    return list(best.values())
