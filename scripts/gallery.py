"""Draws the README's images and docs/gallery.md: what weights make of the sample data's photos, at the photos' own size.

    python scripts/make_sample.py
    python evaluate.py frih/pretrained data.root=data/sample --out outputs/gallery/test
    python evaluate.py frih/pretrained data.root=data/sample --split train --out outputs/gallery/train
    python scripts/gallery.py data/sample outputs/gallery/test outputs/gallery/train --strip astronaut_suit_7.jpg

Writes strip.jpg, and gallery.jpg: the composites with the largest gain in fMSE, each foreground once, then those with the
largest harm.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from frih import Harmonizer
from frih.common.drawing import image_sheet
from frih.common.errors import UserError, extra, run_command
from frih.common.files import whole_file
from frih.common.paths import path_argument
from frih.harmonizing.harmonizer import PRETRAINED

with extra("train"):
    from frih.data.iharmony4 import read_split
    from frih.evaluation.rows import read_rows
    from frih.tools.sharing.examples import Example, caption, choose

STAGES = ("composite", "mask", "FRIH", "real")


def main() -> int:
    """Draws what the evaluations name."""
    args = parse()
    examples = [Example(folder, row) for folder in args.evaluations for row in read_rows(folder / "rows.csv")]
    items = [item for split in ("train", "test") for item in read_split(str(args.root), split).items]
    files = {(item.subset, item.composite_name): item for item in items}
    harmonizer = Harmonizer.load(args.weights)

    def stages(example: Example, width: int) -> list[np.ndarray]:
        """Composite, mask, result and real image of a width in pixels."""
        item = files.get(example.row[:2])
        if item is None:
            raise UserError(f"{args.root}: holds no {'/'.join(example.row[:2])}, which {example.folder} was made of")
        images = [Image.open(path).convert("RGB") for path in (item.composite, item.mask, item.real)]
        images.insert(2, harmonizer(images[0], images[1].convert("L")))
        height = round(width * images[0].height / images[0].width)
        return [np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)) for image in images]

    chosen = choose(examples, best=4, worst=2)
    strip = next((one for one in examples if one.row.name == args.strip), None) if args.strip else chosen[0]
    if strip is None:
        raise UserError(f"--strip {args.strip}: no such composite in {', '.join(map(str, args.evaluations))}")
    args.out.mkdir(parents=True, exist_ok=True)
    sheets = {
        "strip.jpg": image_sheet([stages(strip, 300)], STAGES),
        "gallery.jpg": image_sheet([stages(one, 300) for one in chosen], STAGES, [*map(caption, chosen)]),
    }
    for name, sheet in sheets.items():
        with whole_file(args.out / name) as file:
            Image.fromarray(sheet).save(file, "JPEG", quality=88)
        print(f"{args.out / name}: {sheet.shape[1]} x {sheet.shape[0]} pixels")
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=path_argument, metavar="ROOT", help="the data set")
    parser.add_argument(
        "evaluations", nargs="+", type=path_argument, metavar="DIR", help="evaluations of the weights on it"
    )
    parser.add_argument("--weights", default=PRETRAINED, metavar="W", help="default: those that come with the software")
    parser.add_argument("--strip", metavar="NAME", help="the strip's composite; default: the one with the largest gain")
    parser.add_argument("--out", type=path_argument, default=Path("docs/images"), metavar="DIR")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
