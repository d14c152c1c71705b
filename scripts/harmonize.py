"""Harmonizes one's own pictures with a trained network.

    python scripts/harmonize.py CHECKPOINT IMAGE MASK --out DIR
    python scripts/harmonize.py CHECKPOINT IMAGE_FOLDER MASK_FOLDER --out DIR

CHECKPOINT is a run's folder or one of its checkpoints. In folders a mask is named as its picture, whatever its suffix. Each
result is written as DIR/<picture's name>.png, of the picture's own size. What cannot be harmonized is named at the end, and the
exit status is then 2; the other pictures are done all the same.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from frih import Harmonizer
from frih.data.pictures import SUFFIXES
from frih.errors import USER_ERROR, UserError, run_command
from frih.files import whole_file


def main() -> int:
    """Harmonizes what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("image", type=Path, help="a picture or a folder of pictures")
    parser.add_argument("mask", type=Path, help="its mask, or a folder of masks; white = foreground")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    args = parser.parse_args()

    pairs = find_pairs(args.image, args.mask)
    harmonizer = Harmonizer.load(args.checkpoint, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    failures = []
    for image, mask in tqdm(pairs, unit="picture", disable=len(pairs) == 1):
        target = args.out / f"{image.stem}.png"
        try:
            if target.exists() and target.samefile(image):
                raise UserError(f"{target}: is the picture itself; give another folder by --out")
            save(harmonizer(image, mask), target)
        except UserError as error:
            failures.append(str(error))
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"{len(pairs) - len(failures)} of {len(pairs)} harmonized, in {args.out}")
    return USER_ERROR if failures else 0


def find_pairs(image: Path, mask: Path) -> list[tuple[Path, Path]]:
    """Pictures and their masks."""
    if image.is_dir() != mask.is_dir():
        raise UserError(f"{image} and {mask}: give two files or two folders")
    if not image.is_dir():
        return [(image, mask)]
    masks: dict[str, Path] = {}
    images: dict[str, Path] = {}
    for folder, files in ((mask, masks), (image, images)):
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                other = files.setdefault(path.stem, path)
                if other != path:
                    raise UserError(f"{other} and {path.name}: are of one name; keep one")
    if not images:
        raise UserError(f"{image}: holds no picture")
    lacking = [path.name for stem, path in images.items() if stem not in masks]
    if lacking:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise UserError(f"{mask}: has no mask for {', '.join(lacking[:3])}{more}; a mask is named as its picture")
    return [(path, masks[stem]) for stem, path in images.items()]


def save(picture: np.ndarray, path: Path) -> None:
    """Writes a picture whole or not at all."""
    with whole_file(path) as file:
        Image.fromarray(picture).save(file, format="PNG")


if __name__ == "__main__":
    run_command(main)
