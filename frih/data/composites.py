"""A data set in iHarmony4's layout of one's own photos and their objects' masks, by the four published transfers.

::

    <photos>/{images,masks}/                                 the same names but for the suffix
    <photos>/photos.csv                                      with columns name and category, optional

    <out>/{Reinhard,Xiao,Fecker,Pitie}/{composite_images,masks,real_images}/
    <out>/<subset>/<subset>_{train,test}.txt                 written when all pictures are there
    <out>/manifest.json                                      settings, and how each composite was made; written last
    <out>/unfinished.jsonl                                   until then, the same of what is done

As iHarmony4's foregrounds were, each is given the colours of an object of the same category in another photo
(:mod:`~frih.data.color_transfer`), and what looks unreal or unchanged is rejected (:mod:`~frih.data.restyling`). Photos are
split, not composites, and only training photos lend their colours: nothing of a test photo is in the training split. Both the
composite and the real picture are written as JPEG anew from the same pixels, so that the background is the same in both.

Everything follows from the photos and the settings, whatever the number of processes. A run that was interrupted goes on.
"""

import csv
import hashlib
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from frih.data.color_transfer import TRANSFERS
from frih.data.pictures import HALF, open_mask, open_rgb, read_mask, read_rgb
from frih.data.restyling import find_fault, restyle, save_jpeg
from frih.data.transforms import render, whole
from frih.errors import UserError
from frih.files import is_part, write_whole
from frih.processes import Map, cores, process_pool

SUBSETS = {transfer.capitalize(): transfer for transfer in TRANSFERS}
"""The transfer of each subset."""
SPLITS = ("train", "test")

RECIPE = 1
"""To be raised with every change that makes other pictures."""

MIN_SHARE, MAX_SHARE = 0.01, 0.8
"""Bounds of the foreground's share of a photo, as iHarmony4's."""
DRAWS = 10
"""Draws of a reference for each composite asked for, at most; a foreground that suits few gets fewer composites."""

_MANIFEST, _JOURNAL = "manifest.json", "unfinished.jsonl"
_FOLDERS = ("composite_images", "masks", "real_images")
_EVALUATION_SIZE = 256
_REFERENCE_PIXELS, _TRIAL_PIXELS = 8_000, 2_000
_NAMED = 5
"""So many of the photos skipped for one reason are named on the screen."""

Entry = dict[str, Any]
"""What became of a photo: ``photo``, ``category``, ``split``; ``composites``, each with its subset, reference and figures;
``rejected``, a count by subset and reason; ``files`` with their sizes."""


class Made(NamedTuple):
    """A data set that is whole."""

    root: Path
    settings: dict[str, Any]
    entries: list[Entry]
    """One for each usable photo, by name."""
    skipped: dict[str, list[str]]
    """Photos that are of no use, by reason."""
    found: int
    """How many photos were done already."""


def make_composites(
    photos: Path,
    out: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    per_photo: int = 1,
    test_fraction: float = 0.1,
    progress: bool = True,
) -> Made:
    """Makes a data set, or what is missing of it.

    Args:
        photos: folder with ``images/`` and ``masks/``.
        out: the data set's folder, for ``data.root``.
        seed: of the split and the references.
        workers: processes; as many as there are cores by default.
        per_photo: composites of each photo by each of the four transfers, at most.
        test_fraction: share of the photos that make the test split.
        progress: show progress bars.

    Raises:
        UserError: no usable photo; the folder holds something else, was made with other settings, or cannot be written.
    """
    workers = cores() if workers is None else workers
    _check_numbers(seed, workers, per_photo, test_fraction)
    candidates, skipped = _list_photos(photos)
    with process_pool(workers) as each:
        usable, digest = _inspect_all(candidates, skipped, partial(_shown, each, "reading photos", progress))
        if not usable:
            raise UserError(f"{photos}: no usable photo; {_describe_skipped(skipped)}")
        settings = {
            "recipe": RECIPE,
            "seed": seed,
            "per_photo": per_photo,
            "test_fraction": test_fraction,
            "photos": f"{len(usable)} of digest {digest}",
        }
        tasks = _plan(usable, seed, per_photo, test_fraction)
        try:
            entries, found = _make_missing(out, settings, tasks, partial(_shown, each, "composites", progress))
            if not all(path.exists() for path in (*_lists(out).values(), out / _MANIFEST)):
                _finish(out, settings, entries, skipped)
        except OSError as error:
            raise UserError(f"{out}: the data set cannot be written there ({error})") from error
    return Made(out, settings, entries, skipped, found)


