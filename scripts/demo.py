"""A page in the browser: open an image, mark its foreground, and get the harmonized image at its own size.

    python scripts/demo.py [WEIGHTS]

The page opens with two examples. WEIGHTS is a run's folder, a file of weights, or hf://user/name; by default, the weights that
come with the software. Only this machine can open the page, and the page contacts no other machine. Images lie in a temporary
folder until the page is stopped (Ctrl-C, SIGTERM). More is in docs/demo.md.
"""

import argparse
import html
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from frih import Harmonizer
from frih.common.drawing import color_labels
from frih.common.errors import UserError, need, run_command
from frih.data.images import HALF, reading
from frih.harmonizing.harmonizer import PRETRAINED
from frih.harmonizing.mask_edges import fitted
from frih.harmonizing.own_images import check_sizes, read_image, read_mask

if TYPE_CHECKING:
    import gradio as gr

EXAMPLES = [Path(__file__).parent / "examples" / name for name in ("cat.jpg", "astronaut.jpg")]
"""Composites, with their masks NAME-mask.png: chelsea_cat_1 and astronaut_head_5 of scripts/make_sample.py."""
SHOWN = 1024, 1024
"""The largest width and height of an image on the page."""
RESULT, KEPT = "result-", 3600
"""The prefix of results' folders, and how many seconds uploads and results are kept."""
UPLOAD_MB, MEGAPIXELS = 100, 50
"""The largest file and image that the page takes."""
PAINT, OPACITY, TINT = "#ff00d0", 0.5, 0.3
"""The colour of paint, which few photos have; its opacity, so that the image is seen through it; and that of a mask."""
DOWNLOAD = (
    "file => { const a = document.createElement('a'); a.href = file.url; a.download = file.orig_name; a.click(); }"
)
"""The browser's part of a download."""


class Result(NamedTuple):
    """An image before and after, from which any strength is mixed."""

    before: Image.Image
    after: Image.Image

    def at(self, strength: float) -> Image.Image:
        """The image at its own size; 0 gives the pixels of ``before``, 1 of ``after``."""
        mixed = Image.blend(self.before, self.after, strength)
        mixed.info = self.after.info
        return mixed


def main() -> int:
    """Serves the page until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?", default=PRETRAINED)
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    args = parser.parse_args()
    need("gradio", extra="demo")
    with temporary_files():
        page = build(Harmonizer.load(args.weights))
        print(f"http://127.0.0.1:{args.port}, until stopped (Ctrl-C)", flush=True)
        try:
            serve(page, server_name="127.0.0.1", server_port=args.port, share=False, quiet=True)
        except (OSError, OverflowError):
            raise UserError(f"--port {args.port}: is taken, or cannot be used; choose another") from None
    return 0


@contextmanager
def temporary_files() -> Iterator[None]:
    """Keeps all files of the page in a folder that is removed at the end, also at SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which ends launch()
    with tempfile.TemporaryDirectory(prefix="frih-demo-", dir=os.environ.get("GRADIO_TEMP_DIR")) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # Gradio reads it at its import
        yield


def serve(page: "gr.Blocks", **settings: Any) -> None:
    """Launches the page, with no font, footer or limit from elsewhere."""
    import gradio as gr

    page.launch(
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        allowed_paths=[str(EXAMPLES[0].parent)],
        max_file_size=f"{UPLOAD_MB}mb",
        footer_links=[],
        run_history=False,
        **settings,
    )


