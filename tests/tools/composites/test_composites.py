"""Data sets made of a few small photos."""

import base64
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.data.iharmony4 import read_split
from frih.data.images import open_mask, open_rgb
from frih.data.transforms import render, whole
from frih.metrics import score
from frih.tools.composites.annotations import Outline, Outlined, draw
from frih.tools.composites.making import SUBSETS, describe, make_composites
from frih.tools.composites.objects import parse_limits
from tests.conftest import ellipse, save, smooth_image
from tests.tools.folders import contents, interrupted_at, run_script

NAMES = ("a photo", "b-1_2_3", "c", "c_1", "d.e", "f", "g", "h")
SETTINGS = {"per_photo": 2, "test_fraction": 0.25}
QUIET = {"workers": 1, "progress": False}


def make(photos, out, **options):
    return make_composites(photos, out, **{**QUIET, **options})


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos")


@pytest.fixture(scope="module")
def whole_one(tmp_path_factory):
    """A data set that no test changes."""
    folder = tmp_path_factory.mktemp("data")
    return make(make_photos(folder / "photos"), folder / "out", **SETTINGS).root


@pytest.fixture
def root(whole_one, tmp_path):
    """A copy of it that tests may damage."""
    return Path(shutil.copytree(whole_one, tmp_path / "out"))


