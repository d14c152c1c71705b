"""Outlines of objects in photos, as annotation programs write them, and the masks that they stand for.

It reads

- COCO's ``instances_*.json``, and files of other programs in this form: polygons, and run lengths (RLE) as lists or strings;
- LabelMe's XML, of the web tool: polygons and boxes;
- LabelMe's JSON, of the program ``labelme``: polygons, rectangles, circles, masks. Shapes of one label and one group are one
  object.

An image's upper left corner is (0, 0), and the centre of its first pixel is (0.5, 0.5). A pixel is foreground if its centre is
inside one of the outlines; where an outline crosses itself, by the even-odd rule. What lies outside the image is ignored.
"""

import base64
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.common.errors import UserError
from frih.data.images import open_rgb

Mask = NDArray[np.bool_]
"""(H, W), True = foreground."""
Size = tuple[int, int]
"""(width, height) in pixels."""


class Outline(NamedTuple):
    """A part of an object as its file has it. It may be faulty; :func:`draw` checks it."""

    kind: str
    """``polygon`` (corners), ``rectangle`` (two opposite corners), ``circle`` (centre and a point of the edge), ``mask``,
    ``rle``, or a kind that is not supported."""
    data: str
    """As JSON: the points; of a mask, its two corners and its image; of ``rle``, COCO's dictionary with ``size`` and
    ``counts``."""


class Outlined(NamedTuple):
    """An object in a photo."""

    where: str
    """For messages: the file, and the place in it."""
    category: str
    outlines: tuple[Outline, ...]
    size: Size | None
    """The photo's size, if the file has it."""
    crowd: bool
    """Whether one outline holds many objects (COCO's ``iscrowd``)."""


class AnnotatedPhoto(NamedTuple):
    """A photo and its objects, as a file has them."""

    source: Path
    """The file of annotations."""
    name: str
    """The photo's file name, perhaps with folders in front."""
    objects: list[Outlined]
    """In the file's order, without deleted ones."""
    embedded: bool
    """Whether the file holds the photo itself, for :func:`open_photo`."""


