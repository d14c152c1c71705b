import unicodedata
from pathlib import Path

import pytest

from frih.common.errors import UserError
from frih.data.iharmony4 import Item, read_split, split_validation


def test_names_follow_from_the_composites(dataset):
    listing = read_split(dataset, "train")
    assert [item.composite_name for item in listing.items[:2]] == ["a-0_x_1_1.jpg", "a-0_x_1_2.jpg"]
    item = listing.items[0]
    assert item.composite == dataset / "A/composite_images/a-0_x_1_1.jpg"
    assert item.mask == dataset / "A/masks/a-0_x_1.png"
    assert item.real == dataset / "A/real_images/a-0_x.jpg"
    assert listing.lists == [dataset / "A/A_train.txt", dataset / "B/B_train.txt"]
    assert len(listing.items) == 7 + 3
    assert "10 composites" in listing.describe()
    assert "A_train.txt" in listing.describe()


def test_the_common_list_will_do_where_a_subset_has_none(dataset):
    expected = read_split(dataset, "train")
    lines = [f"{item.subset}/composite_images/{item.composite_name}" for item in expected.items]
    (dataset / "A/A_train.txt").unlink()
    (dataset / "B/B_train.txt").unlink()
    (dataset / "IHD_train.txt").write_text("\r\n".join(lines).replace("/", "\\"))  # as written on Windows
    listing = read_split(dataset, "train")
    assert listing.items == expected.items
    assert listing.lists == [dataset / "IHD_train.txt"]


def test_subsets_are_found_or_chosen(dataset):
    assert {item.subset for item in read_split(dataset, "test").items} == {"A", "B"}
    assert {item.subset for item in read_split(dataset, "test", ["B"]).items} == {"B"}


def test_iharmony4s_subsets_come_in_the_papers_order(dataset):
    (dataset / "A").rename(dataset / "HAdobe5k")
    (dataset / "HAdobe5k/A_test.txt").rename(dataset / "HAdobe5k/HAdobe5k_test.txt")
    (dataset / "B").rename(dataset / "HCOCO")
    (dataset / "HCOCO/B_test.txt").rename(dataset / "HCOCO/HCOCO_test.txt")
    assert [item.subset for item in read_split(dataset, "test").items] == ["HCOCO", "HAdobe5k"]


def refusal(*args) -> str:
    with pytest.raises(UserError) as caught:
        read_split(*args)
    return str(caught.value)


def test_roots_that_are_none(dataset, tmp_path):
    assert refusal(None, "train").startswith("data.root: not set")
    assert "is not a folder" in refusal(tmp_path / "nowhere", "train")
    (tmp_path / "empty").mkdir()
    assert "holds no subset" in refusal(tmp_path / "empty", "train")
    assert "data.subsets=[A]" in refusal(dataset / "A", "train")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "file is not a folder" in refusal(tmp_path / "file", "train")
    assert "link is a link to nothing" in refusal(tmp_path / "link", "train")


@pytest.mark.parametrize("link", ["C", "A/composite_images"])
def test_a_subset_that_is_a_link_to_nothing_is_not_left_out(dataset, link):
    if (dataset / link).exists():
        (dataset / link).rename(dataset / "elsewhere")
    (dataset / link).symlink_to(dataset / "nowhere")
    assert f"{dataset / link} is a link to nothing; restore" in refusal(dataset, "train")
    assert len(read_split(dataset, "train", ["B"]).items) == 3


def test_an_editors_lock_is_no_subset(dataset):
    (dataset / ".#README").symlink_to("me@host.17")
    assert read_split(dataset, "train").items


def test_links_to_nothing_among_folders_and_lists(dataset):
    (dataset / "readme.txt").symlink_to("nowhere")
    read_split(dataset, "train")
    (dataset / "A/A_train.txt").rename(dataset / "list.txt")
    (dataset / "A/A_train.txt").symlink_to("nowhere")
    assert "one a line; A_train.txt is a link to nothing" in refusal(dataset, "train")
    (dataset / "A/masks").rename(dataset / "A/elsewhere")
    (dataset / "A/masks").symlink_to("nowhere")
    assert "A/masks: is a link to nothing" in refusal(dataset, "test")


