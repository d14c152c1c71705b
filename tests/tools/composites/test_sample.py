"""The sample data set, made small: images of 128 pixels, one or two composites of each object."""

import json
from pathlib import Path

import numpy as np
import pytest

from frih.common.errors import UserError
from frih.data.iharmony4 import read_split
from frih.data.images import HALF, open_mask, open_rgb, read_mask, read_rgb
from frih.data.transforms import has_foreground, render, whole
from frih.tools.composites import sample
from frih.tools.composites.color_transfer import TRANSFERS
from frih.tools.composites.sample import OUTLINES, SPLITS, make_sample
from tests.tools.folders import contents, interrupted_at, run_script

QUICK = {"coffee": ("cup", "spoon"), "rocket": ("rocket",)}
SMALL = {"size": 128, "train_variants": 2, "test_variants": 1, "progress": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_sample(tmp_path_factory.mktemp("data") / "sample", **SMALL)


@pytest.fixture
def quick(monkeypatch):
    """Only two photos with three objects, where the images do not matter."""
    monkeypatch.setattr(sample, "SPLITS", {"train": ("coffee",), "test": ("rocket",)})
    few = {photo: {name: OUTLINES[photo][name] for name in names} for photo, names in QUICK.items()}
    monkeypatch.setattr(sample, "OUTLINES", few)


def test_the_reader_of_iharmony4_reads_it(made):
    for split, variants in (("train", 2), ("test", 1)):
        listing = read_split(made.root, split)
        objects = sum(len(OUTLINES[photo]) for photo in SPLITS[split])
        assert len(listing.items) == made.composites[split] == variants * objects
        assert {Path(item.real_name).stem for item in listing.items} == set(SPLITS[split])
        assert {item.subset for item in listing.items} == {"Sample"}


def test_references_are_of_training_photos_or_the_object_itself(made):
    for name, record in json.loads((made.root / "manifest.json").read_text())["composites"].items():
        assert record["reference"].split("_")[0] in SPLITS["train"] or name.startswith(f"{record['reference']}_")


def test_every_mask_has_foreground_background_and_a_soft_border(made):
    for split in SPLITS:
        for item in read_split(made.root, split).items:
            mask = read_mask(item.mask)
            assert mask.shape == read_rgb(item.real).shape[:2] == read_rgb(item.composite).shape[:2]
            assert max(mask.shape) == 128
            assert 0.002 < (mask >= HALF).mean() < 0.8
            assert {mask.min(), mask.max()} == {0, 255}
            assert len(np.unique(mask)) > 2
            image = open_mask(item.mask)
            assert has_foreground(image, whole(image), 256)


def test_the_foreground_is_changed_and_the_background_is_not(made):
    for split in SPLITS:
        for item in read_split(made.root, split).items:
            composite, real, mask = read_rgb(item.composite), read_rgb(item.real), read_mask(item.mask)
            difference = (composite.astype(float) - real) ** 2
            assert 30 < difference[mask == 255].mean() < 5000
            height, width = (mask.shape[0] // 8, mask.shape[1] // 8)
            blocks = mask[: 8 * height, : 8 * width].reshape(height, 8, width, 8).max(axis=(1, 3))
            untouched = np.kron(blocks == 0, np.ones((8, 8), dtype=bool))  # blocks of JPEG without any foreground
            assert untouched.any()
            assert difference[: 8 * height, : 8 * width][untouched].max() == 0


def test_the_stated_mse_is_that_of_the_files(made):
    for split in SPLITS:
        values = []
        for item in read_split(made.root, split).items:
            first, second = (
                render(image, whole(image), 256).astype(float)
                for image in (open_rgb(item.composite), open_rgb(item.real))
            )
            values.append(((first - second) ** 2).mean())
        assert made.mse[split] == pytest.approx(np.mean(values), abs=0.01)


def test_all_transfers_take_part(made):
    records = json.loads((made.root / "manifest.json").read_text())["composites"].values()
    assert {record["transfer"] for record in records} == set(TRANSFERS)


def test_the_seed_decides(quick, tmp_path):
    first, same, other = (make_sample(tmp_path / str(i), seed=seed, **SMALL) for i, seed in enumerate((0, 0, 1)))
    assert contents(first.root) == contents(same.root)
    assert contents(first.root) != contents(other.root)


def test_a_whole_one_is_left_alone(quick, tmp_path):
    first = make_sample(tmp_path / "sample", **SMALL)
    times = {path: path.stat().st_mtime_ns for path in first.root.rglob("*")}
    again = make_sample(tmp_path / "sample", **SMALL)
    assert first.made
    assert again == first._replace(made=False)
    assert {path: path.stat().st_mtime_ns for path in first.root.rglob("*")} == times


@pytest.mark.parametrize("damage", ["image gone", "image cut", "manifest gone", "manifest cut", "other settings"])
def test_a_damaged_one_is_made_anew(quick, tmp_path, damage):
    root = tmp_path / "sample"
    make_sample(root, **{**SMALL, "seed": 5} if damage == "other settings" else SMALL)
    damaged = root / ("manifest.json" if "manifest" in damage else "Sample/composite_images/coffee_cup_1.jpg")
    if "gone" in damage:
        damaged.unlink()
    elif "cut" in damage:
        damaged.write_bytes(damaged.read_bytes()[:100])
    (root / "Sample/masks/coffee_gone.png").write_bytes(b"of another recipe")
    (root / "Sample/masks/.coffee_cup.png.1.part").write_bytes(b"left by a killed run")
    assert make_sample(root, **SMALL).made
    assert contents(root) == contents(make_sample(tmp_path / "other", **SMALL).root)


def test_an_interrupted_build_is_none_and_is_made_again(quick, tmp_path):
    root, whole = tmp_path / "sample", contents(make_sample(tmp_path / "other", **SMALL).root)
    with interrupted_at("coffee_cup"), pytest.raises(KeyboardInterrupt):
        make_sample(root, **SMALL)
    assert not (root / "manifest.json").exists()
    assert make_sample(root, **SMALL).made
    assert contents(root) == whole
    with (
        interrupted_at("coffee_cup", OSError("No space left on device")),
        pytest.raises(UserError, match=r"sample: the sample data cannot be written there \(No space"),
    ):
        make_sample(root, **{**SMALL, "seed": 1})


def test_the_old_one_stays_until_all_images_are_made(quick, tmp_path, monkeypatch):
    root = make_sample(tmp_path / "sample", **SMALL).root
    before = contents(root)
    monkeypatch.setattr(sample, "at_evaluation", lambda content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_sample(root, **{**SMALL, "seed": 1})
    assert contents(root) == before


def test_other_files_are_not_replaced(quick, tmp_path):
    root = make_sample(tmp_path / "sample", **SMALL).root
    (root / "manifest.json").unlink()
    (root / "Sample/real_images/mine.jpg").write_text("precious")
    with pytest.raises(UserError, match=r"sample: holds mine\.jpg.* give another folder"):
        make_sample(root, **SMALL)
    assert (root / "Sample/real_images/mine.jpg").read_text() == "precious"
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UserError, match="is a file; give a folder"):
        make_sample(tmp_path / "file", **SMALL)
    with pytest.raises(UserError, match="cannot be written there"):
        make_sample(tmp_path / "file" / "below", **SMALL)
    assert (tmp_path / "file").read_text() == "precious"


def test_an_empty_folder_is_filled(quick, tmp_path):
    assert make_sample(tmp_path, **SMALL).composites == {"train": 4, "test": 1}


def test_the_script_refuses_plainly(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = run_script("make_sample.py", tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "notes.txt" in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine"
