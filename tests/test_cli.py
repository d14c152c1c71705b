"""``frih harmonize`` as a user runs it."""

import json
import os
import pickle
import platform
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frih import Harmonizer, __version__
from frih.cli import main
from frih.common.files import sha256_of
from frih.harmonizing.harmonizer import PRETRAINED
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from frih.tools.sharing.export import export
from frih.tools.sharing.hub import save_pretrained
from tests.conftest import ellipse, no_weight_is_zero, run_here, save, smooth_image


@pytest.fixture
def place(tmp_path, small_config, monkeypatch):
    """A folder with weights, three images and their masks; the weights are the default ones."""
    config = small_config()
    save_checkpoint(tmp_path / "model.pt", config, no_weight_is_zero(build_model(config)), {})
    monkeypatch.setenv("FRIH_WEIGHTS", str(tmp_path / "model.pt"))
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(("a.png", "b.jpg", "c.tif")):
        save(tmp_path / "images" / name, smooth_image(seed=number, width=60, height=50))
        save(tmp_path / "masks" / f"{name[0]}.png", ellipse(60, 50, grow=3))
    return tmp_path


@pytest.fixture
def frih(monkeypatch, capsys):
    """Runs the command in this process: its exit status, what it says, and the errors it tells."""

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["frih", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, [line[7:] for line in err.splitlines() if line.startswith("error: ")]

    return run


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_one_image(place, frih):
    image, mask = place / "images/a.png", place / "masks/a.png"
    status, said, errors = frih("harmonize", image, mask, "-o", place / "out.png")
    assert (status, errors) == (0, [])
    assert re.fullmatch(rf"1 of 1 harmonized, in {place / 'out.png'}: [12] submasks?, \d+\.\d s\n", said)
    expected = np.asarray(Harmonizer.load(place / "model.pt", "cpu")(image, mask))
    assert np.array_equal(pixels(place / "out.png"), expected)
    frih("harmonize", image, mask, "-o", place / "new/half", "--strength", 0.5, "-w", place / "model.pt")
    half = pixels(place / "new/half/a.png")
    assert np.abs(half - (pixels(image) / 2 + expected / 2)).max() <= 1


def test_notes_and_the_weights_own_strength(place, frih, capsys, monkeypatch):
    """One line for each image of a kind that is a limit; nothing of weights without a measurement."""
    findings = {
        "strength": 0.5,
        "limits": [
            {"kind": kind, "text": "For the card.", "images": 120, "worse_10": 0.41, "overall": 0.3}
            for kind in ("plain", "large", "person")
        ],
        "weights": sha256_of(place / "model.pt"),
    }
    (place / "limits.json").write_text(json.dumps(findings))
    export(place / "model.pt", place / "told.safetensors", "safetensors", limits=place / "limits.json")
    save(place / "images/a.png", np.full((50, 60, 3), 90, np.uint8))  # the others are colourful
    save(place / "masks/a.png", np.pad(np.full((44, 54), 255, np.uint8), 3))
    told = []
    for weights in ("model.pt", "told.safetensors"):
        run = "frih", "harmonize", place / "images", place / "masks", "-o", place / weights[:4], "-w", place / weights
        monkeypatch.setattr(sys, "argv", [*map(str, run)])
        with pytest.raises(SystemExit):
            main()
        told.append([line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")])
    assert told[0] == []
    measured = "these weights made 41 % of 120 such composites worse by more than a tenth (30 % of all)"
    assert told[1] == [
        f"note: {place}/images/a.png: the background is nearly of one colour; {measured}; "
        f"the foreground covers more than 60 % of the image; {measured}"
    ]
    half = pixels(place / "told/c.tif")
    assert np.abs(half - (pixels(place / "images/c.tif") / 2 + pixels(place / "mode/c.tif") / 2)).max() <= 1


def test_a_folder_its_formats_and_what_is_there_already(place, frih):
    status, said, _ = frih("harmonize", place / "images", place / "masks", "-o", place / "out")
    assert status == 0
    assert said.startswith("3 of 3 harmonized")
    assert sorted(path.name for path in (place / "out").iterdir()) == ["a.png", "b.jpg", "c.tif"]
    assert np.array_equal(pixels(place / "out/c.tif")[0], pixels(place / "images/c.tif")[0])
    (place / "out/a.png").write_bytes(b"precious")
    (place / "out/b.jpg").unlink()
    _, said, _ = frih("harmonize", place / "images", place / "masks", "-o", place / "out")
    assert "1 of 3 harmonized" in said
    assert "2 files kept, there already; --overwrite replaces them" in said
    assert (place / "out/a.png").read_bytes() == b"precious"
    _, said, _ = frih("harmonize", place / "images", place / "masks", "-o", place / "out", "--overwrite")
    assert said.startswith("3 of 3 harmonized")
    assert pixels(place / "out/a.png").shape == (50, 60, 3)


def test_patterns_and_suffixes(place, frih):
    status, said, _ = frih(
        "harmonize", place / "images/[ab].*", place / "masks/*.png", "-o", place / "out", "--suffix", ".webp"
    )
    assert status == 0
    assert said.startswith("2 of 2")
    assert sorted(path.name for path in (place / "out").iterdir()) == ["a.webp", "b.webp"]
    background = ellipse(60, 50, grow=3) == 0
    assert np.array_equal(pixels(place / "out/b.webp")[background], pixels(place / "images/b.jpg")[background])


def test_sheets(place, frih):
    frih("harmonize", place / "images/a.png", place / "masks/a.png", "-o", place / "o.png", "--submasks", "--compare")
    assert pixels(place / "o-submasks.png").shape == (50, 60, 3)
    assert pixels(place / "o-compare.png").shape == (82, 138, 3)


def test_metadata_and_profile_are_in_the_file(place, frih):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "maker", 6
    turned = np.rot90(smooth_image(seed=0, width=60, height=50))
    Image.fromarray(turned).save(place / "p.jpg", exif=exif, icc_profile=b"profile", dpi=(300, 300))
    for name in ("out.jpg", "out.png", "out.webp", "out.tif"):
        assert frih("harmonize", place / "p.jpg", place / "masks/a.png", "-o", place / name)[0] == 0
        with Image.open(place / name) as result:
            assert result.size == (60, 50)
            assert result.info["icc_profile"] == b"profile"
            assert result.getexif()[0x010F] == "maker"
            assert result.getexif().get(0x0112, 1) == 1


def test_a_folder_goes_on_and_ends_with_a_list(place, frih):
    images, masks = place / "images", place / "masks"
    wrong = {
        "black": (np.full((40, 50, 3), 9, np.uint8), np.zeros((40, 50), np.uint8), "black.png: has no foreground"),
        "grey": (np.full((40, 50), 9, np.uint8), np.full((40, 50), 255, np.uint8), "grey.png: is greyscale"),
        "size": (np.full((40, 50, 3), 9, np.uint8), np.full((9, 9), 255, np.uint8), "size.png: is 9 x 9 pixels but"),
        "half": (np.full((40, 50, 3), 9, np.uint8), np.full((40, 50), 255, np.uint8), "half.png: cannot be read"),
        "moving": (None, np.full((40, 50), 255, np.uint8), "moving.gif: holds 2 images"),
        "lone": (np.full((40, 50, 3), 9, np.uint8), None, "has no mask for lone.png"),
        "pipe": (None, np.full((40, 50), 255, np.uint8), "pipe.png: is no regular file"),
        "folder": (None, np.full((40, 50), 255, np.uint8), "folder.jpg: is a folder"),
        "phone": (None, np.full((40, 50), 255, np.uint8), "phone.jpg: is HEIC"),
        "colour": (smooth_image(seed=5, width=9, height=9), smooth_image(seed=5, width=9, height=9), "is coloured"),
        "labels": (np.full((9, 9, 3), 9, np.uint8), np.full((9, 9), 38, np.uint8), "whose largest value is 38"),
    }
    for name, (image, mask, _) in wrong.items():
        if image is not None:
            save(images / f"{name}.png", image)
        if mask is not None:
            save(masks / f"{name}.png", mask)
    frames = [Image.new("RGB", (50, 40), colour) for colour in ("red", "blue")]
    frames[0].save(images / "moving.gif", save_all=True, append_images=frames[1:])
    (images / "half.png").write_bytes((images / "half.png").read_bytes()[:60])
    (images / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 99)
    (images / "folder.jpg").mkdir()
    os.mkfifo(images / "pipe.png")
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "notes.txt"):
        (images / name).write_bytes(b"no image")
    status, said, errors = frih("harmonize", images, masks, "-o", place / "out")
    assert status == 2
    assert said.startswith("3 of 14 harmonized")
    assert sorted(path.name for path in (place / "out").iterdir()) == ["a.png", "b.jpg", "c.tif"]
    assert len(errors) == len(wrong)
    for *_, message in wrong.values():
        assert sum(message in error for error in errors) == 1


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (RuntimeError("out of memory"), "cannot be harmonized (RuntimeError: out of memory)"),
        (MemoryError(), "needs more memory than there is; make it smaller, or cut it into parts"),
    ],
)
def test_any_exception_of_one_image_is_its_failure(place, frih, monkeypatch, failure, told):
    calls = []

    def call(self, *arguments, original=Harmonizer.__call__, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise failure
        return original(self, *arguments, **options)

    monkeypatch.setattr(Harmonizer, "__call__", call)
    status, said, errors = frih("harmonize", place / "images", place / "masks", "-o", place / "out")
    assert (status, said[:17]) == (2, "2 of 3 harmonized")
    assert errors == [f"{place}/images/b.jpg: {told}"]


def test_ctrl_c_stops_at_once(place, frih, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Harmonizer, "__call__", stop)
    assert frih("harmonize", place / "images", place / "masks", "-o", place / "out")[:2] == (130, "")


def test_every_format_is_taken_and_those_that_are_not_written_become_png(place, frih):
    image = Image.fromarray(smooth_image(seed=0, width=60, height=50))
    for name, form in (("d.tga", "TGA"), ("e.jfif", "JPEG"), ("f.ppm", "PPM"), ("g.JP2", "JPEG2000")):
        image.save(place / "images" / name, form)
        save(place / "masks" / f"{name[0]}.png", ellipse(60, 50, grow=3))
    status, said, _ = frih("harmonize", place / "images", place / "masks", "-o", place / "out")
    assert (status, said[:17]) == (0, "7 of 7 harmonized")
    assert {path.name for path in (place / "out").iterdir()} >= {"d.png", "e.png", "f.png", "g.png"}
    image.save(place / "images/d.png")
    status, _, errors = frih("harmonize", place / "images", place / "masks", "-o", place / "new")
    assert (status, len(errors)) == (2, 1)
    assert f"would both become {place}/new/d.png" in errors[0]


def test_inverted_masks(place, frih):
    image, mask, inverted = place / "images/a.png", place / "masks/a.png", place / "inverted.png"
    save(inverted, 255 - pixels(mask))
    assert frih("harmonize", image, inverted, "-o", place / "out.png", "--invert-mask")[0] == 0
    assert np.array_equal(pixels(place / "out.png"), harmonized(place / "model.pt", image, mask))


def test_masks_of_the_same_shape_are_resized(place, frih):
    image, mask = place / "images/a.png", place / "masks/a.png"
    with Image.open(mask) as file:
        file.resize((120, 100), Image.Resampling.NEAREST).save(place / "large.png")
        file.resize((120, 110)).save(place / "other.png")
    assert frih("harmonize", image, mask, "-o", place / "a.png")[0] == 0
    assert frih("harmonize", image, place / "large.png", "-o", place / "b.png")[0] == 0
    difference = np.abs(pixels(place / "a.png").astype(int) - pixels(place / "b.png"))
    assert difference.mean() < 0.5
    status, _, errors = frih("harmonize", image, place / "other.png", "-o", place / "c.png")
    assert (status, "other.png: is 120 x 110 pixels but" in errors[0]) == (2, True)


def test_a_mask_that_is_black_once_it_is_inverted_or_resized(place, frih):
    image, mask = place / "images/a.png", place / "masks/faint.png"
    dots = np.zeros((500, 600), np.uint8)
    dots[::100, ::100] = 255
    for given, options in ((np.full((50, 60), 160, np.uint8), ["--invert-mask"]), (dots, [])):
        save(mask, given)
        status, _, errors = frih("harmonize", image, mask, "-o", place / "o.png", *options)
        assert status == 2
        assert errors == [f"{mask}: has no foreground; white is foreground, and with --invert-mask black is"]


def test_masks_that_are_slightly_off(place, frih):
    """Outside the shrunk mask nothing changes; within its edge the change fades in."""
    image, mask = place / "images/a.png", place / "masks/hard.png"
    inside = np.zeros((50, 60), np.uint8)
    inside[10:40, 10:50] = 255
    save(mask, inside)
    for name, options in (("plain", ()), ("shrunk", ("--shrink", 3)), ("both", ("--shrink", 3, "--feather", 4))):
        assert frih("harmonize", image, mask, "-o", place / f"{name}.png", *options)[0] == 0
    before, plain, shrunk, both = (
        pixels(path).astype(float) for path in (image, *(place / f"{name}.png" for name in ("plain", "shrunk", "both")))
    )
    inside[13:37, 13:47] = 0
    assert np.array_equal(shrunk[inside > 0], before[inside > 0])
    assert not np.array_equal(plain[inside > 0], before[inside > 0])
    for k, share in enumerate((0, 0.125, 0.375, 0.625, 0.875, 1, 1)):
        row = 12 + k
        expected = before[row, 20:40] + share * (shrunk[row, 20:40] - before[row, 20:40])
        assert np.abs(both[row, 20:40] - expected).max() <= 0.5
    status, _, errors = frih("harmonize", image, mask, "-o", place / "none.png", "--shrink", 15)
    assert (status, errors) == (2, [f"{mask}: --shrink 15 leaves nothing of it; give fewer pixels"])
    status, _, errors = frih("harmonize", image, mask, "-o", place / "none.png", "--feather", -1)
    assert (status, errors) == (2, ["--feather: must be 0 pixels or more, not -1"])


def test_before_and_after_at_their_own_size(place, frih):
    frih("harmonize", place / "images/a.png", place / "masks/a.png", "-o", place / "o.png", "--compare")
    sheet = pixels(place / "o-compare.png")
    assert np.array_equal(sheet[-56:-6, 6:66], pixels(place / "images/a.png"))
    assert np.array_equal(sheet[-56:-6, 72:132], pixels(place / "o.png"))


@pytest.mark.parametrize("program", ["frih", "scripts/harmonize.py"])
def test_a_pattern_without_quotes(place, capsys, monkeypatch, program):
    """The shell puts the names of files in its place."""
    files = [*(place / "images").iterdir(), *(place / "masks").iterdir()]
    if program == "frih":
        monkeypatch.setattr(sys, "argv", ["frih", "harmonize", *map(str, files), "-o", "out"])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 2
    else:
        assert run_here(program, "model.pt", *files, "-o", "out") == 2
    assert "one IMAGE and one MASK, not 6 files; give two folders, or put patterns in quotes" in capsys.readouterr().err


def test_an_unknown_option(place, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["frih", "harmonize", "a.png", "b.png", "-o", "out", "--strenth", "0.5"])
    with pytest.raises(SystemExit):
        main()
    assert "unrecognized arguments: --strenth 0.5" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["frih", "frih.cli"])
