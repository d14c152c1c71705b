"""Training: the loop, the step, and the state from which a run resumes."""

import json
import math
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from tqdm import tqdm

from frih.common.devices import is_pinnable
from frih.common.distributed import World, set_tf32
from frih.common.drawing import image_sheet
from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.config import Config
from frih.config.recipes import differences, to_yaml
from frih.data.batches import Batch, Packed, pack
from frih.data.dataset import CompositeDataset, Restyling
from frih.data.iharmony4 import Listing
from frih.data.loader import GlobalBatchSampler, training_loader
from frih.evaluation import Evaluation, draw_stages, evenly
from frih.evaluation.layout import MAIN
from frih.evaluation.tables import summarize
from frih.losses import Losses, coarse_loss, harmonization_loss
from frih.metrics import Scoring
from frih.models import Harmonized, Network, build_model
from frih.models.checkpoint import (
    Checkpoints,
    load_checkpoint,
    load_weights,
    pack_checkpoint,
    read_config,
    weights,
)
from frih.models.damaged import damaged
from frih.models.locate import locate
from frih.training.average import Average
from frih.training.balance import Balance
from frih.training.gate import Gate
from frih.training.images import datasets, fingerprint
from frih.training.logger import RunLogger
from frih.training.meter import Meter
from frih.training.nonfinite import NonFinite
from frih.training.profiling import Profile
from frih.training.state import check_state, read_state
from frih.training.stopping import stop_requests
from frih.training.summary import describe_epoch, describe_validation, run_bar

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MAY_CHANGE = (
    "data.root",
    "data.label_cache",
    "data.workers",
    "train.device",
    "train.profile",
    "validation.list",
    "evaluation.batch",
    "logging.every",
    "checkpoint.every_steps",
    "checkpoint.every_minutes",
    "checkpoint.keep",
    "checkpoint.keep_epochs",
)
"""Keys that a resumed run may change: where and how it runs, not what it computes."""
SCHEDULE = ("train.epochs", "train.milestones")
"""Keys that a resumed run may change as far as they say what is still to come."""
LOSSES = ("loss", "loss_coarse", "loss_refine", "loss_unchanged")
"""The last is the coarse loss of the unchanged composite: that of a network that does nothing."""


