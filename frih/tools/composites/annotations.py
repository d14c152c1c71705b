"""Outlines of objects in photos, from the files of annotation programs, and the masks they stand for.

Read are

- COCO's ``instances_*.json``, and what others export in its form: polygons, and run lengths (RLE) as lists or as strings;
- LabelMe's XML, of the web tool: polygons and boxes;
- LabelMe's JSON, of the program ``labelme``: polygons, rectangles, circles. Shapes of one label and one group are one object.

An image's upper left corner is (0, 0) and the centre of its first pixel (0.5, 0.5). A pixel is foreground if its centre is
inside the outline, by the even-odd rule where an outline crosses itself; of several outlines, if it is inside one of them. What
lies outside the image does not count.
"""

import base64
import io
import json
from collections.abc import Iterable
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
    """A part of an object as its file has it, perhaps faulty; :func:`draw` will tell."""

    kind: str
    """``polygon`` (corners), ``rectangle`` (two opposite corners), ``circle`` (centre and a point of the edge), ``rle``, or
    what is not read."""
    data: str
    """The points, or COCO's dictionary with ``size`` and ``counts``, as JSON."""


class Outlined(NamedTuple):
    """An object in a photo."""

    where: str
    """For messages: the file, and where in it."""
    category: str
    outlines: tuple[Outline, ...]
    size: Size | None
    """Of the photo, if the file tells."""
    crowd: bool
    """Whether these are many objects in one outline (COCO's ``iscrowd``)."""


class AnnotatedPhoto(NamedTuple):
    """What a file says of a photo."""

    source: Path
    """The file of annotations."""
    name: str
    """The photo's file name, perhaps with folders in front."""
    objects: list[Outlined]
    """In the file's order; deleted ones are left out."""
    embedded: bool
    """Whether the file holds the photo itself, for :func:`open_photo`."""


