import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.common.files import is_part
from frih.data.dataset import require_foreground
from frih.data.iharmony4 import COMPOSITES, read_split
from frih.data.images import read_mask
from frih.tools.datasets.check import check_dataset, write_lists, write_report
from frih.tools.datasets.check_report import KINDS
from tests.conftest import ellipse, make_dataset, save, smooth_image
from tests.tools.folders import run_script

REPOSITORY = Path(__file__).parents[3]
COMPOSITE, MASK, REAL = "A/composite_images/a-1_x_1_2.jpg", "A/masks/a-1_x_1.png", "A/real_images/a-1_x.jpg"


@pytest.fixture
def clean(dataset) -> Path:
    """The small data set without a fault: the last photo of A and of B is for testing only."""
    for subset, last in (("A", "a-3"), ("B", "b-1")):
        names = sorted(path.name for path in (dataset / subset / "composite_images").iterdir())
        for split, chosen in (("train", False), ("test", True)):
            lines = [f"{name}\n" for name in names if name.startswith(last) == chosen]
            (dataset / subset / f"{subset}_{split}.txt").write_text("".join(lines))
    return dataset


def check(root: Path, **options):
    return check_dataset(root, **{"workers": 0, "progress": False, **options})


def found(root: Path, **options) -> set[tuple[str, str, bool]]:
    """(kind, path, whether it is an error) of all findings but the grey masks, which make_dataset has."""
    findings = check(root, **options).findings
    return {(item.kind, item.path, item.error) for item in findings if item.kind != "mask-grey"}


def common_list(root: Path, split: str, *subsets: str) -> str:
    lists = {subset: (root / subset / f"{subset}_{split}.txt").read_text().split("\n")[:-1] for subset in subsets}
    return "".join(f"{subset}/composite_images/{name}\n" for subset, names in lists.items() for name in names)


def test_a_whole_dataset(clean):
    report = check(clean)
    assert report.errors == 0
    assert [(item.kind, item.path) for item in report.findings] == [("mask-grey", "A/masks"), ("mask-grey", "B/masks")]
    assert report.findings[0].message.startswith("4 of 4 hold values between")
    text = report.describe()
    assert re.search(r"A +6 +2 +8, 4, 4\n +B +2 +2 +4, 2, 2\n +all +8 +4\n", text)
    assert "lists of the train split: A/A_train.txt, B/B_train.txt" in text
    assert text.endswith("0 errors, 2 remarks")


@pytest.mark.parametrize("path", [COMPOSITE, MASK, REAL])
def test_missing_files(clean, path):
    (clean / path).unlink()
    assert ("missing", path, True) in found(clean)
    if path != COMPOSITE:
        messages = [item.message for item in check(clean).findings if item.kind == "missing"]
        assert messages == [f"is not there; a-1_x_1_{k}.jpg needs it" for k in (1, 2)]


def test_a_composite_with_another_suffix(clean):
    (clean / COMPOSITE).rename((clean / COMPOSITE).with_suffix(".png"))
    (finding,) = [item for item in check(clean).findings if item.kind == "missing"]
    assert finding.message.endswith("is not there (the folder holds a-1_x_1_2.png)")
    (clean / MASK).rename((clean / MASK).with_name("a-1_x_1_2.png"))
    messages = [item.message for item in check(clean).findings if item.path == MASK]
    assert messages[0] == "is not there (the folder holds a-1_x_1_2.png); a-1_x_1_2.jpg needs it"


@pytest.mark.parametrize("folder", ["masks", "real_images", "composite_images"])
def test_a_missing_folder_is_told_once(clean, folder):
    (clean / "A" / folder).rename(clean / "elsewhere")
    assert ("folder-missing", f"A/{folder}", True) in found(clean)
    assert not [item for item in check(clean).findings if item.kind == "missing"]


def test_files_that_no_list_needs(clean):
    save(clean / "A/composite_images/new photo_1_1.jpg", smooth_image(seed=1, width=20, height=20))
    (clean / "B/masks/Thumbs.db").write_bytes(b"not an image")
    (clean / "B/masks/.DS_Store").write_bytes(b"nor this")
    (clean / "B/masks/._b-0_x_1.png").write_bytes(b"nor this")
    (clean / "B/real_images/cut.jpg").write_bytes(b"nor this")
    (clean / "B/masks/b-0_x_1.txt").write_text("notes are no images, so there is one mask")
    assert found(clean) == {
        ("orphan", "A/composite_images/new photo_1_1.jpg", False),
        ("orphan", "B/masks/b-0_x_1.txt", False),
        ("orphan", "B/real_images/cut.jpg", False),
        ("unreadable", "B/real_images/cut.jpg", False),
    }


