"""Images to look at: submasks in colours, and the stages of a harmonization side by side."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

_BACKGROUND = "#18181c"
_TEN = ["#4477aa", "#ee8866", "#44bb99", "#ffd35c", "#aa3377", "#99ddff", "#8b6d4b", "#bbcc33", "#ee6677", "#b9a7e0"]
PALETTE = np.array([ImageColor.getrgb(color) for color in (_BACKGROUND, *_TEN)], dtype=np.uint8)
"""Colours of the background and of ten submasks, chosen so that colour-blind people can tell them apart."""
_TEXT = 16
_MARGIN, _HEADING, _CAPTION = 6, 26, 22
"""Pixels of a sheet whose text is of that size."""


def color_labels(labels: np.ndarray) -> np.ndarray:
    """A label map (H, W), 0 = background, as an image (H, W, 3) uint8. Submask 11 has the colour of submask 1, and so on."""
    index = np.where(labels == 0, 0, 1 + (labels.astype(np.intp) - 1) % (len(PALETTE) - 1))
    return PALETTE[index]


def image_sheet(
    rows: Sequence[Sequence[np.ndarray]], headings: Sequence[str], captions: Sequence[str] = (), text: int = _TEXT
) -> np.ndarray:
    """Lays images out in rows under headings.

    Args:
        rows: images (H, W, 3) uint8 and masks (H, W) uint8; each row has as many as there are headings, and its own height.
        headings: one for each column.
        captions: one for each row, which stands above it; or none.
        text: height of the letters; margins go with it.

    Returns:
        (., ., 3) uint8.
    """
    margin, heading_height, caption_height = (round(text / _TEXT * size) for size in (_MARGIN, _HEADING, _CAPTION))
    width = max(image.shape[1] for row in rows for image in row)
    above = caption_height if captions else 0
    heights = [above + max(image.shape[0] for image in row) + margin for row in rows]
    tops = [heading_height, *(heading_height + np.cumsum(heights)).tolist()]
    sheet = Image.new("RGB", (margin + len(headings) * (width + margin), tops[-1]), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=text)
    for column, heading in enumerate(headings):
        left = margin + column * (width + margin)
        pen.text((left + width / 2, heading_height / 2), heading, "black", font, anchor="mm")
        for top, row in zip(tops[:-1], rows, strict=True):
            sheet.paste(Image.fromarray(row[column]).convert("RGB"), (left, top + above))
    for top, caption in zip(tops, captions, strict=False):
        pen.text((margin, top + above / 2), caption, "black", font, anchor="lm")
    return np.asarray(sheet)
