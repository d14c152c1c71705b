import os
import sys

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.harmonizing.outputs import beside, check_outputs, save
from frih.harmonizing.own_images import read_image
from tests.conftest import smooth_image


def test_outputs_of_two_images_must_differ(tmp_path):
    first, second = tmp_path / "a.png", tmp_path / "a-compare.png"
    out = {image: tmp_path / "out" / image.name for image in (first, second)}
    check_outputs({image: [path] for image, path in out.items()}, [first, second], False)
    outputs = {image: [path, beside(path, "compare")] for image, path in out.items()}
    with pytest.raises(UserError, match=f"{first} and {second}: would both become {tmp_path}/out/a-compare.png"):
        check_outputs(outputs, [first, second], False)


@pytest.mark.parametrize(("platform", "alike"), [("linux", False), ("darwin", True), ("win32", True)])
def test_where_case_does_not_tell_files_apart(tmp_path, monkeypatch, platform, alike):
    monkeypatch.setattr(sys, "platform", platform)
    for one, other in (("a.png", "A.png"), ("é.png", "e\u0301.png")):
        outputs = {tmp_path / "x" / one: [tmp_path / one], tmp_path / "y" / other: [tmp_path / other]}
        if alike:
            with pytest.raises(UserError, match="would both become"):
                check_outputs(outputs, [], False)
        else:
            check_outputs(outputs, [], False)


@pytest.mark.parametrize("link", ["itself", "soft", "hard", "folder"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_no_input_is_replaced_but_an_image_by_its_own_result(tmp_path, link, overwrite):
    for name in ("p/a.png", "p/b.png", "m/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    image, other, mask = tmp_path / "p/a.png", tmp_path / "p/b.png", tmp_path / "m/a.png"

    def named(path):
        if link == "itself":
            return path
        if link == "folder":
            (tmp_path / "link").unlink(missing_ok=True)
            (tmp_path / "link").symlink_to(path.parent)
            return tmp_path / "link" / path.name
        (tmp_path / "link.png").unlink(missing_ok=True)
        (os.symlink if link == "soft" else os.link)(path, tmp_path / "link.png")
        return tmp_path / "link.png"

    def check(outputs):
        check_outputs({image: outputs}, [image, other, mask], overwrite)

    for outputs in ([mask], [other], [tmp_path / "new.png", mask], [tmp_path / "new.png", image]):
        given = [*outputs[:-1], named(outputs[-1])]
        with pytest.raises(UserError, match=f"{given[-1]}: is an image or a mask that is to be read"):
            check(given)
    if overwrite:
        check([named(image)])
    else:
        with pytest.raises(UserError, match="is the image itself; give another place with -o, or --overwrite"):
            check([named(image)])


@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif"])
def test_a_cameras_metadata_is_in_every_tiff(tmp_path, source):
    """Metadata in folders of their own, and numbers that held for the pixels of the camera's file only."""
    exif = Image.Exif()
    exif.update(
        {0x010F: "maker", 0x0112: 6, 256: 4032, 257: 3024, 262: 6, 278: 1, 284: 2, 317: 2, 0x0213: 1, 0x9C9B: b"T\0"}
    )
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    kept = dict(exif) if source != ".tif" else {0x010F: "maker", 0x0112: 6}
    image = Image.fromarray(smooth_image(seed=0, width=60, height=50))
    written = Image.Exif()
    written.load(exif.tobytes())
    for tag in set(dict(exif)) - set(kept):
        del written[tag]
    image.save(tmp_path / f"a{source}", exif=written.tobytes())
    own = read_image(tmp_path / f"a{source}")
    save(own.give_back(own.pixels), tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as result:
        assert np.array_equal(np.asarray(result), own.pixels)
        assert result.size == (50, 60)
        assert result.getexif()[0x010F] == "maker"
        assert result.getexif().get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"
        assert result.getexif().get_ifd(0x8825)[2] == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate"])
def test_a_tiff_without_metadata_is_compressed_without_loss(tmp_path, compression):
    Image.fromarray(smooth_image(seed=0, width=60, height=50)).save(tmp_path / "a.tif", compression=compression)
    own = read_image(tmp_path / "a.tif")
    save(own.give_back(own.pixels), tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as result:
        assert result.info["compression"] == "tiff_lzw"
        assert np.array_equal(np.asarray(result), own.pixels)


def test_damaged_metadata_is_told(tmp_path):
    image = Image.fromarray(smooth_image(seed=0, width=60, height=50))
    image.save(tmp_path / "a.png")
    own = read_image(tmp_path / "a.png")
    own.form.exif[0x010F] = object()
    with pytest.raises(UserError, match=r"a\.png: its EXIF metadata is damaged"):
        own.give_back(own.pixels)
    image.info["dpi"] = (1e30, 1e30)
    with pytest.raises(UserError, match=r"out\.png: cannot be written as PNG"):
        save(image, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()