def test_faulty_lines(clean):
    with (clean / "A/A_train.txt").open("a") as file:
        file.write("a-0_x_1_1.jpg\n\nphoto.jpg\n")
    assert found(clean) == {("twice", "A/A_train.txt", True), ("name", "A/A_train.txt", True)}


def test_lists_that_are_not_text(clean):
    (clean / "A/A_train.txt").write_bytes(b"\xff\xfe\x00")
    (clean / "IHD_test.txt").write_bytes(b"\xff\xfe\x00")
    assert {("list-unreadable", "A/A_train.txt", True), ("list-unreadable", "IHD_test.txt", True)} <= found(clean)


@pytest.mark.parametrize("path", [COMPOSITE, MASK, REAL])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_unreadable_files(clean, path, damage):
    whole = (clean / path).read_bytes()
    (clean / path).write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"404 not found"}[damage])
    assert found(clean) == {("unreadable", path, True)}


def test_mask_and_real_image_of_other_sizes(clean):
    save(clean / MASK, ellipse(140, 160, grow=2))
    save(clean / "B/real_images/b-0_x.jpg", smooth_image(seed=1, width=161, height=140))
    assert found(clean) == {("size", MASK, True), ("size", "B/real_images/b-0_x.jpg", True)}
    assert f"is 140 x 160 pixels, but {COMPOSITE} is 160 x 140" in {item.message for item in check(clean).findings}


def test_masks_without_foreground_or_of_0_and_1(clean):
    save(clean / MASK, np.zeros((140, 160), np.uint8))
    speck = np.zeros((140, 160), np.uint8)
    speck[70, 80] = 255
    save(clean / "A/masks/a-2_x_1.png", speck)
    unchanged(clean, "a-2_x")
    save(clean / "A/masks/a-0_x_1.png", (ellipse(160, 140, grow=2) > 127).astype(np.uint8))
    always = {("mask-empty", MASK, False), ("mask-0-1", "A/masks/a-0_x_1.png", True)}
    assert found(clean, size=64) == {*always, ("mask-vanishes", "A/masks/a-2_x_1.png", False)}
    assert found(clean, size=256) == always


def unchanged(root: Path, photo: str) -> None:
    """Makes the composites of a photo of A equal to its real image."""
    for variant in (1, 2):
        content = (root / f"A/real_images/{photo}.jpg").read_bytes()
        (root / f"A/composite_images/{photo}_1_{variant}.jpg").write_bytes(content)


def as_palette(mask: np.ndarray, color: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray((mask >= 128).astype(np.uint8) * 15)
    image.putpalette([0] * 45 + [*color] + [0] * 720)
    return image


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("mask-coloured", lambda mask: Image.fromarray(np.stack([mask, 0 * mask, 0 * mask], axis=-1))),
        ("mask-coloured", lambda mask: as_palette(mask, (192, 128, 128))),
        ("mask-coloured", lambda mask: as_palette(mask, (192, 128, 128)).convert("RGBA")),
        ("mask-coloured", lambda mask: Image.fromarray(smooth_image(seed=1, width=160, height=140))),
        ("mask-labels", lambda mask: Image.fromarray((mask >= 128).astype(np.uint8) * 127)),
        ("mask-labels", lambda mask: as_palette(mask, (15, 15, 15))),
        ("mask-0-1", lambda mask: as_palette(mask, (1, 1, 1))),
    ],
)
def test_images_and_labels_in_place_of_masks(clean, kind, make):
    make(ellipse(160, 140, grow=2)).save(clean / MASK)
    assert found(clean) == {(kind, MASK, True)}
    with pytest.raises(UserError):
        read_mask(clean / MASK)  # as training does


def test_a_palette_of_grey_is_a_mask(clean):
    as_palette(ellipse(160, 140, grow=2), (255, 255, 255)).save(clean / MASK)
    assert found(clean) == set()


def test_a_split_without_foreground(clean):
    for path in (clean / "A/masks/a-3_x_1.png", clean / "B/masks/b-1_x_1.png"):
        save(path, np.zeros((140, 160), np.uint8))
    lists = "A/A_test.txt, B/B_test.txt"
    assert not [item for item in found(clean) if "elsewhere" in item[0]]
    assert {item for item in found(clean) if item[0] == "no-foreground"} == {("no-foreground", lists, True)}
    assert "no mask of the test split has foreground, of 2;" in check(clean).describe()
    assert ("no-foreground", "A/A_test.txt", True) in found(clean, subsets=["A"])
    save(clean / "B/masks/b-1_x_1.png", ellipse(160, 140, grow=2))
    assert not [item for item in found(clean) if item[0] == "no-foreground"]
    with pytest.raises(UserError, match="no mask of the test split has foreground"):
        require_foreground(read_split(clean, "test", ["A"]).items, "the test split")