def describe(made: Made) -> str:
    """What is in a data set, what is not and why, and how far its composites are from the photos; for people."""
    skipped = sum(map(len, made.skipped.values()))
    lines = [f"{made.root}: of {len(made.entries)} photos ({made.found} done before, {skipped} skipped)"]
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


class _Photo(NamedTuple):
    """A photo with an object."""

    name: str
    """File name without suffix."""
    image: Path
    mask: Path
    category: str


class _Task(NamedTuple):
    """A photo to be restyled, and by subset the photos to take colours from, one after the other."""

    photo: _Photo
    split: str
    per_photo: int
    references: dict[str, list[_Photo]]


class _Finding(NamedTuple):
    """Why a photo is of no use, if it is not, in general and in particular; and what identifies it."""

    reason: str | None
    detail: str
    digest: str


def _check_numbers(seed: int, workers: int, per_photo: int, test_fraction: float) -> None:
    if seed < 0:
        raise UserError(f"seed: must be 0 or more, not {seed}")
    if workers < 1 or per_photo < 1:
        raise UserError(f"workers and composites per photo: must be 1 or more, not {workers} and {per_photo}")
    if not 0 <= test_fraction < 1:
        raise UserError(f"test fraction: must be at least 0 and less than 1, not {test_fraction}")


def _list_photos(folder: Path) -> tuple[list[_Photo], dict[str, list[str]]]:
    """Photos that have masks, by name; and the names of the others, by reason."""
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    categories = _read_categories(folder / "photos.csv")
    photos: list[_Photo] = []
    skipped: dict[str, list[str]] = defaultdict(list)
    for name, paths in images.items():
        if len(paths) > 1 or len(masks.get(name, ())) > 1:
            skipped["two files of one name"].append(name)
        elif not _can_be_listed(name):
            skipped["name that a list cannot hold"].append(repr(name))
        elif name not in masks:
            skipped["without mask"].append(paths[0].name)
        elif categories is not None and name not in categories:
            skipped["not in photos.csv"].append(paths[0].name)
        else:
            photos.append(_Photo(name, paths[0], masks[name][0], categories[name] if categories is not None else ""))
    return photos, skipped


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Files by name without suffix, sorted; hidden ones are left out."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error}); photos are in images/, masks in masks/") from None
    stems: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        stems[path.stem].append(path)
    return dict(sorted(stems.items()))


def _can_be_listed(name: str) -> bool:
    """Whether a list file, one name a line, gives the name back."""
    printable = name.encode("utf-8", "ignore").decode("utf-8") == name
    return printable and name.splitlines() == [name.lstrip()] and "\\" not in name


