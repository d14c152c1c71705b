"""What ``frih harmonize`` and ``frih paste`` do with the files of images: read, harmonized, written, and told."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tqdm import tqdm

from frih.common.errors import USER_ERROR, UserError, describe
from frih.common.progress import progress_bar, told_if_slow
from frih.common.wording import counted
from frih.data.images import HALF
from frih.harmonizing.mask_edges import Mask, fade, fitted, shrink
from frih.harmonizing.outputs import beside, check_alpha, check_outputs, save, target
from frih.harmonizing.own_images import Own, check_sizes, check_strength, is_opaque, is_seen, read_image, read_mask
from frih.harmonizing.pairs import find_images, find_pairs
from frih.harmonizing.pasting import CENTRE, Pasted, paste
from frih.harmonizing.sheets import before_and_after, submask_image

if TYPE_CHECKING:  # torch takes seconds; a mistake on the command line is told before
    from frih.harmonizing.harmonizer import Details, Harmonizer

_WHITE = "white is foreground, and with --invert-mask black is"


def harmonize_stills(args: Namespace) -> int:
    """Harmonizes the images of a command line and returns the exit status."""
    _check_numbers(args)
    pairs, failures = find_pairs(args.image, args.mask)
    count = len(pairs) + len(failures)
    sheets = [name for name in ("submasks", "compare") if getattr(args, name)]
    results = {image: target(image, args.out, args.suffix, count) for image in pairs}
    outputs = {image: [result, *(beside(result, sheet) for sheet in sheets)] for image, result in results.items()}
    if args.out.is_dir() and Path(args.mask).is_dir() and args.out.samefile(args.mask):
        raise UserError(
            f"-o {args.out}: is the folder of the masks, and results would pass for masks; give another place"
        )
    inputs = [path for name in (args.image, args.mask) for path in find_images(name) or [Path(name)]]
    check_outputs(outputs, inputs, args.overwrite)
    missing = {
        image: [path for path in paths if args.overwrite or not path.exists()] for image, paths in outputs.items()
    }
    kept = sum(len(outputs[image]) - len(paths) for image, paths in missing.items())
    harmonizer = load(args) if any(missing.values()) else None
    submasks: list[int] = []
    start = time.perf_counter()
    for image, mask in progress_bar(pairs.items(), unit="image", disable=count == 1):
        if not harmonizer or not missing[image]:
            continue
        try:
            submasks.append(_harmonize_file(harmonizer, image, mask, results[image], missing[image], args))
        except UserError as error:
            failures.append(str(error))
        except MemoryError:
            failures.append(f"{image}: needs more memory than there is; make it smaller, or cut it into parts")
        except Exception as error:  # the other images do not depend on it
            named = isinstance(error, OSError) and error.filename
            failures.append(
                describe(error) if named else f"{image}: cannot be harmonized ({type(error).__name__}: {error})"
            )
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    work = f": {_work(harmonizer, submasks, start)}" if harmonizer and submasks else ""
    already = f" ({counted(kept, 'file')} kept, there already; --overwrite replaces them)" if kept else ""
    print(f"{len(submasks)} of {count} harmonized, in {args.out}{work}{already}")
    return USER_ERROR if failures else 0


def paste_still(args: Namespace) -> int:
    """Pastes the cut-out of a command line into its background, harmonizes that if asked, and returns the exit status."""
    _check_numbers(args)
    unused = {"compare": False, "weights": None, "strength": None, "size": None, "device": "auto"}
    for name, default in unused.items():
        if not args.harmonize and getattr(args, name) != default:
            raise UserError(f"--{name}: is of use with --harmonize only; give both")
    out = target(Path(f"{args.cutout.stem}-on-{args.background.stem}{args.background.suffix}"), args.out, None, 1)
    mask_file, harmonized, sheet = beside(out, "mask"), beside(out, "harmonized", out.suffix), beside(out, "compare")
    outputs = [out, mask_file, *[harmonized] * args.harmonize, *[sheet] * args.compare]
    check_outputs({None: outputs}, [args.cutout, args.background, *filter(None, [args.mask])], args.overwrite)
    there = [path for path in outputs if path.exists()]
    if there and not args.overwrite:
        raise UserError(f"{there[0]}: is there already; --overwrite replaces it, or give another place with -o")
    colours, alpha = _read_cutout(args)
    background = read_image(args.background)
    pasted = paste(
        colours, alpha, background.pixels, args.at or CENTRE, args.scale, shrunk=args.shrink, faded=args.feather
    )
    own = background._replace(pixels=pasted.composite, name=str(out))
    check_alpha(own.pixels, out)
    if pasted.cut >= 0.005:
        _note(f"{out}: {100 * pasted.cut:.0f} % of the foreground is outside of the background, and cut off")
    harmonizer = load(args) if args.harmonize else None
    composite = _as_image(own)
    out.parent.mkdir(parents=True, exist_ok=True)
    save(composite, out)
    save(Image.fromarray(pasted.mask), mask_file)
    print(f"{out}: {_placing(pasted)}", f"{mask_file}: its mask", sep="\n")
    if harmonizer:
        start = time.perf_counter()
        image, details = _harmonize(harmonizer, own, pasted.mask, args.strength)
        _check_seen(image, details.labels, own.name, args.cutout, "give a larger --scale or --size")
        save(image, harmonized)
        print(f"{harmonized}: harmonized, {_work(harmonizer, [int(details.labels.max())], start)}")
        if args.compare:
            save(before_and_after(composite, image), sheet)
            print(f"{sheet}: both, side by side")
    return 0


def load(args: Namespace) -> "Harmonizer":
    """The network that a command line names."""
    with told_if_slow("loading PyTorch and the weights ..."):
        from frih.common.devices import choose_device
        from frih.harmonizing.harmonizer import PRETRAINED, Harmonizer

        weights = args.weights or os.environ.get("FRIH_WEIGHTS") or PRETRAINED
        return Harmonizer.load(weights, choose_device(args.device, "--device"), args.size)


def _harmonize_file(
    harmonizer: "Harmonizer", image: Path, mask: Path, result: Path, missing: Collection[Path], args: Namespace
) -> int:
    """Harmonizes one file, writes its result and sheets as far as they are missing, and returns the number of submasks."""
    own = read_image(image)
    if result in missing:
        check_alpha(own.pixels, result)
    cover = _read_mask(mask, own, args.invert_mask)
    shrunk = shrink(cover, args.shrink)
    if not (shrunk >= HALF).any():
        lost = (cover >= HALF).any()
        why = (
            f"--shrink {args.shrink} leaves nothing of it; give fewer pixels"
            if lost
            else f"has no foreground; {_WHITE}"
        )
        raise UserError(f"{mask}: {why}")
    harmonized, details = _harmonize(harmonizer, own, shrunk, args.strength)
    _check_seen(harmonized, details.labels, own.name, mask, _WHITE)
    if args.feather:
        harmonized = _faded(own, harmonized, shrunk, args.feather)
    result.parent.mkdir(parents=True, exist_ok=True)
    if result in missing:
        save(harmonized, result)
    if (path := beside(result, "submasks")) in missing:
        save(submask_image(details.labels, harmonized.size), path)
    if (path := beside(result, "compare")) in missing:
        save(before_and_after(_as_image(own), harmonized), path)
    return int(details.labels.max())


def _read_mask(mask: Path, own: Own, inverted: bool) -> Mask:
    """The mask of an image, in its size, white where the foreground is. One of another size but the same shape is resized."""
    cover = read_mask(mask)
    if inverted:
        cover = 255 - cover
    cover, resized = fitted(cover, own.pixels.shape[1::-1])
    if resized:
        _note(f"{mask}: {resized}, the size of its image")
    check_sizes(own.pixels, cover, (own.name, str(mask)))
    return cover


def _read_cutout(args: Namespace) -> tuple[NDArray[np.uint8], Mask]:
    """A cut-out's colours (h, w, 3) and alpha (h, w)."""
    own = read_image(args.cutout)
    colours, alpha = own.pixels[..., :3], own.pixels[..., 3:]
    if args.invert_mask and not args.mask:
        raise UserError("--invert-mask: there is no --mask to invert")
    if is_opaque(own.pixels) and not args.mask:
        raise UserError(
            f"{args.cutout}: has no transparent pixels, which would tell the foreground; give its mask with --mask, or "
            "save it as a cut-out, RGBA with a transparent background"
        )
    cover = alpha[..., 0] if alpha.size else np.full(alpha.shape[:2], 255, np.uint8)
    if args.mask:
        cover = np.rint(_read_mask(args.mask, own, args.invert_mask) * (cover / 255)).astype(np.uint8)
    if not (cover >= HALF).any():
        where = f" where {args.mask} is white" if args.mask else ""
        raise UserError(f"{args.cutout}: no pixel is at least half opaque{where}, so there is no foreground to paste")
    return colours, cover


