"""Images to look at beside a result: before and after at full size, and the submasks."""

import numpy as np
from PIL import Image

from frih.common.drawing import color_labels, image_sheet

_SIDE = 512
"""The longer side of an image of submasks, which are the network's, at its size."""


def before_and_after(before: Image.Image, after: Image.Image) -> Image.Image:
    """A composite and its result side by side, at their own size; what is transparent is white."""
    shown = [np.asarray(_on_white(image)) for image in (before, after)]
    text = max(16, min(before.height // 30, before.width // 10))
    return Image.fromarray(image_sheet([shown], ["composite", "harmonized"], text=text))


def submask_image(labels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Submasks in colours, in the shape of an image of this size, made small."""
    scale = min(1.0, _SIDE / max(size))
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return Image.fromarray(color_labels(labels)).resize(small, Image.Resampling.NEAREST)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
