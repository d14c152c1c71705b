"""Counts how many composites check_data.py says to differ from their real image elsewhere than in the mask.

    python benchmarks/displacement.py [--roots ROOT=data/sample ...] [--images N=300]

The composites of the ROOTs are taken as they are; stored again, as JPEG or through half their size; without any change of the
foreground; and with a mask that is inverted, moved by half the width, or another image's.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from frih.common.errors import UserError, run_command
from frih.data.iharmony4 import Item, read_split
from frih.data.images import open_mask, open_rgb
from frih.evaluation import evenly
from frih.tools.datasets.displacement import coarse, coarse_mask, locate_change


class Triple(NamedTuple):
    """A composite as it was opened."""

    composite: Image.Image
    mask: Image.Image
    real: Image.Image


def main() -> int:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roots", type=Path, nargs="+", default=[Path("data/sample")], metavar="ROOT")
    parser.add_argument("--images", type=int, default=300, metavar="N", help="composites, evenly spaced (default: 300)")
    args = parser.parse_args()
    if args.images < 1:
        raise UserError("--images: must be 1 or more")
    items = [item for root in args.roots for item in read_split(root, "test").items]
    triples = [open_triple(items[index]) for index in evenly(len(items), args.images)]
    print(f"{len(triples)} composites: differ elsewhere; of these, the mask seems inverted")
    for name, way in ways(triples).items():
        changes = [
            locate_change(coarse(one.composite), coarse_mask(one.mask), coarse(one.real)) for one in map(way, triples)
        ]
        print(f"{name:44} {sum(one.elsewhere for one in changes):5} {sum(one.inverted for one in changes):5}")
    return 0


def open_triple(item: Item) -> Triple:
    """Reads the images of a composite."""
    return Triple(open_rgb(item.composite), open_mask(item.mask), open_rgb(item.real))


def ways(triples: Sequence[Triple]) -> dict[str, Callable[[Triple], Triple]]:
    """What is done to the composites, by name."""
    others = [*triples[len(triples) // 2 :], *triples[: len(triples) // 2]]
    masks = {id(one): other.mask for one, other in zip(triples, others, strict=True)}
    stored: dict[str, Callable[[Image.Image], Image.Image]] = {
        **{f"JPEG {quality}": lambda image, quality=quality: jpeg(image, quality) for quality in (75, 50, 30, 10)},
        "half the size and back": halved,
        "moved by a pixel": moved,
        "lighter by 8 levels": lambda image: image.point([min(value + 8, 255) for value in range(256)] * 3),
    }
    found: dict[str, Callable[[Triple], Triple]] = {"as they are": lambda one: one}
    for name, store in stored.items():
        found[name] = lambda one, store=store: one._replace(composite=store(one.composite))
        found[f"unchanged foreground, {name}"] = lambda one, store=store: one._replace(composite=store(one.real))
    return {
        **found,
        "a quarter of the change": lambda one: one._replace(composite=Image.blend(one.real, one.composite, 0.25)),
        "inverted mask": lambda one: one._replace(mask=one.mask.point([255 - value for value in range(256)])),
        "mask moved by half the width": lambda one: one._replace(mask=rolled(one.mask)),
        "another image's mask": lambda one: one._replace(mask=masks[id(one)].resize(one.mask.size)),
    }


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """An image, stored and read."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def halved(image: Image.Image) -> Image.Image:
    """An image through half its size."""
    width, height = image.size
    small = image.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BICUBIC)
    return small.resize(image.size, Image.Resampling.BILINEAR)


def moved(image: Image.Image) -> Image.Image:
    """An image moved to the right by a pixel."""
    pixels = np.asarray(image)
    return Image.fromarray(np.concatenate([pixels[:, :1], pixels[:, :-1]], axis=1))


def rolled(mask: Image.Image) -> Image.Image:
    """A mask moved by half its width, and in again on the other side."""
    return Image.fromarray(np.roll(np.asarray(mask), mask.width // 2, axis=1))


if __name__ == "__main__":
    run_command(main)
