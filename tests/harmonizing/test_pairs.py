import os

import pytest

from frih.common.errors import UserError
from frih.harmonizing.pairs import find_pairs


@pytest.fixture
def made(tmp_path):
    """Makes images and masks of these names, and finds the pairs: by name, and the failures."""

    def make(images, masks):
        for folder, names in (("images", images), ("masks", masks)):
            (tmp_path / folder).mkdir()
            for name in names:
                (tmp_path / folder / name).touch()
        pairs, failures = find_pairs(str(tmp_path / "images"), str(tmp_path / "masks"))
        return {image.name: mask.name for image, mask in pairs.items()}, failures

    return make


def test_a_mask_has_the_name_of_its_image(made):
    pairs, failures = made(["a.jpg", "b.avif", "c.png", "._a.jpg", "notes.txt"], ["a.png", "b.gif", "d.png", "._a.png"])
    assert pairs == {"a.jpg": "a.png", "b.avif": "b.gif"}
    assert [failure.split("masks: ")[1] for failure in failures] == [
        "has no mask for c.png; a mask has the name of its image"
    ]


def test_names_with_accents_agree_in_both_forms_of_unicode(made):
    assert made(["e\u0301.jpg", "\u00e0.jpg"], ["\u00e9.png", "a\u0300.png"]) == (
        {"e\u0301.jpg": "\u00e9.png", "\u00e0.jpg": "a\u0300.png"},
        [],
    )


def test_masks_of_a_data_set(made):
    """X_M is the mask of X_M_K: after a mask of the very name, and unless it is the mask of an image X_M."""
    images = ["c1_9_1.jpg", "c1_9_2.jpg", "d_5_1.jpg", "e_2.jpg", "e_2_1.jpg", "f_1.jpg"]
    pairs, failures = made(images, ["c1_9.png", "d_5.png", "d_5_1.png", "e_2.png", "f.png"])
    assert pairs == {"c1_9_1.jpg": "c1_9.png", "c1_9_2.jpg": "c1_9.png", "d_5_1.jpg": "d_5_1.png", "e_2.jpg": "e_2.png"}
    assert ["e_2_1.jpg" in failures[0], "f_1.jpg" in failures[1], len(failures)] == [True, True, 2]


def test_marked_masks(made):
    """X-mask and X_mask are masks of X, after a mask of the very name."""
    images = ["a.jpg", "b.jpg", "c.jpg", "d-mask.jpg", "e.jpg", "f_1.jpg"]
    masks = [
        "a-mask.png",
        "b_mask.png",
        "c.png",
        "c-mask.png",
        "d-mask.png",
        "e-mask.png",
        "e_mask.png",
        "f_1_mask.png",
    ]
    pairs, failures = made(images, masks)
    assert {image: mask for image, mask in pairs.items() if mask != "c.png"} == {
        "a.jpg": "a-mask.png",
        "b.jpg": "b_mask.png",
        "d-mask.jpg": "d-mask.png",
        "f_1.jpg": "f_1_mask.png",
    }
    assert pairs["c.jpg"] == "c.png"
    assert [failure.split("masks/")[1] for failure in failures] == [
        "e-mask.png and e_mask.png: either could be the mask of e.jpg; keep one"
    ]


def test_images_and_marked_masks_in_one_folder(tmp_path):
    for name in ("a.jpg", "a-mask.png", "b_1.png", "b_1_mask.png", "c-mask.png"):
        (tmp_path / name).touch()
    pairs, failures = find_pairs(str(tmp_path), str(tmp_path))
    assert {image.name: mask.name for image, mask in pairs.items()} == {
        "a.jpg": "a-mask.png",
        "b_1.png": "b_1_mask.png",
    }
    assert failures == [f"{tmp_path}/c-mask.png: is the image itself; give its mask"]
    pairs, failures = find_pairs(str(tmp_path), f"{tmp_path}/[ab]*mask.png")
    assert [image.name for image in pairs] == ["a.jpg", "b_1.png"]
    assert len(failures) == 1
    for name in ("a-mask.png", "b_1_mask.png"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match="which are images and which are masks"):
        find_pairs(str(tmp_path), str(tmp_path))


@pytest.mark.parametrize("name", ["a.jpg", "a_1_1.jpg"])
def test_two_masks_that_fit_are_both_named(made, name):
    stem = "a" if name == "a.jpg" else "a_1"
    pairs, failures = made([name], [f"{stem}.png", f"{stem}.gif"])
    assert not pairs
    assert failures[0].endswith(f"/{stem}.gif and {stem}.png: either could be the mask of {name}; keep one")


def test_an_image_is_no_mask_of_itself(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "soft.png").symlink_to(tmp_path / "a.png")
    os.link(tmp_path / "a.png", tmp_path / "hard.png")
    for mask in ("a.png", "soft.png", "hard.png"):
        with pytest.raises(UserError, match=f"{mask}: is the image itself; give its mask"):
            find_pairs(str(tmp_path / "a.png"), str(tmp_path / mask))


def test_nor_is_it_in_a_folder(made, tmp_path):
    assert made(["a.png", "b.png"], ["b.png"])[0] == {"b.png": "b.png"}
    (tmp_path / "masks/a.png").symlink_to(tmp_path / "images/a.png")
    pairs, failures = find_pairs(str(tmp_path / "images"), str(tmp_path / "masks"))
    assert [image.name for image in pairs] == ["b.png"]
    assert failures == [f"{tmp_path}/masks/a.png: is the image itself; give its mask"]


def test_images_and_masks_in_one_folder_are_told_apart_by_patterns(made, tmp_path):
    made(["a.jpg", "a.png", "b.jpg", "b.png"], [])
    folder, link = tmp_path / "images", tmp_path / "link"
    link.symlink_to(folder)
    for images, masks in ((folder, folder), (folder, link), (folder / "*", folder / "*.*")):
        with pytest.raises(UserError, match=r'which are images .* two patterns in quotes, as ".*/\*.jpg" ".*/\*.png"'):
            find_pairs(str(images), str(masks))
    pairs, failures = find_pairs(f"{folder}/*.jpg", f"{folder}/*.png")
    assert [(image.name, mask.name) for image, mask in pairs.items()] == [("a.jpg", "a.png"), ("b.jpg", "b.png")]
    assert not failures
