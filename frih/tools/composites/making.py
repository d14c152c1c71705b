"""A data set in iHarmony4's layout of one's own photos and their objects' masks, by the four published transfers.

::

    <out>/{Reinhard,Xiao,Fecker,Pitie[,Regions]}/{composite_images,masks,real_images}/
    <out>/<subset>/<subset>_{train,test}.txt                 written when all images are there
    <out>/manifest.json                                      settings, and how each composite was made; written last
    <out>/unfinished.jsonl                                   until then, the same of what is done

As iHarmony4's foregrounds were, each is given the colours of an object of the same category in another photo
(:mod:`~frih.tools.composites.color_transfer`), and what looks unreal or unchanged is rejected
(:mod:`~frih.tools.composites.restyling`). The composite ``X_M_K.jpg`` is the K-th of object M in photo X; M is 1 where each
photo has one mask. Photos are split, not composites, and only training photos lend their colours: nothing of a test photo is
in the training split. Both the composite and the real image are written as JPEG anew from the same pixels, so that the
background is the same in both.

If asked for, a fifth subset, Regions, gives each colour region of an object (:mod:`~frih.tools.composites.regions`) the
colours of another reference, by one of the four transfers drawn at random. No published data set has such composites.

Everything follows from the photos and the settings, whatever the number of processes. A run that was interrupted goes on.
"""

import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.common.processes import Map, cores, process_pool
from frih.data.iharmony4 import FOLDERS, SPLITS
from frih.data.images import HALF
from frih.data.transforms import render, whole
from frih.tools.composites.color_transfer import TRANSFERS
from frih.tools.composites.objects import (
    NAMED,
    Object,
    Skipped,
    choose_usable,
    describe_skipped,
    limit_categories,
    list_objects,
    read_object,
    shown,
)
from frih.tools.composites.restyling import ONE_COLOR, REFERENCE_PIXELS, Attempt, restyle_each, save_jpeg, thinned
from frih.tools.journal import Entry, Journal

SUBSETS = {transfer.capitalize(): transfer for transfer in TRANSFERS}
"""The transfer of each subset."""
REGIONS = "Regions"
"""The subset whose objects take the colours of several references."""

RECIPE = 1
"""To be raised with every change that makes other images."""

MIN_SIZE = 64
"""The least side that photos may be reduced to."""
DRAWS = 10
"""Draws of a reference for each composite asked for, at most; a foreground that suits few gets fewer composites."""
REGION_DRAWS = 3
"""So many times as many for colour regions, each of which must suit its reference."""
MAX_REGIONS = 8

_EVALUATION_SIZE = 256


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
    renamed: list[str]
    """Photos that bear their folder's name in front, since another folder has one of the same name."""

    @property
    def subsets(self) -> tuple[str, ...]:
        """Their names."""
        return _subsets(self.settings.get("regions", 0))


