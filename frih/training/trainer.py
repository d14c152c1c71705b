"""Training: the loop, its state, and what makes a run go on where it stopped."""

import hashlib
import math
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from tqdm import tqdm

from frih.common.distributed import World
from frih.common.drawing import image_sheet
from frih.common.errors import SharedError, UserError
from frih.common.files import write_whole
from frih.common.progress import progress_bar
from frih.config import Config, SubmaskConfig
from frih.config.recipes import differences, to_yaml
from frih.data.iharmony4 import Listing, split_validation
from frih.data.loader import Batch, CompositeDataset, GlobalBatchSampler, Restyling, training_loader
from frih.evaluation import Evaluation, draw_stages, evenly
from frih.evaluation.layout import MAIN, figure
from frih.evaluation.tables import summarize
from frih.losses import Losses, coarse_loss, harmonization_loss
from frih.metrics import Scoring
from frih.models import FRIH, build_model
from frih.models.checkpoint import (
    Checkpoints,
    find_checkpoint,
    load_checkpoint,
    load_weights,
    pack_checkpoint,
    read_config,
    weights,
)
from frih.training.averaging import EMA
from frih.training.profiling import Profile
from frih.training.stopping import stop_requests
from frih.training.tracking import Tracker
from frih.training.watching import Gate, Meter, first_nonfinite, restore

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MAY_CHANGE = (
    "data.root",
    "data.label_cache",
    "data.workers",
    "train.device",
    "train.profile",
    "evaluation.batch",
    "logging.every",
    "checkpoint.every_steps",
    "checkpoint.every_minutes",
    "checkpoint.keep",
    "checkpoint.keep_epochs",
)
"""Keys that may differ from the start of a run to its continuation: where and how it runs, not what it computes."""
LOSSES = ("loss", "loss_coarse", "loss_refine", "loss_unchanged")
"""The last is the coarse loss of the composite as it is: what a network that does nothing would have."""


