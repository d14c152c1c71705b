"""Makes a data set in iHarmony4's layout from your own images and their objects' masks, by the four published transfers.

::

    <out>/{Reinhard,Xiao,Fecker,Pitie[,Regions]}/{composite_images,masks,real_images}/
    <out>/Regions/submasks/                                  which colour region each pixel of a composite belongs to
    <out>/<subset>/<subset>_{train,test}.txt                 written when all images are there
    <out>/manifest.json                                      settings, and how each composite was made; written last
    <out>/unfinished.jsonl                                   until then, the same of what is done

Each object takes the colours of an object of the same category in another photo, as in iHarmony4
(:mod:`~frih.tools.composites.color_transfer`). What looks unreal or unchanged is rejected
(:mod:`~frih.tools.composites.restyling`). The composite ``X_M_K.jpg`` is the K-th of object M in photo X; M is 1 where each
photo has one mask. The photos are split, not the composites, and only training photos lend their colours: the training split
holds nothing of a test photo. Composite and real image are encoded from the same pixels, so that their backgrounds agree.

The subset Regions is made on request: each colour region of an object (:mod:`~frih.tools.composites.regions`) takes the
colours of another reference, by one of the four transfers drawn at random. No published data set has such composites. Their
regions are stored as submasks, for ``submasks.method=given`` (:mod:`frih.data.given`).

The result depends on the photos and the settings alone, not on the number of processes. An interrupted run can go on.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.common.processes import cores, process_pool
from frih.data.iharmony4 import FOLDERS, GIVEN, SPLITS, submask_name
from frih.data.images import HALF
from frih.tools.composites.color_transfer import TRANSFERS
from frih.tools.composites.objects import NAMED, Object, Skipped, choose_objects, describe_skipped, read_object, shown
from frih.tools.composites.restyling import ONE_COLOR, REFERENCE_PIXELS, Attempt, restyle_each, thinned
from frih.tools.composites.storing import at_evaluation, encoded
from frih.tools.journal import Entry, Journal

SUBSETS = {transfer.capitalize(): transfer for transfer in TRANSFERS}
"""The transfer of each subset."""
REGIONS = "Regions"
"""The subset whose objects take the colours of several references."""

RECIPE = 1
"""Raise it with every change that makes other images."""

MIN_SIZE = 64
"""The least side that photos may be reduced to."""
DRAWS = 10
"""References drawn for each wanted composite, at most. A foreground that suits few of them gets fewer composites."""
REGION_DRAWS = 3
"""For colour regions the draws are so many times as many, because each region must suit its reference."""
MAX_REGIONS = 8


class Made(NamedTuple):
    """A finished data set."""

    root: Path
    settings: dict[str, Any]
    entries: list[Entry]
    """One for each usable object, by name: ``photo``, ``category``, ``split``; ``object``, its number, if it was annotated;
    ``composites``, each with its subset, reference and figures; ``rejected``, counts by subset and reason; ``files``."""
    skipped: Skipped
    found: int
    """Objects that were done before."""
    renamed: list[str]
    """Photos named with their folder in front, because another folder has a photo of the same name."""


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
        annotations: a file of annotations in COCO's or LabelMe's form, or a folder of such files.
        objects: take so many annotated objects of a photo, the largest; all by default.
        at_most: take so many photos of each category that it names; all by default.
        regions: the most colour regions of an object that take the colours of different references, in a subset of their own;
            0 makes no such subset.
        size: reduce photos to this longer side; by default they keep their size.
        seed: of the split and the references.
        workers: processes; one for each core by default.
        per_photo: the most composites of each object by each of the four transfers.
        test_fraction: share of the photos that make the test split.
        progress: show progress bars.

    Raises:
        UserError: no photo is usable; or the folder holds something else, was made with other settings, is in use by another
            run, or cannot be written.
    """
    workers = cores() if workers is None else workers
    for name, value, least in (
        ("seed", seed, 0),
        ("workers", workers, 1),
        ("composites per photo", per_photo, 1),
        ("objects of a photo", objects, 1),
        ("size", size, MIN_SIZE),
    ):
        if value is not None and value < least:
            raise UserError(f"{name}: must be {least} or more, not {value}")
    if regions and not 2 <= regions <= MAX_REGIONS:
        raise UserError(f"regions: must be 2 to {MAX_REGIONS}, or 0 for none, not {regions}")
    if not 0 <= test_fraction < 1:
        raise UserError(f"test fraction: must be at least 0 and less than 1, not {test_fraction}")
    folders = [photos] if isinstance(photos, Path) else list(photos)
    with process_pool(workers) as each:
        reading = partial(shown, each, "reading photos", "photo", progress)
        usable, digest, skipped = choose_objects(folders, annotations, at_most or {}, objects, size, seed, reading)
        settings = {
            "recipe": RECIPE,
            "seed": seed,
            "per_photo": per_photo,
            "test_fraction": test_fraction,
            "photos": digest,
            **({"size": size} if size else {}),
            **({"regions": regions} if regions else {}),
        }
        lists = {
            (subset, split): out / subset / f"{subset}_{split}.txt" for subset in _subsets(regions) for split in SPLITS
        }

        def make(missing: list[_Task]) -> Iterable[Entry]:
            for path in lists.values():  # they are written again in the end
                path.unlink(missing_ok=True)
            for subset, folder in (*product(_subsets(regions), FOLDERS), *[(REGIONS, GIVEN)] * bool(regions)):
                (out / subset / folder).mkdir(parents=True, exist_ok=True)
            return shown(each, "composites", "object", progress, partial(_make, out), missing)

        journal = Journal(out, settings)
        tasks = {(task.item.photo, task.item.number): task for task in _plan(usable, settings)}
        with journal.held("the data set"):
            entries, found = journal.complete(tasks, lambda entry: (entry["photo"], entry.get("object")), make)
            if not all(path.exists() for path in (journal.manifest, *lists.values())):
                _write_lists(lists, entries, out)
                journal.finish(entries, skipped=skipped)
    renamed = list(dict.fromkeys(item.photo for item in usable if item.is_renamed))
    return Made(out, settings, entries, skipped, found, renamed)