def _harmonize(harmonizer: "Harmonizer", own: Own, mask: Mask, strength: float | None) -> tuple[Image.Image, "Details"]:
    """Harmonizes one image, and tells what is known of the weights on such images."""
    before = _compiled()
    with told_if_slow("compiling code (numba), once for this machine ...", applies=lambda: _compiled() > before):
        harmonized, details = harmonizer(own, mask, strength, return_details=True)
    assert isinstance(harmonized, Image.Image)  # as for every file
    if details.notes:
        _note(f"{own.name}: {'; '.join(details.notes)}")
    return harmonized, details


def _check_seen(image: Image.Image, labels: np.ndarray, name: str, mask: Path, remedy: str) -> None:
    """Checks that the network saw a foreground, and says so if it saw no background.

    Raises:
        UserError: it saw none; the message names the mask and the remedy.
    """
    size = len(labels)
    if not labels.any():
        raise UserError(f"{mask}: has no foreground at {size} x {size} pixels, as the network sees it; {remedy}")
    if labels.all():
        _note(f"{mask}: is all foreground, so the network saw no background to go by")
    if image.mode != "RGBA":
        return
    seen = Image.fromarray(is_seen(np.asarray(image.getchannel("A")))).convert("L")
    share = np.asarray(seen.resize((size, size), Image.Resampling.BILINEAR))
    if not share[labels > 0].any():
        raise UserError(
            f"{name}: is less than half opaque wherever its mask is white, so there is no foreground to see"
        )
    border = np.asarray(Image.fromarray(labels).filter(ImageFilter.MaxFilter(5))) > 0  # where a cut-out's alpha is soft
    if share.min() < HALF and (share[~border] < HALF).all():
        _note(f"{name}: its background is transparent, so the network saw none to go by")