class Trainer:
    """One run: the network, its optimizer, the images, and the progress.

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
            self.training, self.validation = datasets(listing, config, restyling)
            self.shown = self.validation if len(self.validation) else self.training
            self.order = GlobalBatchSampler(
                len(self.training), train.batch, seed=config.seed, world=world, accumulate=train.accumulate
            )
            self.loader = training_loader(self.training, self.order, config.data.workers, pin=is_pinnable(world.device))

        self.balance = Balance(self.order, self.training.items, world)
        set_tf32(train.tf32)
        self.network = build_model(config)
        if not train.channels_last:
            self.network.to(memory_format=torch.contiguous_format)
        self.model = world.wrap(self.network)
        if train.compile:
            self.model.compile()
        self.average = Average(self.network, train.ema) if train.ema else None
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=config.learning_rate,
            betas=train.betas,
            fused=world.device.type == "cuda",
        )
        # where no scale is needed it is 1, and the scaler does no more than leave out steps that are not finite
        fp16 = train.precision == "fp16"
        self.scaler = torch.amp.GradScaler(world.device.type, init_scale=2.0**16 if fp16 else 1.0)
        parts = {name: list(part.parameters()) for name, part in self.network.named_children()}
        parts["itself"] = list(self.network.parameters(recurse=False))
        self.parts = {name: one for name, one in parts.items() if one}

        self.step = 0
        self.validated = 0
        """The step of the last validation."""
        self.best = -math.inf
        again = partial(_batch_of, self.order, self.training)  # and no method, which would keep the loader alive
        skip = train.on_nonfinite == "skip"
        self.nonfinite = NonFinite(skip, self.network, self.scaler if fp16 else None, world, again)
        self.gate = Gate(self.network)
        norms = ("grad_norm", *(f"grad_norm_{name}" for name in self.parts))
        self.meter = Meter((*LOSSES, *self.gate.names, *norms), config.submasks.most, world)
        self.checkpoints = Checkpoints(run / "checkpoints", config.checkpoint)
        self.profile = Profile(self.network, config.submasks, run / "profile", train.profile, world)
        self.logger: RunLogger | None = None

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.train.epochs * len(self.order)

    @property
    def epoch(self) -> float:
        """Epochs that are done: 2.5 in the middle of the third."""
        return round(self.step / len(self.order), 4)

    @property
    def evaluated(self) -> Network:
        """The network that is validated: the averaged one, if there is one."""
        return self.average.network if self.average else self.network

    def fit(self) -> bool:
        """Trains to the end of the run.

        Returns:
            Whether the end was reached; False after a signal (:mod:`frih.training.stopping`), with the state saved.

        Raises:
            UserError: an image cannot be read, a gradient is not finite, or a checkpoint cannot be written.
        """
        with self.world.together():
            self.logger = RunLogger(self.run, self.step, self.validated) if self.world.is_main else None
        with stop_requests() as stop, run_bar(self) as progress:
            self.meter.restart_clock()
            self._fit(stop, progress)
            self.profile.close()
        return self.validated == self.steps

    def _fit(self, stop: threading.Event, progress: "tqdm[Any]") -> None:
        """The loop: to the end, or to the step in which a stop was requested."""
        saving = self.config.checkpoint
        self._validate_if_due()
        while self.step < self.steps:
            epoch, within = divmod(self.step, len(self.order))
            if within == 0:
                self.balance.begin_epoch()
            self.order.seek(epoch, within)
            for packed in self.meter.waiting(self.loader):
                with self.profile.step(packed, self.meter.last_wait):
                    self.train_step(packed.unpack(self.world.device))
                self._log(progress)
                stopping, overdue = self.world.any(stop.is_set(), self._overdue())
                at_end = self.step % len(self.order) == 0
                if at_end or stopping or overdue or self.step % saving.every_steps == 0:
                    self.save()
                if stopping:
                    return
                self._validate_if_due()

    def _overdue(self) -> bool:
        """Whether the last checkpoint is too old; only the process that writes them knows."""
        minutes = self.config.checkpoint.every_minutes
        return self.world.is_main and minutes is not None and self.checkpoints.age() > 60 * minutes

    def train_step(self, batch: Batch) -> Losses:
        """One update of the weights by this process's part of a batch. Nothing here waits for a GPU."""
        train = self.config.train
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        self.nonfinite.before()
        found: list[tuple[Losses, list[Tensor]]] = []
        parts = batch.parts(train.accumulate)
        for part in parts:
            with self.world.part(self.model, last=len(found) == train.accumulate - 1):
                with self.profile.part("forward"), self.autocast():
                    out = self.model(part.composite, part.mask, part.labels)
                with self.profile.part("loss"):
                    losses = self.losses(out, part)
                with self.profile.part("backward"):
                    self.scaler.scale(losses.total.mean() / train.accumulate).backward()  # type: ignore[no-untyped-call]
            found.append((Losses(*(value.detach() for value in losses)), self.gate.mean(part.mask)))
        with self.profile.part("optimizer"):
            self.scaler.unscale_(self.optimizer)
            norms = torch.stack([get_total_norm(_gradients(part)) for part in self.parts.values()])
            norm = get_total_norm([norms])
            if train.clip_norm:
                clip_grads_with_norm_(self.network.parameters(), train.clip_norm, norm)
            self.scaler.step(self.optimizer)  # leaves out, on the device, what is not finite
            self.scaler.update(None if train.precision == "fp16" else 1.0)
            if self.average:
                self.average.follow(self.network)
                with self.autocast():
                    self.average.watch(self.step, parts)
        self.step += 1
        return self._watch(batch, found, norm, norms)

    def losses(self, out: Harmonized, batch: Batch) -> Losses:
        """The losses of each image."""
        loss = self.config.loss
        return harmonization_loss(
            out,
            batch.real,
            batch.mask,
            batch.labels,
            min_area=loss.min_area,
            equal=loss.equal,
            refine_weight=loss.refine_weight,
            refine=self.network.refines,
        )

    def _watch(self, batch: Batch, found: list[tuple[Losses, list[Tensor]]], norm: Tensor, norms: Tensor) -> Losses:
        """Counts a step for the log: the losses and gates of its parts, the norms of its gradient."""
        parts, gates = zip(*found, strict=True)
        losses = Losses(*(torch.cat(values) for values in zip(*parts, strict=True)))
        counts = self.nonfinite.after(self.step, norm, losses.total, batch.items)
        unchanged = coarse_loss(batch.composite, batch.real, batch.mask, self.config.loss.min_area)
        means = [part.mean() for part in (*losses, unchanged)]
        means += [torch.stack(values).mean() for values in zip(*gates, strict=True)]
        self.balance.add(batch.items, batch.labels)
        submasks = batch.labels.flatten(1).amax(dim=1).long()
        self.meter.add([*means, norm, *norms], submasks, counts)
        return losses

    def autocast(self) -> torch.autocast:
        """The precision of the forward pass."""
        precision = PRECISIONS[self.config.train.precision]
        return torch.autocast(self.world.device.type, precision, enabled=precision != torch.float32)

    def learning_rate(self) -> float:
        """The rate of the next step: it rises linearly over the warm-up and falls tenfold at each milestone."""
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
        """Evaluates the held-out images, logs the result, and keeps the weights if they are the best so far."""
        self.validated = self.step
        if self.logger:
            self._draw(self.logger)
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
        if self.logger:
            cells = subsets.items()
            metrics = {f"val/{name}/{key}": cell[key] for name, cell in cells for key in MAIN if key in cell}
            line = {"epoch": self.epoch, **metrics}
            tqdm.write(describe_validation({"step": self.step, **line}, self.logger.validations))
            self.logger.log(line, self.step)
        if subsets["All"]["psnr"] > self.best:
            self.best = subsets["All"]["psnr"]
            self.save(best=True)

    def save(self, *, best: bool = False) -> None:
        """Writes ``checkpoints/last.pt`` or ``best.pt``. Every process must call it.

        Raises:
            UserError: the disk is full or not writable, or the weights would be of no use; earlier checkpoints are intact.
        """
        self.nonfinite.check(self.autocast())
        state = self.state_dict()
        with self.world.together():
            if self.world.is_main:
                spoilt = [name for name, value in self.network.state_dict().items() if not value.isfinite().all()]
                if spoilt:  # running statistics may be, after a step whose loss and gradient were finite
                    raise UserError(
                        f"{self.run}: {spoilt[0]} is not finite after step {self.step}, so no checkpoint is written; those "
                        "before are whole: begin another run with the weights of one (train.init_from) and a lower train.lr"
                    )
                content = pack_checkpoint(
                    self.config, self.network, state, average=self.evaluated if self.average else None
                )
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
        """Makes the run's folder and its ``config.yaml``."""
        self.run.mkdir(parents=True, exist_ok=True)
        write_whole(self.run / "config.yaml", to_yaml(self.config))

    def load_initial_weights(self) -> str:
        """Starts from the weights of ``train.init_from``, if that is set; returns whose weights there are."""
        if self.config.train.init_from is None:
            return ""
        path = locate(self.config.train.init_from)
        content = load_checkpoint(path)
        try:
            anew = load_weights(self.network, weights(content), path, partly=True)
        except UserError as error:
            raise UserError(f"{error}{self._other_keys(content['config'], path)}") from None
        if self.average:
            self.average.network.load_state_dict(self.network.state_dict())
        return f"with the weights of {path}" + (f", which has none for {', '.join(anew)}" if anew else "")

    def load(self, path: Path) -> None:
        """Restores the state of a checkpoint.

        Raises:
            UserError: the checkpoint is damaged, or was trained on other images or by another configuration.
        """
        content = load_checkpoint(path)
        state = content["training"]
        if "optimizer" not in state:
            raise UserError(
                f"{path}: holds weights alone, so no run goes on from it; begin one: train.init_from={path}"
            )
        trained = read_config(content["config"], path)
        _refuse_changes(path, trained, self.config)
        found = read_state(state, path)
        if found.data != self.fingerprint:
            wanted = self.config.validation.list
            listed = f" or {wanted} (validation.list) does not name those that it held out" if wanted else ""
            raise UserError(
                f"data.root: {self.config.data.root} does not hold the images with which {path} was trained (names or sizes "
                f"of files differ){listed}; give the folder it was trained on, or begin another run with its weights: "
                f"train.init_from={path}"
            )
        fp16, last = trained.train.precision == "fp16", trained.train.epochs * len(self.order)
        partly = trained.model.network != "frih"  # all of FRIH's parameters have a gradient in every step
        parameters, images = list(self.network.parameters()), len(self.training)
        check_state(found, self.meter, parameters, images, fp16, last, path, partly=partly)
        self._refuse_other_past(path, trained, found.step)
        load_weights(self.network, content["model"], path)
        if self.average:
            if "average" not in content:
                raise damaged(path, "average: is missing")
            load_weights(self.evaluated, content["average"], path)
        self.load_state_dict(state)
        if self.world.is_main:
            self.checkpoints.go_back_to(path, self.step)

    def _refuse_other_past(self, path: Path, trained: Config, step: int) -> None:
        """Refuses epochs and milestones by which the steps before this one would have been others."""
        epoch = len(self.order)
        if step > self.steps:
            raise UserError(
                f"train.epochs: {self.config.train.epochs} end at step {self.steps}, but {path} is at step {step}; give "
                f"{math.ceil(step / epoch)} or more, or go back to an earlier checkpoint: --resume CHECKPOINT"
            )
        old, new = (
            [milestone for milestone in one.train.milestones if milestone * epoch < step]
            for one in (trained, self.config)
        )
        if old != new:
            raise UserError(
                f"train.milestones: those before step {step} of {path} were {old}, and may not become {new}; change later "
                "ones, go back to an earlier checkpoint (--resume CHECKPOINT), or begin another run with its weights: "
                f"train.init_from={path}"
            )

    def _other_keys(self, theirs: str, path: Path) -> str:
        """What a recipe has to say for the network of other weights, given their configuration (JSON)."""
        try:
            found = differences(self.config, read_config(theirs, path))
        except UserError:  # of another version; its network could fit all the same
            return ""
        keys = [
            f"{key}={json.dumps(their)} (here {json.dumps(own)})"
            for key, (own, their) in found.items()
            if key.startswith("model.") and key not in ("model.dense", "model.shrink")
        ]
        return f". Its network has {', '.join(keys)}: give the same, or take other weights" if keys else ""

    def state_dict(self) -> dict[str, Any]:
        """Everything besides the weights that a run resumes from; every process must call it.

        Randomness and learning rate follow from the seed and the step, so they are not part of it.
        """
        return {
            "step": self.step,
            "steps": self.steps,
            "validated": self.validated,
            "best": self.best,
            "skips": [self.nonfinite.skips, self.nonfinite.in_a_row],
            "meter": self.meter.state_dict(),
            "costs": self.balance.state(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "data": self.fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a saved state. What follows from the configuration, as Adam's decay rates, is not taken from it."""
        self.step, self.validated, self.best = state["step"], state["validated"], state["best"]
        self.nonfinite.skips, self.nonfinite.in_a_row = state["skips"]
        self.meter.load_state_dict(state["meter"])
        if "costs" in state:  # older checkpoints know none
            self.balance.load(state["costs"])
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state["optimizer"]["state"]})
        scale = {key: state["scaler"][key] for key in ("scale", "_growth_tracker")}
        self.scaler.load_state_dict({**self.scaler.state_dict(), **scale})

    def _log(self, progress: "tqdm[Any]") -> None:
        """Shows and writes the means over each ``logging.every`` steps."""
        progress.set_description_str(describe_epoch(self), refresh=False)
        progress.update()
        if self.step % self.config.logging.every and self.step != self.steps:
            return
        self.nonfinite.check(self.autocast())
        figures = self.meter.read(restart=self.step % self.config.logging.every == 0)  # a run may go on after its end
        progress.set_postfix(loss=f"{figures['train/loss']:.4f}", refresh=False)
        figures["train/lr"] = self.optimizer.param_groups[0]["lr"]
        if self.config.train.on_nonfinite == "skip":
            figures["train/skipped"] = self.nonfinite.skips
        if self.logger:
            self.logger.log({"epoch": self.epoch, **figures}, self.step)
            warning = self.gate.warning(figures, self.step)
            if warning:
                tqdm.write(warning)

    def _draw(self, logger: RunLogger) -> None:
        """Shows the same few images each time, held-out ones if there are any."""
        indices = evenly(len(self.shown), self.config.validation.images)
        rows = draw_stages(self.evaluated, self.shown, indices, self.world.device)
        for index, row in zip(indices, rows, strict=True):
            item = self.shown.items[index]
            sheet = image_sheet([list(row.values())], list(row))
            logger.image(f"{item.subset}/{Path(item.composite_name).stem}", sheet, self.step)


def _batch_of(order: GlobalBatchSampler, training: CompositeDataset, step: int) -> Packed:
    """This process's batch of a step, made again."""
    return pack([training[key] for key in order.batch_of(*divmod(step - 1, len(order)))])


def _gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _refuse_changes(path: Path, trained: Config, config: Config) -> None:
    """Refuses a checkpoint whose configuration differs from the run's in a key that may not change."""
    for key, (old, new) in differences(trained, config).items():
        if key not in (*MAY_CHANGE, *SCHEDULE):
            raise UserError(
                f"{key}: is {new} in the run's config.yaml, but {path} was trained with {old}; put it back, or begin "
                f"another run with its weights: train.init_from={path}"
            )