def make_photos(folder):
    """Photos of two categories whose objects have moderately different colours."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        image = 64 + 0.5 * smooth_image(seed=1, width=72, height=60)
        gain = 0.8 + 0.1 * (number % 4)
        save(folder / "images" / file_name(name), (image * gain).astype(np.uint8))
        save(folder / "masks" / f"{name}.png", ellipse(72, 60, grow=2))
    write_categories(folder, {name: "car" if number < 4 else "tree" for number, name in enumerate(NAMES)})
    return folder


def write_categories(folder, categories):
    lines = [f"{name},{category}\n" for name, category in categories.items()]
    (folder / "photos.csv").write_text("".join(["name,category\n", *lines]))


def file_name(name):
    return f"{name}.{'png' if name == 'c' else 'jpg'}"


def records(root):
    entries = json.loads((root / "manifest.json").read_text())["photos"]
    return {path: (entry, record) for entry in entries for path, record in entry["composites"].items()}


def assert_lent_by_others(found, entries):
    """References are objects of other photos, of the same category and in the training split."""
    assert found
    for entry, record in found:
        for name in [record["reference"]] if isinstance(record["reference"], str) else record["reference"]:
            assert entries[name]["category"] == entry["category"]
            assert entries[name]["split"] == "train"
            assert entries[name]["photo"] != entry["photo"]


def test_the_reader_of_iharmony4_reads_it(whole_one):
    items = {split: read_split(whole_one, split).items for split in ("train", "test")}
    assert {item.subset for item in items["train"]} == set(SUBSETS)
    reals = {split: {Path(item.real_name).stem for item in items[split]} for split in items}
    assert not reals["train"] & reals["test"]
    assert reals["train"] | reals["test"] == set(NAMES)
    assert len(reals["test"]) == 2
    assert any(item.composite_name.endswith("_1_2.jpg") for item in items["train"])
    both = items["train"] + items["test"]
    assert len(records(whole_one)) == len(both)
    stored = sum(len(contents(whole_one / subset / "real_images")) for subset in SUBSETS)
    assert stored == len({(item.subset, item.real_name) for item in both})


def test_images_and_figures_are_right(whole_one):
    known = records(whole_one)
    for item in read_split(whole_one, "train").items[::3]:
        seen = [render(image, whole(image), 256) for image in map(open_rgb, (item.composite, item.real))]
        mask = open_mask(item.mask)
        assert np.array_equal(mask, open_mask(whole_one.parent / "photos/masks" / f"{Path(item.real_name).stem}.png"))
        scores = score(*seen, render(mask, whole(mask), 256) / 255)
        record = known[f"{item.subset}/composite_images/{item.composite_name}"][1]
        assert {name: record[name] for name in scores} == pytest.approx(scores, abs=0.006)
        assert scores["fmse"] > 30
        assert np.asarray(mask)[:8, :8].max() == 0  # a block of JPEG without foreground
        assert np.array_equal(np.asarray(open_rgb(item.composite))[:8, :8], np.asarray(open_rgb(item.real))[:8, :8])


def test_references_are_other_training_photos_of_the_category(whole_one, photos, tmp_path):
    found = records(whole_one).values()
    entries = {entry["photo"]: entry for entry, _ in found}
    assert len(entries) == len(NAMES)
    assert_lent_by_others(found, entries)
    (photos / "photos.csv").unlink()  # then all photos are of one category
    group = {name: number < 4 for number, name in enumerate(NAMES)}
    root = make(photos, tmp_path / "out").root
    assert any(group[entry["photo"]] != group[record["reference"]] for entry, record in records(root).values())


def test_the_seed_decides_and_not_the_number_of_processes(whole_one, photos, tmp_path):
    assert contents(whole_one) == contents(make(photos, tmp_path / "2", **SETTINGS, workers=2).root)
    assert contents(whole_one) != contents(make(photos, tmp_path / "3", **SETTINGS, seed=1).root)


def test_an_interrupted_run_goes_on(whole_one, photos, tmp_path):
    root = tmp_path / "out"
    with interrupted_at("c_1_1_1.jpg"), pytest.raises(KeyboardInterrupt):
        make(photos, root, **SETTINGS)
    left = contents(root)
    assert not [path for path in left if path == "manifest.json" or path.endswith(".txt")]
    expected = contents(whole_one)
    assert not [path for path in left if path != "unfinished.jsonl" and left[path] != expected[path]]
    with (root / "unfinished.jsonl").open("a") as journal:
        journal.write('{"photo": "f", "compo')  # killed while it wrote
    (root / "Xiao/masks/.123.part").write_bytes(b"half")
    assert make(photos, root, **SETTINGS).found == 3
    assert contents(root) == expected


def test_what_is_missing_of_a_whole_one_is_made_again(photos, root):
    before = contents(root)
    assert make(photos, root, **SETTINGS).found == len(NAMES)
    next((root / "Xiao/composite_images").iterdir()).unlink()
    next((root / "Fecker/masks").iterdir()).write_bytes(b"cut")
    assert make(photos, root, **SETTINGS).found >= len(NAMES) - 2
    assert contents(root) == before
    (root / "Pitie/Pitie_train.txt").unlink()
    assert make(photos, root, **SETTINGS).found == len(NAMES)
    assert contents(root) == before


def test_other_settings_are_refused(photos, root):
    before = contents(root)
    for change, message in (
        ({"seed": 1, "per_photo": 3}, "was made with seed 0, not 1; per_photo 2, not 3"),
        ({"size": 64, "test_fraction": 0.5}, "test_fraction 0.25, not 0.5; size None, not 64"),
    ):
        with pytest.raises(UserError, match=message):
            make(photos, root, **{**SETTINGS, **change})
    (photos / "masks/f.png").unlink()
    with pytest.raises(UserError, match=r"photos 8 of digest .*, not 7 of digest"):
        make(photos, root, **SETTINGS)
    assert contents(root) == before


def test_photos_that_are_not_usable_are_named(photos, tmp_path):
    image, mask = smooth_image(seed=3, width=72, height=60), ellipse(72, 60, grow=2)
    masks = {"empty": 0 * mask, "full": 255 + 0 * mask, "small": mask[:40]}
    masks |= dict.fromkeys(("torn", " led", "twice", "stray"), mask)
    for name in ("none", *masks):
        save(photos / "images" / f"{name}.jpg", image)
    for name, other in masks.items():
        save(photos / "masks" / f"{name}.png", other)
    save(photos / "images/twice.png", image)
    (photos / "images/torn.jpg").write_bytes((photos / "images/torn.jpg").read_bytes()[:300])
    for name in ("images/.hidden", "images/Thumbs.db", "images/._f.jpg", "images/.DS_Store", "masks/._f.png"):
        (photos / name).write_text("left by a system")
    os.mkfifo(photos / "images/pipe.jpg")
    save(photos / "masks/pipe.png", mask)
    with (photos / "photos.csv").open("a") as file:
        file.write("".join(f"{name}.jpg,car\n" for name in ("none", "pipe", *masks) if name != "stray"))
    made = make(photos, tmp_path / "out")
    found = {reason: sorted(names) for reason, names in made.skipped.items()}
    pipe, torn = found.pop("unreadable")
    assert pipe.startswith("images/pipe.jpg: is no regular file")
    assert torn.startswith("images/torn.jpg: cannot be read as an image")
    assert found == {
        "without mask": ["none.jpg"],
        "empty mask": ["empty.jpg"],
        "foreground not 1% to 80% of the image": ["full.jpg (100.0%)"],
        "mask of another size": ["small.jpg (72x60, mask 72x40)"],
        "name that a list cannot hold": ["' led'"],
        "two files of one name": ["twice"],
        "not in photos.csv": ["stray.jpg"],
    }
    assert len(made.entries) == len(NAMES)
    assert "9 skipped" in describe(made)
    assert "without mask 1 (none.jpg)" in describe(made)


# several folders, limits and regions


def rename_photos(folder, names):
    """Gives photos of a folder other names."""
    for old, new in names.items():
        for path in (folder / "images" / file_name(old), folder / "masks" / f"{old}.png"):
            path.rename(path.with_name(path.name.replace(old, new)))
    write_categories(
        folder, {names.get(name, name): "car" if number < 4 else "tree" for number, name in enumerate(NAMES)}
    )
    return folder


def test_several_folders_are_as_one_whatever_their_order(whole_one, photos, tmp_path):
    parts = [Path(shutil.copytree(photos, tmp_path / part)) for part in ("one", "two")]
    for number, name in enumerate(NAMES):
        for path in (f"images/{file_name(name)}", f"masks/{name}.png"):
            (parts[number % 2] / path).unlink()
    for number, folders in enumerate((parts, parts[::-1])):
        assert contents(make(folders, tmp_path / f"out{number}", **SETTINGS).root) == contents(whole_one)


def test_photos_of_the_same_name_get_their_folders_name(photos, tmp_path):
    other = make_photos(tmp_path / "other")
    changed = (64 + 0.4 * smooth_image(seed=1, width=72, height=60)).astype(np.uint8)
    for name in ("f", "g"):
        save(other / "images" / f"{name}.jpg", changed)
    rename_photos(other, {name: f"z{name}" for name in ("a photo", "c_1", "h")})
    made = make([photos, other], tmp_path / "out", **SETTINGS)
    assert sorted(made.renamed) == ["other-f", "other-g", "photos-f", "photos-g"]
    assert "because several have the same name: 4 (other-f, other-g, photos-f, photos-g)" in describe(made)
    same = {"b-1_2_3.jpg", "c.png", "d.e.jpg"}  # the same files in both
    assert set(made.skipped["the same photo in two folders"]) == {f"photos/images/{name}" for name in same}
    names = {entry["photo"] for entry in made.entries}
    assert names == {*NAMES, "za photo", "zc_1", "zh", *made.renamed} - {"f", "g"}
    kept = open_rgb(next(made.root.glob("*/real_images/other-f.jpg")))
    assert np.abs(np.asarray(kept).astype(int) - changed).mean() < 2
    read_split(made.root, "train")


def test_photos_of_a_category_at_most(photos, tmp_path):
    made = make(photos, tmp_path / "out", at_most={"car": 2})
    assert sorted(entry["category"] for entry in made.entries) == ["car"] * 2 + ["tree"] * 4
    assert len(made.skipped["more than 2 of car"]) == 2
    with pytest.raises(UserError, match="--at-most cra=2: no photo is of this category; did you mean 'car'"):
        make(photos, tmp_path / "other", at_most={"cra": 2})
    for text in ("car", "car=0", "car=-1", "=x"):
        with pytest.raises(UserError, match=f"--at-most {text}: takes CATEGORY=N"):
            parse_limits([text])
    assert parse_limits(["a=b=3", "plate of food=20"]) == {"a=b": 3, "plate of food": 20}


@pytest.fixture
def colourful(photos):
    """Photos whose objects have a dark and a light half."""
    for number, name in enumerate(NAMES):
        scene = 40 + 0.15 * smooth_image(seed=1, width=72, height=60)
        scene[:, 36:] += 90
        save(photos / "images" / file_name(name), (scene * (0.8 + 0.1 * (number % 4))).astype(np.uint8))
    return photos


def test_regions_are_a_subset_of_their_own(colourful, tmp_path):
    plain = make(colourful, tmp_path / "plain", **SETTINGS)
    made = make(colourful, tmp_path / "out", regions=2, **SETTINGS)
    found, before = contents(made.root), contents(plain.root)
    assert {path for path in before if found.get(path) != before[path]} == {"manifest.json"}
    assert {Path(path).parts[0] for path in found if path not in before} == {"Regions"}
    items = read_split(made.root, "train", ["Regions"]).items
    known = [records(made.root)[f"Regions/composite_images/{item.composite_name}"] for item in items]
    assert_lent_by_others(known, {entry["photo"]: entry for entry in made.entries})
    assert {record["transfer"] for _, record in known} <= set(SUBSETS.values())
    assert {len(set(record["reference"])) for _, record in known} == {2}
    for item in items:
        regions = np.asarray(Image.open(item.given))
        assert np.array_equal(regions > 0, np.asarray(Image.open(item.mask)) > 0)
        real = np.asarray(Image.open(item.real)).mean(axis=2)
        assert real[regions == 1].max() < real[regions == 2].min()  # the dark and the light half
    assert "Regions" in describe(made)
    assert contents(make(colourful, tmp_path / "2", regions=2, **SETTINGS, workers=2).root) == found
    with pytest.raises(UserError, match="was made with regions 2, not None"):
        make(colourful, made.root, **SETTINGS)


def test_a_foreground_of_one_colour_is_tried_once(colourful, tmp_path):
    save(colourful / "images/f.jpg", np.full((60, 72, 3), 120, np.uint8))
    made = make(colourful, tmp_path / "out", regions=3)
    (entry,) = (entry for entry in made.entries if entry["photo"] == "f")
    assert entry["rejected"]["Regions"] == {"of one colour": 1}
    assert "of one colour 1" in describe(made)


# annotated photos


def outlines(number):
    """Two objects of a photo, both polygons: the second is larger."""
    first, second = [[4, 8], [30, 6], [34.5, 50], [6, 40]], [[38, 6], [70, 8], [68, 58], [40, 52]]
    return ("car", first), ("tree" if number % 2 else "car", second)


def make_coco(path, **more):
    """Annotations of all photos in COCO's form."""
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "tree"}]
    images = [{"id": i, "file_name": file_name(name), "width": 72, "height": 60} for i, name in enumerate(NAMES)]
    annotations = [
        {"image_id": number, "category_id": 1 + (category == "tree"), "segmentation": [np.ravel(points).tolist()]}
        for number in range(len(NAMES))
        for category, points in outlines(number)
    ]
    tree = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps({key: [*value, *more.get(key, [])] for key, value in tree.items()}))
    return path