def test_folders_that_cannot_be_read(dataset, monkeypatch):
    original = Path.iterdir

    def refuse(path):
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    closed = dataset
    assert (
        refusal(dataset, "train")
        == f"data.root: {dataset} cannot be read (Permission denied); give the right to read it"
    )
    closed = dataset / "B/masks"
    assert refusal(dataset, "train").startswith(f"{closed}: cannot be read (Permission denied)")


def test_a_subset_without_composites_is_told(dataset):
    (dataset / "B/composite_images").rename(dataset / "B/composites")
    assert read_split(dataset, "train").unused == ("B has no composite_images/ and is not used",)


def test_an_unknown_subset(dataset):
    (dataset / "A").rename(dataset / "HCOCO")
    assert "no subset 'HCOC'; did you mean 'HCOCO'?" in refusal(dataset, "train", ["HCOC"])


def test_missing_lists(dataset):
    (dataset / "B/B_test.txt").unlink()
    message = refusal(dataset, "test")
    assert "B_test.txt" in message
    assert "IHD_test.txt" in message


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("composite_images/a-1_x_1_2.jpg", "composite_images/a-1_x_1_2.jpg is missing"),
        ("masks/a-1_x_1.png", "masks/a-1_x_1.png of a-1_x_1_1.jpg is missing"),
        ("real_images/a-1_x.jpg", "real_images/a-1_x.jpg of a-1_x_1_1.jpg is missing"),
    ],
)
def test_a_list_that_names_missing_files(dataset, missing, expected):
    (dataset / "A" / missing).unlink()
    message = refusal(dataset, "train")
    assert message.startswith(str(dataset / "A/A_train.txt"))
    assert expected in message


def test_faulty_lines(dataset):
    (dataset / "A/A_train.txt").write_text("a-0_x_1_1.jpg\na-0_x_1_1.jpg\nphoto.jpg\n\n")
    message = refusal(dataset, "train")
    assert "a-0_x_1_1.jpg is named twice" in message
    assert "photo.jpg is not named X_M_K.jpg" in message


def test_many_faults_are_counted(dataset):
    for path in (dataset / "A/composite_images").iterdir():
        path.unlink()
    assert "(and 4 more)" in refusal(dataset, "train")


def test_a_list_without_a_line(dataset):
    (dataset / "A/A_test.txt").write_text("\n")
    message = "A/A_test.txt: names no composite of A: it is empty; it must name those of the test split, one a line"
    assert refusal(dataset, "test", ["A"]).endswith(message)


def test_a_common_list_that_names_nothing_of_a_subset_that_is_asked_for(dataset):
    (dataset / "A/A_test.txt").unlink()
    (dataset / "IHD_test.txt").write_text("coco/composite_images/c1_1_1.jpg\n")
    expected = (
        "no line has A/composite_images/ in front of a file's name; the first is 'coco/composite_images/c1_1_1.jpg'"
    )
    assert expected in refusal(dataset, "test", ["A"])
    assert expected in refusal(dataset, "test", ["A", "B"])  # and not a run without A
    remarks = read_split(dataset, "test").unused
    assert remarks == ("IHD_test.txt names none of A", "1 lines for coco, which is not there, are not used")
    (dataset / "B/B_test.txt").unlink()
    assert expected in refusal(dataset, "test")


@pytest.mark.parametrize(
    "front", ["/home/someone/iHarmony4/", "D:\\iHarmony4\\", "iHarmony4/", "./", "../B/", "data/A/x/"]
)
@pytest.mark.parametrize("middle", ["A/composite_images/", "A/"])
def test_what_stands_before_the_subset_in_a_common_list_does_not_matter(dataset, front, middle):
    expected = read_split(dataset, "train", ["A"]).items
    lines = (dataset / "A/A_train.txt").read_text().split()
    (dataset / "A/A_train.txt").unlink()
    windows = "\\" in front
    text = "".join(f"{front}{middle.replace('/', chr(92)) if windows else middle}{line}\r\n" for line in lines)
    (dataset / "IHD_train.txt").write_bytes(b"\xef\xbb\xbf# made by hand\r\n" + text.encode())
    assert read_split(dataset, "train", ["A"]).items == expected


