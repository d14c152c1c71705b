"""Outlines in COCO's and LabelMe's forms, drawn pixel by pixel."""

import base64
import io
import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.tools.composites.annotations import Outline, Outlined, draw, find_annotations, open_photo, read_annotations
from tests.conftest import save, smooth_image

COCO = {
    "images": [{"id": 7, "file_name": "a.jpg", "width": 6, "height": 4}, {"id": 3, "file_name": "b c.png"}],
    "categories": [{"id": 1, "name": "car"}, {"id": 90, "name": "tree"}],
    "annotations": [
        {
            "id": 11,
            "image_id": 7,
            "category_id": 1,
            "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [4, 2, 6, 2, 6, 4, 4, 4]],
        },
        {"id": 12, "image_id": 7, "category_id": 90, "iscrowd": 1, "segmentation": {"size": [4, 6], "counts": [24]}},
        {"id": 13, "image_id": 7, "category_id": 90, "iscrowd": 0, "segmentation": {"size": [4, 6], "counts": "45?"}},
        {"id": 14, "image_id": 3, "category_id": 1, "segmentation": []},
    ],
}


def stamp(*lines):
    """A small image of 0 and 1 as labelme stores it."""
    file = io.BytesIO()
    Image.fromarray(np.array([[dot == "#" for dot in line] for line in lines], dtype=np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


DOT = stamp("#")
LABELME = {
    "version": "5.5.0",
    "shapes": [
        {"label": "car", "points": [[0, 0], [2, 0], [2, 2], [0, 2]], "group_id": 1, "shape_type": "polygon"},
        {"label": "sun", "points": [[3, 2], [3, 1]], "group_id": None, "shape_type": "circle"},
        {"label": "car", "points": [[6, 4], [4, 2]], "group_id": 1, "shape_type": "rectangle"},
        {"label": "sun", "points": [[2, 1], [2, 1]], "group_id": 4, "shape_type": "mask", "mask": DOT},
        {"label": "sun", "points": [[0, 3], [1, 3], [1, 4]]},  # before version 4 all were polygons
    ],
    "imagePath": "..\\photos\\a.jpg",
    "imageData": None,
    "imageHeight": 4,
    "imageWidth": 6,
}
XML = """<annotation><filename>a.jpg</filename><folder>street</folder>
<imagesize><nrows>4</nrows><ncols>6</ncols></imagesize>
<object><name>
car
</name><deleted>0</deleted><id>0</id><polygon><username>me</username>
<pt><x>0</x><y>0</y></pt><pt><x>2</x><y>0</y></pt><pt><x>2</x><y>2</y></pt><pt><x>0</x><y>2</y></pt></polygon></object>
<object><name>gone</name><deleted>1</deleted><polygon/></object>
<object><name>sky</name><deleted>0</deleted><type>bounding_box</type><polygon>
<pt><x>4</x><y>2</y></pt><pt><x>6</x><y>2</y></pt><pt><x>6</x><y>4</y></pt><pt><x>4</x><y>4</y></pt></polygon></object>
<object><name>scribble</name><segm><mask>a_mask_1.png</mask></segm></object></annotation>"""


def rows(mask):
    return ["".join(".#"[value] for value in row) for row in mask.astype(int)]


def drawn(kind, data, size):
    return draw(Outlined("here", "", (Outline(kind, json.dumps(data)),), None, False), size)


def stored(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def encode(values):
    """COCO's rule for run lengths as a string."""
    text = ""
    for index, value in enumerate(values):
        rest, more = value - (values[index - 2] if index > 2 else 0), True
        while more:
            code, rest = rest & 31, rest >> 5
            more = rest != (-1 if code & 16 else 0)
            text += chr(code + 32 * more + 48)
    return text


def is_inside(x, y, points):
    """The even-odd rule: counts how often a ray to the left meets the outline."""
    meets = 0
    points = [tuple(map(Fraction, point)) for point in points]
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if min(y0, y1) <= y < max(y0, y1):
            meets += x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
    return meets % 2 == 1


def test_run_lengths_as_a_string():
    assert encode([16, 4, 4, 3]) == "`044O"  # 16 takes two characters, because one's highest bit is the sign
    rng = np.random.default_rng(0)
    for length in range(1, 40):
        counts = rng.integers(0, 2 ** rng.integers(1, 10), length).tolist()
        size = [1, sum(counts)]
        expected = drawn("rle", {"size": size, "counts": counts}, (sum(counts), 1))
        assert np.array_equal(drawn("rle", {"size": size, "counts": encode(counts)}, (sum(counts), 1)), expected)


def test_run_lengths_go_down_the_columns():
    expected = [".#.", "#.."]
    assert rows(drawn("rle", {"size": [2, 3], "counts": [1, 2, 3]}, (3, 2))) == expected
    assert rows(drawn("rle", {"size": [2, 3], "counts": "123"}, (3, 2))) == expected
    assert drawn("rle", {"size": [2, 3], "counts": [0, 6]}, (3, 2)).all()


def test_polygons_by_hand():
    assert rows(drawn("polygon", [[1, 1], [3, 1], [3, 3], [1, 3]], (4, 4))) == ["....", ".##.", ".##.", "...."]
    assert rows(drawn("polygon", [[0, 0], [4, 0], [0, 4]], (4, 4)))[1:] == ["##..", "#...", "...."]
    # a bow, whose left and right are inside; one that reaches over all sides; one that is beside the image
    assert rows(drawn("polygon", [[0, 0], [4, 4], [4, 0], [0, 4]], (4, 4))) == ["...#", "#.##", "#.##", "...#"]
    assert drawn("polygon", [[-9, -9], [9, -9], [9, 9], [-9, 9]], (4, 3)).all()
    assert not drawn("polygon", [[5, 5], [9, 5], [9, 9]], (4, 4)).any()


def test_polygons_against_the_rule_taken_literally():
    rng = np.random.default_rng(1)
    for corners in (3, 4, 5, 9, 30):
        for _ in range(4):
            points = (rng.random((corners, 2)) * 20 - 4).round(3).tolist()
            mask = drawn("polygon", points, (12, 9))
            half = Fraction(1, 2)
            assert mask.tolist() == [[is_inside(x + half, y + half, points) for x in range(12)] for y in range(9)]


def test_polygons_with_a_common_edge_share_no_pixel_and_leave_none_out():
    corners, middle = [[0, 0], [8, 0], [8, 8], [0, 8]], [3.5, 2.5]  # the middle is a pixel's centre
    parts = [drawn("polygon", [corners[i], corners[(i + 1) % 4], middle], (8, 8)) for i in range(4)]
    assert (np.sum(parts, axis=0) == 1).all()


def test_rectangles_and_circles():
    assert rows(drawn("rectangle", [[3, 2], [1, 0.4]], (4, 3))) == [".##.", ".##.", "...."]
    assert rows(drawn("circle", [[2, 2], [2, 3.7]], (4, 4))) == [".##.", "####", "####", ".##."]
    assert rows(drawn("circle", [[0.5, 0.5], [1.6, 0.5]], (3, 3))) == ["##.", "#..", "..."]


def test_masks_of_a_part_of_the_photo():
    part = stamp("#.#", ".#.")
    assert rows(drawn("mask", {"points": [[1, 1], [3, 2]], "image": part}, (5, 4))) == [
        ".....",
        ".#.#.",
        "..#..",
        ".....",
    ]
    assert rows(drawn("mask", {"points": [[3.9, 2.2], [1.4, 0.8]], "image": part}, (5, 2))) == [".#.#.", "..#.."]
    assert rows(drawn("mask", {"points": [[-1, 3], [1, 4]], "image": part}, (4, 4)))[3] == ".#.."  # clipped


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("mask", {"points": [[1, 1], [2, 2]], "image": "?"}, "here: is a faulty mask"),
        ("mask", {"points": [[1, 1], [2, 2]], "image": None}, "is a faulty mask"),
        ("mask", {"points": [[0, 0], [3, 2]], "image": stamp("#")}, "has 1 x 1 pixels, but its corners hold 4 x 3"),
        ("polygon", [[0, 0], [1, 1]], "here: is a faulty polygon .*has 2 points, but needs 3"),
        ("polygon", [0, 0, 1, 1, 2], "here: is a faulty polygon"),
        ("polygon", [0, 0, 1, 1, 2, None], "a point that is not a number"),
        ("polygon", 5, "is a faulty polygon"),
        ("rectangle", [[0, 0]], "has 1 points, but needs 2"),
        ("circle", [[0, 0], ["x", 1]], "is a faulty circle"),
        ("linestrip", [[0, 0], [1, 1]], "here: is a linestrip, which is not supported; use one of polygon, re"),
        ("rle", {"size": [3, 4], "counts": [5, 6]}, "faulty rle .*its counts add up to 11, not to 4 x 3"),
        ("rle", {"size": [3, 4], "counts": [-1, 13]}, "its counts add up"),
        ("rle", {"size": [3, 4], "counts": [10**30]}, "is a faulty rle"),
        ("rle", {"size": [3, 4], "counts": "5"}, "its counts add up to 5"),
        ("rle", {"size": [3, 4], "counts": "P"}, "its counts break off"),
        ("rle", {"size": [3, 4], "counts": "4P"}, "its counts break off"),
        ("rle", {"size": [3, 4], "counts": ""}, "its counts break off"),
        ("rle", {"size": [3, 4], "counts": "4!4"}, "its counts hold '!'"),
        ("rle", {"size": [3, 4], "counts": "4~"}, "its counts hold '~'"),
        ("rle", {"size": [4, 3], "counts": [12]}, "its image has 3 x 4 pixels, which is not the photo's"),
        ("rle", {"counts": [12]}, "is a faulty rle .*'size'"),
    ],
)
def test_faulty_outlines_are_named(kind, data, message):
    with pytest.raises(UserError, match=message):
        drawn(kind, data, (4, 3))


def test_annotations_of_another_image_are_refused():
    with pytest.raises(UserError, match="here: is of an image of 4 x 3 pixels, but the photo has 8 x 6"):
        draw(Outlined("here", "", (Outline("polygon", "[[0, 0], [1, 0], [0, 1]]"),), (4, 3), False), (8, 6))
    with pytest.raises(UserError, match="here: has no outline"):
        draw(Outlined("here", "", (), (4, 3), False), (4, 3))


def test_coco(tmp_path):
    first, second = read_annotations(stored(tmp_path / "instances.json", COCO))
    assert (first.name, second.name, second.embedded) == ("a.jpg", "b c.png", False)
    assert [(item.category, item.crowd, item.size) for item in first.objects] == [
        ("car", False, (6, 4)),
        ("tree", True, (6, 4)),
        ("tree", False, (6, 4)),
    ]
    assert first.objects[2].where == "instances.json: annotation 13 of a.jpg"
    assert rows(draw(first.objects[0], (6, 4))) == ["##....", "##....", "....##", "....##"]
    assert rows(draw(first.objects[2], (6, 4))) == [".##...", ".#....", ".#....", ".#...."]
    assert second.objects[0].size is None


def test_labelme_json(tmp_path):
    (photo,) = read_annotations(stored(tmp_path / "a.json", LABELME))
    assert (photo.name, photo.embedded) == ("../photos/a.jpg", False)
    assert [item.category for item in photo.objects] == ["car", "sun", "sun", "sun"]
    assert photo.objects[1].where == "a.json: object 2 (sun)"
    assert rows(draw(photo.objects[0], (6, 4))) == ["##....", "##....", "....##", "....##"]
    assert rows(draw(photo.objects[1], (6, 4))) == ["......", "..##..", "..##..", "......"]
    assert rows(draw(photo.objects[2], (6, 4))) == ["......", "..#...", "......", "......"]


def test_labelme_xml(tmp_path):
    (photo,) = read_annotations(stored(tmp_path / "a.XML", XML))
    assert photo.name == "street/a.jpg"
    assert [item.category for item in photo.objects] == ["car", "sky", "scribble"]
    assert rows(draw(photo.objects[0], (6, 4))) == ["##....", "##....", "......", "......"]
    assert rows(draw(photo.objects[1], (6, 4))) == ["......", "......", "....##", "....##"]
    (other,) = read_annotations(stored(tmp_path / "b.xml", XML.replace("<nrows>4", "<nrows>0")))
    assert (photo.objects[0].size, other.objects[0].size) == ((6, 4), None)
    with pytest.raises(UserError, match=r"a\.XML: object 4 \(scribble\): has no outline"):
        draw(photo.objects[2], (6, 4))


def test_a_photo_inside_of_its_annotation(tmp_path):
    image = smooth_image(seed=0, width=6, height=4)
    save(tmp_path / "inside.png", image)
    content = base64.b64encode((tmp_path / "inside.png").read_bytes()).decode()
    path = stored(tmp_path / "a.json", {**LABELME, "imageData": content})
    assert read_annotations(path)[0].embedded
    assert np.array_equal(np.asarray(open_photo(path)), image)
    assert np.array_equal(np.asarray(open_photo(tmp_path / "inside.png")), image)
    with pytest.raises(UserError, match=r"a\.json: cannot be read as an image"):
        open_photo(stored(path, {**LABELME, "imageData": content[:60]}))
    with pytest.raises(UserError, match=r"a\.json: its imageData cannot be read"):
        open_photo(stored(path, {**LABELME, "imageData": content[:61]}))


def without(tree, key):
    return {name: value for name, value in tree.items() if name != key}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", r"a\.json: cannot be read as JSON"),
        ("a.json", XML, r"a\.json: cannot be read as JSON"),
        ("a.xml", "{}", r"a\.xml: cannot be read as LabelMe's XML"),
        ("a.xml", "<?xml version='1.0' encoding='none'?><annotation/>", r"a\.xml: cannot be read as LabelMe's XML"),
        ("a.xml", "<annotation/>", r"a\.xml .LabelMe.: needs <filename>"),
        ("a.json", [1], "has neither COCO's form .* nor LabelMe's"),
        ("a.json", without(COCO, "annotations"), "has neither COCO's form"),
        ("a.json", without(COCO, "categories"), "and categories: needs 'categories', which is not there"),
        ("a.json", {**COCO, "images": [{"id": 7}]}, r"images\[0\]: needs 'file_name'"),
        ("a.json", {**COCO, "images": COCO["images"][:1]}, r"annotations\[3\]: needs 3, which is not there"),
        ("a.json", {**COCO, "categories": COCO["categories"][:1]}, r"annotations\[1\]: needs 90"),
        ("a.json", {**COCO, "annotations": ["x"]}, r"annotations\[0\]: does not have the expected form"),
        ("a.json", without(LABELME, "imagePath"), "LabelMe.: needs 'imagePath', which is not there"),
        ("a.json", {**LABELME, "shapes": [{"label": "x"}]}, "needs 'points'"),
        ("a.json", {**LABELME, "shapes": 1}, "LabelMe.: does not have the expected form"),
    ],
)
def test_files_of_other_forms_are_named(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        read_annotations(stored(tmp_path / name, content))


def test_files_of_a_folder(tmp_path):
    for name in ("b.json", "deep/a.XML", ".hidden.json", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert find_annotations(tmp_path) == [tmp_path / "b.json", tmp_path / "deep/a.XML"]
    assert find_annotations(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    with pytest.raises(UserError, match="nowhere: holds no annotations"):
        find_annotations(tmp_path / "nowhere")
