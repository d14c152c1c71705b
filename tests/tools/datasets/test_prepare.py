"""Copies of a small data set, some of whose images are large."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.common.files import is_part
from frih.config import DataConfig, SubmaskConfig
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.data.images import HALF, open_mask, open_rgb, read_mask, read_rgb
from frih.tools.datasets.prepare import describe, prepare_dataset, verify_dataset
from frih.tools.datasets.shrinking import encode, shrink
from tests.conftest import ellipse, make_dataset, save, smooth_image
from tests.tools.folders import SCRIPTS, contents, interrupted_at, run_script

QUIET = {"workers": 1, "progress": False}
FILES = 12 + 6 + 6
"""Composites, masks and real images; the two composites of a photo share the others."""


def prepare(root, out, **options):
    return prepare_dataset(root, out, **{**QUIET, **options})


def verify(out):
    return verify_dataset(out, **QUIET)


@pytest.fixture
def root(tmp_path):
    return make_root(tmp_path / "data set")


@pytest.fixture(scope="module")
def whole_root(tmp_path_factory):
    """A data set that no test changes."""
    return make_root(tmp_path_factory.mktemp("whole") / "root")


@pytest.fixture(scope="module")
def whole_copy(whole_root):
    """Its copy of size 512, which no test changes."""
    return prepare(whole_root, whole_root.parent / "copy").out


@pytest.fixture
def copied(root, tmp_path):
    """A copy of size 512 that tests may damage."""
    return prepare(root, tmp_path / "copy").out


def make_root(root: Path) -> Path:
    """Subset A: images of 160x140, one with spaces in its name; subset B: of 700x520."""
    make_dataset(root)
    for path in [*(root / "A").rglob("a-0_x*"), *(root / "A").glob("*.txt")]:
        if path.suffix == ".txt":
            path.write_text(path.read_text().replace("a-0_x", "a 0-x_y _z"))
        else:
            path.rename(path.with_name(path.name.replace("a-0_x", "a 0-x_y _z")))
    for path in (root / "B").rglob("*.[jp][pn]g"):
        enlarge(path, 700, 520)
    return root


def enlarge(path: Path, width: int, height: int) -> None:
    """Replaces a file by an image of another size."""
    if path.parent.name == "masks":
        save(path, ellipse(width, height, grow=2))
    else:
        save(path, smooth_image(seed=sum(path.name.encode()), width=width, height=height))


def as_left(folder: Path) -> dict[Path, int]:
    """The time of the last change of each file and folder."""
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def assert_seen_alike(root: Path, copy: Path) -> None:
    """Evaluation reads the same values from both, bit for bit."""
    for split in ("train", "test"):
        items, others = read_split(root, split).items, read_split(copy, split).items
        assert [Path(item.composite_name).stem for item in items] == [Path(item.composite_name).stem for item in others]
        seen, theirs = (CompositeDataset(some, DataConfig(), SubmaskConfig(method="whole")) for some in (items, others))
        for i in range(len(items)):
            for name in ("composite", "real", "soft_mask", "labels"):
                assert np.array_equal(getattr(seen[i], name), getattr(theirs[i], name))


@pytest.mark.parametrize("format", ["webp", "png"])
def test_evaluation_sees_a_copy_of_256_as_it_sees_the_source(whole_root, tmp_path, format):
    made = prepare(whole_root, tmp_path / "copy", size="256", format=format)
    assert_seen_alike(whole_root, made.out)
    assert sum(counts["written"] for counts in made.counts.values()) == FILES
    for item in read_split(made.out, "train").items:
        assert Path(item.composite_name).suffix == Path(item.real_name).suffix == f".{format}"
        for path in (item.composite, item.mask, item.real):
            with Image.open(path) as image:
                assert image.size == (256, 256)


def test_evaluation_sees_a_copy_of_original_size_as_it_sees_the_source(root, tmp_path):
    """Turned or unusually stored images are converted without loss; the rest is copied."""
    turned, palette = root / "A/composite_images/a-1_x_1_1.jpg", root / "B/masks/b-0_x_1.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(smooth_image(seed=5, width=160, height=140))))
    stored.save(turned, exif=exif, quality=95)
    Image.open(palette).convert("P").save(palette)
    lines = "A/composite_images/a-1_x_1_1.jpg\r\nelsewhere/composite_images/a-1_x_1_1.jpg\r\n"
    (root / "IHD_test.txt").write_text(lines)
    made = prepare(root, tmp_path / "copy", size="original")
    assert_seen_alike(root, made.out)
    old, new = contents(root), contents(made.out)
    anew = {name for name in old if new.get(name) != old[name]}
    assert anew == {"A/composite_images/a-1_x_1_1.jpg", "B/masks/b-0_x_1.png", "A/A_train.txt", "IHD_test.txt"}
    with Image.open(made.out / "A/composite_images/a-1_x_1_1.png") as image:
        assert image.size == (160, 140)
        assert image.getexif().get(0x0112) is None
    with Image.open(made.out / "B/masks/b-0_x_1.png") as image:
        assert image.mode == "L"
    lines = (made.out / "IHD_test.txt").read_text().splitlines()
    assert lines == ["A/composite_images/a-1_x_1_1.png", "elsewhere/composite_images/a-1_x_1_1.jpg"]


def test_a_copy_of_512_keeps_shape_names_and_what_is_small(whole_root, whole_copy):
    old, new = contents(whole_root), contents(whole_copy)
    assert set(new) == set(old) | {"prepared.json", "prepared_files.jsonl"}
    resized = {name for name in old if new[name] != old[name]}
    assert resized == {name for name in old if name.startswith("B/") and not name.endswith(".txt")}
    for name in resized:
        with Image.open(whole_copy / name) as stored:
            assert stored.size == (512, 380)
            if stored.format == "JPEG":
                assert stored.mode == "RGB"
                assert [layer[1:3] for layer in stored.layer] == [(1, 1)] * 3  # no colour is subsampled
    mask = read_mask(whole_copy / "B/masks/b-0_x_1.png")
    assert len(np.unique(mask)) > 30  # grey borders
    assert np.array_equal(mask, shrink(open_mask(whole_root / "B/masks/b-0_x_1.png"), "512"))
    image = shrink(open_rgb(whole_root / "B/real_images/b-0_x.jpg"), "512")
    assert np.abs(read_rgb(whole_copy / "B/real_images/b-0_x.jpg").astype(int) - np.asarray(image)).mean() < 1


@pytest.mark.parametrize(
    ("size", "stored", "expected"),
    [
        ("512", (700, 520), (512, 380)),  # 520 * 512 / 700 = 380.3
        ("512", (520, 700), (380, 512)),
        ("512", (512, 512), (512, 512)),
        ("512", (3, 4000), (1, 512)),
        ("1024", (4000, 3000), (1024, 768)),
        ("1024", (700, 520), (700, 520)),
        ("256", (700, 520), (256, 256)),
        ("256", (30, 20), (256, 256)),
        ("original", (700, 520), (700, 520)),
    ],
)
def test_sizes(size, stored, expected):
    image = Image.new("RGB", stored)
    small = shrink(image, size)
    assert small.size == expected
    assert (small is image) == (stored == expected)


@pytest.mark.parametrize(("side", "largest"), [(1, 1), (8, 51), (20, 172)])
def test_a_mask_with_almost_nothing_left_can_still_be_read(tmp_path, side, largest):
    mask = np.zeros((3500, 3500), np.uint8)
    mask[1756 : 1756 + side, 1756 : 1756 + side] = 255
    faint = Image.fromarray(mask).resize((256, 256), Image.Resampling.BILINEAR)
    assert faint.getextrema()[1] == largest
    (tmp_path / "mask.png").write_bytes(encode(shrink(Image.fromarray(mask), "256"), "png"))
    assert np.array_equal(read_mask(tmp_path / "mask.png"), np.asarray(faint) * (largest >= HALF))


def test_each_file_is_made_once_and_recorded(whole_root, whole_copy):
    settings, *entries = map(json.loads, (whole_copy / "prepared_files.jsonl").read_text().splitlines())
    assert len({entry["source"] for entry in entries}) == len(entries) == FILES
    about = json.loads((whole_copy / "prepared.json").read_text())
    expected = {
        "recipe": 2,
        "source": str(whole_root),
        "size": "512",
        "filter": "bicubic",
        "format": "jpeg",
        "quality": 95,
    }
    assert settings == about["settings"] == expected
    counts = about["counts"]["B"]
    sizes = [(whole_copy / "B" / name).stat().st_size for name in contents(whole_copy / "B") if "/" in name]
    assert counts["bytes"] == sum(sizes)
    assert (counts["composite_images"], counts["masks"], counts["real_images"], counts["written"]) == (4, 2, 2, 8)
    assert about["counts"]["A"]["written"] == 0
    assert about["counts"]["A"]["bytes"] == about["counts"]["A"]["source_bytes"]


def test_evaluations_say_that_a_copy_is_one(whole_root, whole_copy, tmp_path):
    about = read_split(whole_copy, "test").describe()
    assert about.endswith(
        f"; prepared at size 512 (longer side), JPEG 95, from {whole_root} (8 of 24 files made anew, the others as they were)"
    )
    assert "prepared" not in read_split(whole_root, "test").describe()
    again = prepare(whole_copy, tmp_path / "again", size="256")
    assert "prepared at 256 x 256, lossless WebP, from" in again.summary
    assert "which was prepared at size 512 (longer side), JPEG 95, from" in again.summary


def test_processes_make_the_same(whole_root, whole_copy, tmp_path):
    made = prepare(whole_root, tmp_path / "copy", workers=2)
    assert contents(made.out) == contents(whole_copy)
    assert verify_dataset(made.out, workers=2, progress=False) == []


def test_nothing_is_written_to_the_source_nor_anew_to_a_finished_copy(root, tmp_path):
    before = as_left(root)
    copy = prepare(root, tmp_path / "copy").out
    assert as_left(root) == before
    left = as_left(copy)
    made = prepare(root, copy)
    assert made.found == FILES
    assert f"{FILES} files were there already" in describe(made)
    left[copy] = as_left(copy)[copy]  # the lock came and went
    assert as_left(copy) == left


def test_links(root, tmp_path, monkeypatch):
    copy = prepare(root, tmp_path / "copy", link=True).out
    assert (copy / "A/masks/a-1_x_1.png").samefile(root / "A/masks/a-1_x_1.png")
    assert not (copy / "B/masks/b-0_x_1.png").samefile(root / "B/masks/b-0_x_1.png")
    (copy / "prepared.json").unlink()
    (copy / "prepared_files.jsonl").write_text((copy / "prepared_files.jsonl").read_text().splitlines()[0] + "\n")
    assert prepare(root, copy, link=True).found == 0
    assert not [path for path in copy.rglob(".*") if is_part(path)]

    def refuse(*paths):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    other = prepare(root, tmp_path / "other", link=True).out
    assert not (other / "A/masks/a-1_x_1.png").samefile(root / "A/masks/a-1_x_1.png")
    assert contents(other) == contents(copy)


def test_an_interrupted_run_goes_on(root, tmp_path):
    copy = tmp_path / "copy"
    with interrupted_at("a-3_x_1_2.webp"), pytest.raises(KeyboardInterrupt):
        prepare(root, copy, size="256")
    assert not list(copy.rglob("*.txt"))
    with pytest.raises(UserError, match=r"copy: this copy is not finished; call scripts/prepare\.py again"):
        read_split(copy, "train")
    with pytest.raises(UserError, match="holds no finished copy"):
        verify(copy)
    with (copy / "prepared_files.jsonl").open("a") as journal:
        journal.write('{"source": "A/mas')  # killed while it wrote
    (copy / "A/masks/.a.png.1.part").write_bytes(b"half")
    assert prepare(root, copy, size="256").found == 7
    assert contents(copy) == contents(prepare(root, tmp_path / "other", size="256").out)


def test_a_killed_run_goes_on(root, tmp_path):
    for path in root.rglob("*.[jp][pn]g"):
        enlarge(path, 1600, 1200)
    copy = tmp_path / "copy"
    command = [sys.executable, str(SCRIPTS / "prepare.py"), str(root), str(copy), "--size", "256", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record = copy / "prepared_files.jsonl"
    while not record.exists() or len(record.read_bytes().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (copy / "prepared.json").exists()
    named = [path for path in copy.rglob("*.[wp][en][bg]*") if not is_part(path)]
    assert named
    for path in named:
        (read_mask if path.parent.name == "masks" else read_rgb)(path)
    made = prepare(root, copy, size="256")
    assert 3 <= made.found < FILES
    assert contents(copy) == contents(prepare(root, tmp_path / "other", size="256").out)


def test_a_source_that_changed_is_prepared_again(root, tmp_path):
    copy = prepare(root, tmp_path / "copy", size="256").out
    changed = [f"B/{path}" for path in ("composite_images/b-0_x_1_1.jpg", "composite_images/b-0_x_1_2.jpg")]
    for path in (*changed, "B/masks/b-0_x_1.png", "B/real_images/b-0_x.jpg"):
        enlarge(root / path, 256, 256)  # now they are copied, with their suffix
    assert prepare(root, copy, size="256").found == FILES - 4
    assert contents(copy) == contents(prepare(root, tmp_path / "other", size="256").out)
    assert (copy / changed[0]).read_bytes() == (root / changed[0]).read_bytes()
    assert_seen_alike(root, copy)
    assert verify(copy) == []


def test_a_list_that_changed_is_copied_again(root, copied):
    test, train = root / "A/A_test.txt", root / "A/A_train.txt"
    name = train.read_text().splitlines()[-1]
    train.write_text(train.read_text().replace(f"{name}\n", ""))
    test.write_text(test.read_text() + f"{name}\n")
    assert prepare(root, copied).found == FILES
    assert (copied / "A/A_test.txt").read_text() == test.read_text()
    assert verify(copied) == []


def test_the_copy_keeps_what_the_source_lost(root, copied):
    before = contents(copied)
    shutil.move(root / "B", root.parent / "B")
    with pytest.raises(UserError, match=r"copy: holds 8 files that the lists of .* no longer need, as B/"):
        prepare(root, copied)
    shutil.move(root.parent / "B", root / "B")
    (root / "A/masks/a-1_x_1.png").unlink()
    made = prepare(root, copied)
    assert len(made.faults) == 2  # of two composites
    assert contents(copied) == before


def test_the_copy_stays_while_the_source_is_away(root, tmp_path):
    """As on a disk that is not mounted: the names are there, the files are not."""
    shutil.move(root / "A/masks", tmp_path / "disk")
    (root / "A/masks").mkdir()
    for path in (tmp_path / "disk").iterdir():
        (root / "A/masks" / path.name).symlink_to(path)
    copy = prepare(root, tmp_path / "copy").out
    before = contents(copy)
    (tmp_path / "disk").rename(tmp_path / "away")
    made = prepare(root, copy)
    assert len(made.faults) == 4
    left = contents(copy)
    assert left == {name: content for name, content in before.items() if name != "prepared.json"}
    (tmp_path / "away").rename(tmp_path / "disk")
    assert prepare(root, copy).found == FILES
    assert contents(copy) == before


def test_all_faults_of_the_source_are_named_and_the_other_files_made(root, tmp_path):
    missing, cut = root / "A/composite_images/a-1_x_1_1.jpg", root / "A/real_images/a-2_x.jpg"
    text, sized = root / "A/masks/a-3_x_1.png", root / "B/masks/b-0_x_1.png"
    deep = root / "B/composite_images/b-1_x_1_1.jpg"
    kept = {path: path.read_bytes() for path in (missing, cut, text, sized, deep)}
    missing.unlink()
    cut.write_bytes(kept[cut][:900])
    text.write_bytes(b"no image")
    sized.write_bytes(encode(Image.fromarray(ellipse(140, 160, grow=2)), "png"))
    Image.new("CMYK", (700, 520)).save(deep)
    copy = tmp_path / "copy"
    faults = prepare(root, copy).faults
    for expected in (
        "a-1_x_1_1.jpg is missing",
        "a-2_x.jpg: cannot be read as an image",
        "a-3_x_1.png: cannot be read as an image",
        "b-1_x_1_1.jpg: is CMYK",
        "b-0_x_1.png: is 140 x 160 pixels but",
    ):
        assert any(expected in fault for fault in faults)
    assert len(faults) == 6  # two composites have the same mask
    assert not [name for name in contents(copy) if name == "prepared.json" or name.endswith(".txt")]
    assert not {Path(name).stem for name in contents(copy)} & {path.stem for path in (missing, cut, text, deep)}
    for path, content in kept.items():
        path.write_bytes(content)
    made = prepare(root, copy)
    assert (made.faults, made.found) == ([], FILES - 5)
    assert verify(copy) == []


def test_verifying_names_each_file_that_has_changed(root, copied):
    before = contents(copied)
    assert verify(copied) == []
    missing, cut, changed = "A/masks/a-1_x_1.png", "B/real_images/b-0_x.jpg", "B/composite_images/b-0_x_1_1.jpg"
    (copied / missing).unlink()
    (copied / cut).write_bytes(before[cut][:-1])
    (copied / changed).write_bytes(before[changed][:-1] + b"!")
    (copied / "A/A_test.txt").write_bytes(before["A/A_test.txt"].upper())
    assert sorted(verify(copied)) == [
        f"{copied / 'A/A_test.txt'}: has other content",
        f"{copied / missing}: is missing",
        f"{copied / changed}: has other content",
        f"{copied / cut}: has {len(before[cut]) - 1} bytes instead of {len(before[cut])}",
    ]
    (copied / changed).unlink()
    assert prepare(root, copied).found == FILES - 3
    assert verify(copied) == []


def test_the_summary_and_the_record_may_be_damaged_too(root, copied):
    before = contents(copied)
    (copied / "prepared.json").write_text("{")
    with pytest.raises(UserError, match="copy: holds no finished copy"):
        verify(copied)
    assert prepare(root, copied).found == FILES
    assert contents(copied) == before
    (copied / "prepared_files.jsonl").write_bytes(before["prepared_files.jsonl"] + b"{}\n")
    for call in (lambda: verify(copied), lambda: prepare(root, copied)):
        with pytest.raises(UserError, match=r"prepared_files\.jsonl: has changed since it was written; remove the"):
            call()


def test_other_settings_are_refused(root, copied):
    before = contents(copied)
    for change, message in (
        ({"size": "1024"}, "was made with size 512, not 1024; give the same again"),
        ({"quality": 90}, "was made with quality 95, not 90"),
        ({"format": "png"}, "was made with format jpeg, not png; quality 95, not None"),
        ({"size": "300"}, "size: must be one of 256, 512, 1024, original, not 300"),
        ({"quality": 0}, "quality: is for JPEG only, 1 to 100"),
        ({"size": "256", "quality": 90}, "quality: is for JPEG only"),
    ):
        with pytest.raises(UserError, match=message):
            prepare(root, copied, **change)
    assert contents(copied) == before


def test_places_that_are_refused(root, tmp_path):
    before = contents(root)
    (tmp_path / "link").symlink_to(root)
    for out in (root, root / "A", root / "B/masks/copy", tmp_path / "link", tmp_path / "link/A/copy"):
        with pytest.raises(UserError, match="is the data set or a part of it"):
            prepare(root, out)
    with pytest.raises(UserError, match=r": holds .*, but no prepared\.json of this program"):
        prepare(root, tmp_path)
    prepare(make_root(tmp_path / "other"), tmp_path / "copy")
    with pytest.raises(UserError, match=r"was made with source .*other, not .*data set"):
        prepare(root, tmp_path / "copy")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is a file"):
        prepare(root, tmp_path / "file")
    assert contents(root) == before


def test_lists_of_either_kind_will_do_but_one_there_must_be(root, tmp_path):
    shutil.rmtree(root / "A")
    for name in ("B_train.txt", "B_test.txt"):
        (root / "B" / name).unlink()
    with pytest.raises(UserError, match=r"B: has no list, .*check_data\.py --write-lists"):
        prepare(root, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    (root / "IHD_test.txt").write_text("B/composite_images/b-0_x_1_1.jpg\n")
    made = prepare(root, tmp_path / "copy", size="256")
    assert made.counts.keys() == {"B"}
    assert (made.out / "IHD_test.txt").read_text() == "B/composite_images/b-0_x_1_1.webp\n"
    assert [item.mask_name for item in read_split(made.out, "test").items] == ["b-0_x_1.png"]
    (root / "IHD_test.txt").write_text("")
    with pytest.raises(
        UserError, match=r"its lists name no composite .*IHD_test.txt names no composite of B: it is empty"
    ):
        prepare(root, tmp_path / "other")


def test_lines_with_folders_in_front_and_names_in_another_form_of_unicode(root, tmp_path):
    for path in sorted((root / "B").rglob("b-0_x*")):
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name.replace("b-0", "café"))))
    (root / "IHD_test.txt").write_text(
        "D:\\set\\B\\composite_images\\café_x_1_1.jpg\n./B/composite_images/b-1_x_1_1.jpg\n"
    )
    for name in ("A_train.txt", "A_test.txt"):
        (root / "A" / name).unlink()
    for name in ("B_train.txt", "B_test.txt"):
        (root / "B" / name).unlink()
    made = prepare(root, tmp_path / "copy", size="256")
    assert made.faults == []
    lines = "D:/set/B/composite_images/café_x_1_1.webp\n./B/composite_images/b-1_x_1_1.webp\n"
    assert unicodedata.normalize("NFC", (made.out / "IHD_test.txt").read_text()) == lines
    assert all(item.composite.is_file() for item in read_split(made.out, "test", ["B"]).items)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_and_coloured_masks_are_faults(root, tmp_path, make):
    (root / "A/real_images/a-1_x.jpg").unlink()
    make(root / "A/real_images/a-1_x.jpg")
    Image.new("RGB", (160, 140), "red").save(root / "A/masks/a-2_x_1.png")
    faults = prepare(root, tmp_path / "copy").faults
    assert len(faults) == 2
    assert any("a-1_x.jpg: is " in fault and "; give the file of an image" in fault for fault in faults)
    assert any("a-2_x_1.png: is coloured" in fault for fault in faults)


def test_composites_that_would_get_one_name_are_refused(root, tmp_path):
    source = root / "A/composite_images/a-1_x_1_1.jpg"
    Image.open(source).save(source.with_suffix(".png"))
    with (root / "A/A_train.txt").open("a") as file:
        file.write("a-1_x_1_1.png\n")
    with pytest.raises(UserError, match=r"a-1_x_1_1\.png and a-1_x_1_1\.jpg differ in their suffix alone"):
        prepare(root, tmp_path / "copy")


def test_the_script_says_what_it_did_or_what_is_wrong(root, tmp_path):
    def run(*arguments):
        done = run_script("prepare.py", *arguments, "--workers", 1)
        return done.returncode, done.stdout, done.stderr

    copy = tmp_path / "copy"
    status, printed, errors = run(root, "--size", "512", copy, "--verify")
    assert status == 0, errors
    assert "8 of 24 files made anew" in printed
    assert "every file is as it was written" in printed
    (copy / "A/masks/a-1_x_1.png").unlink()
    status, _, errors = run(copy, "--verify")
    assert status == 2
    assert f"error: {copy / 'A/masks/a-1_x_1.png'}: is missing" in errors
    (root / "A/masks/a-1_x_1.png").write_bytes(b"no image")
    status, _, errors = run(root, copy)
    assert status == 2
    assert f"error: {root / 'A/masks/a-1_x_1.png'}: cannot be read as an image" in errors
    assert errors.splitlines()[-1].startswith("1 fault of")
    assert run(copy)[0] == 2