def make_labelme(folder):
    """The same in LabelMe's forms, XML and JSON by turns."""
    folder.mkdir()
    for number, name in enumerate(NAMES):
        if number % 2:
            shapes = [{"label": label, "points": points} for label, points in outlines(number)]
            tree = {"imagePath": file_name(name), "imageWidth": 72, "imageHeight": 60, "shapes": shapes}
            (folder / f"{name}.json").write_text(json.dumps(tree))
        else:
            objects = ""
            for label, points in outlines(number):
                corners = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
                objects += f"<object><name>{label}</name><polygon>{corners}</polygon></object>"
            head = f"<filename>{file_name(name)}</filename><folder>some</folder>"
            (folder / f"{name}.xml").write_text(f"<annotation>{head}{objects}</annotation>")
    return folder


def images_and_lists(root):
    return {path: content for path, content in contents(root).items() if not path.endswith(".json")}


def test_annotated_photos(photos, tmp_path):
    made = make(photos / "images", tmp_path / "out", annotations=make_coco(tmp_path / "instances.json"), **SETTINGS)
    assert not any(made.skipped.values())
    objects = [(entry["photo"], entry["object"]) for entry in made.entries]
    assert objects == [(name, number) for name in sorted(NAMES) for number in (1, 2)]
    assert "of 16 objects of 8 photos (0 done before, 0 skipped)" in describe(made)
    splits = {name: {entry["split"] for entry in made.entries if entry["photo"] == name} for name in NAMES}
    assert sorted(map(len, splits.values())) == [1] * len(NAMES)
    assert sum(split == {"test"} for split in splits.values()) == 2
    assert_lent_by_others(
        records(made.root).values(), {f"{entry['photo']}_{entry['object']}": entry for entry in made.entries}
    )
    for item in read_split(made.root, "train").items:
        name, number, _ = item.composite_name.rsplit("_", 2)
        points = outlines(NAMES.index(name))[int(number) - 1][1]
        expected = draw(Outlined("", "", (Outline("polygon", json.dumps(points)),), None, crowd=False), (72, 60))
        assert np.array_equal(np.asarray(open_mask(item.mask)), expected * 255)
        assert item.real_name == f"{name}.jpg"


