"""The quick start's data set: a small one in iHarmony4's layout, made of the photos that come with scikit-image.

::

    <root>/manifest.json                                     settings, files, and how each composite was made
    <root>/Sample/Sample_{train,test}.txt
    <root>/Sample/{composite_images,masks,real_images}/

Objects outlined by hand are restyled by the four published transfers, as in iHarmony4
(:mod:`~frih.tools.composites.color_transfer`). Three photos make the training split, two others the test split. The photos are
part of scikit-image's wheel, so nothing is downloaded. The seed decides everything.
"""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from frih.common.errors import UserError
from frih.common.files import is_part, write_whole
from frih.common.progress import progress_bar
from frih.data.images import HALF
from frih.tools.composites.color_transfer import TRANSFERS, Colors
from frih.tools.composites.restyling import Attempt, restyle
from frih.tools.composites.storing import at_evaluation, encoded
from frih.tools.journal import LOCK, MANIFEST, Journal

SUBSET = "Sample"
SPLITS = {"train": ("astronaut", "coffee", "motorcycle"), "test": ("chelsea", "rocket")}
"""Photos by split."""

RECIPE = 1
"""Raise it with every change that makes other images."""

DRAWS = 20
"""References drawn for each wanted composite, at most. A foreground that suits few of them gets fewer composites."""

_REFERENCE_PIXELS = 20_000
_SUPERSAMPLING = 4


class Sample(NamedTuple):
    """A sample data set."""

    root: Path
    made: bool
    """Whether this call made it; False if it was there."""
    composites: dict[str, int]
    """Their number, by split."""
    mse: dict[str, float]
    """Mean MSE of the composites at 256x256, by split: the "Input composite" rows of an evaluation."""


