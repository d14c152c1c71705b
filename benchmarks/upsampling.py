"""Ways to carry the network's change from 256 x 256 to an image's own size: their errors, time and memory.

    python benchmarks/upsampling.py [--enlarge ROOT] [--images N] [--run RUN]

The images are scikit-image's photos at native size. Their outlined objects are restyled by the four colour transfers; they are
used unchanged and as JPEG (quality 95). --enlarge adds composites of a data set in iHarmony4's layout, enlarged to 300 to 3000
pixels. Networks are simulated: "ideal" gives the real image at 256 x 256, "rough" adds a bias, soft errors and noise, "blurred"
blurs it. --run adds a trained network, at its own size.

Rims are measured on the same photos, enlarged twice and relit inside the antialiased mask by a smooth change. The mask that is
given is that one, or hard, or hard and 1 pixel too small or too large, or feathered.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter, grey_dilation, grey_erosion
from submasks import in_new_process, memory, reset_peak

from frih.common.errors import run_command
from frih.config import Config
from frih.data.iharmony4 import read_split
from frih.data.images import HALF, read_mask, read_rgb
from frih.data.transforms import render, whole
from frih.harmonizing.harmonizer import Harmonizer
from frih.harmonizing.upsampling import add_change, extend, fit_change
from frih.metrics import score
from frih.models import build_model
from frih.submasks import extract_submasks
from frih.submasks.patience import Patience
from frih.tools.composites.color_transfer import TRANSFERS
from frih.tools.composites.restyling import Attempt, restyle
from frih.tools.composites.sample import make_sample

SIZE = 256
SIDES = (300, 512, 777, 1200, 2000, 3000)
NETWORKS = ("ideal", "rough", "blurred")


class Case(NamedTuple):
    """An image at its own size and at the network's size."""

    name: str
    composite: np.ndarray
    mask: np.ndarray
    real: np.ndarray
    small: np.ndarray
    soft: np.ndarray
    small_real: np.ndarray
    labels: np.ndarray


Network = Callable[[Case, int], np.ndarray]
"""From a case and a seed to a network's image, with the composite outside the mask."""


def main() -> int:
    """Prints every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--enlarge", type=Path, metavar="ROOT", help="a data set whose test composites are enlarged")
    parser.add_argument("--images", type=int, default=12, metavar="N", help="of them (default: 12)")
    parser.add_argument("--run", metavar="RUN", help="a trained network as well, of a run or a file")
    args = parser.parse_args()
    Patience.over = True
    torch.set_num_threads(2)
    native = native_cases()
    sets = {"native": native, "native, as JPEG": [as_jpeg(case) for case in native]}
    if args.enlarge:
        sets["enlarged"] = enlarged_cases(args.enlarge, args.images)
    networks = {name: partial(predict, name) for name in NETWORKS}
    for name, cases in sets.items():
        sides = [max(case.mask.shape) for case in cases]
        print(f"\n== {name}: {len(cases)} images of {min(sides)} to {max(sides)} pixels")
        for network, predictor in networks.items():
            print_errors(network, predictor, cases, PLAIN if "JPEG" in name else WAYS)
    if args.run:
        harmonizer = Harmonizer.load(args.run, "cpu")
        size = harmonizer.config.data.size
        print_errors(
            f"trained ({size} x {size})", partial(run_network, harmonizer), [resized(c, size) for c in native], PLAIN
        )
    print_rims(native)
    print_time()
    print_memory()
    return 0


def native_cases() -> list[Case]:
    """Every outlined object of scikit-image's photos, restyled."""
    rng, cases = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        make_sample(Path(folder, "sample"), size=10_000, train_variants=1, test_variants=1, progress=False)
        items = [item for split in ("train", "test") for item in read_split(Path(folder, "sample"), split).items]
        for number, item in enumerate(items):
            real, mask = read_rgb(item.real), read_mask(item.mask)
            pixels = real[mask > 0] / 255
            for _ in range(20):
                light = np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.15, 3))
                reference = np.clip(light * pixels ** np.exp(rng.normal(0, 0.2)), 0, 1)
                made = restyle(real, mask, Attempt(list(TRANSFERS)[number % 4], [reference])).image
                if made is not None:
                    cases.append(make_case(item.mask.stem, made, mask, real))
                    break
    return cases