def test_inverted_masks(clean):
    for path in (clean / "A/masks").iterdir():
        save(path, 255 - read_mask(path))
    report = check(clean)
    ((path, message),) = [(item.path, item.message) for item in report.findings if item.kind == "masks-elsewhere"]
    assert (path, message) == (
        "A/masks",
        "6 of 6 composites differ elsewhere than in their masks; are they inverted? foreground is 255, background 0",
    )
    composites = [item for item in report.findings if item.kind == "mask-elsewhere"]
    assert len(composites) == 6  # the smallest object cannot be judged
    assert all(item.error for item in composites)
    assert sum(item.message.endswith("it seems inverted") for item in composites) > 3


def test_a_mask_of_another_place(clean):
    save(clean / MASK, np.roll(ellipse(160, 140, grow=2), 80, axis=1))
    expected = {("mask-elsewhere", f"A/composite_images/a-1_x_1_{k}.jpg", True) for k in (1, 2)}
    assert found(clean) == expected
    assert (
        f"100% of what differs from {REAL} is outside of {MASK}; it seems to lie elsewhere" in check(clean).describe()
    )


@pytest.mark.parametrize("quality", [10, 30, 75])
@pytest.mark.parametrize("share", [0, 1])
def test_composites_that_were_stored_again_differ_in_their_masks(clean, quality, share):
    for path in (clean / "A/composite_images").iterdir():
        real = Image.open(clean / "A/real_images" / f"{path.stem[:5]}.jpg")
        Image.blend(real, Image.open(path), share).resize((80, 70)).resize((160, 140)).save(path, quality=quality)
    assert found(clean) == set()


@pytest.mark.parametrize("path", [COMPOSITE, MASK, REAL])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_never_opened(clean, path, make):
    (clean / path).unlink()
    make(clean / path)
    assert found(clean) == {("unreadable", path, True)}
    (clean / "IHD_train.txt").symlink_to("nowhere")
    assert found(clean) == {("unreadable", path, True)}


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "RGBA"])
def test_unsuitable_pixels(clean, mode):
    image = {
        "CMYK": Image.new("CMYK", (160, 140)),
        "I;16": Image.fromarray(np.full((140, 160), 1, np.uint16)),
        "RGBA": Image.new("RGBA", (160, 140), (1, 1, 1, 1)),
    }[mode]
    for path in (REAL, MASK):
        image.save(clean / path, format="TIFF")
    kinds = found(clean)
    assert ("mode", REAL, True) in kinds
    assert mode == "CMYK" or ("mode", MASK, True) in kinds


def test_images_without_colour(clean):
    save(clean / REAL, smooth_image(seed=1, width=160, height=140)[..., 0])
    unchanged(clean, "a-1_x")
    save(clean / COMPOSITE, np.repeat(smooth_image(seed=1, width=160, height=140)[..., :1], 3, axis=2))
    composites = {("greyscale", f"A/composite_images/a-1_x_1_{k}.jpg", False) for k in (1, 2)}
    assert found(clean) == {("greyscale", REAL, False), *composites}


def test_a_photo_in_both_splits(clean, tmp_path):
    twice = {("photo-in-both", f"{path}_x.jpg", True) for path in ("A/real_images/a-3", "B/real_images/b-1")}
    assert found(make_dataset(tmp_path / "other")) == twice
    (clean / "B/real_images/b-1_x.jpg").write_bytes((clean / REAL).read_bytes())  # under two names
    assert ("photo-in-both", "B/real_images/b-1_x.jpg", True) in found(clean)
    assert f"is the same file as {REAL}" in check(clean).describe()


def test_a_composite_in_both_lists(clean):
    with (clean / "A/A_test.txt").open("a") as file:
        file.write("a-1_x_1_2.jpg\n")
    assert found(clean) == {("in-both-lists", COMPOSITE, True), ("photo-in-both", REAL, True)}


def test_a_mask_of_two_suffixes(clean):
    save((clean / MASK).with_suffix(".bmp"), ellipse(160, 140, grow=2))
    assert found(clean) == {("ambiguous", MASK.replace(".png", ".bmp"), True)}


