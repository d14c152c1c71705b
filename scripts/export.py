"""Writes a trained network in a format for other programs, and compares it with the original.

    python scripts/export.py RUN --out model.safetensors [--half]     # safe to share and to load; half: float16
    python scripts/export.py RUN --out model.onnx                     # both stages, for ONNX Runtime and others
    python scripts/export.py RUN --out model.pt2                      # both stages, for torch.export.load
    python scripts/export.py RUN --out FOLDER --format hub            # weights, configuration and model card
    python scripts/export.py RUN --push USER/NAME                     # the same, published on the Hugging Face Hub
    python scripts/export.py RUN ... --limits outputs/limits/limits.json    # with what scripts/limits.py has measured

RUN is a run's folder, one of its checkpoints, or exported weights (a file, a folder, hf://USER/NAME). The comparison is on
three made images, or on your own with --check IMAGES MASKS, two folders in which a mask has the name of its image. The model
card has the figures of the run's own evaluations; the options below add what else it shall hold. See docs/export.md.
"""

import argparse
from pathlib import Path

from frih.common.errors import UserError, extra, run_command
from frih.common.paths import path_argument
from frih.config.words import named_folders
from frih.harmonizing.pairs import find_pairs
from frih.models.checkpoint import rebuild_model
from frih.models.locate import locate

with extra("train"):
    from frih.tools.sharing.export import FORMATS, TOLERANCE, check, export, open_exported, read_content
    from frih.tools.sharing.hub import Card, push_to_hub, save_pretrained


def main() -> int:
    """Exports what the command line names."""
    args = parse()
    if args.push:
        more = {"limits": args.limits, "card": args.card}
        print(push_to_hub(args.run, args.push, best=args.best, half=args.half, private=args.private, **more))
        return 0
    if args.format == "hub":
        save_pretrained(args.run, args.out, best=args.best, half=args.half, limits=args.limits, card=args.card)
        print(f"written: {', '.join(sorted(path.name for path in args.out.iterdir()))} in {args.out}")
        return 0
    images = find_images(args.check)
    checkpoint = locate(args.run, "best" if args.best else "last")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    about = export(checkpoint, args.out, args.format, half=args.half, limits=args.limits)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, of {checkpoint} at step {about['step']}")
    original = rebuild_model(read_content(checkpoint, args.limits), checkpoint)
    worst = check(open_exported(args.out, args.format), *original, images)
    print(
        f"on {len(images) if images else 'three made'} images it differs from the original by at most "
        f"{worst.coarse:.1e} (coarse) and {worst.refined:.1e} (refined), of RGB in [0, 1]"
    )
    if max(worst) > TOLERANCE and not args.half:
        raise UserError(f"{args.out}: is not the same network (more than {TOLERANCE:.0e} apart); do not use it")
    return 0


def parse() -> argparse.Namespace:
    """The command line; the format follows from the suffix of --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=path_argument, metavar="RUN", help="a run's folder, or weights")
    parser.add_argument("--out", type=path_argument, metavar="PATH", help="the file to write, or the folder for hub")
    parser.add_argument("--format", choices=[*FORMATS, "hub"], help="default: by the suffix of --out")
    parser.add_argument("--best", action="store_true", help="take the run's best checkpoint, not its last")
    parser.add_argument("--half", action="store_true", help="safetensors, hub: weights in float16")
    parser.add_argument("--limits", type=path_argument, metavar="FILE", help="limits.json of scripts/limits.py")
    parser.add_argument("--check", type=path_argument, nargs=2, metavar=("IMAGES", "MASKS"), help="compare on these")
    parser.add_argument("--push", metavar="USER/NAME", help="publish on the Hugging Face Hub")
    parser.add_argument("--private", action="store_true", help="with --push: visible to you alone")
    card = parser.add_argument_group("model card (hub, --push)")
    card.add_argument(
        "--about",
        type=path_argument,
        metavar="FILE",
        help="Markdown: what the weights were trained on, with the licence of the data",
    )
    card.add_argument(
        "--evaluations",
        nargs="+",
        default=[],
        metavar="[TITLE=]DIR",
        help="further folders that evaluate.py wrote of these weights",
    )
    card.add_argument(
        "--images",
        nargs="+",
        type=path_argument,
        default=[],
        metavar="DIR",
        help="such folders: six of their images are shown, best and worst; they must be free to share",
    )
    args = parser.parse_args()
    if bool(args.out) == bool(args.push):
        raise UserError("give either --out PATH or --push USER/NAME")
    if args.out and not args.format:
        by_suffix = {suffix: kind for kind, suffix in FORMATS.items()}
        if args.out.suffix not in by_suffix:
            raise UserError(f"{args.out}: name it {', '.join(f'*{suffix}' for suffix in by_suffix)}, or give --format")
        args.format = by_suffix[args.out.suffix]
    if (args.about or args.evaluations or args.images) and args.format != "hub" and not args.push:
        raise UserError("--about, --evaluations, --images: are for a model card; give --format hub or --push")
    args.card = Card(args.about, named_folders(args.evaluations, "--evaluations "), args.images)
    return args


def find_images(folders: list[Path] | None) -> list[tuple[Path, Path]]:
    """The images of one folder and their masks from another."""
    if folders is None:
        return []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
    pairs, failures = find_pairs(*map(str, folders))
    if failures:
        raise UserError(failures[0])
    return list(pairs.items())


if __name__ == "__main__":
    run_command(main)
