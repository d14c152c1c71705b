"""What a trained second stage makes of its submasks: other divisions at test time, and the gradient of its submask channel.

A network that uses its submasks gets worse when they are replaced. One that gets no worse has learnt to correct by what it sees
in the coarse image and in the base network's features, where the submask tells it nothing that it needs.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.common.progress import progress_bar
from frih.data.batches import Batch, Sample
from frih.data.dataset import CompositeDataset
from frih.data.given import given_submasks
from frih.data.images import open_mask
from frih.data.loader import evaluation_loader
from frih.data.transforms import whole
from frih.evaluation import harmonize, row_of
from frih.evaluation.layout import Table, figure
from frih.evaluation.statistics import Difference, bootstrap, paired
from frih.evaluation.tables import with_interval
from frih.losses import refine_loss
from frih.metrics import Row, Target
from frih.models import refine
from frih.models.cascade import Cascade
from frih.models.frih import FRIH
from frih.models.tiles import Found, submasks_of
from frih.submasks import extract_submasks
from frih.tools.experiments.oracle import parse_method

OWN = "own submasks"
CHANNELS = ("red", "green", "blue", "submask")
"""What the cascaded encoder's first layer reads: the coarse image and the submask."""
PROTOCOL = "idih"
Divide = Callable[[Sample, np.random.Generator], np.ndarray]
"""Other submasks for an image, (H, W) uint8, 0 exactly outside its mask."""