def test_each_form_of_annotation_gives_the_same_in_any_number_of_processes(photos, tmp_path):
    coco, labelme = make_coco(tmp_path / "instances.json"), make_labelme(tmp_path / "labelme")
    first = make(photos / "images", tmp_path / "1", annotations=coco)
    second = make(photos / "images", tmp_path / "2", annotations=labelme, workers=2)
    assert len(images_and_lists(first.root)) > 40
    assert images_and_lists(first.root) == images_and_lists(second.root)
    assert make(photos / "images", tmp_path / "2", annotations=labelme).found == 16
    with pytest.raises(UserError, match=r"photos 16 of digest .*, not 8 of digest"):
        make(photos / "images", tmp_path / "2", annotations=labelme, objects=1)


def test_annotations_that_are_not_usable_are_named(photos, tmp_path):
    square = [20, 20, 40, 20, 40, 40, 20, 40]
    images = [
        {"id": 20, "file_name": "away.jpg"},
        {"id": 21, "file_name": "bare.jpg"},
        {"id": 22, "file_name": "other.jpg", "width": 60, "height": 72},
        {"id": 23, "file_name": "torn.jpg"},
    ]
    annotations = [
        {"id": number, "image_id": image, "category_id": 1, "segmentation": segmentation, "iscrowd": number == 1}
        for number, image, segmentation in (
            (1, 0, [square]),
            (2, 0, [[20, 20, 40, 20]]),
            (3, 0, {"size": [60, 72], "counts": [5, 5]}),
            (4, 0, [[0, 0, 1, 0, 1, 1, 0, 1]]),
            (5, 0, [[100, 100, 110, 100, 110, 110]]),
            (6, 0, []),
            (7, 22, [square]),
            (8, 23, [square]),
        )
    ]
    for name in ("bare", "other", "torn"):
        save(photos / "images" / f"{name}.jpg", smooth_image(seed=4, width=72, height=60))
    (photos / "images/torn.jpg").write_bytes((photos / "images/torn.jpg").read_bytes()[:300])
    path = make_coco(tmp_path / "i.json", images=images, annotations=annotations)
    skipped = make(photos / "images", tmp_path / "out", annotations=path).skipped
    assert skipped.pop("unreadable")[0].startswith("torn.jpg: cannot be read as an image")
    faulty = skipped.pop("faulty annotation")
    assert [text.split(" of ")[0] for text in faulty] == [f"i.json: annotation {number}" for number in (2, 3, 6, 7)]
    assert "2 points, but needs 3" in faulty[0]
    assert "counts add up to 10, not to 72 x 60" in faulty[1]
    assert "has no outline" in faulty[2]
    assert "of an image of 60 x 72 pixels, but the photo has 72 x 60" in faulty[3]
    assert skipped == {
        "photo not there": ["away.jpg of i.json"],
        "without object": ["bare.jpg"],
        "crowd": ["i.json: annotation 1 of a photo.jpg"],
        "foreground not 1% to 80% of the image": ["i.json: annotation 4 of a photo.jpg (0.0%)"],
        "empty mask": ["i.json: annotation 5 of a photo.jpg"],
    }