def _faded(own: Own, harmonized: Image.Image, mask: Mask, pixels: int) -> Image.Image:
    """A result whose change fades out over so many pixels within the mask's edge."""
    share = 255 * fade(mask, pixels) / np.maximum(mask, 1)
    rim = (mask > 0) & (share < 0.999)
    after = np.array(harmonized)
    before = own.pixels[rim].astype(np.float32)
    after[rim] = np.rint(before + share[rim, None] * (after[rim] - before))
    return _as_image(own._replace(pixels=after))


def _as_image(own: Own) -> Image.Image:
    image = own.give_back(own.pixels)
    assert isinstance(image, Image.Image)  # as for every file
    return image


def _placing(pasted: Pasted) -> str:
    left, top, right, bottom = pasted.box
    x, y = (left + right) / 2, (top + bottom) / 2
    return f"foreground of {right - left} x {bottom - top} pixels, --at {x:g},{y:g} --scale {pasted.scale:.4g}"


def _work(harmonizer: "Harmonizer", submasks: Sequence[int], start: float) -> str:
    """The number of submasks of the images, if the network uses any, and the time since the start."""
    spent = f"{time.perf_counter() - start:.1f} s" + (" in all" if len(submasks) > 1 else "")
    if not harmonizer.model.refines:
        return spent
    least, most = min(submasks), max(submasks)
    number = counted(most, "submask") if least == most else f"{least} to {most} submasks"
    return f"{number}{' an image' if len(submasks) > 1 else ''}, {spent}"


def _check_numbers(args: Namespace) -> None:
    if args.strength is not None:
        check_strength(args.strength, "--strength")
    for name in ("shrink", "feather"):
        if getattr(args, name) < 0:
            raise UserError(f"--{name}: must be 0 pixels or more, not {getattr(args, name)}")


def _compiled() -> int:
    """How often numba had to compile something in this process."""
    numba = sys.modules.get("numba.core.dispatcher")  # it is imported only where it is needed,
    dispatcher = getattr(numba, "Dispatcher", None)  # perhaps by another thread at this moment
    if dispatcher is None:
        return 0
    ours = [module for name, module in list(sys.modules.items()) if name.startswith("frih.")]
    values = [value for module in ours for value in list(vars(module).values())]
    functions = {value for value in values if isinstance(value, dispatcher)}  # a set: modules import each other's
    return sum(sum(function.stats.cache_misses.values()) for function in functions)


def _note(text: str) -> None:
    tqdm.write(f"note: {text}", file=sys.stderr)