class Trainer:
    """One run: the model, its optimizer, the images, and how far it has come.

    Args:
        config: the resolved recipe.
        world: this process's place in the run.
        run: the run's folder; :mod:`frih.training.runs` makes trainers from folders.
        listing: the training split.
        restyling: what makes composites anew for ``data.online``.
    """

    def __init__(
        self, config: Config, world: World, run: Path, listing: Listing, restyling: Restyling | None = None
    ) -> None:
        self.config, self.world, self.run = config, world, run
        train = config.train
        self.fingerprint = fingerprint(listing)
        with world.together():  # all that may fail in one process comes before the processes are joined in `wrap`
            training, self.validation = datasets(listing, config, restyling)
            self.shown = self.validation if len(self.validation) else training
            self.order = GlobalBatchSampler(
                len(training), train.batch, seed=config.seed, world=world, accumulate=train.accumulate
            )
            self.loader = training_loader(training, self.order, config.data.workers, pin=world.device.type == "cuda")

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = train.tf32
        self.network = build_model(config)
        if not train.channels_last:
            self.network.to(memory_format=torch.contiguous_format)
        self.model = world.wrap(self.network)
        if train.compile:
            self.model.compile()
        self.average = EMA(self.network, train.ema) if train.ema else None
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=config.learning_rate, betas=train.betas, fused=train.fused
        )
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=train.precision == "fp16")
        self.parts = {name: list(part.parameters()) for name, part in self.network.named_children()}

        self.step = 0
        self.validated = 0
        """The step of the last validation."""
        self.best = -math.inf
        self.skips = self.skips_in_a_row = 0
        """Steps left out, for their gradient was not finite."""
        self.gate = Gate(self.network.base.output)
        norms = ("grad_norm", *(f"grad_norm_{name}" for name in self.parts))
        self.meter = Meter((*LOSSES, *self.gate.names, *norms), config.submasks.most, world)
        self.checkpoints = Checkpoints(run / "checkpoints", config.checkpoint)
        self.profile = Profile(self.network, config.submasks, run / "profile", train.profile, world)
        self.tracker: Tracker | None = None

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.train.epochs * len(self.order)

    @property
    def evaluated(self) -> FRIH:
        """The network that is validated: the averaged one, if there is one."""
        return self.average.network if self.average else self.network

    def fit(self) -> bool:
        """Trains from where the run stands to its end.

        Returns:
            Whether the end was reached; False if a signal asked to stop (:mod:`frih.training.stopping`), the state being saved.

        Raises:
            UserError: an image cannot be read, a gradient is not finite, or a checkpoint cannot be written.
        """
        self.tracker = Tracker(self.run, self.step, self.validated) if self.world.is_main else None
        try:
            with stop_requests() as stop, self._progress() as progress:
                self.meter.restart_clock()
                self._fit(stop, progress)
                self.profile.close()
        finally:
            if self.tracker:
                self.tracker.close()
        return self.validated == self.steps

    def _fit(self, stop: threading.Event, progress: "tqdm[Any]") -> None:
        """The loop: to the end, or to the step in which a stop was requested."""
        saving = self.config.checkpoint
        self._validate_if_due()
        while self.step < self.steps:
            self.order.seek(*divmod(self.step, len(self.order)))
            for packed in self.meter.waiting(self.loader):
                with self.profile.step(packed, self.meter.last_wait):
                    losses = self.train_step(packed.unpack(self.world.device))
                self._log(losses, progress)
                stopping, overdue = self.world.any(stop.is_set(), self._overdue())
                at_end = self.step % len(self.order) == 0
                if at_end or stopping or overdue or self.step % saving.every_steps == 0:
                    self.save()
                if stopping:
                    return
                self._validate_if_due()

    def _overdue(self) -> bool:
        """Whether the last checkpoint is old; only the process that writes them knows."""
        minutes = self.config.checkpoint.every_minutes
        return self.world.is_main and minutes is not None and self.checkpoints.age() > 60 * minutes

    def train_step(self, batch: Batch) -> Losses:
        """One update of the weights by this process's part of a batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        skipping = self.config.train.on_nonfinite == "skip"
        buffers = [buffer.clone() for buffer in self.network.buffers()] if skipping else []
        self.optimizer.zero_grad(set_to_none=True)
        losses, gates = self._gradient(batch)
        with self.profile.part("optimizer"):
            self.scaler.unscale_(self.optimizer)
            norms = torch.stack([get_total_norm(_gradients(part)) for part in self.parts.values()])
            norm = get_total_norm([norms])
            # the gradient is everyone's mean, so all processes come to the same conclusion
            if norm.isfinite() or self._overflowed(losses, batch):
                self._update(norm)
                unchanged = coarse_loss(batch.composite, batch.real, batch.mask, self.config.loss.min_area)
                self.meter.add(
                    [*(part.mean() for part in (*losses, unchanged)), *gates, norm, *norms], _submasks(batch)
                )
            else:
                self._skip_or_stop(losses, batch)
                restore(self.network.buffers(), buffers)
        self.step += 1
        return losses

    def _gradient(self, batch: Batch) -> tuple[Losses, list[Tensor]]:
        """Forward and backward, part by part of the batch; the parts' gradients add up to that of the mean loss.

        Returns:
            The losses of the images, and the means over the parts of what :class:`Gate` watches.
        """
        count = self.config.train.accumulate
        losses, gates = [], []
        for i, part in enumerate(_split(batch, count)):
            with self.world.part(self.model, last=i == count - 1):
                with self.profile.part("forward"), self._autocast():
                    out = self.model(part.composite, part.mask, part.labels)
                with self.profile.part("loss"):
                    loss = harmonization_loss(
                        out,
                        part.real,
                        part.mask,
                        part.labels,
                        min_area=self.config.loss.min_area,
                        equal=self.config.loss.equal,
                        refine=self.config.model.cascade,
                    )
                with self.profile.part("backward"):
                    self.scaler.scale(loss.total.mean() / count).backward()  # type: ignore[no-untyped-call]
            losses.append(Losses(*(value.detach() for value in loss)))
            gates.append(self.gate.mean(part.mask))
        means = [torch.stack(values).mean() for values in zip(*gates, strict=True)]
        return Losses(*(torch.cat(values) for values in zip(*losses, strict=True))), means

    def _update(self, norm: Tensor) -> None:
        if self.config.train.clip_norm:
            clip_grads_with_norm_(self.network.parameters(), self.config.train.clip_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update(self.network)
        self.skips_in_a_row = 0

    def _skip_or_stop(self, losses: Losses, batch: Batch) -> None:
        """Leaves a step out, or ends the run, for its gradient is not finite."""
        train = self.config.train
        names = self._nonfinite(losses, batch)
        with self._autocast():
            origins = self.world.gather(first_nonfinite(self.network, batch))
        origin = next((one for one in origins if one), "the loss or its gradient")
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        what = f"the loss of {', '.join(names[:4])}{more} is not finite" if names else "the gradient is not finite"
        message = f"step {self.step + 1}: {what}; the first such value is in {origin}"
        self.skips += 1
        self.skips_in_a_row += 1
        if train.on_nonfinite == "stop":
            raise SharedError(
                f"{message}. Look at these images; or train with a lower train.lr, with train.warmup_steps or "
                "train.clip_norm, in train.precision=fp32; or leave such steps out by train.on_nonfinite=skip"
            )
        if self.skips_in_a_row > train.max_skips:
            raise SharedError(
                f"{message}; {self.skips_in_a_row} such steps in a row, and train.max_skips allows {train.max_skips}"
            )
        if self.world.is_main:
            tqdm.write(f"{message}. Left out")
        if self.scaler.is_enabled():
            self.scaler.update()

    def _overflowed(self, losses: Losses, batch: Batch) -> bool:
        """Whether only fp16's scale was too high, which the scaler then lowers; at a scale of 1 or less it was not that."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1 and not self._nonfinite(losses, batch)

    def _nonfinite(self, losses: Losses, batch: Batch) -> list[str]:
        """Images of all processes whose loss is not finite."""
        bad = (~losses.total.isfinite()).nonzero().flatten().tolist()
        names = [f"{batch.subset[i]}/{batch.name[i]}" for i in bad]
        return [name for part in self.world.gather(names) for name in part]

    def _autocast(self) -> torch.autocast:
        precision = PRECISIONS[self.config.train.precision]
        return torch.autocast(self.world.device.type, precision, enabled=precision != torch.float32)

    def learning_rate(self) -> float:
        """The rate of the step to come: tenfold less after each milestone, rising linearly over the warm-up."""
        train = self.config.train
        fallen = sum(self.step >= milestone * len(self.order) for milestone in train.milestones)
        warm = min(1.0, (self.step + 1) / train.warmup_steps) if train.warmup_steps else 1.0
        return self.config.learning_rate * 0.1**fallen * warm

    def _validate_if_due(self) -> None:
        epoch, within = divmod(self.step, len(self.order))
        due = within == 0 and (epoch % self.config.validation.every == 0 or self.step == self.steps)
        if due and self.validated < self.step:
            with self.meter.paused():
                self.validate()
            self.save()

    def validate(self) -> None:
        """Evaluates on the images held out, logs it, and keeps the weights if they are the best so far."""
        self.validated = self.step
        if self.tracker:
            self._draw(self.tracker)
        if not len(self.validation):
            return
        protocol = self.config.evaluation.protocol
        evaluation = Evaluation(
            self.validation,
            Scoring((protocol,), metrics=()),
            self.world,
            batch=self.config.evaluation.batch,
            workers=self.config.data.workers,
        )
        subsets = summarize(evaluation.of_model(self.evaluated)[protocol], protocol)["subsets"]
        if self.tracker:
            cells = subsets.items()
            metrics = {f"val/{name}/{key}": cell[key] for name, cell in cells for key in MAIN if key in cell}
            self.tracker.log(metrics, self.step)
            figures = ", ".join(f"{key} {figure(key, subsets['All'][key])}" for key in MAIN if key in subsets["All"])
            tqdm.write(f"step {self.step}, validation: {figures}")
        if subsets["All"]["psnr"] > self.best:
            self.best = subsets["All"]["psnr"]
            self.save(best=True)

    def save(self, *, best: bool = False) -> None:
        """Writes ``checkpoints/last.pt`` or ``best.pt``. Every process must call it.

        Raises:
            UserError: the disk is full, or refuses; the checkpoints written before are still there.
        """
        state = self.state_dict()
        with self.world.together():
            if self.world.is_main:
                average = self.average.network if self.average else None
                content = pack_checkpoint(self.config, self.network, state, average=average)
                try:
                    self._write(content, best)
                except OSError as error:
                    raise UserError(
                        f"{self.checkpoints.folder}: cannot be written ({error.strerror or error}); the checkpoints before "
                        f"step {self.step} are whole: make room, then go on by --resume {self.run}"
                    ) from None

    def _write(self, content: Mapping[str, Any], best: bool) -> None:
        if not (self.run / "config.yaml").exists():
            tqdm.write(f"{self.run}: was removed while the run goes on; it is made again")
            self.write_config()
        epoch, within = divmod(self.step, len(self.order))
        self.checkpoints.save(content, self.step, epoch if within == 0 else None, best=best)

    def write_config(self) -> None:
        """Makes the run's folder, with its ``config.yaml``."""
        self.run.mkdir(parents=True, exist_ok=True)
        write_whole(self.run / "config.yaml", to_yaml(self.config))

    def load_initial_weights(self) -> None:
        """Starts from the weights of ``train.init_from``, if that is set."""
        if self.config.train.init_from is None:
            return
        path = find_checkpoint(Path(self.config.train.init_from))
        anew = load_weights(self.network, weights(load_checkpoint(path)), path, partly=True)
        if self.average:
            self.average.restart(self.network)
        if self.world.is_main:
            print(f"weights of {path}" + (f"; it has none for {', '.join(anew)}, which start anew" if anew else ""))

    def load(self, path: Path) -> None:
        """Goes back to where a checkpoint was written.

        Raises:
            UserError: the checkpoint is damaged, or was trained on other images or by another configuration.
        """
        content = load_checkpoint(path)
        state = content["training"]
        if "optimizer" not in state:
            raise UserError(
                f"{path}: holds weights alone, so no run goes on from it; begin one: train.init_from={path}"
            )
        _refuse_changes(path, content["config"], self.config)
        if state["data"] != self.fingerprint:
            raise UserError(
                f"data.root: {self.config.data.root} does not hold the images with which {path} was trained (names or sizes "
                "of files differ); give the folder it was trained on, or begin another run with its weights: "
                f"train.init_from={path}"
            )
        load_weights(self.network, content["model"], path)
        if self.average:
            load_weights(self.average.network, content["average"], path)
        self.load_state_dict(state)
        if self.world.is_main:
            self.checkpoints.go_back_to(path, self.step)

    def state_dict(self) -> dict[str, Any]:
        """What it takes to go on, besides the weights; every process must call it.

        All randomness follows from the seed and the step, so there are no generators' states. The learning rate does as well.
        """
        return {
            "step": self.step,
            "validated": self.validated,
            "best": self.best,
            "skips": [self.skips, self.skips_in_a_row],
            "meter": self.meter.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "data": self.fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to a saved state."""
        self.step, self.validated, self.best = state["step"], state["validated"], state["best"]
        self.skips, self.skips_in_a_row = state["skips"]
        self.meter.load_state_dict(state["meter"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _log(self, losses: Losses, progress: "tqdm[Any]") -> None:
        """Shows every step's loss, and writes the means over each ``logging.every`` steps."""
        progress.update()
        if self.world.is_main:
            progress.set_postfix(loss=f"{losses.total.mean().item():.4f}", refresh=False)
        if self.step % self.config.logging.every and self.step != self.steps:
            return
        figures = self.meter.read()
        figures["train/lr"] = self.optimizer.param_groups[0]["lr"]
        if self.config.train.on_nonfinite == "skip":
            figures["train/skipped"] = self.skips
        if self.tracker:
            self.tracker.log(figures, self.step)
            warning = self.gate.warning(figures, self.step)
            if warning:
                tqdm.write(warning)

    def _progress(self) -> "tqdm[Any]":
        return progress_bar(
            total=self.steps, initial=self.step, desc=str(self.run), unit="step", disable=not self.world.is_main
        )

    def _draw(self, tracker: Tracker) -> None:
        """Shows the same few images each time: held out ones if there are any."""
        indices = evenly(len(self.shown), self.config.validation.images)
        rows = draw_stages(self.evaluated, self.shown, indices, self.world.device)
        for index, row in zip(indices, rows, strict=True):
            item = self.shown.items[index]
            tracker.image(f"{item.subset}/{Path(item.composite_name).stem}", image_sheet([row]), self.step)


def datasets(
    listing: Listing, config: Config, restyling: Restyling | None = None
) -> tuple[CompositeDataset, CompositeDataset]:
    """The training images and those held out for validation."""
    parts = split_validation(listing.items, config.validation.fraction, config.seed)
    # without a cascade nothing reads the submasks, so nothing clusters
    submasks = config.submasks if config.model.cascade else SubmaskConfig(method="whole")
    training, validation = parts
    return (
        CompositeDataset(training, config.data, submasks, config.seed, restyling),
        CompositeDataset(validation, config.data, submasks, config.seed),
    )


def fingerprint(listing: Listing) -> str:
    """What tells images from others: the names of all, in order, and the sizes in bytes of up to 1,000 of them."""
    digest = hashlib.sha256()
    for item in listing.items:
        digest.update(f"{item.subset}/{item.composite_name}\n".encode())
    for index in evenly(len(listing.items), 1000):
        item = listing.items[index]
        with suppress(OSError):  # what cannot be read is told when it is
            digest.update(str([path.stat().st_size for path in (item.composite, item.mask, item.real)]).encode())
    return digest.hexdigest()[:16]


def _gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _submasks(batch: Batch) -> Tensor:
    """(B,), K of each image."""
    return batch.labels.flatten(1).amax(dim=1).long()


def _split(batch: Batch, count: int) -> list[Batch]:
    """A batch in equal parts."""
    size = len(batch.name) // count
    parts = [{name: field[i * size : (i + 1) * size] for name, field in batch._asdict().items()} for i in range(count)]
    return [batch._replace(**part) for part in parts]


def _refuse_changes(path: Path, trained: str, config: Config) -> None:
    """Compares a checkpoint's configuration (JSON) with that of the run's folder, but for what may change."""
    changes = differences(read_config(trained, path), config)
    for key, (old, new) in changes.items():
        if key not in MAY_CHANGE:
            raise UserError(
                f"{key}: is {new} in the run's config.yaml, but {path} was trained with {old}; put it back, or begin "
                f"another run with its weights: train.init_from={path}"
            )
