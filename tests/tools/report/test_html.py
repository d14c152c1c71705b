"""The pages, read as a browser reads them; without one."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from frih.evaluation.rows import read_rows
from frih.tools.report import write_report
from frih.tools.report.embedding import Album
from frih.tools.report.plots import Figures, draw_plots
from frih.tools.report.thumbnails import Thumbnails
from tests.evaluation.helpers import make_evaluation, random_rows, row, stages

VOID = {"meta", "link", "img", "input", "br", "path", "use", "rect", "image"}


class Page(HTMLParser):
    """Elements with their attributes, the text in each, and whether tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] in ("script", "style"):
            self.texts.setdefault(self.open[-1], []).append(text)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    return make_evaluation(tmp_path_factory.mktemp("report") / "evaluation", random_rows())


@pytest.fixture(scope="module")
def text(evaluation):
    return (evaluation / "report.html").read_text()


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_nothing_comes_from_outside(page, text):
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "poster"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:", "images/")) or value == "", (tag, value)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"data:[^\"]*", "", text))
    assert "@import" not in text


def test_every_image_has_a_line(page):
    lines = [attributes for attributes in page.all("tr") if "data-place" in attributes]
    assert [line["data-place"] for line in lines] == [str(i) for i in range(24)]


def test_every_stage_of_every_image_is_inside(page, evaluation):
    store = json.loads(page.texts["script"][0])
    assert [(slot["label"], slot["error"]) for slot in store["slots"]] == [
        *((label, False) for label in ("composite", "mask", "submasks", "FRIH", "real")),
        ("composite", True),
        ("FRIH", True),
    ]
    above = {found["data-image"]: found["src"] for found in page.all("img") if "data-image" in found}
    assert len(store["images"]) == 24
    for place, images in enumerate(store["images"]):
        inside = images or [above[f"{place}-{slot}"] for slot in range(7)]
        assert len(inside) == 7
        signatures = ("data:image/webp;base64,UklGR", "data:image/jpeg;base64,/9j/")
        assert all(image.startswith(signatures) for image in inside)


def test_images_are_shown_by_rule(text):
    rows = random_rows()
    gains = [one.scores["psnr"] - one.scores["input_psnr"] for one in rows]
    order = sorted(range(24), key=lambda place: gains[place])
    shown = {}
    for title, part in re.findall(r"<h3>([\w ]+)</h3>\s*<p class=\"reason\">(.*?)(?=<h3>|</section>)", text, re.DOTALL):
        shown[title] = [int(place) for place in re.findall(r'data-open="(\d+)"', part)]
    assert shown["Best"] == order[:-4:-1]
    assert shown["Worst"] == order[:3]
    assert shown["Median"] == order[10:13]
    assert shown["Not picked"] == [0, 3, 6, 9, 12, 15, 18, 21]


def test_what_is_seen_can_be_read_too_and_has_the_style_sheets_colours(page, text):
    images = [image for image in page.all("img") if "id" not in image]
    assert len(images) == (8 + 9) * 7
    assert all(image["alt"] for image in images)
    assert page.all("html") == [{"lang": "en"}]
    plots = [one for one in page.all("div") if one.get("class") == "plot"]
    assert [one["role"] for one in plots if one["aria-label"]] == ["img"] * 4
    assert all("aria-sort" in one for one in page.all("th")[-24 - 9 : -24])
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert "var(--ink)" in drawing
        assert not re.search(r"(stroke|fill): #(?!ffffff)[0-9a-f]{6}", drawing)


def test_the_same_evaluation_gives_the_same_page(evaluation, text):
    write_report(evaluation, random_rows(), "idih", about={"size": 256})
    assert (evaluation / "report.html").read_text() == text


def test_names_are_shown_as_they_are(tmp_path):
    make_evaluation(tmp_path, [row(name="x.jpg"), row("<i>", "<b>&'\"<_script>.jpg")])
    text = (tmp_path / "report.html").read_text()
    Page(text)
    assert "<i>" not in text.replace("<i></i>", "").replace('<i id="divide">', "")
    assert "<b>&" not in text


