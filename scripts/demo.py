"""A page in the browser: open an image, mark its foreground, harmonize it, compare, and save it at its own size.

    python scripts/demo.py [WEIGHTS]

WEIGHTS is a run's folder, a file of weights, or hf://user/name; by default, the weights that come with the software. Only this
machine can open the page, and the page contacts no other machine. Images lie in a temporary folder until the page is stopped
(Ctrl-C, SIGTERM). More is in docs/harmonize.md.
"""

import argparse
import html
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image, ImageChops

from frih import Harmonizer
from frih.common.drawing import color_labels
from frih.common.errors import UserError, need, run_command
from frih.data.images import reading
from frih.harmonizing.harmonizer import PRETRAINED
from frih.harmonizing.own_images import read_image

if TYPE_CHECKING:
    import gradio as gr

SHOWN = 1024, 1024
"""The largest width and height of an image on the page."""
UPLOAD_MB, MEGAPIXELS = 100, 50
"""The largest file and image that the page takes."""
OPACITY = 0.5
"""Opacity of the paint, so that the image can be seen through it."""


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
        import gradio as gr

        theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
        here = {"server_name": "127.0.0.1", "server_port": args.port, "share": False, "max_file_size": f"{UPLOAD_MB}mb"}
        print(f"http://127.0.0.1:{args.port}, until stopped (Ctrl-C)", flush=True)
        try:
            page.launch(**here, theme=theme, footer_links=[], run_history=False, quiet=True)
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


def build(harmonizer: Harmonizer) -> "gr.Blocks":
    """The page; ``launch`` serves it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # must stand before the import; otherwise Gradio reports its use
    import gradio as gr

    brush = gr.Brush(colors=[("#ff2d20", OPACITY)], color_mode="fixed")
    with gr.Blocks(title="FRIH", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        result = gr.State(time_to_live=3600)
        gr.Markdown("# FRIH: image harmonization\nOpen an image, paint over its foreground, and press Harmonize.")
        with gr.Row():
            with gr.Column():
                with gr.Row():
                    image = gr.File(label="Image", file_types=["image"], height=150)
                    mask = gr.File(label="Mask, instead of paint", file_types=["image"], height=150)
                drawing = gr.ImageEditor(
                    label="Foreground",
                    type="pil",
                    height=480,
                    sources=(),
                    transforms=(),
                    buttons=[],
                    brush=brush,
                    layers=gr.LayerOptions(disabled=True),
                )
                start = gr.Button("Harmonize", variant="primary")
            with gr.Column():
                slider = gr.ImageSlider(label="Before and after", format="png", buttons=["fullscreen"])
                strength = gr.Slider(0, 1, value=harmonizer.findings.strength, step=0.05, label="Strength")
                with gr.Row():
                    submasks = gr.Image(label="Submasks", format="png", height=260, buttons=[])
                    with gr.Column():
                        save = gr.Button("Make the file, at its own size")
                        file = gr.File(label="Harmonized image")
        shown = [result, slider, submasks, file]
        image.change(_told(open_image), image, [drawing, *shown])
        start.click(
            _told(partial(harmonize, harmonizer)),
            [image, drawing, mask, strength],
            shown,
            show_progress_on=slider,
            api_name="harmonize",
        )
        live = {"trigger_mode": "always_last", "show_progress": "hidden"}
        strength.change(_told(change_strength), [result, strength], [slider, file], **live)
        save.click(_told(save_result), [image, result, strength], file)
    return page


def open_image(path: str | None) -> tuple[Image.Image | None, ...]:
    """A new image to paint on, and four empty results."""
    return (_small(_open(path)) if path else None), None, None, None, None


def harmonize(
    harmonizer: Harmonizer, path: str | None, drawing: dict[str, Any] | None, mask: str | None, strength: float
) -> tuple[Result, tuple[Image.Image, Image.Image], Image.Image, None]:
    """Runs the network: the result, before and after, the submasks, and no file yet.

    Args:
        harmonizer: the network.
        path: the image's file.
        drawing: the editor's content; the paint on its ``"layers"`` is foreground.
        mask: a file; if there is one, the paint is ignored.
        strength: share of the change that is shown.
    """
    before = _open(path)
    if mask:
        _check_size(mask)
    cover = mask or paint_to_mask(drawing["layers"] if drawing else [], before.size)
    after, details = harmonizer(path, cover, strength=1.0, return_details=True)
    if not details.labels.any():
        raise UserError("the foreground is empty, or too small for the network to see")
    result = Result(before, after)
    pair, _ = change_strength(result, strength)
    submasks = Image.fromarray(color_labels(details.labels)).resize(pair[0].size, Image.Resampling.NEAREST)
    return result, pair, submasks, None


def change_strength(result: Result | None, strength: float) -> tuple[tuple[Image.Image, Image.Image] | None, None]:
    """Before and after at another strength; the file of the last strength is cleared."""
    return ((_small(result.before), _small(result.at(strength))) if result else None), None


def save_result(path: str | None, result: Result | None, strength: float) -> str:
    """Writes the harmonized image beside the uploaded one, as PNG, which keeps every value."""
    if not path or not result:
        raise UserError("there is no harmonized image yet; press Harmonize first")
    target = Path(tempfile.mkdtemp(dir=Path(path).parent)) / f"{Path(path).stem}-harmonized.png"
    image = result.at(strength)
    image.save(target, exif=image.info.get("exif"), compress_level=1)  # Pillow's default takes seconds
    return str(target)


def paint_to_mask(layers: list[Image.Image], size: tuple[int, int]) -> Image.Image:
    """The mask of paint, at the image's size. Where half-transparent strokes cross, the mask is full, not more."""
    mask = Image.new("L", size)
    for layer in layers:
        alpha = layer.getchannel("A").point(lambda value: min(255, round(value / OPACITY)))
        mask = ImageChops.lighter(mask, alpha.resize(size, Image.Resampling.BILINEAR))
    if mask.getbbox() is None:
        raise UserError("no foreground is marked; paint over it, or open a mask")
    return mask


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
