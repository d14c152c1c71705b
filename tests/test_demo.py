import io
import os
import re
import runpy
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from frih import Harmonizer
from frih.common.drawing import color_labels
from frih.common.errors import UserError
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from frih.tools.composites import sample
from scripts import demo
from tests.conftest import ROOT, ellipse, no_weight_is_zero, save, smooth_image

SIZE = 200, 91


@pytest.fixture
def network(small_config):
    return no_weight_is_zero(build_model(small_config()))


@pytest.fixture
def harmonizer(small_config, network):
    return Harmonizer(network, small_config(), torch.device("cpu"))


@pytest.fixture
def image(tmp_path) -> str:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    photo = Image.fromarray(smooth_image(seed=0, width=SIZE[0], height=SIZE[1]))
    photo.save(tmp_path / "photo.png", exif=exif, icc_profile=b"profile")
    return str(tmp_path / "photo.png")


def paint(*covers: np.ndarray) -> dict:
    """What the editor gives for strokes, of as much paint as 0 to 255 says."""
    layers = []
    for cover in covers:
        layer = np.zeros((*cover.shape, 4), np.uint8)
        layer[..., 0], layer[..., 3] = 255, cover
        layers.append(Image.fromarray(layer))
    return {"background": None, "layers": layers, "composite": None}


def square(left: int) -> np.ndarray:
    cover = np.zeros(SIZE[::-1], np.uint8)
    cover[20:70, left : left + 60] = 128
    return cover


def test_a_painted_image_becomes_what_the_harmonizer_makes_of_it(harmonizer, image):
    result, pair, submasks, file = demo.harmonize(harmonizer, image, paint(square(30), square(70)), None, 0.5)
    mask = (np.maximum(square(30), square(70)) > 0).astype(np.uint8) * 255
    expected, details = harmonizer(image, Image.fromarray(mask), return_details=True)
    original = np.asarray(Image.open(image))
    assert np.array_equal(result.at(1.0), expected)
    assert not np.array_equal(expected, original)
    assert np.array_equal(pair[0], original)
    assert np.array_equal(pair[1], result.at(0.5))
    assert np.array_equal(
        submasks, Image.fromarray(color_labels(details.labels)).resize(SIZE, Image.Resampling.NEAREST)
    )
    with Image.open(file) as saved:
        assert np.array_equal(saved, result.at(0.5))
        assert Path(saved.filename).name == "photo-harmonized.png"


def test_strength_mixes_without_the_network(harmonizer, image, monkeypatch):
    result, *_ = demo.harmonize(harmonizer, image, paint(square(30)), None, 1.0)
    half = np.asarray(harmonizer(image, Image.fromarray(square(30) > 0), 0.5)).astype(int)
    monkeypatch.setattr(Harmonizer, "__call__", None)
    before, after = (np.asarray(one) for one in result)
    assert np.array_equal(result.at(0.0), before)
    _, mixed = demo.change_strength(result, 0.5)
    inside = (after > 0) & (after < 255)
    assert np.abs(np.asarray(mixed) - half)[inside].max() <= 1
    assert np.abs(np.asarray(mixed) - before.astype(int)).max() > 1
    assert demo.change_strength(None, 0.5) is None


def test_paint_adds_to_a_mask_from_a_file(harmonizer, image, tmp_path):
    cover, path = ellipse(*SIZE, grow=3), str(tmp_path / "mask.png")
    save(tmp_path / "mask.png", cover)
    for drawing, mask in (
        (None, cover),
        (paint(0 * square(0)), cover),
        (paint(square(0)), np.where(square(0), 255, cover).astype(np.uint8)),
    ):
        result, *_ = demo.harmonize(harmonizer, image, drawing, path, 1.0)
        assert np.array_equal(result.after, harmonizer(image, Image.fromarray(mask)))


