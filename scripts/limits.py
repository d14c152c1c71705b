"""Measures weights on composites that they have not seen: which strength is best, and on which kinds they do harm.

    python scripts/limits.py WEIGHTS data.root=VALIDATION [--split test] [--out outputs/limits]
    python scripts/export.py WEIGHTS --out FOLDER --format hub --limits outputs/limits/limits.json

WEIGHTS is a run, a checkpoint, or weights (.safetensors, hf://USER/NAME). One pass over the composites gives fMSE and harm at
the strengths 0, 0.1 ... 1, and for each kind of composites (frih/harmonizing/kinds.py; categories, if the data set's manifest
has them); one over the real images, how much they are changed. The second command puts the best strength and the kinds into
the weights, so that frih harmonize takes the one and names the others. --strength S takes S in place of the best. Without it,
where small changes are better taken less, model.shrink is found instead: export it by --out FILE.safetensors, and measure that
file.

Writes limits.json, limits.md (tables), strengths.png (plot), strengths.csv, kinds.csv, and a line for each image in rows.csv
and unchanged.csv. Choose composites that are not those of the final benchmark. More is in docs/harmonize.md.
"""

import argparse
from pathlib import Path

from frih.common.columns import wrapped
from frih.common.distributed import connect
from frih.common.errors import alike, extra, run_command
from frih.common.files import sha256_of, write_whole
from frih.common.paths import path_argument
from frih.common.wording import counted
from frih.config import SubmaskConfig
from frih.config.keys import Ramp
from frih.models.findings import Measured
from frih.models.folding import fold_normalization

with extra("train"):
    from frih.data.dataset import CompositeDataset, require_foreground
    from frih.data.iharmony4 import read_split
    from frih.evaluation.command import load_subject, parse_weights, weights_parser
    from frih.evaluation.layout import fitted
    from frih.evaluation.rows import write_rows
    from frih.metrics import Row
    from frih.tools.composites.online import read_categories
    from frih.tools.experiments.limits import findings, parts
    from frih.tools.experiments.limits_report import curve_table, draw_curve, parts_table, write_curve, write_parts
    from frih.tools.experiments.shrinkage import best_shrink
    from frih.tools.experiments.strengths import PROTOCOL, STRENGTHS, Strengths, Unchanged, best_strength, curve


def main() -> int:
    """Measures, prints and writes."""
    with alike():
        args = parse()
        config, model, checkpoint = load_subject(args, only=("data", "evaluation", "submasks", "train.device"))[:3]
        assert model is not None
        assert checkpoint is not None
        listing = read_split(config.data.root, args.split, config.data.subsets)
        require_foreground(listing.items, f"the {args.split} split")
        submasks = config.submasks if model.refines else SubmaskConfig(method="whole")
        images = CompositeDataset(listing.items, config.data, submasks)

    with connect(config.train.device) as world:
        common = {"world": world, "batch": config.evaluation.batch, "workers": config.data.workers}
        model = fold_normalization(model).to(world.device)
        rows, unchanged = (Strengths(one, **common).of_model(model)[PROTOCOL] for one in (images, Unchanged(images)))
        if world.is_main:
            data = f"{listing.describe()}; split {args.split}, {config.data.size} x {config.data.size} pixels"
            categories = read_categories(Path(str(config.data.root)))
            free = args.strength is None and config.model.network == "frih" and config.model.shrink is None
            shrink = best_shrink(rows, unchanged) if free else None
            about = f"{checkpoint.name} on {data}, protocol {PROTOCOL}"
            report(args, rows, unchanged, categories, about, checkpoint, shrink)
        world.barrier()  # no process may end before the others are done
    return 0


def report(
    args: argparse.Namespace,
    rows: list[Row],
    unchanged: list[Row],
    categories: dict[str, str],
    about: str,
    checkpoint: Path,
    shrink: Ramp | None,
) -> None:
    """Prints and writes the tables, the plot and what goes with the weights."""
    points, best = curve(rows, unchanged), best_strength(rows)
    strength = args.strength or best or 1.0
    found = parts(rows, strength, categories)
    known = findings(found, strength)
    kept = known.model_dump() if shrink is None else {}  # with it they are others
    measured = Measured(weights=sha256_of(checkpoint), shrink=shrink, **kept)
    tables = curve_table(points), parts_table(found, strength)
    print("\n\n".join([wrapped(about), *fitted(tables)]))
    args.out.mkdir(parents=True, exist_ok=True)
    write_rows(args.out / "rows.csv", rows)
    write_rows(args.out / "unchanged.csv", unchanged)
    write_curve(args.out / "strengths.csv", points)
    write_parts(args.out / "kinds.csv", found)
    draw_curve(args.out / "strengths.png", points, strength)
    text = "\n\n".join([f"# {about}", *(table.markdown() for table in tables), "![strengths](strengths.png)"])
    write_whole(args.out / "limits.md", text + "\n")
    write_whole(args.out / "limits.json", measured.model_dump_json(indent=2) + "\n")
    if best == 0:
        print("\nAt no strength are the results better than the composites: these weights are not to be used.")
    print(f"\nstrength {strength:g}; {counted(len(known.limits), 'limit')}")
    if shrink:
        better = f"model.shrink={list(shrink)} is better"
        print(f"{better}: export with this measurement by --out FILE.safetensors, then measure that file")
    print(f"written: {', '.join(sorted(path.name for path in args.out.iterdir()))} in {args.out}")


def parse() -> argparse.Namespace:
    """The command line: weights, keys and options."""
    parser = weights_parser(__doc__)
    parser.add_argument("--split", choices=["test", "train"], default="test")
    parser.add_argument("--strength", type=float, choices=STRENGTHS[1:], metavar="S", help="0.1, 0.2 ... 1")
    parser.add_argument("--out", type=path_argument, default=Path("outputs/limits"), metavar="DIR")
    return parse_weights(parser)


if __name__ == "__main__":
    run_command(main)