def make_sample(
    root: Path,
    *,
    size: int = 512,
    train_variants: int = 8,
    test_variants: int = 5,
    seed: int = 0,
    progress: bool = True,
) -> Sample:
    """Makes the sample data set, unless it is there already.

    One that is damaged, or was made with other settings, is replaced as soon as all images of the new one are made.

    Args:
        root: the data set's folder, for ``data.root``.
        size: longest side of the stored images in pixels; smaller photos keep their size.
        train_variants: composites of each foreground of the training photos.
        test_variants: the same of the test photos.
        seed: of references and transfers.
        progress: show a progress bar.

    Raises:
        UserError: the folder holds something else, is in use by another run, or cannot be written.
    """
    settings = {"recipe": RECIPE, "size": size, "train": train_variants, "test": test_variants, "seed": seed}
    root = root.absolute()
    manifest = _read_manifest(root, settings)
    made = manifest is None
    if manifest is None:
        with Journal(root, settings).held("the sample data"):
            old = _own_files(root)
            files, manifest = _build(settings, progress)
            (root / MANIFEST).unlink(missing_ok=True)
            for path in old - files.keys():
                (root / path).unlink(missing_ok=True)
            for path, content in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                write_whole(root / path, content)
            write_whole(root / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    mse: dict[str, list[float]] = {split: [] for split in SPLITS}
    for record in manifest["composites"].values():
        mse[record["split"]].append(record["mse"])
    means = {split: float(np.mean(values)) if values else 0.0 for split, values in mse.items()}
    return Sample(root, made, {split: len(values) for split, values in mse.items()}, means)


class _Photo(NamedTuple):
    """A photo and its outlined objects."""

    name: str
    real: NDArray[np.uint8]
    """(H, W, 3)."""
    masks: dict[str, NDArray[np.uint8]]
    """(H, W) each, grey at the borders."""


class _Task(NamedTuple):
    """One object to be restyled."""

    split: str
    photo: _Photo
    foreground: str


def _build(settings: dict[str, int], progress: bool) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The data set's files, by path below the root, and its manifest."""
    photos = {split: [_load(name, settings["size"]) for name in names] for split, names in SPLITS.items()}
    tasks = [_Task(split, photo, name) for split in SPLITS for photo in photos[split] for name in photo.masks]
    files: dict[str, bytes] = {}
    records: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(partial(_restyle, references=photos["train"], settings=settings), tasks)
        bar = progress_bar(results, desc="sample data", unit="object", total=len(tasks), disable=not progress)
        for (split, photo, foreground), composites in zip(tasks, bar, strict=True):
            real, name = f"{SUBSET}/real_images/{photo.name}.jpg", f"{photo.name}_{foreground}"
            files[real] = encoded(photo.real)
            files[f"{SUBSET}/masks/{name}.png"] = encoded(photo.masks[foreground])
            seen = at_evaluation(files[real])
            for number, (image, record) in enumerate(composites, 1):
                content = files[f"{SUBSET}/composite_images/{name}_{number}.jpg"] = encoded(image)
                mse = float(((at_evaluation(content) - seen) ** 2).mean())
                records[f"{name}_{number}.jpg"] = {"split": split, **record, "mse": round(mse, 2)}
    for split in SPLITS:
        names = [name for name, record in records.items() if record["split"] == split]
        files[f"{SUBSET}/{SUBSET}_{split}.txt"] = "".join(f"{name}\n" for name in names).encode()
    sizes = {path: len(files[path]) for path in sorted(files, key=PurePosixPath)}
    return files, {"settings": settings, "composites": records, "files": sizes}


def _restyle(
    task: _Task, references: list[_Photo], settings: dict[str, int]
) -> list[tuple[NDArray[np.uint8], dict[str, Any]]]:
    """The composites of one object that pass the filters, (H, W, 3) each, and how they were made."""
    photo, foreground, count = task.photo, task.foreground, settings[task.split]
    rng = np.random.default_rng((settings["seed"], *f"{photo.name} {foreground}".encode()))
    made = []
    for draw in range(DRAWS * count):
        transfer = list(TRANSFERS)[draw % len(TRANSFERS)]
        reference, origin = _draw_reference(photo, foreground, references, rng)
        result = restyle(photo.real, photo.masks[foreground], Attempt(transfer, [reference]))
        if result.image is not None:
            made.append((result.image, {"transfer": transfer, "reference": origin, "fmse": round(result.fmse, 2)}))
        if len(made) == count:
            break
    return made


def _draw_reference(
    photo: _Photo, foreground: str, references: list[_Photo], rng: np.random.Generator
) -> tuple[Colors, str]:
    """The pixels and the name of a reference: the object itself or another one, under another light."""
    others = [(one, name) for one in references for name in one.masks if (one.name, name) != (photo.name, foreground)]
    if rng.random() < 0.5:
        owner, name = photo, foreground
    else:
        owner, name = others[rng.integers(len(others))]
    pixels = owner.real[owner.masks[name] >= HALF] / 255
    return _relit(pixels[:: 1 + len(pixels) // _REFERENCE_PIXELS], rng), f"{owner.name}_{name}"


def _relit(colors: Colors, rng: np.random.Generator) -> Colors:
    """Colours under another light: brighter or darker, warmer or colder, with more or less contrast."""
    warmth, green = rng.normal(0, 0.2), rng.normal(0, 0.05)
    gain = np.exp(rng.normal(0, 0.35) + np.array([warmth, green, -warmth]))
    return np.asarray(np.clip(gain * colors ** np.exp(rng.normal(0, 0.2)), 0, 1))


def _load(name: str, size: int) -> _Photo:
    """Reads a photo of scikit-image and draws its objects' masks."""
    image = skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(skimage.data, name)()
    photo = Image.fromarray(image)
    scale = min(1.0, size / max(photo.size))
    small = round(photo.width * scale), round(photo.height * scale)
    masks = {foreground: _draw_mask(name, foreground, photo.size, small) for foreground in OUTLINES[name]}
    return _Photo(name, np.asarray(photo.resize(small, Image.Resampling.LANCZOS)), masks)


def _draw_mask(photo: str, foreground: str, size: tuple[int, int], small: tuple[int, int]) -> NDArray[np.uint8]:
    """The antialiased mask of the outlines, (H, W). ``size`` is the photo's, ``small`` the mask's."""
    canvas = Image.new("L", (small[0] * _SUPERSAMPLING, small[1] * _SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    x_scale, y_scale = canvas.width / size[0], canvas.height / size[1]
    for part in OUTLINES[photo][foreground]:
        what = part.removeprefix("cut ")
        for outline in OUTLINES[photo].get(what, (what,)):
            if not outline.startswith("cut "):
                corners = [(x * x_scale, y * y_scale) for x, y in _points(outline)]
                draw.polygon(corners, fill=255 if what == part else 0)
    return np.asarray(canvas.reduce(_SUPERSAMPLING))


def _points(outline: str) -> list[tuple[float, float]]:
    """Corners of an outline ``x,y x,y ...``, or of the ellipse ``(x,y rx,ry degrees)``."""
    if not outline.startswith("("):
        return [(float(x), float(y)) for x, _, y in (point.partition(",") for point in outline.split())]
    x, y, rx, ry, degrees = map(float, re.split(r"[ ,]", outline[1:-1]))
    turn, angles = np.deg2rad(degrees), np.linspace(0, 2 * np.pi, 72, endpoint=False)
    across, down = rx * np.cos(angles), ry * np.sin(angles)
    xs = x + across * np.cos(turn) - down * np.sin(turn)
    ys = y + across * np.sin(turn) + down * np.cos(turn)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _read_manifest(root: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a data set that is whole and has these settings; None if there is none."""
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        whole = all((root / path).stat().st_size == size for path, size in manifest["files"].items())
        return manifest if whole and manifest["settings"] == settings and manifest["composites"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _own_files(root: Path) -> set[str]:
    """The paths of an older sample data set.

    Raises:
        UserError: the folder holds other files, which are not replaced.
    """
    photo = "|".join(OUTLINES)
    known = re.compile(
        rf"{MANIFEST}|{SUBSET}/({SUBSET}_(train|test)\.txt|real_images/({photo})\.jpg"
        rf"|masks/({photo})_\w+\.png|composite_images/({photo})_\w+_\d+\.jpg)"
    )
    paths = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if not path.is_dir()}
    for name, path in paths.items():
        if not (known.fullmatch(name) or is_part(path) or name == LOCK):
            raise UserError(
                f"{root}: holds {path.name}, which is not sample data; give another folder, or empty this one"
            )
    return paths.keys() - {LOCK}


OUTLINES: dict[str, dict[str, tuple[str, ...]]] = {
    "astronaut": {
        "head": (
            "153,72 155,60 165,47 180,36 190,27 205,20 220,16 240,16 258,20 272,28 284,40 293,53 299,70 "
            "301,85 299,100 293,115 284,126 276,133 270,136 267,134 266,145 262,160 256,170 254,188 240,190 "
            "220,189 205,187 192,178 186,168 183,150 180,130 172,124 163,113 157,100 154,87",
        ),
        "suit": (
            "113,206 100,218 80,235 62,255 48,280 38,305 28,340 24,375 22,410 22,440 27,475 35,500 42,511 "
            "108,511 120,500 133,490 148,484 158,482 152,470 160,464 175,465 187,473 194,490 192,505 186,511 "
            "276,511 278,480 278,460 283,440 291,415 302,390 318,370 340,355 363,348 360,335 355,305 348,280 "
            "338,262 322,247 305,237 303,255 295,272 283,285 265,292 240,293 215,291 195,286 175,274 158,258 "
            "143,245 130,232 120,215",
        ),
        "badge": ("(171,385 37,37 0)",),
        "helmet": (
            "278,511 277,485 280,460 288,430 298,405 312,382 330,364 352,352 375,346 400,344 425,347 448,356 "
            "467,372 480,392 489,415 496,445 502,458 511,465 511,511",
        ),
        "shuttle": (
            "402,0 432,0 437,25 437,45 444,40 451,50 455,62 456,190 455,235 456,272 368,274 367,268 378,250 "
            "388,232 355,225 357,205 378,180 377,150 379,115 380,85 379,60 386,43 394,45 396,25",
        ),
        "flag": (
            "0,0 50,0 58,40 64,80 70,100 80,130 88,165 95,190 101,217 80,235 62,255 48,280 38,305 28,340 "
            "24,375 22,410 22,440 27,475 35,500 40,511 0,511",
        ),
    },
    "coffee": {
        "cup": (
            "173,105 176,88 185,70 200,50 220,34 245,23 270,18 300,19 330,25 355,36 378,52 395,74 404,100 "
            "406,120 403,145 394,180 384,205 372,232 345,240 330,250 318,258 322,262 310,278 285,286 258,283 "
            "262,270 250,285 232,300 222,307 208,306 198,296 196,280 202,262 212,246 222,237 208,225 195,205 "
            "184,180 177,150 174,125",
        ),
        "coffee": (
            "203,143 210,130 222,112 235,102 255,97 280,95 305,97 330,105 350,118 362,135 369,152 366,165 "
            "350,178 330,187 305,193 280,192 255,184 235,173 215,158",
        ),
        "spoon": (
            "398,72 405,67 415,67 424,75 420,95 412,120 405,145 395,175 385,205 383,225 390,240 402,258 "
            "407,280 402,300 388,315 370,324 350,324 335,313 328,298 326,280 332,262 345,248 362,240 374,232 "
            "375,215 385,185 395,160 403,135 406,110 400,85",
        ),
        "saucer": (
            "182,70 150,85 120,108 98,138 84,170 77,205 79,240 90,275 108,305 133,333 165,357 205,376 "
            "250,386 295,389 340,384 380,372 415,352 443,325 463,292 475,255 479,220 477,185 465,155 445,128 "
            "418,106 406,130",
            "cut cup",
            "cut spoon",
        ),
        "table": (
            "150,0 600,0 600,400 0,400 0,103",
            "cut saucer",
            "cut cup",
            "cut spoon",
        ),
    },
    "motorcycle": {
        "paint": (
            "326,228 335,218 357,198 385,181 413,167 441,161 463,163 481,174 485,190 483,206 472,226 458,240 "
            "424,243 385,240 349,249 312,262 290,276 268,283 254,265 237,246 218,234 190,226 162,224 137,232 "
            "112,247 117,229 131,218 156,211 184,211 218,219 240,232 257,251 271,259 301,240",
            "505,329 505,312 513,293 530,276 558,266 592,268 619,282 642,304 628,315 597,301 564,296 536,299 519,310",
        ),
        "tank": (
            "326,228 335,218 357,198 385,181 413,167 441,161 463,163 481,174 485,190 483,206 472,226 458,240 "
            "424,243 385,240 349,249",
        ),
        "seat": (
            "152,167 167,162 206,166 240,169 254,173 273,190 301,195 335,190 356,191 357,201 335,218 324,228 "
            "296,241 268,259 251,246 237,229 206,215 167,208 153,193",
        ),
        "engine": (
            "335,312 357,287 366,246 402,243 463,240 477,254 474,279 477,312 469,340 446,363 413,379 363,374 "
            "329,366 335,340",
        ),
        "wheel": (
            "516,312 527,346 544,379 564,410 592,441 619,453 647,451 670,435 682,410 684,385 675,357 661,329 "
            "642,310 628,315 597,301 564,296 536,299",
        ),
        "door": ("181,0 288,0 287,93 182,91",),
        "boxes": (
            "527,33 594,29 592,98 527,98",
            "590,66 634,66 632,100 590,100",
            "617,187 688,185 685,275 615,270",
        ),
        "floor": (
            "0,312 50,310 120,312 126,346 140,371 167,391 195,401 234,397 268,379 279,366 312,368 324,385 "
            "326,434 340,434 357,385 413,379 446,363 474,346 505,335 522,357 552,402 586,441 619,455 658,449 "
            "681,424 698,312 741,301 741,500 0,500",
        ),
        "bike": (
            "92,198 112,195 140,201 137,156 142,148 162,144 167,162 206,166 240,169 254,173 273,190 301,195 "
            "357,190 385,181 357,173 385,145 332,137 332,123 368,112 385,120 413,126 441,131 463,142 469,131 "
            "497,114 497,81 513,78 544,100 536,120 558,134 566,120 580,120 580,140 561,145 558,173 550,190 "
            "550,204 572,257 592,268 619,282 642,304 661,329 675,357 684,385 682,410 670,435 647,451 619,453 "
            "592,441 564,410 544,379 527,346 516,312 505,329 505,312 513,293 527,279 502,229 485,223 472,229 "
            "474,251 477,312 469,340 446,363 413,379 363,377 340,371 340,407 354,407 335,413 338,432 324,434 "
            "329,413 326,371 312,366 279,363 268,379 234,397 195,401 167,391 140,371 126,346 122,318 126,285 "
            "140,259 162,240 153,240 112,247 100,240 109,223 92,215",
            "(540,155 27,32 0)",
        ),
    },
    "chelsea": {
        "cat": (
            "36,0 33,40 32,80 28,112 0,135 0,300 389,300 387,276 380,256 366,240 352,226 340,213 333,202 342,190 "
            "351,173 358,148 361,128 361,108 357,78 370,50 390,20 398,0",
        ),
        "eyes": (
            "(172,115 37,30 8)",
            "(319,137 25,28 0)",
        ),
        "nose": ("240,230 250,228 270,229 291,230 286,240 275,252 262,262 256,265 252,258 248,244",),
        "ear": ("325,0 398,0 390,20 372,48 358,78 348,62 335,35 322,10",),
        "room": (
            "0,0 451,0 451,300 0,300",
            "cut cat",
        ),
    },
    "rocket": {
        "rocket": (
            "322,126 328,132 332,141 333,152 333,177 330,182 330,300 331,405 313,405 314,300 314,182 311,177 "
            "311,150 313,140 317,132",
        ),
        "pad": ("267,407 370,407 380,427 267,427",),
        "sky": (
            "90,0 558,0 568,240 572,365 500,368 440,362 400,368 350,358 290,372 230,360 180,372 130,366 84,362",
            "cut rocket",
        ),
    },
}
"""Objects of each photo, in its pixels: outlines in the form of :func:`_points`, drawn one after the other. "cut" takes away
the outline of another object."""