def test_a_mask_is_drawn_on_its_image_with_its_border(image, tmp_path):
    cover, path = np.zeros(SIZE[::-1], np.uint8), str(tmp_path / "mask.png")
    cover[20:70, 40:100] = 255
    save(tmp_path / "mask.png", cover)
    plain, drawn = (np.asarray(demo.draw(image, mask)).astype(float) for mask in (None, path))
    assert np.array_equal(plain, np.asarray(Image.open(image)))
    colour = np.array([255, 0, 208])
    assert np.abs(drawn - (0.7 * plain + 0.3 * colour))[20:70, 40:100].max() <= 1.5
    border = np.zeros_like(cover)
    border[18:72, 38:102], border[20:70, 40:100] = 1, 0
    assert (drawn[border == 1] == colour).all()
    outside = (border == 0) & (cover == 0)
    assert np.array_equal(drawn[outside], plain[outside])
    assert demo.draw(None, path) is None


def test_a_new_image_keeps_the_mask_only_if_it_fits(image, tmp_path):
    save(tmp_path / "mask.png", ellipse(*SIZE, grow=3))
    save(tmp_path / "small.png", smooth_image(seed=0, width=80, height=40))
    fitting = str(tmp_path / "mask.png")
    mask, drawing, *cleared = demo.open_image(image, fitting)
    assert (mask, cleared) == (fitting, [None] * 4)
    assert np.array_equal(drawing, demo.draw(image, fitting))
    mask, drawing, *_ = demo.open_image(str(tmp_path / "small.png"), fitting)
    assert mask is None
    assert drawing.size == (80, 40)
    assert demo.open_image(None, fitting) == (fitting, None, None, None, None, None)


def test_the_examples_are_of_the_sample_data_and_change(harmonizer):
    for number, (photo, foreground) in enumerate((("chelsea", "cat"), ("astronaut", "head"))):
        image, mask, drawing, *cleared = demo.open_example(number)
        assert cleared == [None] * 4
        of_sample = sample._load(photo, 512)
        assert np.array_equal(Image.open(mask), of_sample.masks[foreground])
        outside = of_sample.masks[foreground] == 0
        composite = np.asarray(Image.open(image)).astype(float)
        assert np.abs(composite - of_sample.real)[outside].mean() < 3  # JPEG
        assert drawing.size == composite.shape[1::-1]
        result, *_ = demo.harmonize(harmonizer, image, None, mask, 1.0)
        assert not np.array_equal(result.before, result.after)


def test_paint_is_scaled_to_the_image_and_crossing_strokes_are_full():
    cover = np.zeros((4, 8), np.uint8)
    cover[:, 4:], cover[:, 6:] = 128, 192  # 192: two strokes of half-transparent paint, one over the other
    mask = np.asarray(demo.paint_to_mask(paint(cover)["layers"], (80, 40)))
    assert mask.shape == (40, 80)
    assert not mask[:, :34].any()
    assert (mask[:, 46:] == 255).all()
    cover[:, 4:] = 64
    assert demo.paint_to_mask(paint(cover)["layers"], (8, 4)).getextrema() == (0, 128)


def test_large_images_are_shown_small_and_saved_at_their_own_size(harmonizer, tmp_path):
    path = tmp_path / "large.jpg"
    save(path, smooth_image(seed=0, width=1500, height=300))
    assert demo.draw(str(path), None).size == (1024, 205)
    cover = np.zeros((205, 1024), np.uint8)
    cover[50:150, 300:700] = 128
    result, pair, submasks, _ = demo.harmonize(harmonizer, str(path), paint(cover), None, 1.0)
    assert [image.size for image in (*pair, submasks)] == [(1024, 205)] * 3
    with Image.open(demo.save_result(str(path), result, 1.0)) as saved:
        assert np.array_equal(saved, result.after)
        assert saved.size == (1500, 300)


def test_metadata_goes_with_the_file(harmonizer, image):
    result, *_ = demo.harmonize(harmonizer, image, paint(square(30)), None, 1.0)
    first, second = (demo.save_result(image, result, strength) for strength in (0.0, 1.0))
    assert first != second
    with Image.open(first) as saved:
        assert saved.getexif()[0x010F] == "maker"
        assert saved.info["icc_profile"] == b"profile"
        assert np.array_equal(saved, result.before)


