"""Evaluation: one row of figures a picture, for a network, for anyone's pictures, or for the composites themselves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from frih.data.loader import Packed, Pictures, evaluation_loader, pack
from frih.data.pictures import SUFFIXES, open_rgb
from frih.data.transforms import render, whole
from frih.distributed import World
from frih.drawing import color_labels
from frih.errors import UserError
from frih.metrics import Row, score
from frih.models import FRIH

Predict = Callable[[Packed], dict[str, np.ndarray]]
"""Pictures of a batch by prefix of their scores (see :class:`~frih.metrics.Row`): (B, H, W, 3), 0..255."""


def evaluate_model(
    model: FRIH, pictures: Pictures, *, protocol: str, batch: int, workers: int, world: World, ssim: bool = True
) -> list[Row]:
    """Rows of a network's pictures; ``input_`` and, with a second stage, ``coarse_`` scores beside them.

    Every process must call it and evaluates its own share of the pictures. The model is left in the mode it was in.

    Raises:
        UserError: a picture cannot be read, or the network predicts values that are not finite.
    """

    def predict(packed: Packed) -> dict[str, np.ndarray]:
        coarse, refined = harmonize(model, packed, world.device)
        results = {"": refined, "input_": packed.composite.numpy()}
        return results if model.cascade is None else {**results, "coarse_": coarse}

    with _evaluating(model):
        return _evaluate(predict, pictures, protocol, batch, workers, world, ssim)


def evaluate_input(pictures: Pictures, *, protocol: str, batch: int, workers: int, world: World) -> list[Row]:
    """Rows of the composites themselves: what "Input composite" is in the paper's tables."""
    return _evaluate(lambda packed: {"": packed.composite.numpy()}, pictures, protocol, batch, workers, world, True)


def evaluate_predictions(
    folder: Path, pictures: Pictures, *, protocol: str, batch: int, workers: int, world: World
) -> list[Row]:
    """Rows of harmonized pictures in files: ``<folder>/<subset>/<composite's name>`` or ``<folder>/<composite's name>``.

    Any picture format will do. A picture of another size than the evaluated one must have the composite's own, and is resized
    as the composite is.

    Raises:
        UserError: naming pictures that are missing, found twice or of another size.
    """
    files = _find_predictions(folder, pictures)

    def predict(packed: Packed) -> dict[str, np.ndarray]:
        results = [
            _open_prediction(files[item.subset, item.composite_name], item.composite, pictures.data.size)
            for item in packed.items
        ]
        return {"": np.stack(results), "input_": packed.composite.numpy()}

    return _evaluate(predict, pictures, protocol, batch, workers, world, True)


def harmonize(model: FRIH, packed: Packed, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Coarse and refined pictures of a batch: (B, H, W, 3) float, 0..255, clamped."""
    batch = packed.unpack(device)
    with torch.inference_mode():
        coarse, refined = model(batch.composite, batch.mask, batch.labels)
    return _to_numpy(coarse), _to_numpy(refined)


def draw_stages(
    model: FRIH, pictures: Pictures, indices: Sequence[int], device: torch.device
) -> list[list[np.ndarray]]:
    """The stages of some pictures (:data:`frih.drawing.STAGES`), a row each, to look at."""
    rows = []
    with _evaluating(model):
        for index in indices:
            sample = pictures[index]
            both = harmonize(model, pack([sample]), device)
            coarse, refined = (np.rint(np.nan_to_num(picture[0])).astype(np.uint8) for picture in both)
            rows.append([sample.composite, sample.soft_mask, color_labels(sample.labels), coarse, refined, sample.real])
    return rows


def evenly(total: int, count: int) -> list[int]:
    """At most ``count`` indices below ``total``, evenly spaced from 0 on: pictures to look at, not picked by hand."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


@contextmanager
def _evaluating(model: FRIH) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _evaluate(
    predict: Predict, pictures: Pictures, protocol: str, batch: int, workers: int, world: World, ssim: bool
) -> list[Row]:
    """Rows of all pictures, in their order, in every process."""
    rows: list[Row] = []
    loader = evaluation_loader(pictures, batch, workers, world, pin=world.device.type == "cuda")
    share = len(range(len(pictures))[world.rank :: world.size])
    with tqdm(total=share, desc="evaluating", unit="picture", disable=not world.is_main, leave=False) as progress:
        for packed in loader:
            rows += _rows(packed, predict(packed), protocol, ssim)
            progress.update(len(packed.items))
    shares = world.gather(rows)
    return [shares[index % world.size][index // world.size] for index in range(len(pictures))]


def _rows(packed: Packed, results: dict[str, np.ndarray], protocol: str, ssim: bool) -> list[Row]:
    rows = []
    reals, soft_masks, labels = packed.real.numpy(), packed.soft_mask.numpy() / 255, packed.labels.numpy()
    for i, item in enumerate(packed.items):
        scores = {}
        for prefix, picture in results.items():
            try:
                found = score(picture[i], reals[i], soft_masks[i], protocol, ssim=ssim)
            except ValueError as error:
                raise UserError(f"{item.subset}/{item.composite_name}: cannot be evaluated: {error}") from None
            scores.update({prefix + name: value for name, value in found.items()})
        rows.append(Row(item.subset, item.composite_name, float(np.mean(labels[i] > 0)), int(labels[i].max()), scores))
    return rows


def _find_predictions(folder: Path, pictures: Pictures) -> dict[tuple[str, str], Path]:
    """The file of each picture, by subset and name."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of predictions")
    subsets = {item.subset for item in pictures.items}
    found = {subset: _files_by_stem(folder / subset) for subset in subsets if (folder / subset).is_dir()}
    loose = _files_by_stem(folder)
    files: dict[tuple[str, str], Path] = {}
    missing, users = [], dict[Path, str]()
    for item in pictures.items:
        name = f"{item.subset}/{item.composite_name}"
        candidates = found.get(item.subset, loose).get(Path(item.composite_name).stem, [])
        if len(candidates) > 1:
            raise UserError(f"{candidates[0]} and {candidates[1].name}: both predict {name}; keep one")
        if not candidates:
            missing.append(name)
            continue
        other = users.setdefault(candidates[0], name)
        if other != name:
            raise UserError(f"{candidates[0]}: could be {other} or {name}; sort the pictures into a folder a subset")
        files[item.subset, item.composite_name] = candidates[0]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UserError(
            f"{folder}: has no picture for {', '.join(missing[:3])}{more}; predictions are named as the composites are "
            "(any suffix), in the folder itself or in one a subset"
        )
    return files


def _files_by_stem(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            files.setdefault(path.stem, []).append(path)
    return files


def _open_prediction(path: Path, composite: Path, size: int) -> np.ndarray:
    """A prediction at the evaluated size, (size, size, 3) uint8."""
    image = open_rgb(path)
    if image.size == (size, size):
        return np.asarray(image)
    theirs, own = image.size, open_rgb(composite).size
    if theirs != own:
        raise UserError(
            f"{path}: is {theirs[0]} x {theirs[1]} pixels; it must be {size} x {size} or, as its composite, {own[0]} x {own[1]}"
        )
    return render(image, whole(image), size)


def _to_numpy(picture: Tensor) -> np.ndarray:
    array: np.ndarray = picture.float().clamp(0, 1).mul(255).permute(0, 2, 3, 1).cpu().numpy()
    return array