def _read_categories(path: Path) -> dict[str, str] | None:
    """The category of each photo by its name without suffix; None where there is no such file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from None
    if not rows or not {"name", "category"} <= rows[0].keys():
        raise UserError(f"{path}: needs the columns name and category, and a line for each photo")
    # a name may have its suffix or none, and dots of its own
    stems = {str(row["name"]): str(row["category"] or "") for row in rows}
    return {Path(name).stem: category for name, category in stems.items()} | stems


def _inspect_all(photos: Sequence[_Photo], skipped: dict[str, list[str]], each: Map) -> tuple[list[_Photo], str]:
    """Reads all photos: those that are of use, and a digest of them; the others are added to the skipped ones."""
    usable, digest = [], hashlib.sha256()
    for photo, finding in zip(photos, each(_inspect, photos), strict=True):
        if finding.reason:
            skipped[finding.reason].append(finding.detail)
        else:
            usable.append(photo)
            digest.update(json.dumps([photo.name, photo.category, finding.digest]).encode())
    return usable, digest.hexdigest()[:16]


def _inspect(photo: _Photo) -> _Finding:
    name = photo.image.name
    try:
        image, mask = open_rgb(photo.image), open_mask(photo.mask)
        digest = hashlib.sha256(photo.image.read_bytes() + photo.mask.read_bytes()).hexdigest()
    except (UserError, OSError) as error:
        return _Finding("unreadable", str(error).replace(f"{photo.image.parent.parent}{os.sep}", ""), "")
    if image.size != mask.size:
        sizes = "{}x{}, mask {}x{}".format(*image.size, *mask.size)
        return _Finding("mask of another size", f"{name} ({sizes})", "")
    share = float((np.asarray(mask) >= HALF).mean())
    if share == 0:
        return _Finding("empty mask", name, "")
    if not MIN_SHARE <= share <= MAX_SHARE:
        bounds = f"{MIN_SHARE:.0%} to {MAX_SHARE:.0%}"
        return _Finding(f"foreground not {bounds} of the picture", f"{name} ({share:.1%})", "")
    return _Finding(None, "", digest)


def _describe_skipped(skipped: dict[str, list[str]]) -> str:
    parts = []
    for reason, names in sorted(skipped.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        parts.append(f"{reason} {len(names)} ({', '.join(names[:_NAMED])}{more})")
    return "; ".join(parts) or "images/ holds no file"


def _plan(photos: Sequence[_Photo], seed: int, per_photo: int, test_fraction: float) -> list[_Task]:
    """Splits the photos and draws references, of training photos alone."""
    count = min(len(photos) - 1, max(1, round(test_fraction * len(photos)))) if test_fraction else 0
    test = {photos[i].name for i in np.random.default_rng(seed).permutation(len(photos))[:count]}
    lenders: dict[str, list[_Photo]] = defaultdict(list)
    for photo in photos:
        if photo.name not in test:
            lenders[photo.category].append(photo)
    tasks = []
    for photo in photos:
        draw = partial(_draw, photo, lenders[photo.category], seed, DRAWS * per_photo)
        references = {subset: draw(subset) for subset in SUBSETS}
        tasks.append(_Task(photo, "test" if photo.name in test else "train", per_photo, references))
    return tasks


def _draw(photo: _Photo, lenders: Sequence[_Photo], seed: int, count: int, subset: str) -> list[_Photo]:
    """Other photos, each once, in an order that follows from the seed, the photo and the subset."""
    rng = np.random.default_rng((seed, *f"{subset} {photo.name}".encode()))
    drawn = rng.choice(len(lenders), min(len(lenders), count + 1), replace=False)  # one more, as it may be itself
    return [lenders[i] for i in drawn if lenders[i].name != photo.name][:count]


def _make_missing(out: Path, settings: dict[str, Any], tasks: Sequence[_Task], each: Map) -> tuple[list[Entry], int]:
    """Makes what is not there yet: an entry for each task, and how many there were before."""
    done = _read_done(out, settings)
    missing = [task for task in tasks if task.photo.name not in done]
    found = len(tasks) - len(missing)
    if missing:
        _begin(out, settings, list(done.values()))
        with (out / _JOURNAL).open("a", encoding="utf-8") as journal:
            for entry in each(partial(_make, out), missing):
                journal.write(json.dumps(entry) + "\n")
                journal.flush()
                done[entry["photo"]] = entry
    return [done[task.photo.name] for task in tasks], found


def _read_done(out: Path, settings: dict[str, Any]) -> dict[str, Entry]:
    """Entries of the photos whose files are all there, by name."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; give a folder for the data set")
    for read in (_read_journal, _read_manifest):
        state = read(out)
        if state:
            _refuse_others(out, state[0], settings)
            return {entry["photo"]: entry for entry in state[1] if _is_whole(out, entry)}
    strangers = [path.name for path in sorted(out.iterdir()) if not is_part(path)] if out.exists() else []
    if strangers:
        raise UserError(f"{out}: holds {strangers[0]}, but no {_MANIFEST} of this program; give an empty or new folder")
    return {}


def _read_journal(out: Path) -> tuple[dict[str, Any], list[Entry]] | None:
    with suppress(FileNotFoundError):
        lines = []
        for line in (out / _JOURNAL).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):  # a line that was being written when the run was killed
                lines.append(json.loads(line))
        return (lines[0], lines[1:]) if lines else None
    return None