def find_annotations(path: Path) -> list[Path]:
    """Files of annotations: the path itself, or all .json and .xml files in that folder and the folders below it.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("[!.]*") if file.suffix.lower() in (".json", ".xml"))
    if not found:
        raise UserError(f"{path}: holds no annotations; give a .json or .xml file, or a folder of such files")
    return found


def read_annotations(path: Path) -> list[AnnotatedPhoto]:
    """Reads a file of annotations in any of the three forms; it does not check the outlines.

    Raises:
        UserError: the file cannot be read, is neither JSON nor XML, or lacks something that its form needs.
    """
    if path.suffix.lower() == ".xml":
        return [_read_xml(path)]
    tree = _load_json(path)
    if isinstance(tree, dict) and "shapes" in tree:
        return [_read_labelme(path, tree)]
    if isinstance(tree, dict) and "images" in tree and "annotations" in tree:
        return _read_coco(path, tree)
    raise UserError(f"{path}: has neither COCO's form (images, annotations, categories) nor LabelMe's (shapes)")


def open_photo(path: Path) -> Image.Image:
    """Reads a photo from its file, or from the LabelMe file (.json) that holds it, as :func:`~frih.data.images.open_rgb` does.

    Raises:
        UserError: it cannot be read, or is not plainly RGB.
    """
    if path.suffix.lower() != ".json":
        return open_rgb(path)
    try:
        content = base64.b64decode(_load_json(path)["imageData"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: its imageData cannot be read ({error}); put the photo beside the others") from None
    return open_rgb(path, io.BytesIO(content))


def draw(item: Outlined, size: Size) -> Mask:
    """Draws an object's mask in its photo, which has this size.

    Raises:
        UserError: the annotation is of another size, or an outline is faulty or of an unknown kind.
    """
    if item.size not in (None, size):
        sizes = "{} x {} pixels, but the photo has {} x {}".format(*item.size, *size)
        raise UserError(f"{item.where}: is of an image of {sizes}; annotate the same image")
    if not item.outlines:
        raise UserError(f"{item.where}: has no outline")
    mask = np.zeros(size[::-1], dtype=bool)
    for outline in item.outlines:
        if outline.kind not in _DRAW:
            raise UserError(f"{item.where}: is a {outline.kind}, which is not supported; use one of {', '.join(_DRAW)}")
        try:
            mask |= _DRAW[outline.kind](json.loads(outline.data), size)
        except (ValueError, TypeError, KeyError, OverflowError, OSError) as error:
            raise UserError(f"{item.where}: is a faulty {outline.kind} ({error})") from None
    return mask


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Says where a file does not have its form."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"{where}: needs {error}, which is not there") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: does not have the expected form ({error})") from None


def _read_coco(path: Path, tree: dict[str, Any]) -> list[AnnotatedPhoto]:
    photos: dict[Any, AnnotatedPhoto] = {}
    sizes: dict[Any, Size | None] = {}
    with _told(f"{path}: images, annotations and categories"):
        categories = {record["id"]: str(record["name"]) for record in tree["categories"]}
        images, annotations = list(tree["images"]), list(tree["annotations"])
    for position, record in enumerate(images):
        with _told(f"{path}: images[{position}]"):
            photos[record["id"]] = AnnotatedPhoto(path, str(record["file_name"]), [], embedded=False)
            sizes[record["id"]] = _size(record.get("width"), record.get("height"))
    for position, record in enumerate(annotations):
        with _told(f"{path}: annotations[{position}]"):
            photo, size = photos[record["image_id"]], sizes[record["image_id"]]
            where = f"{path.name}: annotation {record.get('id', position)} of {photo.name}"
            outlines, crowd = tuple(_coco_outlines(record.get("segmentation"))), bool(record.get("iscrowd"))
            photo.objects.append(Outlined(where, categories[record["category_id"]], outlines, size, crowd))
    return list(photos.values())


def _coco_outlines(segmentation: Any) -> Iterable[Outline]:
    if isinstance(segmentation, dict):
        return [Outline("rle", json.dumps(segmentation))]
    return [Outline("polygon", json.dumps(points)) for points in segmentation or ()]


def _read_labelme(path: Path, tree: dict[str, Any]) -> AnnotatedPhoto:
    groups: dict[Any, list[Outline]] = {}
    with _told(f"{path} (LabelMe)"):
        name = str(tree["imagePath"]).replace("\\", "/")
        size = _size(tree.get("imageWidth"), tree.get("imageHeight"))
        for position, shape in enumerate(tree["shapes"]):
            label, group = str(shape["label"]), shape.get("group_id")
            kind, points = str(shape.get("shape_type") or "polygon"), shape["points"]
            data = {"points": points, "image": shape["mask"]} if kind == "mask" else points
            outline = Outline(kind, json.dumps(data))
            # a shape without a group is an object of its own
            groups.setdefault((label, group, position if group is None else None), []).append(outline)
    objects = [
        Outlined(f"{path.name}: object {number} ({label})", label, tuple(outlines), size, crowd=False)
        for number, ((label, *_), outlines) in enumerate(groups.items(), 1)
    ]
    return AnnotatedPhoto(path, name, objects, embedded=bool(tree.get("imageData")))


def _read_xml(path: Path) -> AnnotatedPhoto:
    try:
        root = ElementTree.fromstring(path.read_bytes())
        size = _size(root.findtext("imagesize/ncols"), root.findtext("imagesize/nrows"))
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as LabelMe's XML ({error})") from None
    name, folder = ((root.findtext(tag) or "").strip() for tag in ("filename", "folder"))
    if not name:
        raise UserError(f"{path} (LabelMe): needs <filename>, which is not there")
    objects = []
    for number, record in enumerate(root.iter("object"), 1):
        if (record.findtext("deleted") or "").strip() == "1":
            continue
        category = (record.findtext("name") or "").strip()
        points = [(point.findtext("x"), point.findtext("y")) for point in record.iterfind("polygon/pt")]
        outlines = (Outline("polygon", json.dumps(points)),) if record.find("polygon") is not None else ()
        where = f"{path.name}: object {number} ({category})"
        objects.append(Outlined(where, category, outlines, size, crowd=False))
    return AnnotatedPhoto(path, f"{folder}/{name}" if folder else name, objects, embedded=False)


def _size(width: Any, height: Any) -> Size | None:
    """The size, if the file has both sides; files without a size leave them out or write 0."""
    sides = int(width or 0), int(height or 0)
    return sides if all(sides) else None


def _points(data: Any, least: int) -> NDArray[np.float64]:
    """(N, 2): x and y, from a list of pairs or of numbers."""
    points = np.asarray(data, dtype=np.float64).reshape(-1, 2)
    if len(points) < least:
        raise ValueError(f"it has {len(points)} points, but needs {least}")
    if not np.isfinite(points).all():
        raise ValueError("it has a point that is not a number")
    return points


def _draw_polygon(data: Any, size: Size) -> Mask:
    points = _points(data, 3)
    width, height = size
    crossings = np.zeros((height, width + 1), dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        # rows with their centre from the edge's upper end to just before its lower end, so that a corner counts once
        top, bottom = np.clip(np.ceil(np.array([min(y0, y1), max(y0, y1)]) - 0.5), 0, height).astype(int)
        rows = np.arange(top, bottom)
        if rows.size:
            x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            crossings[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(crossings, axis=1)[:, :width]


def _draw_rectangle(data: Any, size: Size) -> Mask:
    (x0, y0), (x1, y1) = _points(data, 2)
    return _draw_polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], size)


def _draw_circle(data: Any, size: Size) -> Mask:
    (x, y), edge = _points(data, 2)
    columns, rows = np.arange(size[0]) + 0.5, np.arange(size[1])[:, None] + 0.5
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < (edge[0] - x) ** 2 + (edge[1] - y) ** 2)


def _draw_mask(data: Any, size: Size) -> Mask:
    """Draws a small image, in which all but 0 is foreground, from the first corner on; the last one belongs to it."""
    corners = np.floor(_points(data["points"], 2)[:2]).astype(int)
    (left, top), sides = corners.min(axis=0), np.ptp(corners, axis=0) + 1
    with Image.open(io.BytesIO(base64.b64decode(data["image"]))) as file:
        part = file.convert("L").point([0] + 255 * [1])
    if (np.abs(part.size - sides) > 1).any():  # writers round differently
        raise ValueError("its image has {} x {} pixels, but its corners hold {} x {}".format(*part.size, *sides))
    mask = Image.new("L", size)
    mask.paste(part, (int(left), int(top)))
    return np.asarray(mask) > 0


def _draw_rle(data: Any, size: Size) -> Mask:
    """Draws alternating runs of background and foreground, down the columns."""
    height, width = data["size"]
    if (width, height) != size:
        raise ValueError(f"its image has {width} x {height} pixels, which is not the photo's size")
    counts = data["counts"]
    lengths = np.asarray(_decoded(counts) if isinstance(counts, str) else counts, dtype=np.int64)
    if (lengths < 0).any() or lengths.sum() != width * height:
        raise ValueError(f"its counts add up to {lengths.sum()}, not to {width} x {height}")
    foreground = np.arange(lengths.size) % 2 == 1
    return np.asarray(np.repeat(foreground, lengths).reshape(width, height).T)


def _decoded(text: str) -> list[int]:
    """Lengths of runs from COCO's string.

    A character holds 5 bits of a number, the low bits first, and 48 is added to it. Bit 32 says that another follows; bit 16 of
    the last one is the sign. From the fourth number on, a number is the difference from the one two places before.
    """
    values: list[int] = []
    value = place = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"its counts hold {character!r}, which is not allowed there")
        value |= (code & 31) << place
        place += 5
        if not code & 32:
            value -= (code & 16) << 1 << place - 5
            values.append(value + values[-2] if len(values) > 2 else value)
            value = place = 0
    if place or not values:
        raise ValueError("its counts break off")
    return values


_DRAW = {
    "polygon": _draw_polygon,
    "rectangle": _draw_rectangle,
    "circle": _draw_circle,
    "mask": _draw_mask,
    "rle": _draw_rle,
}