def test_a_line_of_another_subset_under_a_folder_named_as_this_one(dataset):
    (dataset / "A/A_test.txt").unlink()
    (dataset / "IHD_test.txt").write_text(
        "/data/A/B/composite_images/b-0_x_1_1.jpg\nA/composite_images/a-3_x_1_2.jpg\n"
    )
    assert [item.composite_name for item in read_split(dataset, "test", ["A"]).items] == ["a-3_x_1_2.jpg"]


def test_a_number_sign_in_front_of_an_images_name_is_no_comment(dataset):
    with (dataset / "A/A_test.txt").open("a") as file:
        file.write("# a comment\n#1_1_1.jpg\n")
    assert "composite_images/#1_1_1.jpg is missing" in refusal(dataset, "test")


@pytest.mark.parametrize(
    ("folder", "old", "new"),
    [
        ("composite_images", "a-1_x_1_2.jpg", "a-1_x_1_2.JPG"),
        ("composite_images", "a-1_x_1_2.jpg", "a-1_x_1_2.png"),
        ("composite_images", "a-1_x_1_2.jpg", "A-1_x_1_2.jpg"),
        ("masks", "a-1_x_1.png", "a-1_X_1.png"),
        ("masks", "a-1_x_1.png", "a-1_x_1_1.png"),
        ("real_images", "a-1_x.jpg", "a-1_x_1_1.jpg"),
    ],
)
def test_a_file_that_is_there_under_another_name_is_named(dataset, folder, old, new):
    (dataset / "A" / folder / old).rename(dataset / "A" / folder / new)
    assert f"missing (the folder holds {new})" in refusal(dataset, "train")


def test_masks_and_real_images_may_have_any_suffix(dataset):
    (dataset / "A/masks/a-1_x_1.png").rename(dataset / "A/masks/a-1_x_1.PNG")
    (dataset / "A/real_images/a-1_x.jpg").rename(dataset / "A/real_images/a-1_x.jfif")
    assert "a-1_x.jfif" in {item.real_name for item in read_split(dataset, "train").items}


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_with_accents_are_found_in_either_form(dataset, listed, stored):
    for path in sorted((dataset / "A").rglob("a-1_x*")):
        path.rename(path.with_name(unicodedata.normalize(stored, path.name.replace("a-1", "café"))))
    text = (dataset / "A/A_train.txt").read_text().replace("a-1", "café")
    (dataset / "A/A_train.txt").write_text(unicodedata.normalize(listed, text))
    items = [item for item in read_split(dataset, "train").items if item.composite_name.startswith("caf")]
    assert len(items) == 2
    assert all(path.is_file() for item in items for path in (item.composite, item.mask, item.real))
    with (dataset / "A/A_train.txt").open("a") as file:
        file.write(unicodedata.normalize(stored, "café_x_1_1.jpg\n"))
    assert "is named twice" in refusal(dataset, "train")


def test_files_of_macos_and_windows_are_no_images(dataset):
    for folder in ("composite_images", "masks", "real_images"):
        for path in list((dataset / "A" / folder).iterdir()):
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (dataset / "A" / folder / name).write_bytes(b"\0")
    (dataset / ".DS_Store").write_bytes(b"\0")
    assert len(read_split(dataset, "train").items) == 10


@pytest.mark.parametrize("seed", range(5))
def test_validation_holds_out_whole_photos_of_every_subset(dataset, seed):
    items = read_split(dataset, "train").items
    training, validation = split_validation(items, 0.25, seed)
    assert sorted(training + validation) == sorted(items)
    photos = [{(item.subset, item.real_name) for item in part} for part in (training, validation)]
    assert not photos[0] & photos[1]
    assert sorted(subset for subset, _ in photos[1]) == ["A", "B"]  # a quarter of 4 photos, one at least of 2
    assert split_validation(items, 0.25, seed) == (training, validation)