def build(harmonizer: Harmonizer) -> "gr.Blocks":
    """The page; :func:`serve` launches it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # must stand before the import; otherwise Gradio reports its use
    import gradio as gr

    first = example(0)
    with gr.Blocks(title="FRIH", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        result = gr.State(time_to_live=KEPT)
        gr.Markdown(
            "# FRIH: image harmonization\nAn object that was pasted into a photo has the wrong colours. Take an example, or "
            "open an image and mark its foreground: paint over it, or open its mask. Then press the button."
        )
        with gr.Row():
            with gr.Column():
                chosen = gr.Dataset(
                    label="Examples", components=["image"], samples=[[str(path)] for path in EXAMPLES], type="index"
                )
                with gr.Row():
                    image = gr.File(label="Image", file_types=["image"], height=120, value=first[0])
                    mask = gr.File(label="Mask", file_types=["image"], height=120, value=first[1])
                drawing = gr.ImageEditor(
                    value=first[2],
                    label="Foreground",
                    type="pil",
                    format="png",
                    height="min(480px, 95vw)",
                    sources=(),
                    transforms=(),
                    buttons=[],
                    brush=gr.Brush(colors=[(PAINT, OPACITY)], color_mode="fixed"),
                    layers=gr.LayerOptions(disabled=True),
                )
                start = gr.Button("Harmonize and download", variant="primary")
            with gr.Column():
                slider = gr.ImageSlider(label="Before and after", format="png", buttons=["fullscreen"])
                strength = gr.Slider(0, 1, value=harmonizer.findings.strength, step=0.05, label="Strength")
                save = gr.Button("Download at this strength")
                submasks = gr.Image(
                    label="Submasks", format="png", height=260, buttons=[], visible=harmonizer.model.refines
                )
                file = gr.DownloadButton(visible="hidden")
        shown = [result, slider, submasks, file]
        chosen.click(_told(open_example), chosen, [image, mask, drawing, *shown])
        for change in (image.upload, image.clear):
            change(_told(open_image), [image, mask], [mask, drawing, *shown])
        for change in (mask.upload, mask.clear):
            change(_told(draw), [image, mask], drawing)
        start.click(
            _told(partial(harmonize, harmonizer)),
            [image, drawing, mask, strength],
            shown,
            scroll_to_output=True,
            show_progress_on=slider,
            api_name="harmonize",
        ).success(None, file, js=DOWNLOAD)
        live = {"trigger_mode": "always_last", "show_progress": "hidden"}
        strength.change(_told(change_strength), [result, strength], slider, **live)
        save.click(_told(save_result), [image, result, strength], file).success(None, file, js=DOWNLOAD)
    return page


def open_example(number: int) -> tuple[Any, ...]:
    """An example, and four empty results."""
    return *example(number), None, None, None, None


def example(number: int) -> tuple[str, str, Image.Image | None]:
    """An image, its mask, and both as :func:`draw` draws them."""
    image = EXAMPLES[number]
    mask = image.with_name(f"{image.stem}-mask.png")
    return str(image), str(mask), draw(str(image), str(mask))


def open_image(path: str | None, mask: str | None) -> tuple[Any, ...]:
    """The mask, if it fits a new image, the drawing, and four empty results."""
    if not path:
        return mask, None, None, None, None, None
    try:
        drawing = draw(path, mask)
    except UserError:
        drawing, mask = draw(path, None), None  # that of the image before
    return mask, drawing, None, None, None, None


def draw(path: str | None, mask: str | None) -> Image.Image | None:
    """An image to paint on, with the foreground of its mask, if there is one, in the colour of paint."""
    if not path:
        return None
    image = _open(path)
    ground = _small(image)
    if mask:
        cover = _mask(mask, image).resize(ground.size)
        solid = cover.point(lambda value: 255 * (value >= HALF))
        line = ImageChops.difference(solid, solid.filter(ImageFilter.MaxFilter(5)))
        tint = ImageChops.lighter(line, cover.point(lambda value: round(value * TINT)))
        ground.paste(Image.new("RGB", ground.size, PAINT), mask=tint)
    return ground


def harmonize(
    harmonizer: Harmonizer, path: str | None, drawing: dict[str, Any] | None, mask: str | None, strength: float
) -> tuple[Result, tuple[Image.Image, Image.Image], Image.Image, str]:
    """Runs the network: the result, before and after, the submasks, and the file to download.

    Args:
        harmonizer: the network.
        path: the image's file.
        drawing: the editor's content; the paint on its ``"layers"`` is foreground.
        mask: a file; paint adds to it.
        strength: share of the change that is shown.
    """
    before = _open(path)
    given = _mask(mask, before) if mask else None
    cover = paint_to_mask(drawing["layers"] if drawing else [], before.size, given)
    after, details = harmonizer(path, cover, strength=1.0, return_details=True)
    if not details.labels.any():
        raise UserError("the foreground is empty, or too small for the network to see")
    result = Result(before, after)
    pair = change_strength(result, strength)
    submasks = Image.fromarray(color_labels(details.labels)).resize(pair[0].size, Image.Resampling.NEAREST)
    return result, pair, submasks, save_result(path, result, strength)


def change_strength(result: Result | None, strength: float) -> tuple[Image.Image, Image.Image] | None:
    """Before and after at another strength."""
    return (_small(result.before), _small(result.at(strength))) if result else None


def save_result(path: str | None, result: Result | None, strength: float) -> str:
    """Writes the harmonized image, as PNG, which keeps every value."""
    if not path or not result:
        raise UserError("there is no harmonized image yet; press Harmonize first")
    _remove_old_results()
    target = (
        Path(tempfile.mkdtemp(prefix=RESULT, dir=os.environ.get("GRADIO_TEMP_DIR")))
        / f"{Path(path).stem}-harmonized.png"
    )
    image = result.at(strength)
    image.save(target, exif=image.info.get("exif"), compress_level=1)  # Pillow's default takes seconds
    return str(target)


def _remove_old_results() -> None:
    """Gradio keeps a copy of a result for :data:`KEPT` seconds; ours is needed no longer than that."""
    for folder in Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()).glob(f"{RESULT}*"):
        if time.time() - folder.stat().st_mtime > KEPT:
            shutil.rmtree(folder, ignore_errors=True)


def paint_to_mask(layers: list[Image.Image], size: tuple[int, int], given: Image.Image | None = None) -> Image.Image:
    """The mask of paint, at the image's size, and of another mask. Where strokes cross, the mask is full, not more."""
    mask = given or Image.new("L", size)
    for layer in layers:
        alpha = layer.getchannel("A").point(lambda value: min(255, round(value / OPACITY)))
        mask = ImageChops.lighter(mask, alpha.resize(size, Image.Resampling.BILINEAR))
    if mask.getbbox() is None:
        raise UserError("no foreground is marked; paint over it, or open a mask")
    return mask