def test_the_largest_objects_keep_their_numbers(photos, tmp_path):
    path = make_coco(tmp_path / "instances.json")
    made = make(photos / "images", tmp_path / "out", annotations=path, objects=1)
    assert {entry["object"] for entry in made.entries} == {2}
    assert len(made.entries) == len(made.skipped["not among the 1 largest of its photo"]) == len(NAMES)


def test_a_photo_that_only_its_annotation_holds(photos, tmp_path):
    folder = make_labelme(tmp_path / "labelme")
    tree = json.loads((folder / "c_1.json").read_text())
    content = base64.b64encode((photos / "images/c_1.jpg").read_bytes()).decode()
    (folder / "c_1.json").write_text(json.dumps({**tree, "imageData": content}))
    first = make(photos / "images", tmp_path / "1", annotations=folder)
    (photos / "images/c_1.jpg").unlink()
    second = make(photos / "images", tmp_path / "2", annotations=folder)
    assert images_and_lists(first.root) == images_and_lists(second.root)


def test_large_photos_are_reduced(photos, tmp_path):
    save(photos / "images/h.jpg", (64 + 0.5 * smooth_image(seed=1, width=300, height=200)).astype(np.uint8))
    save(photos / "masks/h.png", ellipse(300, 200, grow=2))
    root = make(photos, tmp_path / "out", size=72, per_photo=2).root
    sizes = {path.stem: open_rgb(path).size for path in root.glob("*/real_images/*")}
    assert sizes == {**dict.fromkeys(NAMES, (72, 60)), "h": (72, 48)}
    mask = open_mask(next(root.glob("*/masks/h_1.png")))
    assert mask.tobytes() == open_mask(photos / "masks/h.png").resize((72, 48), Image.Resampling.BILINEAR).tobytes()


