"""A data set in iHarmony4's layout of one's own photos and their objects' masks, by the four published transfers.

::

    <out>/{Reinhard,Xiao,Fecker,Pitie}/{composite_images,masks,real_images}/
    <out>/<subset>/<subset>_{train,test}.txt                 written when all pictures are there
    <out>/manifest.json                                      settings, and how each composite was made; written last
    <out>/unfinished.jsonl                                   until then, the same of what is done

As iHarmony4's foregrounds were, each is given the colours of an object of the same category in another photo
(:mod:`~frih.data.color_transfer`), and what looks unreal or unchanged is rejected (:mod:`~frih.data.restyling`). The composite
``X_M_K.jpg`` is the K-th of object M in photo X; M is 1 where each photo has one mask. Photos are split, not composites, and
only training photos lend their colours: nothing of a test photo is in the training split. Both the composite and the real
picture are written as JPEG anew from the same pixels, so that the background is the same in both.

Everything follows from the photos and the settings, whatever the number of processes. A run that was interrupted goes on.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.data.color_transfer import TRANSFERS
from frih.data.iharmony4 import FOLDERS, SPLITS
from frih.data.journal import Entry, Journal
from frih.data.objects import Object, Skipped, choose_usable, list_objects, read_object
from frih.data.pictures import HALF
from frih.data.restyling import REFERENCE_PIXELS, restyle_each, save_jpeg, thinned
from frih.data.transforms import render, whole
from frih.errors import UserError
from frih.files import write_whole
from frih.processes import Map, cores, process_pool
from frih.progress import progress_bar

SUBSETS = {transfer.capitalize(): transfer for transfer in TRANSFERS}
"""The transfer of each subset."""

RECIPE = 1
"""To be raised with every change that makes other pictures."""

MIN_SIZE = 64
"""The least side that photos may be reduced to."""
DRAWS = 10
"""Draws of a reference for each composite asked for, at most; a foreground that suits few gets fewer composites."""

_EVALUATION_SIZE = 256
_NAMED = 5
"""So many of the photos and objects skipped for one reason are named on the screen."""


class Made(NamedTuple):
    """A data set that is whole."""

    root: Path
    settings: dict[str, Any]
    entries: list[Entry]
    """One for each usable object, by name: ``photo``, ``category``, ``split``; ``object``, its number, if it was annotated;
    ``composites``, each with its subset, reference and figures; ``rejected``, a count by subset and reason; ``files``."""
    skipped: Skipped
    found: int
    """How many objects were done already."""


def make_composites(
    photos: Path,
    out: Path,
    *,
    annotations: Path | None = None,
    objects: int | None = None,
    size: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    per_photo: int = 1,
    test_fraction: float = 0.1,
    progress: bool = True,
) -> Made:
    """Makes a data set, or what is missing of it.

    Args:
        photos: folder with ``images/`` and ``masks/``, or with the annotated photos.
        out: the data set's folder, for ``data.root``.
        annotations: a file of annotations in COCO's or LabelMe's form, or a folder of such.
        objects: annotated objects that are taken of a photo, the largest; all by default.
        size: photos are reduced to this longer side; by default they stay as they are.
        seed: of the split and the references.
        workers: processes; as many as there are cores by default.
        per_photo: composites of each object by each of the four transfers, at most.
        test_fraction: share of the photos that make the test split.
        progress: show progress bars.

    Raises:
        UserError: no usable photo; the folder holds something else, was made with other settings, is another run's, or cannot
            be written.
    """
    workers = cores() if workers is None else workers
    _check_numbers(seed, workers, per_photo, test_fraction, objects, size)
    candidates, skipped = list_objects(photos, annotations)
    with process_pool(workers) as each:
        usable, digest = choose_usable(
            candidates, skipped, objects, size, partial(_shown, each, "reading photos", "photo", progress)
        )
        if not usable:
            raise UserError(f"{photos}: no usable photo; {_describe_skipped(skipped)}")
        settings = {
            "recipe": RECIPE,
            "seed": seed,
            "per_photo": per_photo,
            "test_fraction": test_fraction,
            "photos": f"{len(usable)} of digest {digest}",
            **({"size": size} if size else {}),
        }
        tasks = _plan(usable, seed, per_photo, test_fraction, size)
        journal = Journal(out, settings)
        try:
            with journal.held():
                entries, found = _make_missing(journal, tasks, partial(_shown, each, "composites", "object", progress))
                if not (journal.is_finished and all(path.exists() for path in _lists(out).values())):
                    _finish(journal, entries, skipped)
        except OSError as error:
            raise UserError(f"{out}: the data set cannot be written there ({error})") from error
    return Made(out, settings, entries, skipped, found)


def describe(made: Made) -> str:
    """What is in a data set, what is not and why, and how far its composites are from the photos; for people."""
    skipped = sum(map(len, made.skipped.values()))
    photos = len({entry["photo"] for entry in made.entries})
    objects = "" if photos == len(made.entries) else f"{len(made.entries)} objects of "
    lines = [f"{made.root}: of {objects}{photos} photos ({made.found} done before, {skipped} skipped)"]
    if skipped:
        lines.append(f"  skipped: {_describe_skipped(made.skipped)}")
    composites = [(entry["split"], record) for entry in made.entries for record in entry["composites"].values()]
    lines.append(f"  {'':10}{'train':>7}{'test':>7}{'rejected':>10}")
    for subset in SUBSETS:
        counts = Counter(split for split, record in composites if record["subset"] == subset)
        reasons = _rejected(made.entries, subset)
        why = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        lines.append(f"  {subset:10}{counts['train']:7}{counts['test']:7}{reasons.total():10}  {why}")
    lines.append(f"  {'at 256x256':10}{'mean':>9}{'5 %':>9}{'25 %':>9}{'50 %':>9}{'75 %':>9}{'95 %':>9}")
    for figure in ("mse", "fmse", "psnr"):
        values = [record[figure] for _, record in composites]
        numbers = [np.mean(values), *np.percentile(values, (5, 25, 50, 75, 95))]
        lines.append(f"  {figure:10}" + "".join(f"{number:9.2f}" for number in numbers))
    return "\n".join(lines)


class _Task(NamedTuple):
    """An object to be restyled, and by subset the objects to take colours from, one after the other."""

    item: Object
    split: str
    most: int
    """Composites in each subset."""
    size: int | None
    references: dict[str, list[Object]]


def _check_numbers(
    seed: int, workers: int, per_photo: int, test_fraction: float, objects: int | None, size: int | None
) -> None:
    if seed < 0:
        raise UserError(f"seed: must be 0 or more, not {seed}")
    if workers < 1 or per_photo < 1:
        raise UserError(f"workers and composites per photo: must be 1 or more, not {workers} and {per_photo}")
    if objects is not None and objects < 1:
        raise UserError(f"objects of a photo: must be 1 or more, not {objects}")
    if size is not None and size < MIN_SIZE:
        raise UserError(f"size: must be {MIN_SIZE} or more, not {size}")
    if not 0 <= test_fraction < 1:
        raise UserError(f"test fraction: must be at least 0 and less than 1, not {test_fraction}")


def _describe_skipped(skipped: dict[str, list[str]]) -> str:
    parts = []
    for reason, names in sorted(skipped.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        parts.append(f"{reason} {len(names)} ({', '.join(names[:_NAMED])}{more})")
    return "; ".join(parts) or "there is none"


def _plan(objects: Sequence[Object], seed: int, per_photo: int, test_fraction: float, size: int | None) -> list[_Task]:
    """Splits the photos and draws references, of training photos alone."""
    photos = Counter(item.photo for item in objects)
    count = min(len(photos) - 1, max(1, round(test_fraction * len(photos)))) if test_fraction else 0
    order = np.random.default_rng(seed).permutation(len(photos))
    names = list(photos)
    test = {names[i] for i in order[:count]}
    lenders: dict[str, list[Object]] = defaultdict(list)
    for item in objects:
        if item.photo not in test:
            lenders[item.category].append(item)
    tasks = []
    for item in objects:
        # more by those that its own photo may have among them
        draw = partial(_draw, item, lenders[item.category], seed, DRAWS * per_photo, photos[item.photo])
        references = {subset: draw(subset) for subset in SUBSETS}
        tasks.append(_Task(item, "test" if item.photo in test else "train", per_photo, size, references))
    return tasks


def _draw(item: Object, lenders: Sequence[Object], seed: int, count: int, own: int, subset: str) -> list[Object]:
    """Objects of other photos, each once, in an order that follows from the seed, the object and the subset."""
    rng = np.random.default_rng((seed, *f"{subset} {item.name}".encode()))
    drawn = rng.choice(len(lenders), min(len(lenders), count + own), replace=False)
    return [lenders[i] for i in drawn if lenders[i].photo != item.photo][:count]


def _make_missing(journal: Journal, tasks: Sequence[_Task], each: Map) -> tuple[list[Entry], int]:
    """Makes what is not there yet: an entry for each task, and how many there were before."""
    done = {(entry["photo"], entry.get("object")): entry for entry in journal.read()}
    missing = [task for task in tasks if (task.item.photo, task.item.number) not in done]
    found = len(tasks) - len(missing)
    if missing:
        out = journal.folder
        for subset in SUBSETS:
            for folder in FOLDERS:
                (out / subset / folder).mkdir(parents=True, exist_ok=True)
        with journal.open(list(done.values())) as add:
            for path in _lists(out).values():  # written anew in the end
                path.unlink(missing_ok=True)
            for entry in each(partial(_make, out), missing):
                add(entry)
                done[entry["photo"], entry.get("object")] = entry
    return [done[task.item.photo, task.item.number] for task in tasks], found


def _finish(journal: Journal, entries: list[Entry], skipped: Skipped) -> None:
    """Writes the lists and the manifest."""
    if not any(entry["composites"] for entry in entries):
        reasons = sum((_rejected(entries, subset) for subset in SUBSETS), Counter())
        raise UserError(f"{journal.folder}: no composite could be made of the photos ({dict(reasons)})")
    for (subset, split), path in _lists(journal.folder).items():
        records = (entry["composites"].items() for entry in entries if entry["split"] == split)
        names = (Path(name).name for items in records for name, record in items if record["subset"] == subset)
        write_whole(path, "".join(f"{name}\n" for name in names))
    journal.finish(entries, skipped=skipped)


def _lists(out: Path) -> dict[tuple[str, str], Path]:
    """The list of each subset and split."""
    return {(subset, split): out / subset / f"{subset}_{split}.txt" for subset in SUBSETS for split in SPLITS}


def _rejected(entries: Sequence[Entry], subset: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for entry in entries:
        total.update(entry["rejected"].get(subset, {}))
    return total


def _make(out: Path, task: _Task) -> Entry:
    """Writes an object's composites, and with them its mask and the photo itself."""
    photo, mask_name = task.item.photo, f"{task.item.photo}_{task.item.number or 1}"
    real, mask = read_object(task.item, task.size)
    real_jpeg, mask_png = _encoded(real), _encoded(mask)
    real_seen, mask_seen = _at_evaluation(real_jpeg), _at_evaluation(mask_png) / 255
    composites: dict[str, Any] = {}
    rejected: dict[str, Counter[str]] = {}
    files: dict[str, bytes] = {}
    for subset, references in task.references.items():
        made, rejected[subset] = _restyle(real, mask, SUBSETS[subset], references, task)
        for number, (reference, picture) in enumerate(made, 1):
            path = f"{subset}/composite_images/{mask_name}_{number}.jpg"
            files[path] = _encoded(picture)
            figures = _figures(_at_evaluation(files[path]), real_seen, mask_seen)
            composites[path] = {"subset": subset, "reference": reference, **figures}
        if made:
            files[f"{subset}/masks/{mask_name}.png"] = mask_png
            files[f"{subset}/real_images/{photo}.jpg"] = real_jpeg
    for path, content in files.items():
        write_whole(out / path, content)
    return {
        "photo": photo,
        **({} if task.item.number is None else {"object": task.item.number}),
        "category": task.item.category,
        "split": task.split,
        "composites": composites,
        "rejected": rejected,
        "files": {path: len(content) for path, content in files.items()},
    }