def enlarged_cases(root: Path, count: int) -> list[Case]:
    """Composites of a data set, enlarged."""
    items = read_split(root, "test").items
    cases = []
    for number, place in enumerate(np.linspace(0, len(items) - 1, count).astype(int)):
        item, side = items[place], SIDES[number % len(SIDES)]
        size = side, round(side * (0.6 + 0.1 * (number % 5)))
        images = (read_rgb(item.composite), read_mask(item.mask), read_rgb(item.real))
        large = (np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in images)
        cases.append(make_case(f"{item.composite.stem} {side}", *large))
    return cases


def as_jpeg(case: Case) -> Case:
    """The same composite as it comes out of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(case.composite).save(file, "JPEG", quality=95)
    return make_case(case.name, np.asarray(Image.open(file)), case.mask, case.real)


def relit(case: Case, seed: int, kind: str) -> Case:
    """The real image, enlarged twice and relit inside its mask by a change that varies smoothly; with another mask."""
    height, width = (2 * length for length in case.mask.shape)
    real, mask = (
        np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.LANCZOS))
        for one in (case.real, case.mask)
    )
    rng = np.random.default_rng(seed)
    gain = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.1, 3) + enlarge(rng.normal(0, 0.1, (3, 3, 1)), height, width))
    relit = 255 * np.clip(gain * (real / 255) ** np.exp(rng.normal(0, 0.15)), 0, 1)
    composite = np.rint(real + mask[..., None] / 255 * (relit - real)).astype(np.uint8)
    return make_case(case.name, composite, MASKS[kind](mask), real)


def hard(mask: np.ndarray) -> np.ndarray:
    """0 or 255."""
    return np.where(mask >= HALF, 255, 0).astype(np.uint8)


MASKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "antialiased": lambda mask: mask,
    "hard": hard,
    "1 pixel too small": lambda mask: grey_erosion(hard(mask), (3, 3)),
    "1 pixel too large": lambda mask: grey_dilation(hard(mask), (3, 3)),
    "feathered": lambda mask: gaussian_filter(mask.astype(np.float32), 4).astype(np.uint8),
}


def resized(case: Case, size: int) -> Case:
    """The same image for a network of another size."""
    return make_case(case.name, case.composite, case.mask, case.real, size)


def make_case(name: str, composite: np.ndarray, mask: np.ndarray, real: np.ndarray, size: int = SIZE) -> Case:
    """A case from an image at its own size."""
    small, soft, small_real = (render(one, whole(one), size) for one in map(Image.fromarray, (composite, mask, real)))
    return Case(
        name, composite, mask, real, small / 255, soft / 255, small_real / 255, extract_submasks(small, soft >= HALF)
    )


def predict(network: str, case: Case, seed: int) -> np.ndarray:
    """The image of a simulated network."""
    rng, result = np.random.default_rng(seed), case.small_real
    soft_error = enlarge(rng.normal(0, 1, (5, 5, 3)), SIZE, SIZE)
    if network == "rough":
        result = result + 0.02 * rng.normal(0, 1, 3) + 0.03 * soft_error + 0.01 * rng.normal(0, 1, result.shape)
    elif network == "blurred":
        result = gaussian_filter(result, (1.2, 1.2, 0), mode="nearest") + 0.02 * soft_error
    return np.where(case.labels[..., None] > 0, np.clip(result, 0, 1), case.small)


def run_network(harmonizer: Harmonizer, case: Case, _: int) -> np.ndarray:
    """A trained network's image."""
    _, details = harmonizer(case.composite, case.mask, return_details=True)
    return np.where(case.labels[..., None] > 0, case.small + details.change, case.small)


