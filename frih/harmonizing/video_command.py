"""``frih harmonize VIDEO MASKS -o OUT``."""

import sys
import time
from argparse import Namespace
from pathlib import Path

from frih.common.errors import UserError, need
from frih.common.wording import counted, duration
from frih.harmonizing.outputs import check_outputs
from frih.harmonizing.pairs import find_images
from frih.harmonizing.stills import load
from frih.harmonizing.video import CRF, SECONDS, check_numbers, harmonize_video, video_target


def harmonize_video_file(args: Namespace) -> int:
    """Harmonizes the video of a command line and returns the exit status."""
    for name in ("suffix", "submasks", "compare", "shrink", "feather"):
        if getattr(args, name, None):
            raise UserError(f"--{name}: is for images, not for a video; leave it out")
    seconds = SECONDS if args.smooth is None else args.smooth
    crf = CRF if args.crf is None else args.crf
    check_numbers(args.strength, seconds, crf, ("--strength", "--smooth", "--crf"))
    need("av", extra="video")
    video, masks = Path(args.image), find_images(args.mask) or [Path(args.mask)]
    result = video_target(video, args.out)
    check_outputs({video: [result]}, [video, *masks], args.overwrite)
    if result.exists() and not args.overwrite:
        print(f"0 frames harmonized ({result} kept, there already; --overwrite replaces it)")
        return 0
    harmonizer = load(args)
    start = time.perf_counter()
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
    print(f"{counted(done.frames, 'frame')} harmonized, in {result}: {duration(time.perf_counter() - start)}{empty}")
    return 0