def _read_manifest(out: Path) -> tuple[dict[str, Any], list[Entry]] | None:
    try:
        manifest = json.loads((out / _MANIFEST).read_text(encoding="utf-8"))
        return manifest["settings"], manifest["photos"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{out / _MANIFEST}: is none of this program's; give another folder") from None


def _refuse_others(out: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    parts = [f"{key} {old.get(key)}, not {value}" for key, value in new.items() if old.get(key) != value]
    if parts:
        raise UserError(f"{out}: was made with {'; '.join(parts)}; give the same again, or another folder")


def _is_whole(out: Path, entry: Entry) -> bool:
    try:
        return all((out / name).stat().st_size == size for name, size in entry["files"].items())
    except FileNotFoundError:
        return False


def _begin(out: Path, settings: dict[str, Any], entries: list[Entry]) -> None:
    """Makes folders, sweeps what a killed run left, and starts the journal; the manifest and lists are written anew later."""
    for subset in SUBSETS:
        for folder in _FOLDERS:
            (out / subset / folder).mkdir(parents=True, exist_ok=True)
    for path in [path for path in out.rglob(".*") if is_part(path)]:
        path.unlink(missing_ok=True)
    write_whole(out / _JOURNAL, "".join(json.dumps(line) + "\n" for line in (settings, *entries)).encode())
    (out / _MANIFEST).unlink(missing_ok=True)
    for path in _lists(out).values():
        path.unlink(missing_ok=True)


def _finish(out: Path, settings: dict[str, Any], entries: list[Entry], skipped: dict[str, list[str]]) -> None:
    """Writes the lists and the manifest."""
    if not any(entry["composites"] for entry in entries):
        reasons = sum((_rejected(entries, subset) for subset in SUBSETS), Counter())
        raise UserError(f"{out}: no composite could be made of the photos ({dict(reasons)})")
    for (subset, split), path in _lists(out).items():
        records = (entry["composites"].items() for entry in entries if entry["split"] == split)
        names = (Path(name).name for items in records for name, record in items if record["subset"] == subset)
        write_whole(path, "".join(f"{name}\n" for name in names).encode())
    manifest = {"settings": settings, "skipped": skipped, "photos": entries}
    write_whole(out / _MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    (out / _JOURNAL).unlink(missing_ok=True)


def _lists(out: Path) -> dict[tuple[str, str], Path]:
    """The list of each subset and split."""
    return {(subset, split): out / subset / f"{subset}_{split}.txt" for subset in SUBSETS for split in SPLITS}


def _rejected(entries: Sequence[Entry], subset: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for entry in entries:
        total.update(entry["rejected"].get(subset, {}))
    return total


def _make(out: Path, task: _Task) -> Entry:
    """Writes a photo's composites, and with them its mask and the photo itself."""
    photo = task.photo
    real, mask = read_rgb(photo.image), read_mask(photo.mask)
    real_jpeg, mask_png = _encoded(real), _encoded(mask)
    real_seen, mask_seen = _at_evaluation(real_jpeg), _at_evaluation(mask_png) / 255
    composites: dict[str, Any] = {}
    rejected: dict[str, Counter[str]] = {}
    files: dict[str, bytes] = {}
    for subset, references in task.references.items():
        made, rejected[subset] = _restyle(real, mask, SUBSETS[subset], references, task.per_photo)
        for number, (reference, picture) in enumerate(made, 1):
            path = f"{subset}/composite_images/{photo.name}_1_{number}.jpg"
            files[path] = _encoded(picture)
            figures = _figures(_at_evaluation(files[path]), real_seen, mask_seen)
            composites[path] = {"subset": subset, "reference": reference, **figures}
        if made:
            files[f"{subset}/masks/{photo.name}_1.png"] = mask_png
            files[f"{subset}/real_images/{photo.name}.jpg"] = real_jpeg
    for path, content in files.items():
        write_whole(out / path, content)
    return {
        "photo": photo.name,
        "category": photo.category,
        "split": task.split,
        "composites": composites,
        "rejected": rejected,
        "files": {path: len(content) for path, content in files.items()},
    }


def _restyle(
    real: NDArray[np.uint8], mask: NDArray[np.uint8], transfer: str, references: Sequence[_Photo], count: int
) -> tuple[list[tuple[str, NDArray[np.uint8]]], Counter[str]]:
    """Composites that pass the filters, with their references' names; and how many do not, by reason."""
    made: list[tuple[str, NDArray[np.uint8]]] = []
    rejected: Counter[str] = Counter()
    some = _thinned(real[mask > 0], _TRIAL_PIXELS) / 255
    for reference in references:
        colors = _object_pixels(reference.image, reference.mask) / 255
        # most that will be rejected show it on a few pixels
        fault = find_fault(some, TRANSFERS[transfer](some, _thinned(colors, _TRIAL_PIXELS)))
        if fault:
            rejected[fault] += 1
            continue
        result = restyle(real, mask, colors, transfer)
        if result.picture is None:
            rejected[str(result.fault)] += 1
        else:
            made.append((reference.name, result.picture))
        if len(made) == count:
            break
    return made, rejected


@lru_cache(maxsize=512)
def _object_pixels(image: Path, mask: Path) -> NDArray[np.uint8]:
    """(N, 3): an object's pixels, thinned if they are many."""
    return np.array(_thinned(read_rgb(image)[read_mask(mask) >= HALF], _REFERENCE_PIXELS))


def _thinned(pixels: NDArray[Any], count: int) -> NDArray[Any]:
    """Every n-th of the pixels, so that there are no more than so many."""
    return pixels[:: 1 + len(pixels) // count]


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


def _shown(each: Map, label: str, progress: bool, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Any:
    """The results, in order, behind a progress bar."""
    return tqdm(each(function, tasks), desc=label, unit="photo", total=len(tasks), disable=not progress)