def _restyle(
    real: NDArray[np.uint8], mask: NDArray[np.uint8], transfer: str, references: Sequence[Object], task: _Task
) -> tuple[list[tuple[str, NDArray[np.uint8]]], Counter[str]]:
    """Composites that pass the filters, with their references' names; and how many do not, by reason."""
    made: list[tuple[str, NDArray[np.uint8]]] = []
    rejected: Counter[str] = Counter()
    colors = (_object_pixels(reference, task.size) / 255 for reference in references)
    for reference, result in zip(references, restyle_each(real, mask, colors, transfer), strict=False):
        if result.picture is None:
            rejected[str(result.fault)] += 1
        else:
            made.append((reference.name, result.picture))
        if len(made) == task.most:
            break
    return made, rejected


@lru_cache(maxsize=512)
def _object_pixels(item: Object, size: int | None) -> NDArray[np.uint8]:
    """(N, 3): an object's pixels, thinned if they are many."""
    real, mask = read_object(item, size)
    return np.array(thinned(real[mask >= HALF], REFERENCE_PIXELS))


def _figures(composite: NDArray[np.float64], real: NDArray[np.float64], mask: NDArray[np.float64]) -> dict[str, float]:
    """How far apart pictures are at the size of evaluation, by the protocol "idih" of :mod:`frih.metrics`."""
    error = (composite - real) ** 2
    mse, fmse = error.mean(), np.einsum("hwc,hw->", error, mask) / (3 * mask.sum())
    psnr = 10 * np.log10(max(real.max() ** 2, 1e-6) / (mse + 1e-6))
    return {"mse": round(float(mse), 2), "fmse": round(float(fmse), 2), "psnr": round(float(psnr), 2)}


def _at_evaluation(content: bytes) -> NDArray[np.float64]:
    """A stored picture, (256, 256, 3), or mask, (256, 256), as evaluation sees it, in 0..255."""
    image = Image.open(io.BytesIO(content))
    return render(image, whole(image), _EVALUATION_SIZE).astype(np.float64)


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    """A picture as JPEG, a mask as PNG."""
    file = io.BytesIO()
    if picture.ndim == 3:
        save_jpeg(picture, file)
    else:
        Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _shown(
    each: Map, label: str, unit: str, progress: bool, function: Callable[[Any], Any], tasks: Sequence[Any]
) -> Any:
    """The results, in order, behind a progress bar."""
    return progress_bar(each(function, tasks), desc=label, unit=unit, total=len(tasks), disable=not progress)