def find_annotations(path: Path) -> list[Path]:
    """Files of annotations: the path itself, or all .json and .xml in that folder and its folders.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("[!.]*") if file.suffix.lower() in (".json", ".xml"))
    if not found:
        raise UserError(f"{path}: holds no annotations; give a .json or .xml file, or a folder of such")
    return found


def read_annotations(path: Path) -> list[AnnotatedPhoto]:
    """Reads a file of annotations in any of the three forms; outlines are not looked into yet.

    Raises:
        UserError: it cannot be read, is neither JSON nor XML, or lacks what its form needs.
    """
    if path.suffix.lower() == ".xml":
        return [_read_xml(path)]
    tree = _load_json(path)
    if isinstance(tree, dict) and "shapes" in tree:
        return [_read_labelme(path, tree)]
    if isinstance(tree, dict) and "images" in tree and "annotations" in tree:
        return _read_coco(path, tree)
    raise UserError(f"{path}: is neither of COCO's form (images, annotations, categories) nor of LabelMe's (shapes)")


def open_photo(path: Path) -> Image.Image:
    """A photo from its file, or the one that a LabelMe file (.json) holds; as :func:`~frih.data.images.open_rgb` has it.

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
    """An object's mask in its photo, which is of that size.

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
            kinds = ", ".join(_DRAW)
            raise UserError(f"{item.where}: is a {outline.kind}, which is not read; outlines are one of {kinds}")
        try:
            mask |= _DRAW[outline.kind](json.loads(outline.data), size)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise UserError(f"{item.where}: is a faulty {outline.kind} ({error})") from None
    return mask


def decode_counts(text: str) -> NDArray[np.int64]:
    """Lengths of runs, (N,), from COCO's string.

    A number is written in characters of 5 bits each, the low bits first, with 48 added. 32 more says that another follows, and
    bit 16 of the last is the sign. From the fourth number on it is the difference from the one two places before.

    Raises:
        ValueError: the string breaks off or holds other characters.
    """
    codes = np.frombuffer(text.encode("latin-1"), dtype=np.uint8).astype(np.int64) - 48
    if ((codes < 0) | (codes > 63)).any():
        raise ValueError("its counts hold a character that none may be")
    if not codes.size or codes[-1] & 32:
        raise ValueError("its counts break off")
    last = np.flatnonzero(~codes & 32)
    first = np.concatenate(([0], last[:-1] + 1))
    length = last - first + 1
    place = np.arange(codes.size) - np.repeat(first, length)
    values = np.add.reduceat((codes & 31) << 5 * place, first)
    values -= np.where(codes[last] & 16, 1 << 5 * length, 0)
    for start in (1, 2):
        values[start::2] = np.cumsum(values[start::2])
    return values


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None


def _read_coco(path: Path, tree: dict[str, Any]) -> list[AnnotatedPhoto]:
    where = "images, annotations and categories"
    try:
        categories = {record["id"]: str(record["name"]) for record in tree["categories"]}
        photos, sizes = {}, {}
        for position, record in enumerate(tree["images"]):
            where = f"images[{position}]"
            photos[record["id"]] = AnnotatedPhoto(path, str(record["file_name"]), [], embedded=False)
            sizes[record["id"]] = _size(record.get("width"), record.get("height"))
        for position, record in enumerate(tree["annotations"]):
            where = f"annotations[{position}]"
            image, crowd = record["image_id"], bool(record.get("iscrowd"))
            outlines = tuple(_coco_outlines(record.get("segmentation")))
            name = f"{path.name}: annotation {record.get('id', position)} of {photos[image].name}"
            photos[image].objects.append(
                Outlined(name, categories[record["category_id"]], outlines, sizes[image], crowd)
            )
    except KeyError as error:
        raise UserError(f"{path}: {where} lacks or refers to {error}, which is not there") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: {where} is not of COCO's form ({error})") from None
    return list(photos.values())


def _coco_outlines(segmentation: Any) -> Iterable[Outline]:
    if isinstance(segmentation, dict):
        return [Outline("rle", json.dumps(segmentation))]
    return [Outline("polygon", json.dumps(points)) for points in segmentation or ()]


def _read_labelme(path: Path, tree: dict[str, Any]) -> AnnotatedPhoto:
    groups: dict[Any, list[Outline]] = {}
    try:
        name = str(tree["imagePath"]).replace("\\", "/")
        size = _size(tree.get("imageWidth"), tree.get("imageHeight"))
        for position, shape in enumerate(tree["shapes"]):
            label, group = str(shape["label"]), shape.get("group_id")
            outline = Outline(shape.get("shape_type") or "polygon", json.dumps(shape["points"]))
            # without a group each shape is an object by itself
            groups.setdefault((label, group, position if group is None else None), []).append(outline)
    except KeyError as error:
        raise UserError(f"{path}: lacks {error}, which LabelMe's form has") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: is not of LabelMe's form ({error})") from None
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
        raise UserError(f"{path}: lacks <filename>, which LabelMe's form has")
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
    """A size, where both sides are told; files without write nothing or 0."""
    sides = int(width or 0), int(height or 0)
    return sides if all(sides) else None


def _points(data: Any, least: int) -> NDArray[np.float64]:
    """(N, 2): x and y, from pairs or one after the other."""
    points = np.asarray(data, dtype=np.float64).reshape(-1, 2)
    if len(points) < least:
        raise ValueError(f"it has {len(points)} points, but needs {least}")
    if not np.isfinite(points).all():
        raise ValueError("it has a point that is no number")
    return points


def _draw_polygon(data: Any, size: Size) -> Mask:
    points = _points(data, 3)
    width, height = size
    crossings = np.zeros((height, width + 1), dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        # rows whose centres are from the edge's upper end to just before its lower one, so that a corner counts once
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


def _draw_rle(data: Any, size: Size) -> Mask:
    """Runs of background and foreground by turns, down the columns."""
    height, width = data["size"]
    if (width, height) != size:
        raise ValueError(f"it is of an image of {width} x {height} pixels, which is not the photo's size")
    counts = data["counts"]
    lengths = decode_counts(counts) if isinstance(counts, str) else np.asarray(counts, dtype=np.int64)
    if (lengths < 0).any() or lengths.sum() != width * height:
        raise ValueError(f"its counts add up to {lengths.sum()}, not to {width} x {height}")
    foreground = np.arange(lengths.size) % 2 == 1
    return np.asarray(np.repeat(foreground, lengths).reshape(width, height).T)


_DRAW = {"polygon": _draw_polygon, "rectangle": _draw_rectangle, "circle": _draw_circle, "rle": _draw_rle}