def test_what_is_missing_is_said(harmonizer, image, tmp_path):
    Image.new("1", (10_000, 5_001)).save(tmp_path / "huge.png")
    huge = str(tmp_path / "huge.png")
    for look in (lambda: demo.open_image(huge, None), lambda: demo.harmonize(harmonizer, image, None, huge, 1.0)):
        with pytest.raises(UserError, match=r"huge\.png: has more than 50 megapixels"):
            look()
    save(tmp_path / "small.png", np.full((8, 8), 255, np.uint8))
    speck = np.zeros(SIZE[::-1], np.uint8)
    speck[45, 100] = 128
    for arguments, says in (
        ((None, None, None), "there is no image yet"),
        ((image, None, None), "no foreground is marked; paint over it, or open a mask"),
        ((image, paint(), None), "no foreground is marked"),
        ((image, paint(0 * speck), None), "no foreground is marked"),
        ((image, paint(speck), None), "too small for the network to see"),
        ((image, None, str(tmp_path / "no.png")), r"no\.png: no such file"),
        ((image, None, huge.replace("huge", "small")), r"small\.png: is 8 x 8 pixels but the image is 200 x 91"),
    ):
        with pytest.raises(UserError, match=says):
            demo.harmonize(harmonizer, *arguments, 1.0)
    with pytest.raises(UserError, match="press Harmonize first"):
        demo.save_result(image, None, 1.0)


SERVER = """
import sys

sys.addaudithook(lambda event, arguments: print("asks", arguments[0]) if event == "socket.getaddrinfo" else None)
from frih.common.errors import run_command
from scripts import demo

run_command(demo.main)
"""
needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")


@pytest.fixture
def served(harmonizer, network, tmp_path) -> Iterator[str]:
    """The page's address. When the page is ended, nothing of it is left, and it has asked no other machine."""
    save_checkpoint(tmp_path / "model.pt", harmonizer.config, network, {})
    folder = tmp_path / "temporary"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(folder), "PYTHONPATH": "."}
    command = [sys.executable, "-c", SERVER, tmp_path / "model.pt", "--port", port]
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "out").open("w") as out, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out) as page:
        try:
            for _ in range(600):
                assert page.poll() is None, "the page's program has ended"
                try:
                    urllib.request.urlopen(address).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield address
            assert list(folder.iterdir())
        finally:
            page.terminate()
        page.wait(30)
    assert not list(folder.iterdir())
    said = (tmp_path / "out").read_text().splitlines()
    assert f"{address}, until stopped (Ctrl-C)" in said
    assert {line for line in said if line.startswith("asks ")} <= {"asks 127.0.0.1"}


@needs_gradio
def test_the_page_takes_files(served, tmp_path):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nsecret\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    urllib.request.urlopen(urllib.request.Request(f"{served}/gradio_api/upload", body, headers)).close()
    assert [file.read_bytes() for file in (tmp_path / "temporary").rglob("a.png")] == [b"secret"]


CHROMIUM = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
)


@needs_gradio
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: the page is not tried in a browser")
@pytest.mark.skipif(
    find_spec("playwright") is None, reason="Playwright is not installed: the page is not tried in a browser"
)
def test_the_page_in_a_browser(served, harmonizer, image, tmp_path):
    from playwright.sync_api import Error

    for _ in range(2):  # on a busy machine Gradio's editor sometimes misses what it is sent
        with suppress(AssertionError, Error):
            visit(served, harmonizer, image, tmp_path)
            return
    visit(served, harmonizer, image, tmp_path)