# what is refused


def test_numbers_that_are_refused(photos, tmp_path):
    for options, message in (
        ({"seed": -1}, "seed: must be 0 or more, not -1"),
        ({"per_photo": 0}, "composites per photo: must be 1 or more, not 0"),
        ({"size": 63}, "size: must be 64 or more, not 63"),
        ({"objects": 0}, "objects of a photo: must be 1 or more"),
        ({"test_fraction": 1}, "test fraction: must be"),
        ({"regions": 1}, "regions: must be 2 to 8, or 0 for none, not 1"),
    ):
        with pytest.raises(UserError, match=message):
            make(photos, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_photos_that_are_refused(photos, tmp_path):
    def refused(message, folders, **options):
        with pytest.raises(UserError, match=message):
            make(folders, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()

    nowhere, twin, bare = (
        tmp_path / "nowhere",
        make_photos(tmp_path / "elsewhere/photos"),
        make_photos(tmp_path / "bare"),
    )
    save(twin / "images/f.jpg", smooth_image(seed=9, width=72, height=60))
    refused("nowhere: is not a folder; give the one that holds the annotated photos", nowhere, annotations=photos)
    refused("images: cannot be listed", nowhere)
    refused(r"f\.jpg: .*'photos-f'.*give the folders other names", [photos, twin])
    refused("the same folder of photos is given twice", [photos, photos / "."])
    refused("annotations go with only one folder", [photos, twin], annotations=photos)
    for name in ("a", "b"):
        make_coco(tmp_path / f"{name}.json")
    annotated = r"b\.json: annotates a photo\.jpg, as .*a\.json does; keep one of them"
    refused(annotated, photos / "images", annotations=tmp_path)
    for path in (bare / "masks").iterdir():
        path.rename(path.with_name(f"other {path.name}"))
    refused(r"bare: masks/ holds none of the photos in images/; name each mask as", [photos, bare])
    shutil.rmtree(bare / "masks")
    refused(r"bare/masks: cannot be listed .*masks of the same names in masks/", [photos, bare])
    (photos / "photos.csv").write_text("image,kind\na,b\n")
    refused(r"photos\.csv: needs the columns name and category", photos)


def test_places_that_are_refused(photos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("precious")
    with pytest.raises(UserError, match=r"mine: holds notes\.txt"):
        make(photos, tmp_path / "mine")
    with pytest.raises(UserError, match=r"notes\.txt: is a file"):
        make(photos, tmp_path / "mine/notes.txt")
    assert contents(tmp_path / "mine") == {"notes.txt": b"precious"}


def test_photos_whose_composites_all_fail_are_no_data_set(photos, tmp_path):
    for path in (photos / "images").iterdir():
        Image.new("RGB", (72, 60), (90, 90, 90)).save(path)
    with pytest.raises(UserError, match=r"no composite could be made of the photos .*unchanged"):
        make(photos, tmp_path / "out")
    assert not (tmp_path / "out/manifest.json").exists()


def test_the_script_says_what_it_made_or_what_is_wrong(photos, tmp_path):
    def run(*arguments):
        return run_script("make_composites.py", *arguments, "--workers", 1)

    out = tmp_path / "out"
    printed = run(photos, out).stdout
    assert "of 8 photos (0 done before, 0 skipped)" in printed
    assert "rejected" in printed
    assert "psnr" in printed
    other = rename_photos(make_photos(tmp_path / "more"), {name: f"{name}2" for name in NAMES})
    assert "of 9 photos" in run(photos, other, "--out", tmp_path / "both", "--at-most", "car=1").stdout
    for arguments, message in (
        ([photos], "folder of the data set last"),
        ([photos, out, "--at-most", "car"], "takes CATEGORY=N"),
        ([photos, out, "--seed", 7], "error: .*: was made with seed 0, not 7"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 2
        assert re.search(message, refused.stderr)
