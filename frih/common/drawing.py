"""Images to look at: submasks in colours, and the stages of a harmonization side by side."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

_BACKGROUND = "#18181c"
_TEN = ["#4477aa", "#ee8866", "#44bb99", "#ffd35c", "#aa3377", "#99ddff", "#8b6d4b", "#bbcc33", "#ee6677", "#b9a7e0"]
PALETTE = np.array([ImageColor.getrgb(color) for color in (_BACKGROUND, *_TEN)], dtype=np.uint8)
"""Colours of the background and of ten submasks, chosen so that colour-blind people can tell them apart."""
_MARGIN = 6
_HEADING = 26
_CAPTION = 22


def color_labels(labels: np.ndarray) -> np.ndarray:
    """A label map (H, W), 0 = background, as an image (H, W, 3) uint8. Submask 11 has the colour of submask 1, and so on."""
    index = np.where(labels == 0, 0, 1 + (labels.astype(np.intp) - 1) % (len(PALETTE) - 1))
    return PALETTE[index]


def image_sheet(
    rows: Sequence[Sequence[np.ndarray]], headings: Sequence[str], captions: Sequence[str] = ()
) -> np.ndarray:
    """Lays images out in rows under headings.

    Args:
        rows: images (H, W, 3) uint8 and masks (H, W) uint8; each row has as many as there are headings, and its own height.
        headings: one for each column.
        captions: one for each row, which stands above it; or none.

    Returns:
        (., ., 3) uint8.
    """
    width = max(image.shape[1] for row in rows for image in row)
    above = _CAPTION if captions else 0
    heights = [above + max(image.shape[0] for image in row) + _MARGIN for row in rows]
    tops = [_HEADING, *(_HEADING + np.cumsum(heights)).tolist()]
    sheet = Image.new("RGB", (_MARGIN + len(headings) * (width + _MARGIN), tops[-1]), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for column, heading in enumerate(headings):
        left = _MARGIN + column * (width + _MARGIN)
        pen.text((left + width / 2, _HEADING / 2), heading, "black", font, anchor="mm")
        for top, row in zip(tops[:-1], rows, strict=True):
            sheet.paste(Image.fromarray(row[column]).convert("RGB"), (left, top + above))
    for top, caption in zip(tops, captions, strict=False):
        pen.text((_MARGIN, top + above / 2), caption, "black", font, anchor="lm")
    return np.asarray(sheet)