def test_missing_lists_are_errors(clean):
    (clean / "A/A_test.txt").unlink()
    assert ("list-missing", "A/A_test.txt", True) in found(clean)
    assert ("list-missing", "A/A_test.txt", True) in found(clean, subsets=["A"])  # composites are left over
    (clean / "A/A_train.txt").unlink()
    (clean / COMPOSITE).write_bytes(b"")
    expected = {("list-missing", f"A/A_{split}.txt", True) for split in ("train", "test")}
    assert found(clean, subsets=["A"]) == {*expected, ("unreadable", COMPOSITE, True)}


def test_a_dataset_for_evaluation_alone(clean):
    lists = clean / "A/A_train.txt", clean / "A/A_test.txt"
    lists[1].write_text(lists[0].read_text() + lists[1].read_text())
    lists[0].unlink()
    assert found(clean, subsets=["A"]) == {("list-missing", "A/A_train.txt", False)}


def test_common_lists(clean):
    text = common_list(clean, "train", "A", "B")
    (clean / "IHD_train.txt").write_text(text.replace("/", "\\") + "HFlickr/composite_images/f1_1_1.jpg\nf1_1_1.jpg\n")
    for subset in "AB":
        (clean / subset / f"{subset}_train.txt").unlink()
    report = check(clean)
    assert {split.source for splits in report.splits.values() for split in splits.values()} >= {"IHD_train.txt"}
    assert found(clean) == {("list-strangers", "IHD_train.txt", False)}
    (clean / "A/A_train.txt").write_text("a-0_x_1_1.jpg\n")
    assert ("list-differs", "A/A_train.txt", False) in found(clean)
    (clean / "A/A_train.txt").write_text("")
    assert ("list-empty", "A/A_train.txt", False) in found(clean)
    assert ("list-empty", "A/A_train.txt", True) in found(clean, subsets=["A"])


@pytest.mark.parametrize(("front", "error"), [("D:\\sets\\A\\", False), ("/sets/A/", False), ("sets/other/", True)])
def test_common_lists_with_folders_in_front(clean, front, error):
    expected = read_split(clean, "test", ["A"]).items
    names = (clean / "A/A_test.txt").read_text().split()
    (clean / "A/A_test.txt").unlink()
    (clean / "IHD_test.txt").write_text(
        "".join(f"{front}composite_images/{name}\n" for name in names).replace("/", front[-1])
    )
    assert bool(check(clean, subsets=["A"]).errors) == error
    if not error:
        assert read_split(clean, "test", ["A"]).items == expected
        assert write_lists(clean)[-1] == clean / "A/A_test.txt"
        return
    messages = [item.message for item in check(clean, subsets=["A"]).findings if item.kind == "list-empty"]
    with pytest.raises(UserError) as caught:
        read_split(clean, "test", ["A"])
    assert messages[0] in str(caught.value)  # the checker says what training does


def test_counts_beside_the_published_ones(clean):
    (clean / "A").rename(clean / "HFlickr")
    for split in ("train", "test"):
        (clean / f"HFlickr/A_{split}.txt").rename(clean / f"HFlickr/HFlickr_{split}.txt")
    report = check(clean)
    assert found(clean) == {("count", f"HFlickr/HFlickr_{split}.txt", False) for split in ("train", "test")}
    assert "6 of 7449" in report.describe()
    assert [sum(counts[split] for counts in COMPOSITES.values()) for split in ("train", "test")] == [65742, 7404]


def test_one_subset_and_difficult_names(tmp_path):
    root = make_dataset(tmp_path / "my data_2-0")
    (root / "A").rename(root / "My Photos_v-2")
    for path in [*(root / "My Photos_v-2").rglob("*.*")]:
        path.rename(path.with_name(path.name.replace("a-", "a b_c-").replace("A_t", "My Photos_v-2_t")))
    for path in (root / "My Photos_v-2").glob("*.txt"):
        path.write_text(path.read_text().replace("a-", "a b_c-"))
    real = "My Photos_v-2/real_images/a b_c-3_x.jpg"
    assert found(root, subsets=["My Photos_v-2"]) == {("photo-in-both", real, True)}
    assert [path.name for path in write_lists(root)] == ["IHD_train.txt", "IHD_test.txt"]


def broken(root: Path) -> Path:
    """Makes a few faults of several kinds."""
    (root / COMPOSITE).unlink()
    (root / REAL).write_bytes(b"")
    for path in (root / "B/masks").iterdir():
        save(path, np.zeros((9, 9), np.uint8))
    return root