def shuffled(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """The own labels, dealt out to the foreground's pixels at random: submasks of the same sizes, torn to dust."""
    labels: np.ndarray = sample.labels.copy()
    labels[labels > 0] = rng.permutation(labels[labels > 0])
    return labels


def by_place(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    """Submasks of the same sizes as the own ones: the foreground cut into parallel strips, of a random direction and order."""
    labels: np.ndarray = sample.labels.copy()
    places = np.argwhere(labels > 0)
    angle = rng.uniform(0, 2 * np.pi)
    order = np.argsort(places @ (np.sin(angle), np.cos(angle)), kind="stable")
    counts = np.bincount(labels[labels > 0], minlength=1)
    numbers = rng.permutation(np.flatnonzero(counts))
    cut = np.empty(len(places), np.uint8)
    cut[order] = np.repeat(numbers, counts[numbers])
    labels[labels > 0] = cut
    return labels


def given(sample: Sample, _: np.random.Generator) -> np.ndarray:
    """The submasks in the data set's files, as the true regions of composites that were restyled region by region."""
    mask = open_mask(sample.item.mask)
    return given_submasks(sample.item, mask.size, whole(mask), sample.mask)


SPECIAL: Mapping[str, Divide] = {"shuffled": shuffled, "strips": by_place, "given": given}
BLIND: Mapping[str, float] = {"blind:0": 0.0, "blind:1": 1.0}
"""The own submasks, but the cascade is shown this value in place of its submask, everywhere."""
USUAL = ("whole", "shuffled", "strips", "kmeans:8", *BLIND)


def division(name: str) -> Divide:
    """The division of a name: one of :data:`SPECIAL`, or a method as :func:`~frih.tools.experiments.oracle.parse_method` reads.

    Raises:
        UserError: there is no such division.
    """
    if name in SPECIAL:
        return SPECIAL[name]
    method = parse_method(name, "--divisions", also=tuple(SPECIAL) + tuple(BLIND))
    return lambda sample, _: extract_submasks(sample.composite, sample.mask, **method.model_dump())


def evaluate_divisions(
    model: FRIH,
    images: CompositeDataset,
    names: Sequence[str],
    device: torch.device,
    *,
    batch: int = 16,
    workers: int = 0,
) -> list[Row]:
    """A row for each image, with scores by the division's name.

    ``fmse:<name>``; ``moved:<name>``, the mean absolute difference inside the mask to the image by the own submasks, in levels;
    ``number:<name>``, the number of submasks. Also ``fmse:input``, ``fmse:coarse`` and ``second``, how far the second stage
    moves the coarse image inside the mask, in levels.

    Args:
        model: has a second stage.
        images: whole images with the network's own submasks.
        names: of the other divisions.
        device: of the model.
        batch: images per forward pass.
        workers: loader processes.

    Raises:
        UserError: an image or its given submasks cannot be read, or a name is of no division.
    """
    divides = {name: division(name) for name in names if name not in BLIND}
    rows: list[Row] = []
    model.eval()
    with progress_bar(desc="trying other submasks", total=len(images), unit="image") as bar:
        for packed in evaluation_loader(images, batch, workers, World()):
            samples = packed.samples()
            labels = {name: _divided(divide, samples) for name, divide in divides.items()}
            labels |= {OWN: packed.labels, **{name: packed.labels for name in BLIND if name in names}}
            results: dict[str, np.ndarray] = {}
            for name, other in labels.items():
                with _blinded(model, BLIND.get(name)):
                    coarse, results[name] = harmonize(model, packed._replace(labels=other), device)
            for i, sample in enumerate(samples):
                numbers = {name: int(one[i].max()) for name, one in labels.items()}
                rows.append(_row(sample, coarse[i], {name: image[i] for name, image in results.items()}, numbers))
            bar.update(len(samples))
    return rows


class Channel(NamedTuple):
    """What training makes of one input channel of the cascaded encoder."""

    weight: float
    """Norm of the first layer's weights that read it."""
    gradient: float
    """Norm of the refine loss's gradient for these weights."""
    influence: float
    """Root mean square, over pixels and pairs, of the loss's gradient for the channel's value times that value."""


def channels(model: FRIH, batches: Iterator[Batch], *, min_area: int, equal: str) -> dict[str, Channel]:
    """What each of :data:`CHANNELS` means for the refine loss, as means over batches.

    Args:
        model: has a second stage. Its running statistics are used, and nothing is changed.
        batches: on the model's device.
        min_area: of :func:`~frih.losses.refine_loss`.
        equal: of :func:`~frih.losses.refine_loss`.
    """
    assert model.cascade is not None
    model.eval()
    first = model.cascade.encoder[0]
    weight = next(one for one in first.parameters() if one.dim() == 4)
    sums, count = np.zeros((2, len(CHANNELS))), 0
    for batch in batches:
        seen: list[Tensor] = []

        def keep(x: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(x.detach().requires_grad_())
            return seen[0]

        with _shown(model, keep):
            out = model(batch.composite, batch.mask, batch.labels)
        loss = refine_loss(out.refined, batch.real, batch.labels, min_area, equal).mean()  # type: ignore[arg-type]
        of_weight, of_input = torch.autograd.grad(loss, [weight, seen[0]])
        influence = (of_input * seen[0]).detach().float()
        sums[0] += of_weight.float().square().sum(dim=(0, 2, 3)).sqrt().cpu().numpy()
        sums[1] += influence.square().mean(dim=(0, 2, 3)).sqrt().cpu().numpy()
        count += 1
    norms = weight.detach().float().square().sum(dim=(0, 2, 3)).sqrt().cpu().numpy()
    means = sums / max(count, 1)
    return {name: Channel(float(norms[i]), float(means[0, i]), float(means[1, i])) for i, name in enumerate(CHANNELS)}


def division_table(rows: Sequence[Row], names: Sequence[str]) -> Table:
    """The fMSE by each division, its difference to that by the own submasks, and how far the result moves."""
    lines = [
        ["Input composite", figure("fmse", bootstrap(rows, "fmse:input").mean), "-", "-", "-", "-"],
        ["Coarse image", figure("fmse", bootstrap(rows, "fmse:coarse").mean), *_against(rows, "coarse"), "-"],
    ]
    for name in (OWN, *names):
        difference = ["-", "-", "-"] if name == OWN else _against(rows, name)
        lines.append(
            [
                name,
                figure("fmse", bootstrap(rows, f"fmse:{name}").mean),
                *difference,
                f"{bootstrap(rows, f'number:{name}').mean:.1f}",
            ]
        )
    groups = ["fMSE↓", "less that by the own submasks", "wins", "moved (levels)", "submasks"]
    second = with_interval("change", bootstrap(rows, "second"))
    note = (
        f"The second stage moves the coarse image by {second} levels. "
        "Moved: mean absolute difference inside the mask to the result by the own submasks."
    )
    return Table(
        "submasks at test time", groups, [], lines, (), "What other submasks make of the result", notes=(note,)
    )


def channel_table(trained: Mapping[str, Channel], fresh: Mapping[str, Channel]) -> Table:
    """The input channels of the cascaded encoder, after training and with random weights."""
    lines = [
        [name, *(f"{value:.3g}" for pair in zip(trained[name], fresh[name], strict=True) for value in pair)]
        for name in trained
    ]
    heads = ("weights", "gradient of the weights", "gradient times value")
    groups = [f"{head}, {when}" for head in heads for when in ("trained", "random")]
    return Table("input channel", groups, [], lines, (), "The channels that the cascaded encoder reads")


def differences(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Difference]:
    """The fMSE by each division less that by the own submasks."""
    return {
        name: paired(rows, rows, f"fmse:{name}", other_score=f"fmse:{OWN}", higher_is_better=False) for name in names
    }


def _against(rows: Sequence[Row], name: str) -> list[str]:
    found = differences(rows, [name])[name]
    return [
        with_interval("fmse", found, signed=True),
        f"{100 * found.wins:.0f} %",
        f"{bootstrap(rows, f'moved:{name}').mean:.2f}",
    ]


def _divided(divide: Divide, samples: Sequence[Sample]) -> Tensor:
    """(B, H, W): other submasks of a batch; random ones depend on the composite's name alone."""
    found = [divide(sample, np.random.default_rng(zlib.crc32(sample.item.name.encode()))) for sample in samples]
    return torch.from_numpy(np.stack(found))


def _blinded(model: FRIH, value: float | None) -> AbstractContextManager[object]:
    """Shows the cascaded encoder a constant in place of every submask; None changes nothing."""
    if value is None:
        return nullcontext()

    def replace(x: Tensor) -> Tensor:
        seen = x.clone()
        seen[:, -1].fill_(value)
        return seen

    return _shown(model, replace)


@contextmanager
def _shown(model: FRIH, look: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Shows the cascaded encoder, for a while, what a function makes of its input: (P, 4, H, W), :data:`CHANNELS`."""
    assert model.cascade is not None
    cascade = model.cascade

    def encode(coarse: Tensor, submasks: Tensor, owner: Tensor) -> list[Tensor]:
        return cascade.encode_on(look(torch.cat([cascade.color_space.normalize(coarse)[owner], submasks], dim=1)))

    def encode_near(_: Cascade, coarse: Tensor, labels: Tensor, found: Found) -> list[Tensor]:
        return encode(coarse, submasks_of(labels, found.owner, found.label).to(coarse), found.owner)

    with patch.object(cascade, "encode", encode), patch.object(refine, "encode_near", encode_near):
        yield


def _row(sample: Sample, coarse: np.ndarray, results: Mapping[str, np.ndarray], numbers: Mapping[str, int]) -> Row:
    own = results[OWN]
    target = Target(sample.real, sample.soft_mask / 255, PROTOCOL)
    images = {"input": sample.composite.astype(np.float32), "coarse": coarse, **results}

    def moved(image: np.ndarray, other: np.ndarray) -> float:
        return float(np.abs(image - other)[sample.mask].mean()) if sample.mask.any() else np.nan

    try:
        scores = {f"fmse:{name}": target.score(image)["fmse"] for name, image in images.items()}
    except ValueError as error:
        raise UserError(f"{sample.item.name}: cannot be evaluated: {error}") from None
    scores |= {f"moved:{name}": moved(image, own) for name, image in images.items()}
    scores |= {f"number:{name}": float(number) for name, number in numbers.items()}
    return row_of(sample, {**scores, "second": moved(own, coarse)})
