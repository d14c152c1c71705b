"""A small dataset in iHarmony4's layout, and a small model, for every test that needs one."""

import json
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frih import FRIH
from frih.config import Config
from frih.data.batches import Batch
from frih.data.iharmony4 import Item
from frih.submasks.patience import Patience

ROOT = Path(__file__).parents[1]
SMALL = {
    "model": {"base_widths": [4] * 7, "base_decoder_width": 4, "cascade_widths": [4] * 7, "head_width": 4},
    "data": {"size": 128, "workers": 0},
    "submasks": {"candidates": 2},
    "train": {"batch": 4, "epochs": 2, "milestones": [1], "device": "cpu"},
    "validation": {"fraction": 0.25, "every": 1, "images": 2},
    "evaluation": {"batch": 3},
    "logging": {"every": 1},
}
"""Changes to the default configuration; a step then takes milliseconds."""


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c() -> None:
    """Lets the tests and their processes hear Ctrl-C, which a shell makes a background job (``pytest &``) ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """The tests run side by side. One thread each is fastest and makes sums repeatable."""
    torch.set_num_threads(1)


@pytest.fixture
def small_config() -> Callable[..., Config]:
    """Makes a small configuration; keyword arguments are sections whose keys differ: ``small_config(train={"lr": 0.1})``."""

    def make(**sections: object) -> Config:
        tree = {name: dict(section) for name, section in SMALL.items()}
        for name, section in sections.items():
            tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
        return Config.model_validate_json(json.dumps(tree))

    return make


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Subsets A (4 photos, 8 composites) and B (2 photos, 4 composites), 10 for training in the end and 2 for testing."""
    return make_dataset(tmp_path / "dataset")


def make_dataset(root: Path, suffix: str = "jpg") -> Path:
    for subset, photos in (("A", 4), ("B", 2)):
        for folder in ("composite_images", "masks", "real_images"):
            (root / subset / folder).mkdir(parents=True)
        names = []
        for photo in range(photos):
            name = f"{subset.lower()}-{photo}_x"  # hyphens and underscores belong to a photo's name
            real = smooth_image(seed=100 * ord(subset) + photo, width=160, height=140)
            mask = ellipse(160, 140, grow=1 + photo)
            save(root / subset / "real_images" / f"{name}.{suffix}", real)
            save(root / subset / "masks" / f"{name}_1.png", mask)
            for variant in (1, 2):
                tint = np.array([1.3, 0.8, 0.9]) if variant == 1 else np.array([0.7, 1.0, 1.2])
                composite = np.where(mask[..., None] >= 128, np.clip(real * tint, 0, 255), real).astype(np.uint8)
                save(root / subset / "composite_images" / f"{name}_1_{variant}.{suffix}", composite)
                names.append(f"{name}_1_{variant}.{suffix}")
        (root / subset / f"{subset}_train.txt").write_text("".join(f"{name}\n" for name in names[:-1]))
        (root / subset / f"{subset}_test.txt").write_text("".join(f"{name}\n" for name in names[-1:]))
    return root


def smooth_image(*, seed: int, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8: a few soft blobs of colour, which JPEG keeps."""
    coarse = np.random.default_rng(seed).integers(30, 226, size=(5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def ellipse(width: int, height: int, *, grow: int) -> np.ndarray:
    """(height, width) uint8 mask with a grey border."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot((x - width / 2) / width, (y - height / 2) / height) * 8
    return (np.clip(grow - distance, 0, 1) * 255).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path, **({"quality": 97} if path.suffix == ".jpg" else {}))


@contextmanager
def form(name: str) -> Iterator[None]:
    """All work that has two forms is done in this one: "plain" or "compiled"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Patience, "lasts", lambda *_: name == "plain")
        yield


FORMS = "plain", "compiled"


def no_weight_is_zero(model: FRIH) -> FRIH:
    """Replaces weights that are all zero by random ones, so that every part of the network has a gradient."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=rng)
    return model


def random_batch(
    *, size: int = 128, ks: tuple[int, ...] = (3, 1, 0), seed: int = 0, dtype: torch.dtype = torch.float32
) -> Batch:
    """A batch whose images have ks[i] submasks each: vertical stripes of a centred square."""
    rng = torch.Generator().manual_seed(seed)
    composite = torch.rand(len(ks), 3, size, size, generator=rng, dtype=torch.float64).to(dtype)
    real = torch.rand(len(ks), 3, size, size, generator=rng, dtype=torch.float64).to(dtype)
    labels = torch.zeros(len(ks), size, size, dtype=torch.uint8)
    for image, k in zip(labels, ks, strict=True):
        for label in range(k):
            image[size // 4 : 3 * size // 4, size // 4 + label * 9 : size // 4 + (label + 1) * 9] = label + 1
    mask = (labels > 0).to(dtype).unsqueeze(1)
    items = [Item("", "A", f"{i}.jpg", f"{i}.png", f"{i}.jpg") for i in range(len(ks))]
    return Batch(composite, mask, labels, real, items)


@pytest.fixture
def full_disk(monkeypatch):
    """Call it with a predicate of paths: writing to a path that meets it fails as on a full disk and leaves an empty file."""

    def fill(is_full):
        original = Path.open

        def open_on_full_disk(path, mode="r", *rest, **options):
            if "w" in mode and is_full(path):
                path.unlink(missing_ok=True)
                path.symlink_to("/dev/full")
            return original(path, mode, *rest, **options)

        monkeypatch.setattr(Path, "open", open_on_full_disk)

    return fill


def run_here(program: str, *arguments: object) -> int:
    """Runs a program of the repository in this process, which is faster than a new one; returns its exit status."""
    before, path = sys.argv, sys.path[:]
    sys.argv = [program, *map(str, arguments)]
    sys.path.insert(0, str((ROOT / program).parent))
    try:
        runpy.run_path(str(ROOT / program), run_name="__main__")
    except SystemExit as end:
        return end.code
    finally:
        sys.argv, sys.path[:] = before, path
    return 0
