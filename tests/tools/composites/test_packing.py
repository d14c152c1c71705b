"""Packed photos."""

import csv

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.data.images import open_mask, open_rgb
from frih.data.transforms import FILTER
from frih.tools.composites.making import make_composites
from frih.tools.composites.packing import pack_photos
from tests.tools.composites.test_composites import NAMES, QUIET, file_name, make_photos
from tests.tools.folders import contents, interrupted_at, run_script


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos")


def test_packed_photos_are_what_the_network_sees(photos, tmp_path):
    packed = pack_photos([photos], tmp_path / "out", size=64, quality=95, **QUIET)
    with (packed.root / "photos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == sorted(NAMES)
    assert {row["source"] for row in rows} == {"photos"}
    for row in rows:
        real = open_rgb(packed.root / "images" / f"{row['name']}.webp")
        expected = open_rgb(photos / "images" / file_name(row["name"])).resize((64, 64), FILTER)
        assert np.abs(np.asarray(real).astype(int) - np.asarray(expected)).mean() < 2
        grey = np.asarray(open_mask(photos / "masks" / f"{row['name']}.png").resize((64, 64), FILTER))
        with Image.open(packed.root / "masks" / f"{row['name']}.png") as stored:
            assert stored.mode == "1"
            assert np.array_equal(stored, grey >= 128)
        assert row["category"] == ("car" if NAMES.index(row["name"]) < 4 else "tree")
    made = make_composites(packed.root, tmp_path / "set", **QUIET)
    assert len(made.entries) == len(NAMES)
    assert any(entry["composites"] for entry in made.entries)


def test_an_interrupted_run_goes_on(photos, tmp_path):
    whole, out = contents(pack_photos([photos], tmp_path / "whole", **QUIET).root), tmp_path / "out"
    with interrupted_at("c_1.webp"), pytest.raises(KeyboardInterrupt):
        pack_photos([photos], out, **QUIET)
    assert not (out / "photos.csv").exists()
    before = (out / "images/c.webp").stat()
    pack_photos([photos], out, **QUIET)
    assert (out / "images/c.webp").stat() == before  # it was done, and stays
    assert contents(out) == whole
    with pytest.raises(UserError, match="was made with size 256, not 64"):
        pack_photos([photos], out, size=64, **QUIET)


def test_bad_input_is_refused(photos, tmp_path):
    for keys in ({"size": 63}, {"quality": 0}, {"quality": 101}):
        with pytest.raises(UserError, match="must be 64 or more, 1 to 100, 1 or more"):
            pack_photos([photos], tmp_path / "out", **{**QUIET, **keys})
    with pytest.raises(UserError, match="images: cannot be listed"):
        pack_photos([tmp_path / "nowhere"], tmp_path / "out", **QUIET)
    assert not (tmp_path / "out").exists()


def test_the_script_says_how_much_it_packed(photos, tmp_path):
    printed = run_script("pack_photos.py", photos, tmp_path / "out", "--at-most", "car=1", "--workers", 1).stdout
    assert "out: 5 photos with masks, 0.0 MiB" in printed
    assert "more than 1 of car 3" in printed