def print_errors(network: str, predictor: Network, cases: list[Case], ways: Iterable[str]) -> None:
    """PSNR and fMSE of every way."""
    scores = {name: [] for name in ways}
    for seed, case in enumerate(cases):
        refined = predictor(case, seed)
        for name in scores:
            way = WAYS[name]
            result = score(way(case, refined).clip(0, 255), case.real, case.mask / 255)
            scores[name].append((result["psnr"], result["fmse"]))
    print(f"\n{network} network             PSNR    fMSE   PSNR beside bicubic: mean   worst image")
    base = np.array(scores["bicubic change"])[:, 0]
    for name, values in scores.items():
        psnr, fmse = np.array(values).T
        worst = int((psnr - base).argmin())
        difference = f"{(psnr - base).mean():+17.3f} {(psnr - base)[worst]:+8.3f} {cases[worst].name}"
        print(f"  {name:24}{psnr.mean():8.3f}{fmse.mean():8.2f}{difference}", flush=True)


def print_rims(native: list[Case]) -> None:
    """Errors by the distance from the mask's border, inside the mask."""
    edges = (0, 1, 2, 4, 8, 1e9)
    for kind in MASKS:
        sums = {name: np.zeros((2, len(edges) - 1)) for name in ("composite", *PLAIN)}
        for seed, one in enumerate(native):
            case = relit(one, seed, kind)
            band = np.digitize(distance_transform_edt(case.mask >= HALF), edges, right=True) - 1
            refined = predict("ideal", case, seed)
            for name, total in sums.items():
                result = case.composite if name == "composite" else WAYS[name](case, refined).clip(0, 255)
                error = ((result - case.real) ** 2).mean(2)
                for k in range(len(edges) - 1):
                    total[:, k] += error[band == k].sum(), (band == k).sum()
        print(f"\nRMSE, ideal network, mask {kind:18} pixels from the border: 0-1   1-2   2-4   4-8  beyond")
        for name, (squares, count) in sums.items():
            print(f"  {name:54}" + "".join(f"{value:6.2f}" for value in np.sqrt(squares / count)), flush=True)


def ours(case: Case, refined: np.ndarray) -> np.ndarray:
    """The Harmonizer's way, unrounded."""
    result = case.composite / 255
    add_change(fit_change(case.small, refined, case.labels > 0, case.soft, case.labels), result, case.mask)
    return 255 * result


def bicubic(case: Case, refined: np.ndarray) -> np.ndarray:
    """The change enlarged; the mask's border is treated as in our way."""
    return add(case, enlarge(filled(case, true_change(case, refined)), *case.mask.shape))


def bicubic_faded(case: Case, refined: np.ndarray) -> np.ndarray:
    """The change enlarged without that: it is 0 outside the mask."""
    return add(case, enlarge(refined - case.small, *case.mask.shape))


def submask_maps(case: Case, refined: np.ndarray) -> np.ndarray:
    """A ridge-regularised affine map in RGB and position for each submask, softly blended; the rest is bicubic."""
    change, weight = true_change(case, refined), case.soft**2 * (case.labels > 0)
    small, large = features(case.small), features(case.composite / 255)
    shares = [gaussian_filter((case.labels == k).astype(float), 2) for k in range(1, case.labels.max() + 1)]
    blend = np.stack(shares, 2) / np.maximum(sum(shares), 1e-6)[..., None]
    blend = filled(case, blend)
    blend_large, fit, result = enlarge(blend, *case.mask.shape, "bilinear"), 0, 0
    for k in range(blend.shape[2]):
        chosen = case.labels == k + 1
        x, w = small[chosen], weight[chosen][:, None]
        mean = (w * change[chosen]).sum(0) / w.sum()
        ridge = 1e-3 * (w.sum() + 100) * np.eye(6)
        maps = np.linalg.solve((x * w).T @ x + ridge, (x * w).T @ (change[chosen] - mean))
        fit = fit + blend[..., k, None] * (small @ maps + mean)
        result = result + blend_large[..., k, None] * (large @ maps + mean)
    return add(case, result + enlarge(filled(case, change - fit), *case.mask.shape))


def local_maps(case: Case, refined: np.ndarray) -> np.ndarray:
    """A guided filter: affine maps of Gaussian windows around each pixel of 256 x 256, enlarged; the rest is bicubic."""
    change, weight = true_change(case, refined), case.soft**2 * (case.labels > 0)
    moments = gaussian_filter(products(case.small, change, weight), (16, 16, 0)) + 1e-9
    slopes = solve(moments, 1e-3)
    slopes_large = enlarge(slopes.reshape(SIZE, SIZE, 9), *case.mask.shape, "bilinear").reshape(*case.mask.shape, 3, 3)
    rest = filled(case, change - np.einsum("hwi,hwij->hwj", case.small, slopes))
    mapped = np.einsum("hwi,hwij->hwj", case.composite / 255, slopes_large)
    return add(case, mapped + enlarge(rest, *case.mask.shape))


