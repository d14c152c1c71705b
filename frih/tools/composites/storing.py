"""How composites are stored, and what evaluation sees of the stored files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.data.transforms import render, whole

_EVALUATION_SIZE = 256


def encoded(image: NDArray[np.uint8]) -> bytes:
    """An image, (H, W, 3), as JPEG of quality 95 with colours at full resolution; a mask, (H, W), as PNG."""
    file = io.BytesIO()
    if image.ndim == 3:
        Image.fromarray(image).save(file, "JPEG", quality=95, subsampling=0)
    else:
        Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def at_evaluation(content: bytes) -> NDArray[np.float64]:
    """A stored image, (256, 256, 3), or mask, (256, 256), in 0..255, as evaluation sees it."""
    image = Image.open(io.BytesIO(content))
    return render(image, whole(image), _EVALUATION_SIZE).astype(np.float64)