def describe(made: Made) -> str:
    """What a data set holds, what was skipped or rejected and why, and how far its composites are from the photos."""
    skipped = sum(map(len, made.skipped.values()))
    photos = len({entry["photo"] for entry in made.entries})
    objects = "" if photos == len(made.entries) else f"{len(made.entries)} objects of "
    lines = [f"{made.root}: of {objects}{photos} photos ({made.found} done before, {skipped} skipped)"]
    if skipped:
        lines.append(f"  skipped: {describe_skipped(made.skipped)}")
    if made.renamed:
        names = ", ".join(made.renamed[:NAMED])
        lines.append(
            f"  named with their folder in front, because several have the same name: {len(made.renamed)} ({names})"
        )
    composites = [(entry["split"], record) for entry in made.entries for record in entry["composites"].values()]
    lines.append(f"  {'':10}{'train':>7}{'test':>7}{'rejected':>10}")
    for subset in _subsets(made.settings.get("regions", 0)):
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


class _Composite(NamedTuple):
    """How a composite was made, its image (H, W, 3), and its colour regions (H, W) if it has any."""

    how: _Try
    image: NDArray[np.uint8]
    regions: NDArray[np.uint8] | None


class _Task(NamedTuple):
    """An object and, by subset, the ways to restyle it, which are tried one after the other."""

    item: Object
    split: str
    most: int
    """Composites in each subset."""
    size: int | None
    tries: dict[str, list[_Try]]


def _subsets(regions: int) -> tuple[str, ...]:
    return (*SUBSETS, REGIONS) if regions else tuple(SUBSETS)


def _plan(objects: Sequence[Object], settings: dict[str, Any]) -> list[_Task]:
    """Splits the photos and draws references, from training photos only."""
    seed, per_photo, test_fraction = (settings[key] for key in ("seed", "per_photo", "test_fraction"))
    regions = settings.get("regions", 0)
    photos = Counter(item.photo for item in objects)
    count = min(len(photos) - 1, max(1, round(test_fraction * len(photos)))) if test_fraction else 0
    names = list(photos)
    test = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[:count]}
    lenders: dict[str, list[Object]] = defaultdict(list)
    for item in objects:
        if item.photo not in test:
            lenders[item.category].append(item)

    def draw(item: Object, rng: np.random.Generator, count: int) -> list[Object]:
        """Objects of other photos, each once."""
        others, own = lenders[item.category], photos[item.photo]
        drawn = rng.choice(len(others), min(len(others), count + own), replace=False)
        return [others[i] for i in drawn if others[i].photo != item.photo][:count]

    tasks = []
    for item in objects:
        rngs = {
            subset: np.random.default_rng((seed, *f"{subset} {item.name}".encode())) for subset in _subsets(regions)
        }
        tries = {
            subset: [_Try(transfer, [lender]) for lender in draw(item, rngs[subset], DRAWS * per_photo)]
            for subset, transfer in SUBSETS.items()
        }
        if regions:
            rng = rngs[REGIONS]
            transfers, draws = list(SUBSETS.values()), range(REGION_DRAWS * DRAWS * per_photo)
            drawn = [_Try(str(rng.choice(transfers)), draw(item, rng, regions)) for _ in draws]
            tries[REGIONS] = [one for one in drawn if len(one.lenders) == regions]
        split = "test" if item.photo in test else "train"
        tasks.append(_Task(item, split, per_photo, settings.get("size"), tries))
    return tasks