def bilateral_grid(case: Case, refined: np.ndarray) -> np.ndarray:
    """Affine maps in a grid of place and brightness (17 x 17 x 8), sliced by the image's own; the rest is bicubic."""
    change, weight = true_change(case, refined), case.soft**2 * (case.labels > 0)
    grid = np.zeros((8, 17, 17, 22))
    bins = np.rint(brightness(case.small) * 7).astype(int)
    rows, columns = np.mgrid[:SIZE, :SIZE] // 16
    np.add.at(grid, (bins, rows, columns), products(case.small, change, weight))
    blurred = [
        gaussian_filter(grid, (*[sigma] * 3, 0), mode="constant") * share for sigma, share in ((1, 1), (4, 1e-3))
    ]
    moments = sum(blurred) + 1e-9 * grid.sum((0, 1, 2))
    slopes = solve(moments, 1e-3)
    mean = moments[..., :7] / moments[..., :1]
    offset = mean[..., 4:] - np.einsum("...i,...ij->...j", mean[..., 1:4], slopes)
    maps = np.concatenate([slopes.reshape(*slopes.shape[:3], 9), offset], 3)
    mapped = sliced(maps, case.composite / 255)
    return add(case, mapped + enlarge(filled(case, change - sliced(maps, case.small)), *case.mask.shape))


WAYS: dict[str, Callable[[Case, np.ndarray], np.ndarray]] = {
    "bicubic, fading": bicubic_faded,
    "bicubic change": bicubic,
    "submask maps": submask_maps,
    "guided filter": local_maps,
    "bilateral grid": bilateral_grid,
    "ours": ours,
}


PLAIN = ("bicubic, fading", "bicubic change", "ours")
"""Ways that work at any size of a network."""


def true_change(case: Case, refined: np.ndarray) -> np.ndarray:
    """The change of the foreground itself: the network's change divided by the mask."""
    return (refined - case.small) / np.maximum(case.soft, 0.5)[..., None]


def filled(case: Case, values: np.ndarray) -> np.ndarray:
    """Values inside the mask, and outside it those of the nearest foreground."""
    return extend(values, (case.labels > 0).astype(float))


def add(case: Case, change: np.ndarray) -> np.ndarray:
    """The image with a change, weighted by its mask."""
    return case.composite + case.mask[..., None] * change


def enlarge(values: np.ndarray, height: int, width: int, mode: str = "bicubic") -> np.ndarray:
    """(h, w, C) to (height, width, C)."""
    planes = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).permute(2, 0, 1)[None]
    return F.interpolate(planes, size=(height, width), mode=mode)[0].permute(1, 2, 0).numpy()


def features(image: np.ndarray) -> np.ndarray:
    """1, place, RGB: (H, W, 6)."""
    rows, columns = np.meshgrid(*(np.arange(n) / n - 0.5 for n in image.shape[:2]), indexing="ij")
    return np.concatenate([np.stack([np.ones_like(rows), rows, columns], 2), image], 2)


