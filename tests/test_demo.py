import os
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frih import Harmonizer
from frih.common.drawing import color_labels
from frih.common.errors import UserError
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from scripts import demo
from tests.conftest import ellipse, no_weight_is_zero, save, smooth_image

SIZE = 200, 91


@pytest.fixture
def harmonizer(small_config):
    config = small_config()
    return Harmonizer(no_weight_is_zero(build_model(config)), config, torch.device("cpu"))


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
    result, pair, submasks, file = demo.harmonize(harmonizer, image, paint(square(30), square(70)), None, 1.0)
    mask = (np.maximum(square(30), square(70)) > 0).astype(np.uint8) * 255
    expected, details = harmonizer(image, Image.fromarray(mask), return_details=True)
    original = np.asarray(Image.open(image))
    assert np.array_equal(result.at(1.0), expected)
    assert not np.array_equal(expected, original)
    assert np.array_equal(pair[0], original)
    assert np.array_equal(pair[1], expected)
    assert np.array_equal(
        submasks, Image.fromarray(color_labels(details.labels)).resize(SIZE, Image.Resampling.NEAREST)
    )
    assert file is None


def test_strength_mixes_without_the_network(harmonizer, image, monkeypatch):
    result, *_ = demo.harmonize(harmonizer, image, paint(square(30)), None, 1.0)
    half = np.asarray(harmonizer(image, Image.fromarray(square(30) > 0), 0.5)).astype(int)
    monkeypatch.setattr(Harmonizer, "__call__", None)
    before, after = (np.asarray(one) for one in result)
    assert np.array_equal(result.at(0.0), before)
    (_, mixed), file = demo.change_strength(result, 0.5)
    inside = (after > 0) & (after < 255)
    assert np.abs(np.asarray(mixed) - half)[inside].max() <= 1
    assert np.abs(np.asarray(mixed) - before.astype(int)).max() > 1
    assert file is None
    assert demo.change_strength(None, 0.5) == (None, None)


def test_a_mask_from_a_file_goes_before_paint(harmonizer, image, tmp_path):
    save(tmp_path / "mask.png", ellipse(*SIZE, grow=3))
    result, *_ = demo.harmonize(harmonizer, image, paint(square(30)), str(tmp_path / "mask.png"), 1.0)
    assert np.array_equal(result.after, harmonizer(image, tmp_path / "mask.png"))


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
    ground, *cleared = demo.open_image(str(path))
    assert ground.size == (1024, 205)
    assert cleared == [None] * 4
    cover = np.zeros((205, 1024), np.uint8)
    cover[50:150, 300:700] = 128
    result, pair, submasks, _ = demo.harmonize(harmonizer, str(path), paint(cover), None, 1.0)
    assert [image.size for image in (*pair, submasks)] == [(1024, 205)] * 3
    with Image.open(demo.save_result(str(path), result, 1.0)) as saved:
        assert np.array_equal(saved, result.after)
        assert Path(saved.filename).name == "large-harmonized.png"
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
    assert demo.open_image(None) == (None,) * 5
    Image.new("1", (10_000, 5_001)).save(tmp_path / "huge.png")
    huge = str(tmp_path / "huge.png")
    for look in (lambda: demo.open_image(huge), lambda: demo.harmonize(harmonizer, image, None, huge, 1.0)):
        with pytest.raises(UserError, match=r"huge\.png: has more than 50 megapixels"):
            look()
    faint = np.full(SIZE[::-1], 40, np.uint8)
    for arguments, says in (
        ((None, None, None), "there is no image yet"),
        ((image, None, None), "no foreground is marked; paint over it, or open a mask"),
        ((image, paint(), None), "no foreground is marked"),
        ((image, paint(0 * faint), None), "no foreground is marked"),
        ((image, paint(faint), None), "too small for the network to see"),
        ((image, None, str(tmp_path / "no.png")), r"no\.png: no such file"),
    ):
        with pytest.raises(UserError, match=says):
            demo.harmonize(harmonizer, *arguments, 1.0)
    with pytest.raises(UserError, match="press Harmonize first"):
        demo.save_result(image, None, 1.0)


PAGE = """
import sys, threading, urllib.request

hosts, pages = set(), []
sys.addaudithook(lambda event, arguments: hosts.add(arguments[0]) if event == "socket.getaddrinfo" else None)
from scripts import demo
import gradio

def launch(page, **settings):
    pages.append(page)
    serve(page, prevent_thread_lock=True, **settings)

serve, gradio.Blocks.launch = gradio.Blocks.launch, launch
port, image = sys.argv[2:]
sys.argv[1:] = [sys.argv[1], "--port", port]
assert demo.main() == 0
with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
    assert b"FRIH" in page.read()
for thread in set(threading.enumerate()) - {threading.current_thread()}:
    thread.join(0.3)  # time for what would report to Gradio
assert hosts <= {"127.0.0.1"}, hosts

open_image = next(handler.fn for handler in pages[0].fns.values() if handler.api_name == "open_image")
try:
    open_image(image)
except gradio.Error as error:
    print(error.message)
"""


needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")


@needs_gradio
def test_nothing_is_left_behind_when_the_page_is_ended(small_config, tmp_path):
    config = small_config()
    save_checkpoint(tmp_path / "model.pt", config, no_weight_is_zero(build_model(config)), {})
    folder = tmp_path / "temporary"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nsecret\r\n--x--\r\n'
    address = f"http://127.0.0.1:{port}/gradio_api/upload"
    upload = urllib.request.Request(address, body, {"Content-Type": "multipart/form-data; boundary=x"})
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(folder), "PYTHONPATH": "."}
    command = [sys.executable, "scripts/demo.py", tmp_path / "model.pt", "--port", str(port)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], env=environment, stdout=subprocess.DEVNULL) as page:
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(upload).close()
                    break
                except OSError:
                    time.sleep(0.1)
            assert [file.read_bytes() for file in folder.rglob("a.png")] == [b"secret"]
        finally:
            page.terminate()
        page.wait(30)
    assert not list(folder.iterdir())


@needs_gradio
def test_the_page_is_served_tells_user_errors_and_asks_no_other_machine(small_config, tmp_path):
    config = small_config()
    save_checkpoint(tmp_path / "model.pt", config, no_weight_is_zero(build_model(config)), {})
    (tmp_path / "<b>.png").write_text("no image")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-c", PAGE, tmp_path / "model.pt", str(port), tmp_path / "<b>.png"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(tmp_path), "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    address, message = done.stdout.splitlines()
    assert address == f"http://127.0.0.1:{port}, until stopped (Ctrl-C)"
    assert message.startswith("&lt;b&gt;.png: cannot be read as an image")  # without the folder
