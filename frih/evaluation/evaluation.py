"""Evaluation: one row of figures for each image, of a network, of anyone's images, or of the composites themselves.

While a network works on the next images, threads compare the last ones with the real images. Several processes share the
images; the rows do not depend on their number.
"""

import copy
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from frih.common.devices import is_pinnable
from frih.common.distributed import World
from frih.common.drawing import color_labels
from frih.common.errors import SharedError, UserError, describe
from frih.common.processes import cores
from frih.common.progress import progress_bar
from frih.data.batches import Packed, Sample, pack
from frih.data.dataset import CompositeDataset, open_pair
from frih.data.images import open_mask
from frih.data.loader import evaluation_loader
from frih.evaluation.predictions import find_predictions, open_prediction
from frih.evaluation.unfinished import FinishedRows
from frih.metrics import Row, Scoring, Target
from frih.models import Network

FAULTS = 20
"""After this many images that cannot be evaluated a process stops."""
CHECK = 32
"""The processes tell each other after every this many images whether one has failed."""
THREADS = 8
"""Most threads for scoring, in each process."""

Rows = dict[str, list[Row]]
"""By protocol: one row for each image, in the order of the images."""
Harmonize = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From a composite (H, W, 3) and its grey mask (H, W) to the harmonized image (H, W, 3), all uint8."""
Show = Callable[[str, str, Mapping[str, np.ndarray]], None]
"""Takes a composite's sub-dataset, its file name and its stages, (H, W, 3) or (H, W) uint8, by name."""
_Job = Callable[[], list[Row]]
_Jobs = Callable[[Sequence[int]], Iterator[_Job]]