def _mask(path: str, image: Image.Image) -> Image.Image:
    """An image's mask; one of another size but the same shape is resized."""
    _check_size(path)
    mask, _ = fitted(read_mask(path), image.size)
    check_sizes(np.asarray(image), mask, ("the image", path))
    return Image.fromarray(mask)


def _open(path: str | None) -> Image.Image:
    if not path:
        raise UserError("there is no image yet; open one first")
    _check_size(path)
    return Image.fromarray(read_image(path).pixels)


def _check_size(path: str) -> None:
    """Looks at the head of a file, before it is decoded."""
    with reading(Path(path)), Image.open(path) as file:
        width, height = file.size
    if width * height > MEGAPIXELS * 10**6:
        raise UserError(f"{path}: has more than {MEGAPIXELS} megapixels; make it smaller, or use frih harmonize")


def _small(image: Image.Image) -> Image.Image:
    copy = image.copy()
    copy.thumbnail(SHOWN)
    return copy


def _told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose user errors appear on the page, without the folders of uploaded files."""
    import gradio as gr

    @wraps(handler)
    def wrapper(*arguments: Any) -> Any:
        try:
            return handler(*arguments)
        except UserError as error:
            message = str(error)
            for path in arguments:
                message = message.replace(f"{Path(path).parent}{os.sep}", "") if isinstance(path, str) else message
            raise gr.Error(html.escape(message, quote=False), print_exception=False) from None

    return wrapper


if __name__ == "__main__":
    run_command(main)