def products(image: np.ndarray, change: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The products whose sums over windows determine an affine map: (H, W, 22)."""
    squares = (image[..., :, None] * np.concatenate([image, change], 2)[..., None, :]).reshape(*weight.shape, 18)
    kept = [6 * i + j for i in range(3) for j in range(6) if j >= i]
    parts = [np.ones_like(image[..., :1]), image, change, squares[..., kept]]
    return weight[..., None] * np.concatenate(parts, 2)


def solve(moments: np.ndarray, ridge: float) -> np.ndarray:
    """Slopes (..., 3, 3) of the affine maps that fit such sums."""
    mean = moments / moments[..., :1]
    both = np.empty((*mean.shape[:-1], 3, 6))
    place = 7
    for i in range(3):
        for j in range(i, 6):
            both[..., i, j] = mean[..., place] - mean[..., 1 + i] * mean[..., 1 + j]
            if j < 3:
                both[..., j, i] = both[..., i, j]
            place += 1
    return np.linalg.solve(both[..., :3] + ridge * np.eye(3), both[..., 3:])


def brightness(image: np.ndarray) -> np.ndarray:
    """(H, W), by the weights of ITU-R BT.601."""
    return image @ np.array([0.299, 0.587, 0.114])


def sliced(maps: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The maps of a grid, (bins, rows, columns, 12), applied to an image at its places and brightness."""
    volume = torch.from_numpy(maps.astype(np.float32)).permute(3, 0, 1, 2)[None]
    height, width = image.shape[:2]
    rows, columns = ((np.arange(n) + 0.5) / n * 16 - 0.5 for n in (height, width))
    rows, columns = np.meshgrid(rows / 8 - 1, columns / 8 - 1, indexing="ij")
    where = np.stack([columns, rows, 2 * brightness(image) - 1], 2).astype(np.float32)
    found = F.grid_sample(volume, torch.from_numpy(where)[None, None], align_corners=True, padding_mode="border")
    found = found[0, :, 0].permute(1, 2, 0).numpy()
    return np.einsum("hwi,hwij->hwj", image, found[..., :9].reshape(height, width, 3, 3)) + found[..., 9:]


def large_case(height: int, width: int) -> Case:
    """An image of any size, half of it foreground."""
    rng = np.random.default_rng(0)
    small = np.asarray(Image.fromarray(rng.integers(30, 226, (9, 9, 3), np.uint8)).resize((SIZE, SIZE)))
    composite = np.asarray(Image.fromarray(small).resize((width, height)))
    mask = np.zeros((height, width), np.uint8)
    mask[height // 8 : -height // 8, width // 6 : -width // 6] = 255
    return make_case("large", composite, mask, composite)


def print_time() -> None:
    """Seconds at 12 megapixels, for the bicubic change and for our way."""
    case = large_case(3000, 4000)
    refined = np.clip(0.8 * case.small + 0.1, 0, 1)

    def plain() -> np.ndarray:
        change = torch.from_numpy(refined - case.small).float().permute(2, 0, 1)[None]
        added = F.interpolate(change, size=case.mask.shape, mode="bicubic")[0].permute(1, 2, 0).numpy()
        weight = case.mask[..., None].astype(np.float32) / 255
        return np.rint(np.clip(case.composite + 255 * added * weight, 0, 255)).astype(np.uint8)

    def own() -> np.ndarray:
        result = case.composite.copy()
        add_change(fit_change(case.small, refined, case.labels > 0, case.soft, case.labels), result, case.mask)
        return result

    spent = []
    for way in (plain, own):
        way()
        times = []
        for _ in range(5):
            start = time.perf_counter()
            way()
            times.append(time.perf_counter() - start)
        spent.append(min(times))
    print(f"\n12 megapixels: bicubic change {spent[0]:.2f} s, ours {spent[1]:.2f} s, ratio {spent[1] / spent[0]:.2f}")


def print_memory() -> None:
    """Memory of a whole call of the Harmonizer, each in a new process."""
    print("\nmemory at the peak of a call, with the result, without image and mask:")
    for side in (3464, 10_000):
        for kind in ("uint8", "image", "float32"):
            held = in_new_process(extra_memory, side, kind)
            print(f"  {side**2 / 1e6:.0f} megapixels, {kind}: {held:.0f} MB", flush=True)


def extra_memory(side: int, kind: str) -> float:
    """Megabytes at the peak of a call, over what was held before (measured on Linux only)."""
    harmonizer = Harmonizer(build_model(Config()), Config(), torch.device("cpu"))
    warm, case = large_case(64, 64), large_case(side, side)
    image, small = ((one / np.float32(255) if kind == "float32" else one) for one in (case.composite, warm.composite))
    mask = case.mask
    del case
    if kind == "image":
        image = Image.fromarray(image)
    Patience.over = True
    harmonizer(small, warm.mask)  # compiled
    before = reset_peak()
    harmonizer(image, mask)
    return memory("VmHWM") - before


if __name__ == "__main__":
    run_command(main)