@pytest.mark.parametrize("seed", range(5))
def test_a_photo_that_subsets_share_is_on_one_side(seed):
    """Composites made by several transfers: most photos in every subset, some in a few."""
    items = [
        Item("root", subset, f"p{i}_1_1.jpg", f"p{i}_1.png", f"p{i}.jpg")
        for subset, step in (("Fecker", 7), ("Pitie", 5), ("Xiao", 3))
        for i in range(120)
        if i % step
    ]
    training, validation = split_validation(items, 0.1, seed)
    assert sorted(training + validation) == sorted(items)
    assert not {item.real_name for item in training} & {item.real_name for item in validation}
    for subset in ("Fecker", "Pitie", "Xiao"):
        share = sum(item.subset == subset for item in validation) / sum(item.subset == subset for item in items)
        assert 0.09 <= share <= 0.16  # and not three times as much for three subsets


def test_the_seed_chooses_what_is_held_out():
    items = [Item("root", "A", f"p{i}_1_1.jpg", f"p{i}_1.png", f"p{i}.jpg") for i in range(50)]
    held_out = [{item.real_name for item in split_validation(items, 0.2, seed)[1]} for seed in range(2)]
    assert [len(one) for one in held_out] == [10, 10]
    assert held_out[0] != held_out[1]


def test_nothing_is_held_out_at_fraction_0(dataset):
    items = read_split(dataset, "train").items
    assert split_validation(items, 0, 0) == (items, [])


def test_two_files_that_could_be_meant(dataset):
    path = dataset / "A/masks/a-0_x_1.png"
    path.with_suffix(".txt").write_text("notes are no images")
    read_split(dataset, "train")
    (dataset / "A/masks/nobodys.png").touch()
    (dataset / "A/masks/nobodys.jpg").touch()
    read_split(dataset, "train")
    path.with_suffix(".jpg").write_bytes(path.read_bytes())
    assert "either could be meant by a-0_x_1_1.jpg; keep one" in refusal(dataset, "train")


def test_a_subset_given_twice(dataset):
    assert "A is given twice" in refusal(dataset, "train", ["A", "A"])


def test_a_prepared_copy_says_so(dataset):
    (dataset / "prepared.json").write_text('{"summary": "prepared at size 512, JPEG 95, from /elsewhere"}')
    listing = read_split(dataset, "test")
    assert listing.describe().endswith(
        "listed by A_test.txt, B_test.txt; prepared at size 512, JPEG 95, from /elsewhere"
    )


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_prepared_copy_whose_description_is_damaged(dataset, content):
    (dataset / "prepared.json").write_text(content)
    with pytest.raises(UserError, match=r"prepared\.json: cannot be read .*; call scripts/prepare\.py again"):
        read_split(dataset, "test").describe()


def test_a_copy_that_is_not_finished(dataset):
    (dataset / "prepared_files.jsonl").write_text("{}\n")
    assert "this copy is not finished; call scripts/prepare.py again" in refusal(dataset, "train")


def test_lines_that_are_not_used_and_subsets_without_any_are_told(dataset):
    lines = (dataset / "A/A_test.txt").read_text().split()
    (dataset / "A/A_test.txt").unlink()
    strangers = ["HFlickr/composite_images/f1_1_1.jpg", "HFlickr/composite_images/f2_1_1.jpg"]
    common = [*(f"A/composite_images/{line}" for line in lines), *strangers]
    (dataset / "IHD_test.txt").write_text("\n".join(common))
    (dataset / "B/B_test.txt").write_text("")
    listing = read_split(dataset, "test")
    assert listing.describe().endswith(
        "listed by IHD_test.txt, B_test.txt; B_test.txt names none of B; 2 lines for HFlickr, which is not there, are not used"
    )
    assert read_split(dataset, "test", ["A"]).unused == ()