@dataclass(frozen=True)
class Evaluation:
    """Which images are evaluated, and how.

    All processes call its methods together; each evaluates its own share, and in the end all have all rows.
    """

    images: CompositeDataset
    scoring: Scoring = field(default_factory=Scoring)
    world: World = field(default_factory=World)
    batch: int = 16
    """Images per forward pass."""
    workers: int = 0
    """Loader processes for a network's images."""
    original: bool = False
    """Compare the images at their own size, not at that of the network."""
    rounded: bool = False
    """Score a network's final images with the values that files of 8 bits have."""
    finished: FinishedRows | None = None
    """Rows to continue from. New rows are added, and none is removed."""
    show: Mapping[str, Show] = field(default_factory=dict)
    """Functions that get each image's stages, by the name of the predictions, which is ``""`` for a network and the input."""

    def of_model(self, model: Network) -> Rows:
        """Rows of a network's images, with ``input_`` scores and, if there is a second stage, ``coarse_`` scores.

        The model's mode is restored.

        Raises:
            UserError: an image cannot be read, or the network predicts values that are not finite.
        """

        def jobs(share: Sequence[int]) -> Iterator[_Job]:
            part = copy.copy(self.images)
            part.items = [self.images.items[index] for index in share]
            pin = is_pinnable(self.world.device)
            for packed in evaluation_loader(part, self.batch, self.workers, World(), pin):
                coarse, refined = harmonize(model, packed, self.world.device)
                refined = np.rint(refined) if self.rounded else refined
                images = {"": refined} if not model.refines else {"": refined, "coarse_": coarse}
                for i, sample in enumerate(packed.samples()):
                    yield partial(self.score, sample, {"": {prefix: all_[i] for prefix, all_ in images.items()}})

        with _evaluating(model):
            return self._run(jobs, [""], 2 * self.batch)[""]

    def of_input(self) -> Rows:
        """Rows of the composites themselves: "Input composite" in the paper's tables.

        Raises:
            UserError: an image cannot be read.
        """
        return self._of_files(lambda sample: {"": sample.composite}, [""])[""]

    def of_predictions(self, folders: Mapping[str, Path], pattern: str | None = None) -> dict[str, Rows]:
        """Rows of harmonized images in files, with ``input_`` scores, by the names of the folders.

        Args:
            folders: where the files are; see :func:`~frih.evaluation.predictions.find_predictions`.
            pattern: how they are named, if not as the composites.

        Raises:
            UserError: naming images that are missing, found twice, of another size, or cannot be read.
        """
        size = None if self.original else self.images.data.size
        files = {
            name: find_predictions(folder, self.images.items, size=size, pattern=pattern)
            for name, folder in folders.items()
        }

        def images(sample: Sample) -> dict[str, np.ndarray]:
            key = sample.item.subset, sample.item.composite_name
            return {name: open_prediction(paths[key], sample.item.composite, size) for name, paths in files.items()}

        return self._of_files(images, list(folders))

    def _of_files(self, images: Callable[[Sample], dict[str, np.ndarray]], systems: Sequence[str]) -> dict[str, Rows]:
        def job(index: int) -> list[Row]:
            sample = self._read(index)
            return self.score(sample, {name: {"": image} for name, image in images(sample).items()})

        return self._run(lambda share: (partial(job, index) for index in share), systems)

    def of_harmonizer(self, harmonize: Harmonize) -> Rows:
        """Rows of images that are harmonized one by one at their own size, with ``input_`` scores.

        Raises:
            UserError: an image cannot be read.
        """

        def jobs(share: Sequence[int]) -> Iterator[_Job]:
            for sample in map(self._read, share):
                try:
                    image = harmonize(sample.composite, sample.soft_mask)
                except UserError as error:
                    raise UserError(f"{sample.item.name}: cannot be evaluated: {error}") from None
                yield partial(self.score, sample, {"": {"": image}})

        return self._run(jobs, [""], ahead=1)[""]

    def score(self, sample: Sample, systems: Mapping[str, Mapping[str, np.ndarray]]) -> list[Row]:
        """One row for each system and protocol.

        Subclasses override it to compute other scores.

        Args:
            sample: the composite.
            systems: each system's images, by the prefix of their scores.
        """
        targets = [
            Target(sample.real, sample.soft_mask / 255, protocol, self.scoring.metrics, self.scoring.lpips)
            for protocol in self.scoring.protocols
        ]
        rows = []
        try:
            of_input = [target.score(sample.composite) for target in targets]
            for images in systems.values():
                for target, beside in zip(targets, of_input, strict=True):
                    of_images = {"": beside}
                    if images[""] is not sample.composite:
                        of_images = {"": target.score(images[""]), "input_": beside}
                    if "coarse_" in images:
                        of_images["coarse_"] = target.score(images["coarse_"])
                    scores = {prefix + name: one[name] for prefix, one in of_images.items() for name in one}
                    rows.append(row_of(sample, scores))
        except ValueError as error:
            raise UserError(f"{sample.item.name}: cannot be evaluated: {error}") from None
        for system, show in self.show.items():
            show(sample.item.subset, sample.item.composite_name, stages_of(sample, systems[system]))
        return rows

    def _read(self, index: int) -> Sample:
        """One image at the evaluated size, but its labels at that of the network."""
        sample = self.images[index]
        if not self.original:
            return sample
        mask = open_mask(sample.item.mask)
        composite, real = (np.asarray(opened.image) for opened in open_pair(sample.item, mask.size))
        return sample._replace(composite=composite, real=real, soft_mask=np.asarray(mask))

    def _run(self, jobs: _Jobs, systems: Sequence[str], ahead: int = THREADS) -> dict[str, Rows]:
        """Rows of all images, by system and protocol.

        Args:
            jobs: makes the jobs for images of these numbers, in their order.
            systems: each job makes a row of each system for each protocol.
            ahead: jobs that may be waiting.
        """
        world, total = self.world, len(self.images)
        done = world.gather(self.finished.read() if self.finished and world.is_main else {})[0]
        if done and world.is_main:
            tqdm.write(f"going on: {len(done)} of {total} images were evaluated before")
        found, faults = self._run_share(jobs, [index for index in range(total) if index not in done], ahead)
        _refuse([fault for one in world.gather(faults) for fault in one])
        for part in world.gather(found):
            done |= part
        columns = iter(zip(*(done[index] for index in range(total)), strict=True))
        return {system: {protocol: list(next(columns)) for protocol in self.scoring.protocols} for system in systems}

    def _run_share(self, jobs: _Jobs, left: Sequence[int], ahead: int) -> tuple[dict[int, list[Row]], list[str]]:
        """This process's share of the images that are left: the rows of each image, and the faults of others.

        After a failure in one process all stop soon.
        """
        world, total = self.world, len(self.images)
        share = left[world.rank :: world.size]
        keeping = self.finished.writing(world.rank) if self.finished else nullcontext(lambda index, rows: None)
        progress = progress_bar(
            desc="evaluating",
            total=total,
            initial=total - len(left),
            unit="image",
            disable=not world.is_main,
            leave=False,
        )
        found: dict[int, list[Row]] = {}
        faults: list[str] = []
        failed = False
        with progress, keeping as keep, ThreadPoolExecutor(_threads(self.original)) as pool:
            results = _in_threads(jobs(share), pool, ahead)
            for step in range(math.ceil(len(left) / world.size)):
                if step % CHECK == 0 and world.any(failed)[0]:
                    break
                progress.update(min(world.size, total - progress.n))
                if failed or step >= len(share):
                    continue
                try:
                    rows = next(results)
                except (UserError, OSError) as error:  # while jobs were made, so that no more can be made
                    faults.append(describe(error))
                    failed = True
                    continue
                if isinstance(rows, UserError):
                    faults.append(str(rows))
                    failed = len(faults) >= FAULTS
                else:
                    found[share[step]] = rows
                    keep(share[step], rows)
        return found, faults


