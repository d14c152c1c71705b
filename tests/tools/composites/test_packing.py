"""Packed photos, of the photos that data sets are made of."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.data.images import open_mask, open_rgb
from frih.data.transforms import FILTER
from frih.tools.composites import packing
from frih.tools.composites.making import make_composites
from frih.tools.composites.packing import pack_photos
from tests.data.test_composites import NAMES, QUIET, contents, file_name, make_photos

SCRIPT = Path(__file__).parents[3] / "scripts" / "pack_photos.py"


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
        mask = open_mask(packed.root / "masks" / f"{row['name']}.png")
        grey = np.asarray(open_mask(photos / "masks" / f"{row['name']}.png").resize((64, 64), FILTER))
        assert np.array_equal(np.asarray(mask), 255 * (grey >= 128))
        with Image.open(packed.root / "masks" / f"{row['name']}.png") as stored:
            assert stored.mode == "1"
        assert row["category"] == ("car" if NAMES.index(row["name"]) < 4 else "tree")
    made = make_composites(packed.root, tmp_path / "set", **QUIET)
    assert len(made.entries) == len(NAMES)
    assert any(entry["composites"] for entry in made.entries)


def test_an_interrupted_run_goes_on(photos, tmp_path, monkeypatch):
    whole = contents(pack_photos([photos], tmp_path / "whole", **QUIET).root)
    pack, calls = packing._pack, []

    def interrupt(out, settings, item):
        calls.append(item.photo)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return pack(out, settings, item)

    monkeypatch.setattr(packing, "_pack", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pack_photos([photos], tmp_path / "out", **QUIET)
    assert not (tmp_path / "out/photos.csv").exists()
    pack_photos([photos], tmp_path / "out", **QUIET)
    assert calls[4:] == sorted(NAMES)[3:]
    assert contents(tmp_path / "out") == whole
    with pytest.raises(UserError, match="was made with size 256, not 64"):
        pack_photos([photos], tmp_path / "out", size=64, **QUIET)


def test_bad_input_is_refused(photos, tmp_path):
    for keys in ({"size": 63}, {"quality": 0}, {"quality": 101}):
        with pytest.raises(UserError, match="must be 64 or more, 1 to 100, 1 or more"):
            pack_photos([photos], tmp_path / "out", **{**QUIET, **keys})
    with pytest.raises(UserError, match="images: cannot be listed"):
        pack_photos([tmp_path / "nowhere"], tmp_path / "out", **QUIET)
    assert not (tmp_path / "out").exists()


def test_the_script_says_how_much_it_packed(photos, tmp_path):
    command = [sys.executable, str(SCRIPT), str(photos), str(tmp_path / "out"), "--at-most", "car=1", "--workers", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "out: 5 photos with masks, 0.0 MiB" in result.stdout
    assert "more than 1 of car 3" in result.stdout
