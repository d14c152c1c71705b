"""Measures the running statistics of trained weights anew, on whole training images, as evaluation sees them.

    python scripts/recalibrate.py RUN --out weights.safetensors [--images 640] [--centre] [data.root=...]

RUN is a run's folder, one of its checkpoints, or weights. Only the statistics of the normalisations change; with --centre, then
the last layer's bias too, by the mean colour that the results lack. The result counts as the end of its run, also if that was
stopped before. It pays for weights trained with data.unchanged, and for averaged ones (train.ema); compare both by evaluate.py
on other images.
"""

import argparse

from frih.common.devices import choose_device
from frih.common.errors import UserError, extra, run_command
from frih.common.paths import path_argument
from frih.models.checkpoint import load_checkpoint
from frih.models.weights import describe, write_weights

with extra("train"):
    from frih.data.held_out import with_held_out
    from frih.data.iharmony4 import read_split
    from frih.evaluation.command import load_subject, parse_weights, weights_parser
    from frih.tools.sharing.recalibrate import Draw, centre, last_layer, recalibrate
    from frih.training.images import datasets


def main() -> int:
    """Measures and writes."""
    args = parse()
    config, model, checkpoint = load_subject(args, only=("data", "submasks", "train.device"))[:3]
    assert model is not None
    assert checkpoint is not None
    listing = read_split(config.data.root, "train", config.data.subsets)
    images, _ = datasets(with_held_out(listing, config), config)
    device = choose_device(config.train.device, "train.device")
    draw = Draw(images, args.images, args.batch, config.seed)
    if args.centre:
        try:
            last_layer(model)
        except ValueError as error:
            raise UserError(f"--centre: {checkpoint}: {error}; leave it out") from None
    taken = recalibrate(model, draw, device)
    if not taken and config.model.norm == "none":
        raise UserError(f"{checkpoint}: has no running statistics (model.norm is none), so there is nothing to measure")
    if not taken:
        least = min(args.images, len(images))
        raise UserError(f"--batch: {args.batch} is more than the {least} images; give at most that")
    added = centre(model, draw, device) if args.centre else None
    content = load_checkpoint(checkpoint)
    content.pop("findings", None)  # they were measured with the old statistics
    content["training"] = {"step": content["training"].get("step", 0)}  # of a run stopped on purpose these are the end
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(args.out, model.cpu().state_dict(), describe(content, config, checkpoint))
    print(f"{args.out}: statistics of {taken} images")
    if added is not None:
        print("added, in levels: red {:+.2f}, green {:+.2f}, blue {:+.2f}".format(*added))
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = weights_parser(__doc__)
    parser.add_argument("--images", type=int, default=640, metavar="N", help="at most so many (default: 640)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="so many at a time (default: 16)")
    parser.add_argument("--centre", action="store_true", help="take away the constant colour by which the results err")
    parser.add_argument("--out", type=path_argument, required=True, metavar="FILE", help="weights.safetensors")
    args = parse_weights(parser)
    if args.out.suffix != ".safetensors":
        raise UserError(f"--out: {args.out} must end in .safetensors")
    for option, value in (("--batch", args.batch), ("--images", args.images)):
        if value < 1:
            raise UserError(f"{option}: must be 1 or more, not {value}")
    return args


if __name__ == "__main__":
    run_command(main)
