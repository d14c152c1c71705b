"""``frih harmonize VIDEO MASKS -o OUT``."""

import os
import sys
from argparse import Namespace
from pathlib import Path

from frih.common.errors import UserError, need
from frih.common.wording import counted
from frih.harmonizing.outputs import check_outputs
from frih.harmonizing.pairs import find_images
from frih.harmonizing.video import CRF, SECONDS, harmonize_video, video_target


def harmonize_video_file(args: Namespace) -> int:
    """Harmonizes the video of a command line and returns the exit status."""
    for name in ("suffix", "submasks", "compare", "shrink", "feather"):
        if getattr(args, name, None):
            raise UserError(f"--{name}: is for images, not for a video; leave it out")
    if args.strength is not None and not 0 <= args.strength <= 1:
        raise UserError(f"--strength: must be from 0 (no change) to 1 (the network's), not {args.strength:g}")
    seconds = SECONDS if args.smooth is None else args.smooth
    if seconds < 0:
        raise UserError(f"--smooth: must be 0 seconds (none) or more, not {seconds:g}")
    crf = CRF if args.crf is None else args.crf
    if not 0 <= crf <= 51:
        raise UserError(f"--crf: must be from 0 (best) to 51 (worst), not {crf:g}")
    need("av", extra="video")
    video, masks = Path(args.image), find_images(args.mask) or [Path(args.mask)]
    result = video_target(video, args.out)
    check_outputs({video: [result]}, [video, *masks], args.overwrite)
    if result.exists() and not args.overwrite:
        print(f"0 frames harmonized ({result} kept, there already; --overwrite replaces it)")
        return 0

    from frih.common.devices import choose_device
    from frih.harmonizing.harmonizer import PRETRAINED, Harmonizer

    weights = args.weights or os.environ.get("FRIH_WEIGHTS") or PRETRAINED
    harmonizer = Harmonizer.load(weights, choose_device(args.device, "--device"), args.size)
    done = harmonize_video(
        harmonizer,
        video,
        args.mask,
        result,
        strength=args.strength,
        invert_mask=args.invert_mask,
        seconds=seconds,
        crf=crf,
    )
    for note, frames in done.notes.items():
        print(f"note: {video}: {counted(frames, 'frame')}: {note}", file=sys.stderr)
    empty = f" ({counted(done.empty, 'frame')} without foreground unchanged)" if done.empty else ""
    print(f"{counted(done.frames, 'frame')} harmonized, in {result}{empty}")
    return 0