def test_as_a_module(module, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["frih", "--version"])
    monkeypatch.delitem(sys.modules, "frih.cli")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module(module, run_name="__main__")
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"frih {__version__}, Python {platform.python_version()}, PyTorch {torch.__version__[:4]}")


def test_a_transparent_image_has_no_place_in_jpeg_and_an_opaque_alpha_channel_has(place, frih, monkeypatch):
    alpha = np.full((50, 60, 1), 255, np.uint8)
    image = np.concatenate([smooth_image(seed=0, width=60, height=50), alpha], axis=2)
    save(place / "opaque.png", image)
    image[:10, :10, 3] = 254
    save(place / "clear.png", image)
    for name in ("out.jpg", "out.bmp"):
        assert frih("harmonize", place / "opaque.png", place / "masks/a.png", "-o", place / name)[0] == 0
        assert pixels(place / name).shape == (50, 60, 3)
    monkeypatch.setattr(Harmonizer, "__call__", lambda *_, **__: pytest.fail("at work"))
    for name, form in (("o.jpg", "JPEG"), ("o.bmp", "BMP")):
        status, _, errors = frih("harmonize", place / "clear.png", place / "masks/a.png", "-o", place / name)
        assert status == 2
        assert errors == [
            f"{place}/{name}: its image has transparent pixels, which {form} cannot keep; take .png, .webp or .tif"
        ]


