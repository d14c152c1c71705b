"""Training: the loop, its state, and what makes a run resume where it stopped."""

import math
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from frih.checkpoint import find_checkpoint, load_checkpoint, load_weights, save_checkpoint
from frih.config import Config, SubmaskConfig
from frih.data.iharmony4 import Listing, read_split, split_validation
from frih.data.loader import Batch, GlobalBatches, Pictures, training_loader
from frih.distributed import World
from frih.drawing import picture_sheet
from frih.errors import UserError
from frih.evaluation import draw_stages, evaluate_model, evenly
from frih.losses import Losses, harmonization_loss
from frih.models import build_model
from frih.report import METRICS, summarize
from frih.settings import load_config, to_yaml, with_overrides
from frih.tracking import Tracker

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MAY_CHANGE = (
    "data.root",
    "data.workers",
    "train.device",
    "evaluation.batch",
    "logging.every",
    "logging.checkpoint_every",
)
"""Keys that may differ from the start of a run to its continuation: where and how it runs, not what it computes."""


class Trainer:
    """One run: the model, its optimizer, the pictures, and how far it has come.

    Args:
        config: the resolved recipe.
        world: this process's place in the run.
        run: the run's folder; :func:`start_run` and :func:`resume_run` make trainers from folders.
    """

    def __init__(self, config: Config, world: World, run: Path) -> None:
        self.config, self.world, self.run = config, world, run
        listing = read_split(config.data.root, "train", config.data.subsets)
        if world.is_main:
            print(listing.describe())
        training, validation = datasets(listing, config)
        self.order = GlobalBatches(len(training), config.train.batch, seed=config.seed, world=world)
        self.loader = training_loader(training, self.order, config.data.workers, pin=world.device.type == "cuda")
        self.validation = validation
        self.shown = validation if len(validation) else training
        self.network = build_model(config)
        self.model = world.wrap(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, betas=config.train.betas)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=config.train.precision == "fp16")
        self.step = 0
        self.best = -math.inf
        self.sums = torch.zeros(5, device=world.device)
        """Of losses, gradient norm and submasks, since the last line logged."""
        self.tracker: Tracker | None = None

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.train.epochs * len(self.order)

    def fit(self) -> bool:
        """Trains from where the run stands to its end.

        Returns:
            Whether the end was reached; False if a signal (Ctrl-C, SIGTERM) asked to stop, the state then being saved.

        Raises:
            UserError: a picture cannot be read, or a loss is not finite.
        """
        self.tracker = Tracker(self.run, self.step) if self.world.is_main else None
        try:
            with stop_requests() as stop, self._progress() as progress:
                self._fit(stop, progress)
        finally:
            if self.tracker:
                self.tracker.close()
        return self.step == self.steps

    def _fit(self, stop: threading.Event, progress: "tqdm[Any]") -> None:
        """The loop: to the end, or to the step in which a stop was requested."""
        epoch_steps, validation_every = len(self.order), self.config.validation.every
        while self.step < self.steps:
            self.order.seek(*divmod(self.step, epoch_steps))
            for packed in self.loader:
                losses = self.train_step(packed.unpack(self.world.device))
                self._log(losses, progress)
                stopping = self.world.any(stop.is_set())
                epoch, within = divmod(self.step, epoch_steps)
                if within == 0 and (epoch % validation_every == 0 or self.step == self.steps):
                    self.validate()
                if within == 0 or stopping or self.step % self.config.logging.checkpoint_every == 0:
                    self.save("last")
                if stopping:
                    return

    def train_step(self, batch: Batch) -> Losses:
        """One update of the weights by this process's part of a batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        precision = PRECISIONS[self.config.train.precision]
        with torch.autocast(self.world.device.type, precision, enabled=precision != torch.float32):
            out = self.model(batch.composite, batch.mask, batch.labels)
        losses = harmonization_loss(
            out,
            batch.real,
            batch.mask,
            batch.labels,
            min_area=self.config.loss.min_area,
            refine=self.config.model.cascade,
        )
        self._refuse_nonfinite(losses.total, batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(losses.total.mean()).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        norm = clip_grad_norm_(self.network.parameters(), self.config.train.clip_norm or math.inf)
        if not (self.scaler.is_enabled() or norm.isfinite()):
            raise UserError(
                f"step {self.step + 1}: the gradient is not finite though every loss is; train with a lower train.lr, "
                "with train.clip_norm, or in train.precision=fp32"
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        pairs = batch.labels.flatten(1).amax(dim=1).float().mean()
        self.sums += torch.stack([*(part.detach().mean() for part in losses), norm, pairs])
        return losses

    def learning_rate(self) -> float:
        """The rate of the step to come: tenfold less after each milestone, rising linearly over the warm-up."""
        train = self.config.train
        fallen = sum(self.step >= milestone * len(self.order) for milestone in train.milestones)
        warm = min(1.0, (self.step + 1) / train.warmup_steps) if train.warmup_steps else 1.0
        return self.config.learning_rate * 0.1**fallen * warm

    def validate(self) -> None:
        """Evaluates on the pictures held out, logs it, and keeps the weights if they are the best so far."""
        if self.tracker:
            self._draw(self.tracker)
        if not len(self.validation):
            return
        rows = evaluate_model(
            self.network,
            self.validation,
            protocol=self.config.evaluation.protocol,
            batch=self.config.evaluation.batch,
            workers=self.config.data.workers,
            world=self.world,
            ssim=False,
        )
        subsets = summarize(rows, self.config.evaluation.protocol)["subsets"]
        if self.tracker:
            cells = subsets.items()
            metrics = {f"val/{name}/{key}": cell[key] for name, cell in cells for key in METRICS if key in cell}
            self.tracker.log(metrics, self.step)
            figures = ", ".join(f"{key} {subsets['All'][key]:.2f}" for key in METRICS if key in subsets["All"])
            tqdm.write(f"step {self.step}, validation: {figures}")
        if subsets["All"]["psnr"] > self.best:
            self.best = subsets["All"]["psnr"]
            self.save("best")

    def save(self, name: str) -> None:
        """Writes ``checkpoints/<name>.pt``."""
        self.sums = self.world.mean(self.sums)  # the state is that of all processes
        if self.world.is_main:
            save_checkpoint(self.run / "checkpoints" / f"{name}.pt", self.config, self.network, self.state_dict())
        self.world.barrier()

    def load_initial_weights(self) -> None:
        """Starts from the weights of ``train.init_from``, if that is set."""
        if self.config.train.init_from is None:
            return
        path = find_checkpoint(Path(self.config.train.init_from))
        anew = load_weights(self.network, load_checkpoint(path)["model"], path, partly=True)
        if self.world.is_main:
            print(f"weights of {path}" + (f"; it has none for {', '.join(anew)}, which start anew" if anew else ""))

    def load(self, path: Path) -> None:
        """Goes back to where a checkpoint was written."""
        content = load_checkpoint(path)
        load_weights(self.network, content["model"], path)
        self.load_state_dict(content["training"])

    def state_dict(self) -> dict[str, Any]:
        """What else than the weights it takes to go on: all randomness follows from the seed and the step."""
        return {
            "step": self.step,
            "best": self.best,
            "sums": self.sums,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to a saved state."""
        self.step, self.best = state["step"], state["best"]
        self.sums = state["sums"].to(self.world.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _refuse_nonfinite(self, losses: Tensor, batch: Batch) -> None:
        bad = (~losses.isfinite()).nonzero().flatten().tolist()
        if bad:
            names = ", ".join(f"{batch.subset[i]}/{batch.name[i]}" for i in bad[:4])
            more = f" and {len(bad) - 4} more" if len(bad) > 4 else ""
            raise UserError(
                f"step {self.step + 1}: the loss of {names}{more} is {losses[bad[0]].item()}; look at these pictures, "
                "or train with a lower train.lr, train.clip_norm or train.warmup_steps"
            )

    def _log(self, losses: Losses, progress: "tqdm[Any]") -> None:
        """Shows every step's loss, and writes the means over each ``logging.every`` steps."""
        progress.update()
        if self.world.is_main:
            progress.set_postfix(loss=f"{losses.total.mean().item():.4f}", refresh=False)
        every = self.config.logging.every
        if self.step % every and self.step != self.steps:
            return
        taken = (self.step - 1) % every + 1
        means = (self.world.mean(self.sums) / taken).tolist()
        self.sums.zero_()
        if self.tracker:
            names = ("loss", "loss_coarse", "loss_refine", "grad_norm", "submasks")
            metrics = {f"train/{name}": value for name, value in zip(names, means, strict=True)}
            self.tracker.log({**metrics, "train/lr": self.optimizer.param_groups[0]["lr"]}, self.step)

    def _progress(self) -> "tqdm[Any]":
        return tqdm(
            total=self.steps, initial=self.step, desc=str(self.run), unit="step", disable=not self.world.is_main
        )

    def _draw(self, tracker: Tracker) -> None:
        """Shows the same few pictures each time: held out ones if there are any."""
        indices = evenly(len(self.shown), self.config.validation.pictures)
        rows = draw_stages(self.network, self.shown, indices, self.world.device)
        for index, row in zip(indices, rows, strict=True):
            item = self.shown.items[index]
            tracker.picture(f"{item.subset}/{Path(item.composite_name).stem}", picture_sheet([row]), self.step)


def datasets(listing: Listing, config: Config) -> tuple[Pictures, Pictures]:
    """The training pictures and those held out for validation."""
    parts = split_validation(listing.items, config.validation.fraction, config.seed)
    # without a cascade nothing reads the submasks, so nothing clusters
    submasks = config.submasks if config.model.cascade else SubmaskConfig(method="whole")
    training, validation = (Pictures(part, config.data, submasks, config.seed) for part in parts)
    return training, validation


def start_run(config: Config, world: World) -> Trainer:
    """Makes the folder of a new run and its trainer.

    Raises:
        UserError: the folder already holds a run.
    """
    run = Path(config.run or "runs/frih")
    if (run / "config.yaml").exists():
        raise UserError(f"{run}: already holds a run; go on with it by --resume {run}, or give another by run=FOLDER")
    trainer = Trainer(config, world, run)
    trainer.load_initial_weights()
    world.barrier()  # nobody may still be looking whether there is a run
    if world.is_main:
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    return trainer


def resume_run(config: Config, world: World, run: Path) -> Trainer:
    """Takes a run up from its last checkpoint, or from its start if it has none yet.

    Raises:
        UserError: the checkpoint is damaged.
    """
    trainer = Trainer(config, world, run)
    if (run / "checkpoints" / "last.pt").exists():
        trainer.load(find_checkpoint(run))
    else:
        trainer.load_initial_weights()
    return trainer


def resumed_config(run: Path, overrides: Sequence[str]) -> Config:
    """The configuration with which a run goes on.

    Args:
        run: its folder.
        overrides: ``key=value``, of the keys in :data:`MAY_CHANGE`.

    Raises:
        UserError: no run is there, or an override would make it another run.
    """
    if not (run / "config.yaml").is_file():
        raise UserError(f"{run}: holds no run (no config.yaml); start one by: python train.py RECIPE run={run}")
    return with_overrides(load_config(run / "config.yaml"), overrides, only=MAY_CHANGE)


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C or SIGTERM into a request, which sets the event; a second one stops at once."""
    stop = threading.Event()

    def request(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    before = {int(number): signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
