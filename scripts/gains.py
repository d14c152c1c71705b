"""Shows where one network gains on another: differences of fMSE and PSNR, image by image, by groups of images.

    python scripts/gains.py runs/frih/evaluation/test --against runs/baseline/evaluation/test --out outputs/gains
    python scripts/gains.py FRIH0 FRIH1 FRIH2 --against BASELINE0 BASELINE1 BASELINE2       # seeds, averaged image by image

Each side is a folder that evaluate.py wrote, or several. The gain is the first's score less the second's, with intervals over
real photos. Groups: sub-dataset, the foreground's share of the image, submasks of the paper's rule, share of the largest of
them, colours of the foreground, the composite's fMSE, category. Submasks and colours need the images: --data, by default the
data set that the evaluations name. Colours are regions of the real image's foreground that lie 10 apart in CIELAB and cover 4 %
of it, at most 8. Categories are those of FILE (CSV: name, category; names of photos or masks without suffix), by default those
of a data set that make_composites.py made; those of fewer than 10 images are others.

--out writes gains.md, gains.json, gains.csv (a line for each image), gains.png (plot), and best.jpg and worst.jpg, the ten
images, each of another photo, on which the first gains most and least fMSE.
"""

import argparse
import os

from frih.common.columns import wrapped
from frih.common.errors import extra, run_command
from frih.common.files import write_whole
from frih.common.paths import path_argument

with extra("train"):
    from frih.evaluation.layout import fitted
    from frih.evaluation.write import as_json, write_json
    from frih.metrics import Row
    from frih.tools.composites.online import read_categories as read_manifest
    from frih.tools.experiments.gains import (
        Sides,
        correlations,
        gains,
        join,
        look_at_images,
        parts,
        read_categories,
        read_sides,
    )
    from frih.tools.experiments.gains_report import (
        correlation_table,
        draw_gains,
        gain_tables,
        write_gains,
        write_sheets,
    )
    from frih.tools.report.write import describe, markdown


def main() -> int:
    """Compares, prints, and writes if the command line says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "first", nargs="+", type=path_argument, metavar="FIRST", help="evaluations of the first network"
    )
    parser.add_argument(
        "--against", nargs="+", type=path_argument, required=True, metavar="SECOND", help="those of the second"
    )
    parser.add_argument("--data", type=path_argument, metavar="ROOT", help="the data set that was evaluated")
    parser.add_argument("--categories", type=path_argument, metavar="FILE", help="CSV with the columns name, category")
    parser.add_argument("--out", type=path_argument, metavar="DIR", help="write tables, plot and images there")
    args = parser.parse_args()
    sides = read_sides(args.first, args.against)
    root = args.data or (sides.root if sides.root and sides.root.is_dir() else None)
    categories = read_manifest(root) if root else {}
    if args.categories:
        categories = read_categories(args.categories, sides.first)
    looks = look_at_images(sides.first, root, sides.size) if root else []
    rows = join(sides.first, sides.second, looks)
    report(args, sides, rows, categories, str(root or ""))
    return 0


def report(args: argparse.Namespace, sides: Sides, rows: list[Row], categories: dict[str, str], data: str) -> None:
    """Prints and writes the tables; writes plot and images."""
    found = parts(rows, categories)
    measured, related = gains(rows, found), correlations(rows)
    tables = [*gain_tables(rows, found, measured, sides.names), correlation_table(related)]
    text = describe(rows, [sides.protocol])
    text += f"\nΔ: {' less '.join(sides.names)}, image by image; won: images on which {sides.names[0]} is better, ties half."
    if left_out := len(sides.first) - len(rows):
        text += f"\nWithout foreground, left out: {left_out}."
    if not data:
        text += "\nWithout the images nothing is known of largest submask and colours; give the data set: --data ROOT."
    text += "".join(f"\nBeware: {remark}." for remark in sides.early)
    print("\n\n".join([wrapped(text), *fitted(tables)]))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        folders = {"first": [*map(os.fspath, args.first)], "second": [*map(os.fspath, args.against)]}
        about = {**{name: ", ".join(ones) for name, ones in folders.items()}, **({"data": data} if data else {})}
        title = f"{sides.names[0]} less {sides.names[1]}"
        write_whole(args.out / "gains.md", markdown(title, text, tables, about))
        content = {"names": sides.names, **folders, "data": data, "protocol": sides.protocol}
        content |= {"gains": as_json(measured), "correlations": as_json({"quantities": related})["quantities"]}
        write_json(args.out / "gains.json", content)
        write_gains(args.out / "gains.csv", rows, categories)
        drawn = ["gains.png"] if draw_gains(args.out / "gains.png", measured, sides.names) else []
        sheets = [path.name for path in write_sheets(rows, args.first[0], args.against[0], sides.names, args.out)]
        print(f"\nwritten: {', '.join(['gains.md', 'gains.json', 'gains.csv', *drawn, *sheets])} in {args.out}")
        if not sheets:
            print("no sheets of images: they need the images that evaluate.py keeps beside rows.csv, of both networks")


if __name__ == "__main__":
    run_command(main)