def test_no_name_of_a_subset_or_a_system_spoils_a_report(tmp_path):
    names = [r"$\frac$", "$", "_x", "<script>", "&", "a|b", "*", r"\x", "=1", "a,b", "a\nb", "日本", "\udcff"]
    rows = random_rows(13, subsets=names)
    systems = {"": r"_a$\frac$<script>", "input_": "Input composite"}
    write_report(tmp_path, rows, "idih", systems, dict.fromkeys(names, "&"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    Page(text)
    assert text.count("<svg") == 4
    assert text.count("<script>") == 1  # our own
    assert [one.subset for one in read_rows(tmp_path / "rows.csv")] == [*names[:-1], r"\udcff"]


def test_a_legend_leaves_no_name_out():
    figures = Figures(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    for plot in draw_plots({"_a": figures, "b$": figures}, figures, np.array([0.1, 0.2]), np.array([1, 2]), ["A", "A"]):
        assert "_a</text>" in plot.svg
        assert "b$</text>" in plot.svg


def test_images_have_sizes_so_that_the_page_does_not_jump_and_none_is_missing_on_paper(tmp_path):
    for name, side in (("small.jpg", 32), ("large.jpg", 512)):
        Thumbnails(tmp_path).add("A", name, {kind: image[: side // 2] for kind, image in stages(side=side).items()})
    write_report(tmp_path, [row(name="small.jpg"), row(name="large.jpg")], "idih")
    page = Page((tmp_path / "report.html").read_text())
    images = [image for image in page.all("img") if "data-image" in image]
    assert {(image["data-image"][0], image["width"], image["height"]) for image in images} == {
        ("0", "32", "16"),
        ("1", "256", "128"),
    }
    assert not any("loading" in image for image in images)
    assert json.loads(page.texts["script"][0])["sizes"] == [[32, 16], [256, 128]]


def test_the_best_is_bold_and_wide_tables_are_printed_in_parts(tmp_path):
    rows = [row(name, coarse_mse=1.0, coarse_psnr=31.0, coarse_fmse=9.0) for name in "ABCDE"]
    write_report(tmp_path, rows, "idih")
    text = (tmp_path / "report.html").read_text()
    Page(text)
    grids = re.findall(r'<div class="scroll (screen|paper|)".*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    assert [kind for kind, _ in grids[:4]] == ["screen", "paper", "paper", ""]
    coarse, refined = (re.findall(r"<td[^>]*>(.*?)</td>", line) for line in grids[0][1].split("</tr>")[:2])
    assert coarse == ["<b>1.00</b>", "<b>31.00</b>", "<b>9.00</b>"] * 6
    assert refined == ["<b>1.00</b>", "30.00", "10.00"] * 6
    assert [part.count("<b>1.00</b>") for _, part in grids[1:3]] == [10, 2]


def test_without_images_the_page_has_tables_and_plots(tmp_path):
    make_evaluation(tmp_path, random_rows(), images=False)
    text = (tmp_path / "report.html").read_text()
    Page(text)
    assert [text.count(part) for part in ("<img", "data-place", "<svg")] == [0, 24, 4]


@pytest.mark.parametrize(
    "rows",
    [
        [row()],
        [row(fg=0.0, submasks=0, fmse=math.nan, input_psnr=30.0, input_mse=1.0, input_fmse=math.nan)],
        [
            row(name=f"{i}", psnr=108.0, mse=0.0, fmse=0.0, input_psnr=30.0, input_mse=1.0, input_fmse=2.0)
            for i in range(3)
        ],
    ],
    ids=["without input", "an empty mask", "identical images"],
)
def test_small_and_strange_evaluations(tmp_path, rows):
    make_evaluation(tmp_path, rows)
    text = (tmp_path / "report.html").read_text()
    Page(text)
    assert not re.search(r"\bnan\b", re.sub(r"data:[^\"]*", "", text), re.IGNORECASE)
    assert ("fMSE change" in text) == ("input_fmse" in rows[0].scores)


def test_images_beyond_the_limit_are_linked(tmp_path, monkeypatch):
    monkeypatch.setattr("frih.tools.report.html.Album", lambda: Album(100_000))
    rows = random_rows(60)
    make_evaluation(tmp_path, rows)
    text = (tmp_path / "report.html").read_text()
    store = json.loads(Page(text).texts["script"][0])
    above = {image["data-image"]: image["src"] for image in Page(text).all("img") if "data-image" in image}
    stored = [image for images in store["images"] for image in images]
    inside = sum(len(image) for image in [*stored, *above.values()] if not image.startswith("images/"))
    assert 90_000 < inside <= 100_000
    linked = [
        (place, slot) for place, images in enumerate(store["images"]) for slot, one in enumerate(images) if not one
    ]
    assert linked
    place, slot = linked[-1]
    ending, folder = store["slots"][slot]["ending"], store["slots"][slot]["folder"]
    assert (tmp_path / folder / rows[place].subset / f"{rows[place].name}{ending}").is_file()


def test_an_album_makes_images_smaller_and_ends(tmp_path):
    Thumbnails(tmp_path).add("A", "x.jpg", stages(side=256))
    path = Thumbnails(tmp_path).path("A", "x.jpg", "composite")
    size = 4 * path.stat().st_size / 3
    album = Album(round(1.5 * size))
    assert album.fits([path])
    assert not album.fits([path, path])
    assert len(album.take(path)) == pytest.approx(size, rel=0.01)
    assert album.take(path) == ""
    assert 0 < len(album.take(path, smaller=True)) < 0.5 * size


def test_the_images_that_were_harmed_most_can_be_found(tmp_path):
    """The share stands at the top; a column says by how much each image is worse, in percent of its composite's fMSE."""
    scores = {"input_mse": 1.0, "input_psnr": 30.0}
    rows = [
        row(name="better.jpg", fmse=75.0, input_fmse=100.0, **scores),
        row(name="worse.jpg", fmse=150.0, input_fmse=100.0, **scores),
        row(name="unchanged.jpg", fmse=1.0, input_fmse=0.0, **scores),
        row(name="empty.jpg", fmse=math.nan, input_fmse=math.nan, **scores),
    ]
    write_report(tmp_path, rows, "idih")
    text = (tmp_path / "report.html").read_text()
    Page(text)
    assert re.search(r"<dt>worse↓</dt><dd><b>66.7%</b><span>by more than a tenth 66.7%</span>", text)
    lines = re.findall(r"<tr data-place.*?</tr>", text)
    changes = [line.rpartition("<td>")[2].removesuffix("</td></tr>") for line in lines]
    assert changes == ["-25.0", "+50.0", "+1000.0", "-"]
    assert ">fMSE change, %</button>" in text
    assert "A click on <i>fMSE change</i>" in text
