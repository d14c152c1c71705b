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
    assert "names no composite of the test split" in refusal(dataset, "test", ["A"])


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
    path.with_suffix(".jpg").write_bytes(path.read_bytes())
    assert "either could be meant" in refusal(dataset, "train")


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
