"""Images inside an HTML page: as they are, made smaller, or replaced by a link to their file."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

LIMIT = 18_500_000
"""Characters that a page's images may take; the whole page then stays under 20 MB."""
PREVIEW, QUALITY = 168, 42
"""Longer side and WebP quality of images that are made smaller."""


class Album:
    """Takes images as long as there is room.

    Args:
        limit: characters that they may take together.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.room = limit

    def take(self, path: Path, *, smaller: bool = False) -> str:
        """An image's content as a data URI; empty if there is no room left for it."""
        content = path.read_bytes()
        kind = "jpeg" if path.suffix == ".jpg" else "webp"
        if smaller and len(shrunk := _smaller(content)) < len(content):
            content, kind = shrunk, "webp"
        uri = f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")
        if len(uri) > self.room:
            return ""
        self.room -= len(uri)
        return uri

    def fits(self, paths: Iterable[Path]) -> bool:
        """Whether there is room for all of these as they are."""
        return sum(4 * (path.stat().st_size + 2) // 3 + 30 for path in paths) <= self.room


def size_of(path: Path) -> list[int]:
    """Width and height of an image, in pixels."""
    with Image.open(path) as image:
        return list(image.size)


def _smaller(content: bytes) -> bytes:
    """The image with fewer pixels and less quality, as WebP."""
    image = Image.open(io.BytesIO(content))
    image.thumbnail((PREVIEW, PREVIEW), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return file.getvalue()
