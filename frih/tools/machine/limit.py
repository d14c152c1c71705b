"""How near a step comes to what the device could do: its bytes and multiply-adds, and how fast it moves and multiplies."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from frih.tools.machine.device import Device
from frih.tools.machine.fast import precisions_of, worker
from frih.tools.machine.record import NO_TIME, Record, Row, Task, skipped
from frih.tools.machine.setting import PRECISIONS, Setting, set_tf32
from frih.training.trainer import PRECISIONS as DTYPES


def tasks(setting: Setting, record: Record) -> list[Task]:
    """The device's rates, then what they allow."""
    return [
        Task("rates", "bandwidth and matrix rate", lambda: rates(setting), 0.95),
        Task("limit", "what the device allows", lambda: limits(setting, record), 0.95),
    ]


def rates(setting: Setting) -> Iterator[Row]:
    """Bytes a second of a large copy, read plus written; multiply-adds a second of a large matrix product."""
    gpu = setting.device.is_gpu
    size = 2**30 if gpu else 2**27
    seconds = copying(setting.device, size)
    yield {"name": "bandwidth", "status": "measured", "bytes_per_second": 2 * size / seconds, "bytes": 2 * size}
    side = 8192 if gpu else 1024
    for precision in precisions_of(setting, "FRIH"):
        if not gpu and precision == "fp16":
            yield skipped("matrix rate, fp16", "of GPUs alone")
            continue
        seconds = multiplying(setting.device, side, precision)
        yield {
            "name": f"matrix rate, {precision}",
            "status": "measured",
            "precision": precision,
            "side": side,
            "multiply_adds_per_second": side**3 / seconds,
        }


def copying(device: Device, size: int) -> float:
    """Seconds to copy so many bytes on the device."""
    source = torch.zeros(size, dtype=torch.uint8, device=device.device)
    target = torch.empty_like(source)
    return device.seconds(lambda: target.copy_(source), most=50)


def multiplying(device: Device, side: int, precision: str) -> float:
    """Seconds to multiply two square matrices."""
    set_tf32(PRECISIONS[precision].tf32)
    a, b = (torch.randn(side, side, device=device.device).to(DTYPES[PRECISIONS[precision].precision]) for _ in range(2))
    return device.seconds(lambda: a @ b, most=50)


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what operators read, write and multiply, one by one as PyTorch runs them uncompiled.

    Bytes: of each operator's tensors, read once and written once; views move nothing, and a value that is repeated by stride 0
    counts once. A kernel that reads its input twice moves more, one that finds it in the cache less. Multiply-adds: those that
    PyTorch's own counter knows, of convolutions and matrix products.

    Args:
        bytes_per_second: the device's, for :attr:`seconds`.
        multiply_adds_per_second: the same.
    """

    def __init__(self, bytes_per_second: float = 1.0, multiply_adds_per_second: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rates = bytes_per_second, multiply_adds_per_second
        self.bytes = self.multiply_adds = self.operators = 0
        self.seconds = 0.0
        """What the rates allow, each operator taking the longer of its two times."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator, and counts it."""
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry:
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        out = func(*args, **kwargs)
        if not _is_view(func):
            moved = sum(map(held, tree_leaves((args, kwargs, out, _written(func, args)))))
            products = flop_registry[packet](*args, **kwargs, out_val=out) // 2 if packet in flop_registry else 0
            self.bytes += moved
            self.multiply_adds += products
            self.operators += 1
            self.seconds += max(moved / self.rates[0], products / self.rates[1])
        return out


def held(value: Any) -> int:
    """Bytes of a tensor's different values; 0 of anything else."""
    if not isinstance(value, Tensor):
        return 0
    count = 1
    for size, stride in zip(value.shape, value.stride(), strict=True):
        count *= size if stride or not size else 1
    return count * value.element_size()


def _written(func: Any, args: Any) -> list[Any]:
    """What an operator without a result writes: the arguments that it changes."""
    if func._schema.returns:
        return []
    changed = (one.alias_info is not None and one.alias_info.is_write for one in func._schema.arguments)
    return [value for value, written in zip(args, changed, strict=False) if written]


def _is_view(func: Any) -> bool:
    """Whether an operator only looks at its input in another way, or only reserves memory."""
    name = func._overloadpacket.__name__
    returns = func._schema.returns
    aliases = bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)
    return aliases or name.startswith(("empty", "new_empty", "_unsafe_view", "lift_fresh", "_local_scalar_dense"))


def count(work: Callable[[], object], bytes_per_second: float = 1.0, multiply_adds_per_second: float = 1.0) -> Counter:
    """Counts a piece of work, which is done once."""
    counter = Counter(bytes_per_second, multiply_adds_per_second)
    with counter:
        work()
    return counter


def limits(setting: Setting, record: Record) -> Iterator[Row]:
    """What was measured of each network and precision at its fastest batch, against what the rates allow."""
    known = {row["name"]: row for row in record.rows("rates") if row["status"] == "measured"}
    if "bandwidth" not in known:
        yield skipped("what the device allows", "its bandwidth is not known")
        return
    for row in fastest(record):
        rate = known.get(f"matrix rate, {row['precision']}")
        if rate is None or record.left(0.95) < 0:
            yield skipped(row["name"], "its matrix rate is not known" if rate is None else NO_TIME)
            continue
        yield limit(setting, row, known["bandwidth"]["bytes_per_second"], rate["multiply_adds_per_second"])


def limit(setting: Setting, row: Mapping[str, Any], bandwidth: float, rate: float) -> Row:
    """One network in one precision and mode, counted at the batch at which it was timed."""
    config = setting.recipe(row["network"], row["precision"], batch=1, lr=1e-5)
    trainer = setting.trainer(config, f"limit-{row['name']}")
    batch = setting.batch(row["batch"])
    work = worker(setting, trainer, row["mode"], [batch])
    if row["mode"] == "inference":  # inference mode would hide what composite operators are made of
        work = _without_gradient(trainer, batch)
    work()  # what is made once
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


def _without_gradient(trainer: Any, batch: Any) -> Callable[[], None]:
    def work() -> None:
        with torch.no_grad(), trainer._autocast():
            trainer.network(batch.composite, batch.mask, batch.labels)

    return work


def fastest(record: Record) -> list[Mapping[str, Any]]:
    """Of each network, mode and precision the row of the highest rate."""
    best: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for row in record.rows("fast"):
        if row["status"] == "measured" and not row["compiled"]:
            key = row["network"], row["mode"], row["precision"]
            if key not in best or row["images_per_second"] > best[key]["images_per_second"]:
                best[key] = row
    return list(best.values())