def _write_lists(lists: Mapping[tuple[str, str], Path], entries: Sequence[Entry], out: Path) -> None:
    if not any(entry["composites"] for entry in entries):
        reasons = sum((_rejected(entries, subset) for subset in entries[0]["rejected"]), Counter())
        raise UserError(f"{out}: no composite could be made of the photos ({dict(reasons)})")
    for (subset, split), path in lists.items():
        records = (entry["composites"].items() for entry in entries if entry["split"] == split)
        names = (Path(name).name for items in records for name, record in items if record["subset"] == subset)
        write_whole(path, "".join(f"{name}\n" for name in names))


def _rejected(entries: Iterable[Entry], subset: str) -> Counter[str]:
    return sum((Counter(entry["rejected"].get(subset, {})) for entry in entries), Counter())


def _make(out: Path, task: _Task) -> Entry:
    """Writes an object's composites, its mask and the photo itself."""
    photo, mask_name = task.item.photo, f"{task.item.photo}_{task.item.number or 1}"
    real, mask = read_object(task.item, task.size)
    real_jpeg, mask_png = encoded(real), encoded(mask)
    real_seen, mask_seen = at_evaluation(real_jpeg), at_evaluation(mask_png) / 255
    composites: dict[str, Any] = {}
    rejected: dict[str, Counter[str]] = {}
    files: dict[str, bytes] = {}
    for subset, tries in task.tries.items():
        made, rejected[subset] = _restyle(real, mask, tries, task)
        for number, (one, image, regions) in enumerate(made, 1):
            name = f"{mask_name}_{number}.jpg"
            path = f"{subset}/composite_images/{name}"
            files[path] = encoded(image)
            if regions is not None:
                files[f"{subset}/{GIVEN}/{submask_name(name)}"] = encoded(regions)
            lenders = [lender.name for lender in one.lenders]
            how = {"reference": lenders[0]} if len(lenders) == 1 else {"transfer": one.transfer, "reference": lenders}
            composites[path] = {"subset": subset, **how, **_figures(at_evaluation(files[path]), real_seen, mask_seen)}
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
) -> tuple[list[_Composite], Counter[str]]:
    """The composites that pass the filters, and how many do not, by reason."""
    made: list[_Composite] = []
    rejected: Counter[str] = Counter()
    attempts = (
        Attempt(one.transfer, [_lent_pixels(lender, task.size) / 255 for lender in one.lenders]) for one in tries
    )
    for one, result in zip(tries, restyle_each(real, mask, attempts), strict=False):
        if result.image is None:
            rejected[str(result.fault)] += 1
        else:
            made.append(_Composite(one, result.image, result.regions))
        if len(made) == task.most or result.fault == ONE_COLOR:
            break
    return made, rejected


@lru_cache(maxsize=512)
def _lent_pixels(item: Object, size: int | None) -> NDArray[np.uint8]:
    """(N, 3): pixels of an object, at most ``REFERENCE_PIXELS`` of them."""
    real, mask = read_object(item, size)
    return np.array(thinned(real[mask >= HALF], REFERENCE_PIXELS))


def _figures(composite: NDArray[np.float64], real: NDArray[np.float64], mask: NDArray[np.float64]) -> dict[str, float]:
    """How far apart two images are at the size of evaluation, by the protocol "idih" of :mod:`frih.metrics`."""
    error = (composite - real) ** 2
    mse, fmse = error.mean(), np.einsum("hwc,hw->", error, mask) / (3 * mask.sum())
    psnr = 10 * np.log10(max(real.max() ** 2, 1e-6) / (mse + 1e-6))
    return {"mse": round(float(mse), 2), "fmse": round(float(fmse), 2), "psnr": round(float(psnr), 2)}