def row_of(sample: Sample, scores: dict[str, float]) -> Row:
    """The row of an image with these scores."""
    item, ratio = sample.item, float(np.mean(sample.mask))
    return Row(item.subset, item.composite_name, item.real_name, ratio, int(sample.labels.max()), scores)


def stages_of(sample: Sample, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The images to show, in 8 bits; ``images`` are by the prefix of their scores."""
    submasks = Image.fromarray(color_labels(sample.labels))
    size = sample.soft_mask.shape[::-1]
    stages = {
        "composite": sample.composite,
        "mask": sample.soft_mask,
        "submasks": np.asarray(submasks.resize(size, Image.Resampling.NEAREST)),
    }
    if "coarse_" in images:
        stages |= {"coarse": _bytes(images["coarse_"]), "refined": _bytes(images[""])}
    elif images[""] is not sample.composite:
        stages["prediction"] = _bytes(images[""])
    return {**stages, "real": sample.real}


def harmonize(model: Network, packed: Packed, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Coarse and refined images of a batch: (B, H, W, 3) float, 0..255, clamped; NaN where they are not finite."""
    batch = packed.unpack(device)
    with torch.inference_mode():
        images = model(batch.composite, batch.mask, batch.labels)
    finite = (image.float().nan_to_num(*3 * [math.nan]) for image in images[:2])  # clamped, infinity would be white
    coarse, refined = (image.clamp(0, 1).mul(255).permute(0, 2, 3, 1).cpu().numpy() for image in finite)
    return coarse, refined


def draw_stages(
    model: Network, images: CompositeDataset, indices: Sequence[int], device: torch.device
) -> list[dict[str, np.ndarray]]:
    """The stages of some images to show, by their names: (H, W, 3) or (H, W) uint8.

    A network without a second stage reads no submasks and has one image, its ``result``.
    """
    rows = []
    with _evaluating(model):
        for index in indices:
            sample = images[index]
            coarse, refined = (np.nan_to_num(image[0]) for image in harmonize(model, pack([sample]), device))
            if model.refines:
                rows.append(stages_of(sample, {"coarse_": coarse, "": refined}))
            else:
                pixels = sample.composite, sample.soft_mask, _bytes(refined), sample.real
                rows.append(dict(zip(("composite", "mask", "result", "real"), pixels, strict=True)))
    return rows


def evenly(total: int, count: int) -> list[int]:
    """At most ``count`` indices below ``total``, evenly spaced from 0 on."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


@contextmanager
def _evaluating(model: Network) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _in_threads(jobs: Iterator[_Job], pool: ThreadPoolExecutor, ahead: int) -> Iterator[list[Row] | UserError]:
    """The rows of each job, in their order, or the error that it raised. This many jobs are begun ahead."""

    def attempt(job: _Job) -> list[Row] | UserError:
        try:
            return job()
        except UserError as error:
            return error

    waiting: deque[Future[list[Row] | UserError]] = deque()
    for job in jobs:
        waiting.append(pool.submit(attempt, job))
        while len(waiting) > ahead or (waiting and waiting[0].done()):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _threads(original: bool) -> int:
    """Threads for each of the processes on this machine; a large image takes gigabytes."""
    most = 2 if original else THREADS
    return max(1, min(most, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _refuse(faults: Sequence[str]) -> None:
    if len(faults) == 1:
        raise SharedError(faults[0])
    if faults:
        more = f"\n... and {len(faults) - 3} more" if len(faults) > 3 else ""
        listed = "\n".join(faults[:3])
        raise SharedError(f"{len(faults)} images cannot be evaluated, so there is no result:\n{listed}{more}")


def _bytes(image: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.rint(image).astype(np.uint8)
    return result