def test_a_transparent_foreground_is_refused_and_a_transparent_background_is_told(place, capsys, monkeypatch):
    mask = ellipse(60, 50, grow=3)
    image = smooth_image(seed=0, width=60, height=50)
    for alpha, status, says in (
        (mask, 0, "background is transparent, so the network saw none"),
        (np.where(mask > 0, 0, 255).astype(np.uint8), 2, "is less than half opaque wherever its mask is white"),
        (np.full((50, 60), 90, np.uint8), 0, ""),
        (np.full((50, 60), 255, np.uint8), 0, ""),
    ):
        save(place / "clear.png", np.dstack([image, alpha]))
        arguments = ["harmonize", place / "clear.png", place / "masks/a.png", "-o", place / "o.png", "--overwrite"]
        monkeypatch.setattr(sys, "argv", ["frih", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == status
        told = capsys.readouterr().err
        assert says in told if says else "note" not in told


def test_a_image_is_not_replaced_by_its_result_unless_asked(place, frih):
    image, mask = place / "images/a.png", place / "masks/a.png"
    before = image.read_bytes()
    for out in (image, place / "images"):
        status, _, errors = frih("harmonize", image, mask, "-o", out)
        assert status == 2
        assert errors == [f"{image}: is the image itself; give another place with -o, or --overwrite"]
    assert image.read_bytes() == before
    assert frih("harmonize", image, mask, "-o", image, "--overwrite")[0] == 0
    assert image.read_bytes() != before


def test_sheets_that_are_there_stay_and_those_that_are_not_are_added(place, frih, monkeypatch):
    run = "harmonize", place / "images/a.png", place / "masks/a.png", "-o", place / "out/"
    frih(*run)
    before = (place / "out/a.png").stat().st_mtime_ns
    (place / "out/a-submasks.png").write_bytes(b"precious")
    status, said, _ = frih(*run, "--submasks", "--compare")
    assert status == 0
    assert "(2 files kept, there already" in said
    assert (place / "out/a-submasks.png").read_bytes() == b"precious"
    assert (place / "out/a.png").stat().st_mtime_ns == before
    assert pixels(place / "out/a-compare.png").shape == (82, 138, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Harmonizer, "load", lambda *_: pytest.fail("at work"))
        assert "(3 files kept, there already" in frih(*run, "--submasks", "--compare")[1]
    frih(*run, "--submasks", "--overwrite")
    assert pixels(place / "out/a-submasks.png").shape == (50, 60, 3)


def test_a_mask_is_never_replaced(place, frih, monkeypatch):
    monkeypatch.setattr(Harmonizer, "load", lambda *_: pytest.fail("at work"))
    for more in ((), ("--overwrite",)):
        status, _, errors = frih("harmonize", place / "images", place / "masks", "-o", place / "masks", *more)
        assert status == 2
        assert errors == [
            f"-o {place}/masks: is the folder of the masks, and results would pass for masks; give another place"
        ]
        one = place / "images/a.png", place / "masks/a.png", "-o", place / "masks"
        status, _, errors = frih("harmonize", *one, *more)
        assert status == 2
        assert errors == [f"{place}/masks/a.png: is an image or a mask that is to be read; give another place with -o"]


def test_nothing_half_written(place, frih, full_disk):
    full_disk(lambda path: "out" in path.parts)
    status, _, errors = frih("harmonize", place / "images/a.png", place / "masks/a.png", "-o", place / "out")
    assert status == 2
    assert "No space left" in errors[0]
    assert list((place / "out").iterdir()) == []


def test_command_lines_that_make_no_sense(place, frih, monkeypatch):
    image, mask = place / "images/a.png", place / "masks/a.png"
    (place / "file").write_text("")
    save(place / "images/a.bmp", smooth_image(seed=0, width=60, height=50))
    for arguments, says in (
        ((image, place / "masks", "-o", "out"), "give two files, or two folders"),
        ((place / "masks/*.none", place / "masks", "-o", "out"), "holds no image"),
        ((place / "images", place / "masks", "-o", "out.png"), "is one file for 4 images; give a folder"),
        ((image, mask, "-o", "out.heic"), "-o out.heic: its format is unknown"),
        ((image, mask, "-o", "out", "--strength", "2"), "--strength: must be from 0"),
        ((image, mask, "-o", "out", "-w", "nothing"), "nothing: no such run folder or checkpoint"),
        ((image, mask, "-o", place / "file/out.png"), f"-o: {place / 'file'} is a file, not a folder"),
        ((place / "images", place / "masks", "-o", place / "file"), f"-o: {place / 'file'} is a file, not a folder"),
        ((place / "none.png", mask, "-o", "out"), "none.png: no such file"),
        ((place / "images", place / "masks", "-o", "out", "--suffix", ".png"), "would both become out/a.png"),
    ):
        status, _, errors = frih("harmonize", *arguments)
        assert status == 2
        assert len(errors) == 1
        assert says in errors[0]


def test_without_a_word_the_softwares_own_weights_are_taken(place, frih, monkeypatch):
    monkeypatch.setenv("FRIH_WEIGHTS", "")
    image, mask = place / "images/a.png", place / "masks/a.png"
    assert frih("harmonize", image, mask, "-o", place / "out.png")[0] == 0
    assert np.array_equal(pixels(place / "out.png"), harmonized(PRETRAINED, image, mask))


def test_hostile_weights_are_not_run(place, frih):
    class Hostile:
        def __reduce__(self):
            return Path.touch, (place / "ran",)

    (place / "hostile.pt").write_bytes(pickle.dumps(Hostile()))
    status, _, errors = frih(
        "harmonize", place / "images/a.png", place / "masks/a.png", "-o", place / "o.png", "-w", place / "hostile.pt"
    )
    assert status == 2
    assert "hostile.pt: is damaged, incomplete or no checkpoint" in errors[0]
    assert not (place / "ran").exists()


def test_a_folder_that_cannot_be_written_in_is_told_before_any_work(place, frih, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, _: path != place)
    monkeypatch.setattr("frih.Harmonizer.load", lambda *_: pytest.fail("at work"))
    status, _, errors = frih("harmonize", place / "images", place / "masks", "-o", place / "new/out")
    assert status == 2
    assert errors == [f"-o: {place} cannot be written; change its permissions, or give another place"]


@pytest.mark.parametrize("form", ["run", "run/checkpoints/last.pt", "shared", "shared/model.safetensors"])
def test_weights_in_every_form(place, frih, form):
    (place / "run/checkpoints").mkdir(parents=True)
    (place / "model.pt").rename(place / "run/checkpoints/last.pt")
    save_pretrained(place / "run", place / "shared")
    image, mask = place / "images/a.png", place / "masks/a.png"
    assert frih("harmonize", image, mask, "-o", place / "out.png", "-w", place / form)[0] == 0
    assert np.array_equal(pixels(place / "out.png"), harmonized(place / "run", image, mask))


def harmonized(weights, image, mask):
    return np.asarray(Harmonizer.load(weights, "cpu")(image, mask))
