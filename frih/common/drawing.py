"""Images to look at: submasks in colours, and the stages of a harmonization side by side."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

COLORS = (
    "#18181c",  # background
    "#4477aa",
    "#ee8866",
    "#44bb99",
    "#ffd35c",
    "#aa3377",
    "#99ddff",
    "#8b6d4b",
    "#bbcc33",
    "#ee6677",
    "#b9a7e0",
)
"""Of the background and of ten submasks, to be told apart by the colour-blind too; further ones begin again."""
PALETTE = np.array([ImageColor.getrgb(color) for color in COLORS], dtype=np.uint8)
STAGES = ("composite", "mask", "submasks", "coarse", "refined", "real")
"""The columns of an image row."""
_MARGIN = 6
_HEADING = 26


def color_labels(labels: np.ndarray) -> np.ndarray:
    """A label map (H, W), 0 = background, as an image (H, W, 3) uint8."""
    index = np.where(labels == 0, 0, 1 + (labels.astype(np.intp) - 1) % (len(PALETTE) - 1))
    return PALETTE[index]


def image_sheet(rows: Sequence[Sequence[np.ndarray]], headings: Sequence[str] = STAGES) -> np.ndarray:
    """Lays images out in rows under headings.

    Args:
        rows: images (H, W, 3) uint8, masks (H, W) uint8; all of one size, as many in each row as headings.
        headings: one a column.

    Returns:
        (., ., 3) uint8.
    """
    height, width = rows[0][0].shape[:2]
    step_x, step_y = width + _MARGIN, height + _MARGIN
    sheet = Image.new("RGB", (_MARGIN + len(headings) * step_x, _HEADING + len(rows) * step_y), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for column, heading in enumerate(headings):
        pen.text((_MARGIN + column * step_x + width / 2, _HEADING / 2), heading, "black", font, anchor="mm")
        for line, row in enumerate(rows):
            sheet.paste(
                Image.fromarray(row[column]).convert("RGB"), (_MARGIN + column * step_x, _HEADING + line * step_y)
            )
    return np.asarray(sheet)