def test_any_number_of_workers_finds_the_same(dataset):
    one = check(broken(dataset), workers=0)
    assert one.errors > 4
    assert check(dataset, workers=3) == one


def test_many_findings_are_cut_short_on_the_console_but_not_in_json(clean, tmp_path):
    for path in (clean / "A/masks").iterdir():
        path.unlink()
    save(clean / MASK, ellipse(160, 140, grow=2))
    report = check(clean)
    assert "    ... and 3 more\n" in report.describe()
    write_report(report, tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert sum(item["kind"] == "missing" for item in content["findings"]) == 6
    assert content["errors"] == report.errors == sum(item["error"] for item in content["findings"])
    assert content["subsets"]["A"]["train"] == {"list": "A/A_train.txt", "composites": 6, "published": None}
    assert content["subsets"]["A"]["files"] == {"composite_images": 8, "masks": 1, "real_images": 4}


def test_own_lists_follow_from_the_common_one(clean):
    before = read_split(clean, "train").items
    text = (clean / "A/A_train.txt").read_text()
    (clean / "IHD_train.txt").write_text(common_list(clean, "train", "A", "B"))
    (clean / "A/A_train.txt").unlink()
    (clean / "B/B_train.txt").write_text("b-0_x_1_1.jpg\n")
    assert write_lists(clean) == [clean / "A/A_train.txt", clean / "IHD_test.txt"]
    assert (clean / "A/A_train.txt").read_text() == text
    assert (clean / "B/B_train.txt").read_text() == "b-0_x_1_1.jpg\n"  # it was there
    assert read_split(clean, "train", ["A"]).items == [item for item in before if item.subset == "A"]
    assert write_lists(clean) == []


def test_the_common_list_follows_from_all_own_ones(clean):
    expected = common_list(clean, "train", "A", "B")
    (clean / "B/B_test.txt").unlink()
    assert write_lists(clean) == [clean / "IHD_train.txt"]
    assert (clean / "IHD_train.txt").read_text() == expected
    shutil.rmtree(clean / "B")  # then one subset is enough
    (clean / "IHD_train.txt").unlink()
    assert write_lists(clean) == [clean / "IHD_train.txt", clean / "IHD_test.txt"]
    assert found(clean) == set()


def test_a_root_on_a_read_only_disk(clean, tmp_path, monkeypatch):
    original = Path.open

    def open_unless_for_writing(path, mode="r", *rest, **options):
        if clean in path.parents and mode[0] != "r":
            raise OSError(30, "Read-only file system", str(path))
        return original(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", open_unless_for_writing)
    report = check(clean)
    assert report.errors == 0
    write_report(report, tmp_path / "report.json")
    with pytest.raises(UserError, match=r"IHD_train\.txt: cannot be written \(Read-only file system\)"):
        write_lists(clean)
    with pytest.raises(UserError, match=r"report\.json: cannot be written \(Read-only file system\); choose another"):
        write_report(report, clean / "report.json")


def test_lists_on_a_disk_that_is_full(clean, full_disk):
    full_disk(is_part)
    with pytest.raises(UserError, match=r"IHD_train\.txt: cannot be written \(No space left on device\)"):
        write_lists(clean)


def test_roots_that_are_refused(clean, tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no subset 'C'"):
        check(clean, subsets=["C"])


def test_the_program(clean, tmp_path):
    def run(*arguments):
        done = run_script("check_data.py", clean, "--workers", 1, *arguments)
        return done.returncode, done.stdout

    status, printed = run("--write-lists")
    assert status == 0
    assert f"wrote {clean / 'IHD_train.txt'}" in printed
    (clean / REAL).write_bytes(b"")
    status, printed = run("--json", tmp_path / "report.json", "--subsets", "A")
    assert status == 2
    assert f"{REAL}: cannot be read as an image" in printed
    assert [*json.loads((tmp_path / "report.json").read_text())["subsets"]] == ["A"]
    assert run("--json", tmp_path / "nowhere/report.json")[0] == 2


def test_ctrl_c(clean):
    image = smooth_image(seed=2, width=700, height=700)
    for k in range(200):
        save(clean / f"A/real_images/extra{k}.bmp", image[: 500 + k])
    command = [sys.executable, REPOSITORY / "scripts/check_data.py", clean, "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.read(9).endswith("checking")  # the bar is there: it reads
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().rstrip().endswith("stopped")
    assert process.returncode == 130


def test_every_kind_is_explained():
    text = (REPOSITORY / "docs/data.md").read_text().split("## Is it whole?")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE) == list(KINDS)