def visit(served, harmonizer, image, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    save(tmp_path / "mask.png", ellipse(*SIZE, grow=2))
    with sync_playwright() as driver, driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(40_000)  # a busy machine draws slowly
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        button = page.get_by_role("button", name="Harmonize and download")
        canvas = page.locator("canvas").first

        def pressed() -> np.ndarray:
            """The image that a press on the button brings."""
            with page.expect_download() as download:
                button.click()
            names.append(download.value.suggested_filename)
            return np.asarray(Image.open(download.value.path()))

        def soon_painted(wanted: bool) -> bool:
            """Whether an image is drawn soon, with or without a mask's border. The palette lies over its left part."""
            for _ in range(150):
                pixels = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
                right = pixels[:, pixels.shape[1] // 3 :]
                painted = (np.abs(right - [255, 0, 208]).max(axis=-1) < 40).sum() > 100
                if right.std() > 20 and painted == wanted:
                    return True
                page.wait_for_timeout(100)
            return False

        def opened() -> None:
            """Visits the page, which opens with an example, ready to press."""
            page.goto(served)
            expect(page.get_by_role("cell", name="cat-mask.png")).to_be_visible()

        names = []
        expect.set_options(timeout=40_000)
        opened()
        of_example = pressed()
        example, mask, _ = demo.example(0)
        assert np.array_equal(of_example, harmonizer(example, mask))
        assert soon_painted(True)

        empty = page.locator("input[type=file]").first  # where there is no file yet
        page.get_by_label("Clear").first.click()
        empty.set_input_files(image)
        expect(page.get_by_role("cell", name="cat-mask.png")).to_be_hidden()  # it does not fit
        assert soon_painted(False)
        box = canvas.bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 30, middle[1] + 10, steps=4)
        page.mouse.up()
        changed = (pressed() != np.asarray(Image.open(image))).any(axis=-1)
        assert changed[40:55, 95:125].any()
        assert not changed[:, :50].any()

        opened()  # a new visit: what was painted goes with the old one
        page.get_by_label("Clear").first.click()
        empty.set_input_files(image)
        expect(page.get_by_role("cell", name="cat-mask.png")).to_be_hidden()
        assert soon_painted(False)
        empty.set_input_files(tmp_path / "mask.png")
        expect(page.get_by_role("cell", name="mask.png")).to_be_visible()
        assert np.array_equal(pressed(), harmonizer(image, tmp_path / "mask.png"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert all(url.startswith((served, "data:", "blob:")) for url in asked)
    assert names == ["cat-harmonized.png", "photo-harmonized.png", "photo-harmonized.png"]


def test_a_user_error_appears_on_the_page_without_folders(tmp_path, monkeypatch):
    class ShownError(Exception):
        def __init__(self, message, print_exception):
            super().__init__(message)

    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(Error=ShownError))
    (tmp_path / "<b>.png").write_text("no image")
    with pytest.raises(ShownError, match=r"^&lt;b&gt;\.png: cannot be read as an image"):
        demo._told(demo.open_image)(str(tmp_path / "<b>.png"), None)


def test_the_space_has_all_that_it_needs(tmp_path, monkeypatch):
    (copy,) = re.findall(r"^cp .* space$", (ROOT / "docs/demo.md").read_text(), re.MULTILINE)
    space = tmp_path / "space"
    space.mkdir()
    for source in copy.split()[2:-1]:
        if source != "frih":  # it is large, and the same
            subprocess.run(["cp", "-r", f"{ROOT}/{source}", space], check=True)
    monkeypatch.syspath_prepend(space)
    monkeypatch.delitem(sys.modules, "demo", raising=False)
    page = import_module("demo")
    served = []
    monkeypatch.setattr(page, "build", lambda harmonizer: f"page of {type(harmonizer).__name__}")
    monkeypatch.setattr(page, "serve", served.append)
    runpy.run_path(str(space / "app.py"), run_name="__main__")
    assert served == ["page of Harmonizer"]
    assert [path for path in page.EXAMPLES if path.is_file() and path.is_relative_to(space)] == page.EXAMPLES

    (_, head, _) = (space / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(head)
    locked = re.findall(r"^gradio==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert [card["sdk"], card["sdk_version"], card["app_file"]] == ["gradio", *locked, "app.py"]
    assert len(card["short_description"]) <= 60  # more is refused there
    (listed,) = re.findall(r"^dependencies = \[.*\n([^]]*)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert (space / "requirements.txt").read_text().split() == re.findall(r'"(.*)"', listed)


def test_a_mask_of_the_images_shape_is_resized(tmp_path):
    save(tmp_path / "half.png", ellipse(20, 12, grow=0))
    save(tmp_path / "other.png", ellipse(20, 20, grow=0))
    image = Image.new("RGB", (40, 24))
    assert demo._mask(str(tmp_path / "half.png"), image).size == (40, 24)
    with pytest.raises(UserError, match="is 20 x 20 pixels but the image is 40 x 24"):
        demo._mask(str(tmp_path / "other.png"), image)


def test_old_results_are_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for name, age in (("result-old", demo.KEPT + 9), ("result-new", 0), ("upload", demo.KEPT + 9)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    demo._remove_old_results()
    assert {path.name for path in tmp_path.iterdir()} == {"result-new", "upload"}