def make_composites(
    photos: Path | Sequence[Path],
    out: Path,
    *,
    annotations: Path | None = None,
    objects: int | None = None,
    at_most: Mapping[str, int] | None = None,
    regions: int = 0,
    size: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    per_photo: int = 1,
    test_fraction: float = 0.1,
    progress: bool = True,
) -> Made:
    """Makes a data set, or what is missing of it.

    Args:
        photos: a folder with ``images/`` and ``masks/``, or several; or the folder of the annotated photos.
        out: the data set's folder, for ``data.root``.
        annotations: a file of annotations in COCO's or LabelMe's form, or a folder of such.
        objects: annotated objects that are taken of a photo, the largest; all by default.
        at_most: photos that are taken of each category it names; all by default.
        regions: so many colour regions of an object, at most, take each the colours of another reference, in a subset of
            their own; 0 makes none.
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
    folders = [photos] if isinstance(photos, Path) else list(photos)
    _check_numbers(seed, workers, per_photo, test_fraction, objects, size, regions)
    candidates, skipped = list_objects(folders, annotations)
    candidates = limit_categories(candidates, skipped, at_most or {}, seed)
    with process_pool(workers) as each:
        usable, digest = choose_usable(
            candidates, skipped, objects, size, partial(shown, each, "reading photos", "photo", progress)
        )
        if not usable:
            raise UserError(f"{', '.join(map(str, folders))}: no usable photo; {describe_skipped(skipped)}")
        settings = {
            "recipe": RECIPE,
            "seed": seed,
            "per_photo": per_photo,
            "test_fraction": test_fraction,
            "photos": f"{len(usable)} of digest {digest}",
            **({"size": size} if size else {}),
            **({"regions": regions} if regions else {}),
        }
        tasks = _plan(usable, settings)
        journal = Journal(out, settings)
        try:
            with journal.held():
                entries, found = _make_missing(journal, tasks, partial(shown, each, "composites", "object", progress))
                if not (journal.is_finished and all(path.exists() for path in _lists(journal).values())):
                    _finish(journal, entries, skipped)
        except OSError as error:
            raise UserError(f"{out}: the data set cannot be written there ({error})") from error
    renamed = list(dict.fromkeys(item.photo for item in usable if item.is_renamed))
    return Made(out, settings, entries, skipped, found, renamed)


def describe(made: Made) -> str:
    """What is in a data set, what is not and why, and how far its composites are from the photos; for people."""
    skipped = sum(map(len, made.skipped.values()))
    photos = len({entry["photo"] for entry in made.entries})
    objects = "" if photos == len(made.entries) else f"{len(made.entries)} objects of "
    lines = [f"{made.root}: of {objects}{photos} photos ({made.found} done before, {skipped} skipped)"]
    if skipped:
        lines.append(f"  skipped: {describe_skipped(made.skipped)}")
    if made.renamed:
        named = ", ".join(made.renamed[:NAMED])
        lines.append(
            f"  with their folder's name in front, since several have the same name: {len(made.renamed)} ({named})"
        )
    composites = [(entry["split"], record) for entry in made.entries for record in entry["composites"].values()]
    lines.append(f"  {'':10}{'train':>7}{'test':>7}{'rejected':>10}")
    for subset in made.subsets:
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


class _Try(NamedTuple):
    """A transfer and the objects to take colours from: one, or one for each colour region."""

    transfer: str
    lenders: list[Object]


class _Task(NamedTuple):
    """An object to be restyled, and by subset how, in one try after the other."""

    item: Object
    split: str
    most: int
    """Composites in each subset."""
    size: int | None
    tries: dict[str, list[_Try]]


def _check_numbers(
    seed: int,
    workers: int,
    per_photo: int,
    test_fraction: float,
    objects: int | None,
    size: int | None,
    regions: int,
) -> None:
    if seed < 0:
        raise UserError(f"seed: must be 0 or more, not {seed}")
    if workers < 1 or per_photo < 1:
        raise UserError(f"workers and composites per photo: must be 1 or more, not {workers} and {per_photo}")
    if objects is not None and objects < 1:
        raise UserError(f"objects of a photo: must be 1 or more, not {objects}")
    if size is not None and size < MIN_SIZE:
        raise UserError(f"size: must be {MIN_SIZE} or more, not {size}")
    if regions and not 2 <= regions <= MAX_REGIONS:
        raise UserError(f"regions: must be 2 to {MAX_REGIONS}, or 0 for none, not {regions}")
    if not 0 <= test_fraction < 1:
        raise UserError(f"test fraction: must be at least 0 and less than 1, not {test_fraction}")


def _plan(objects: Sequence[Object], settings: dict[str, Any]) -> list[_Task]:
    """Splits the photos and draws references, of training photos alone."""
    seed, per_photo, test_fraction = (settings[key] for key in ("seed", "per_photo", "test_fraction"))
    regions = settings.get("regions", 0)
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
        draw = partial(_draw, item, lenders[item.category], own=photos[item.photo])
        draws = DRAWS * per_photo
        tries = {}
        for subset, transfer in SUBSETS.items():
            tries[subset] = [_Try(transfer, [lender]) for lender in draw(_rng(seed, subset, item), draws)]
        if regions:
            rng = _rng(seed, REGIONS, item)
            drawn = [(rng.choice(list(SUBSETS.values())), draw(rng, regions)) for _ in range(REGION_DRAWS * draws)]
            tries[REGIONS] = [_Try(str(transfer), group) for transfer, group in drawn if len(group) == regions]
        split = "test" if item.photo in test else "train"
        tasks.append(_Task(item, split, per_photo, settings.get("size"), tries))
    return tasks


def _rng(seed: int, subset: str, item: Object) -> np.random.Generator:
    return np.random.default_rng((seed, *f"{subset} {item.name}".encode()))


def _draw(item: Object, lenders: Sequence[Object], rng: np.random.Generator, count: int, own: int) -> list[Object]:
    """Objects of other photos, each once."""
    drawn = rng.choice(len(lenders), min(len(lenders), count + own), replace=False)
    return [lenders[i] for i in drawn if lenders[i].photo != item.photo][:count]


def _make_missing(journal: Journal, tasks: Sequence[_Task], each: Map) -> tuple[list[Entry], int]:
    """Makes what is not there yet: an entry for each task, and how many there were before."""
    done = {(entry["photo"], entry.get("object")): entry for entry in journal.read()}
    missing = [task for task in tasks if (task.item.photo, task.item.number) not in done]
    found = len(tasks) - len(missing)
    if missing:
        out = journal.folder
        for subset in _subsets(journal.settings.get("regions", 0)):
            for folder in FOLDERS:
                (out / subset / folder).mkdir(parents=True, exist_ok=True)
        with journal.open(list(done.values())) as add:
            for path in _lists(journal).values():  # written anew in the end
                path.unlink(missing_ok=True)
            for entry in each(partial(_make, out), missing):
                add(entry)
                done[entry["photo"], entry.get("object")] = entry
    return [done[task.item.photo, task.item.number] for task in tasks], found


def _finish(journal: Journal, entries: list[Entry], skipped: Skipped) -> None:
    """Writes the lists and the manifest."""
    if not any(entry["composites"] for entry in entries):
        reasons = sum((_rejected(entries, subset) for subset in entries[0]["rejected"]), Counter())
        raise UserError(f"{journal.folder}: no composite could be made of the photos ({dict(reasons)})")
    for (subset, split), path in _lists(journal).items():
        records = (entry["composites"].items() for entry in entries if entry["split"] == split)
        names = (Path(name).name for items in records for name, record in items if record["subset"] == subset)
        write_whole(path, "".join(f"{name}\n" for name in names))
    journal.finish(entries, skipped=skipped)


def _subsets(regions: int) -> tuple[str, ...]:
    return (*SUBSETS, REGIONS) if regions else tuple(SUBSETS)


def _lists(journal: Journal) -> dict[tuple[str, str], Path]:
    """The list of each subset and split."""
    subsets = _subsets(journal.settings.get("regions", 0))
    return {
        (subset, split): journal.folder / subset / f"{subset}_{split}.txt" for subset in subsets for split in SPLITS
    }


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
    for subset, tries in task.tries.items():
        made, rejected[subset] = _restyle(real, mask, tries, task)
        for number, (one, image) in enumerate(made, 1):
            path = f"{subset}/composite_images/{mask_name}_{number}.jpg"
            files[path] = _encoded(image)
            figures = _figures(_at_evaluation(files[path]), real_seen, mask_seen)
            composites[path] = {"subset": subset, **_told(one), **figures}
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
    real: NDArray[np.uint8], mask: NDArray[np.uint8], tries: Sequence[_Try], task: _Task
) -> tuple[list[tuple[_Try, NDArray[np.uint8]]], Counter[str]]:
    """Composites that pass the filters, with how they were made; and how many do not, by reason."""
    made: list[tuple[_Try, NDArray[np.uint8]]] = []
    rejected: Counter[str] = Counter()
    attempts = (
        Attempt(one.transfer, [_object_pixels(lender, task.size) / 255 for lender in one.lenders]) for one in tries
    )
    for one, result in zip(tries, restyle_each(real, mask, attempts), strict=False):
        if result.image is None:
            rejected[str(result.fault)] += 1
        else:
            made.append((one, result.image))
        if len(made) == task.most or result.fault == ONE_COLOR:
            break
    return made, rejected


def _told(one: _Try) -> dict[str, Any]:
    """How a composite was made, for the manifest."""
    names = [lender.name for lender in one.lenders]
    return {"reference": names[0]} if len(names) == 1 else {"transfer": one.transfer, "reference": names}


@lru_cache(maxsize=512)
def _object_pixels(item: Object, size: int | None) -> NDArray[np.uint8]:
    """(N, 3): an object's pixels, thinned if they are many."""
    real, mask = read_object(item, size)
    return np.array(thinned(real[mask >= HALF], REFERENCE_PIXELS))


def _figures(composite: NDArray[np.float64], real: NDArray[np.float64], mask: NDArray[np.float64]) -> dict[str, float]:
    """How far apart images are at the size of evaluation, by the protocol "idih" of :mod:`frih.metrics`."""
    error = (composite - real) ** 2
    mse, fmse = error.mean(), np.einsum("hwc,hw->", error, mask) / (3 * mask.sum())
    psnr = 10 * np.log10(max(real.max() ** 2, 1e-6) / (mse + 1e-6))
    return {"mse": round(float(mse), 2), "fmse": round(float(fmse), 2), "psnr": round(float(psnr), 2)}


def _at_evaluation(content: bytes) -> NDArray[np.float64]:
    """A stored image, (256, 256, 3), or mask, (256, 256), as evaluation sees it, in 0..255."""
    image = Image.open(io.BytesIO(content))
    return render(image, whole(image), _EVALUATION_SIZE).astype(np.float64)


def _encoded(image: NDArray[np.uint8]) -> bytes:
    """An image as JPEG, a mask as PNG."""
    file = io.BytesIO()
    if image.ndim == 3:
        save_jpeg(image, file)
    else:
        Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
