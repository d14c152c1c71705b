"""Small images of every stage of a harmonization, and maps of their errors, for the HTML report."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from frih.common.files import whole_file

STAGES = ("composite", "mask", "submasks", "coarse", "refined", "prediction", "real")
"""Stages that may be stored of an image, in the order in which they are shown."""
COMPARED = ("composite", "coarse", "refined", "prediction")
"""Stages of which the error against the real image is drawn."""
SCALE = 40
"""Error, in levels of 0..255, at which the colours of error maps end; larger errors look the same."""
SIDE = 256
"""Longer side of a stored image, at most."""
FLAT = ("mask", "submasks")
"""Stages of few colours, which are stored without loss."""


class Thumbnails:
    """Images in a folder: ``images/<subset>/<name>.<stage>.jpg``, and ``<name>.<stage>-error.jpg``; flat ones ``.webp``.

    Photos are JPEG, because evaluation waits for them and WebP takes seven times as long. Several processes may add different
    images at the same time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "images"

    def add(self, subset: str, name: str, stages: Mapping[str, np.ndarray]) -> None:
        """Stores the stages of one image and removes what was stored of it before.

        Args:
            subset: its folder.
            name: file name of the composite.
            stages: by name (:data:`STAGES`): (H, W, 3) or, of masks, (H, W), uint8, all of one size.
        """
        (self.folder / subset).mkdir(parents=True, exist_ok=True)
        images = dict(stages)
        if "real" in stages:
            for stage in COMPARED:
                if stage in stages:
                    images[f"{stage}-error"] = error_map(stages[stage], stages["real"])
        for kind, pixels in images.items():
            _save(self.path(subset, name, kind), pixels, flat=kind in FLAT)
        for kind in {*STAGES, *(f"{stage}-error" for stage in COMPARED)} - {*images}:
            self.path(subset, name, kind).unlink(missing_ok=True)

    def stages(self, subset: str, name: str) -> list[str]:
        """The stages that are stored of an image, in order."""
        return [stage for stage in STAGES if self.path(subset, name, stage).is_file()]

    def path(self, subset: str, name: str, kind: str) -> Path:
        """Where an image is stored; ``kind`` is a stage or, for its error map, ``<stage>-error``."""
        return self.folder / subset / f"{name}{ending(kind)}"


def ending(kind: str) -> str:
    """What a file name of this kind has after the composite's name."""
    return f".{kind}.{'webp' if kind in FLAT else 'jpg'}"


def error_map(image: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The root of the mean squared error over RGB, in colours from black (0) to yellow (:data:`SCALE` levels and more).

    Args:
        image: (H, W, 3) uint8.
        real: the same.

    Returns:
        (H, W, 3) uint8.
    """
    differences = image.astype(np.int32) - real
    levels = np.sqrt(np.einsum("hwc,hwc->hw", differences, differences) / 3)
    colors: np.ndarray = error_colors()[np.rint(np.minimum(levels, SCALE) * (255 / SCALE)).astype(np.uint8)]
    return colors


@lru_cache
def error_colors() -> np.ndarray:
    """The 256 colours of the scale, from no error on: (256, 3) uint8."""
    from matplotlib import colormaps  # slow to load

    colors: np.ndarray = np.rint(colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint8)
    return colors


def _save(path: Path, pixels: np.ndarray, *, flat: bool) -> None:
    """Writes an image, made smaller if it is large; ``flat`` images are stored without loss."""
    image = Image.fromarray(pixels)
    if max(image.size) > SIDE:
        scale = SIDE / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.NEAREST if flat else Image.Resampling.BOX)
    with whole_file(path) as file:
        if flat:
            image.save(file, "WEBP", lossless=True, quality=20, method=0)
        else:
            image.save(file, "JPEG", quality=85)
