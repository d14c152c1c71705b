import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.data.batches import Sample
from frih.data.iharmony4 import read_split
from frih.evaluation.rows import write_rows
from frih.evaluation.write import write_json
from frih.tools.experiments.gains import (
    OTHERS,
    Look,
    _look,
    category_of,
    correlations,
    gains,
    join,
    known,
    look_at_images,
    parts,
    read_categories,
    read_sides,
)
from frih.tools.report import Thumbnails
from tests.conftest import run_here
from tests.evaluation.helpers import make_evaluation, row, stages


def rows(fmses, **more):
    """An image of each fMSE, of 4 photos."""
    return [
        row("A", f"{i}_1_1.jpg", f"{i % 4}.jpg", fg=0.02 + 0.02 * i, fmse=float(fmse), input_fmse=100.0 * i, **more)
        for i, fmse in enumerate(fmses)
    ]


LOOKS = [Look(2 + i % 2, 0.5 + 0.06 * i, 1 + i) for i in range(8)]
FIRST, SECOND = rows([10, 20, 30, 40, 50, 60, 70, 80]), rows([20, 20, 50, 30, 90, 70, 70, 60])
"""Gains: -10, 0, -20, 10, -40, -10, 0, 20."""


def test_gains_by_hand():
    joined = join(FIRST, SECOND, LOOKS)
    found = gains(joined, parts(joined, {}))
    assert [one.scores["fmse"] for one in joined] == [-10, 0, -20, 10, -40, -10, 0, 20]
    overall = found["subset"]["All"]["fmse"]
    assert (overall.mean, overall.images, overall.photos) == (-6.25, 8, 4)
    assert overall.wins == (4 + 0.5 * 2) / 8
    assert overall.low < -6.25 < overall.high
    means = {kind: {name: cell["fmse"].mean for name, cell in of_kind.items()} for kind, of_kind in found.items()}
    assert means["foreground"] == {"0-5%": -5, "5-15%": -12, "15-100%": 20}
    assert means["submasks"] == {"2": -17.5, "3": 5}
    assert means["largest"] == pytest.approx({"0-60%": -5, "60-80%": -50 / 3, "80-95%": 10 / 3})
    assert list(means["colours"].values()) == [-10, 0, -20, 10, -40, -10, 0, 20]
    assert list(means["distance"].items()) == [
        ("quarter 1: 0 to 175", -5),
        ("quarter 2: 175 to 350", -5),
        ("quarter 3: 350 to 525", -25),
        ("quarter 4: 525 to 700", 10),
    ]
    assert found["subset"]["All"]["psnr"].wins == 0.5
    assert "category" not in found


def test_a_gain_in_psnr_is_above_zero_and_is_won():
    better, worse = (rows([10] * 4, psnr=psnr) for psnr in (32.0, 30.0))
    joined = join(better, worse)
    assert gains(joined, parts(joined, {}))["subset"]["A"]["psnr"][:3] == (2, 2, 2)
    assert gains(joined, parts(joined, {}))["subset"]["A"]["psnr"].wins == 1


def test_quantities_that_are_not_known_have_no_groups():
    joined = join(FIRST, SECOND)
    assert known(joined) == ["foreground", "submasks", "distance"]
    whole = [[one._replace(submasks=1) for one in side] for side in (FIRST, SECOND)]
    assert known(join(whole[0], SECOND)) == ["foreground", "submasks", "distance"]  # those of the other network
    assert join(whole[0], SECOND)[0].submasks == 3
    bare = [[one._replace(scores={"fmse": 1.0, "psnr": 1.0}) for one in side] for side in whole]
    assert list(parts(join(*bare), {})) == ["subset", "foreground"]


def test_the_composites_themselves_may_be_the_second():
    """They have no scores of an input."""
    composites = [one._replace(scores={"fmse": 50.0, "psnr": 20.0}) for one in FIRST]
    for pair in ((FIRST, composites), (composites, FIRST)):
        assert [one.scores["distance"] for one in join(*pair)] == [100.0 * i for i in range(8)]


def test_images_without_foreground_are_left_out():
    first = [*FIRST[:5], FIRST[5]._replace(fg_ratio=0.0), FIRST[6], FIRST[7]]
    first[0] = first[0]._replace(scores={**first[0].scores, "fmse": math.nan})
    assert [one.name for one in join(first, SECOND, [*LOOKS[:7], None])] == [f"{i}_1_1.jpg" for i in (1, 2, 3, 4, 6)]
    with pytest.raises(UserError, match="no image with a foreground"):
        join(first[:1], SECOND[:1])


def test_correlations_have_the_sign_of_the_gain():
    """The first network's fMSE sinks, against the second's, the more colours there are."""
    joined = join(
        FIRST, [one._replace(scores={**one.scores, "fmse": 90.0 + 20 * i}) for i, one in enumerate(FIRST)], LOOKS
    )
    found = correlations(joined)
    assert found["colours"]["fmse"][:3] == pytest.approx((-1, -1, -1))
    assert list(found) == ["foreground", "submasks", "largest", "colours", "distance"]
    assert math.isnan(found["colours"]["psnr"].mean)


def test_categories():
    """By photo or mask; small ones and images without go together."""
    first = [row("A", f"p{i}_1_1.jpg", f"p{i}.jpg") for i in range(25)]
    categories = {f"p{i}": "dog" if i < 11 else "cat" for i in range(20)} | {"p3_1": "cat", "p4": ""}
    assert [category_of(first[i], categories) for i in (2, 3, 4, 12, 24)] == ["dog", "cat", "", "cat", ""]
    joined = join(first, first)
    found = parts(joined, categories)["category"]
    sizes = {name: sum(map(group, joined)) for name, group in found.items()}
    assert sizes == {"cat": 10, OTHERS: 15}
    assert OTHERS not in parts(joined, {f"p{i}": "dog" for i in range(25)})["category"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file; give a CSV file with the columns name and category"),
        ("name,kind\n0,dog\n", "needs the columns name and category"),
        ("name,category\nother,dog\n", "names none of the real images; write them without suffix, as 0"),
    ],
)
def test_files_of_categories_that_do_not_serve(tmp_path, text, message):
    if text:
        (tmp_path / "c.csv").write_text(text)
    with pytest.raises(UserError, match=f"c.csv: {message}"):
        read_categories(tmp_path / "c.csv", FIRST)


def test_a_look_at_an_image():
    """Four stripes of the real image are two reds, alike, a green and a blue; of the composite's submasks one has 7 of 8."""
    mask, real, composite = (
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
    )
    mask[:, 16:] = 255
    for row_, color in enumerate([(200, 20, 20), (205, 20, 20), (20, 200, 20), (20, 20, 200)]):
        real[8 * row_ : 8 * row_ + 8] = color
    labels = np.where(mask > 0, 1, 0).astype(np.uint8)
    labels[:4, 16:] = 2
    counted = {}
    assert _look(Sample(composite, real, mask, labels, None), counted) == Look(2, 0.875, 3)
    assert _look(Sample(composite, real, mask, labels, None), counted) == Look(2, 0.875, 3)
    assert len(counted) == 1
    assert _look(Sample(composite, real, 0 * mask, labels, None), counted) is None


def evaluation(folder, items, fmse, data="", submasks=3, **scores):
    """One of a data set's images, with all that it keeps."""
    found = []
    for i, item in enumerate(items):
        found.append(
            row(
                item.subset,
                item.composite_name,
                item.real_name,
                0.2,
                submasks,
                fmse=fmse + i,
                input_fmse=100.0,
                **scores,
            )
        )
        Thumbnails(folder).add(item.subset, item.composite_name, stages(i))
    write_rows(folder / "rows.csv", found)
    write_json(folder / "summary.json", {"protocol": "idih", "about": {"size": 128, "data": data}})
    return folder


@pytest.fixture
def evaluations(dataset, tmp_path):
    """Two seeds of a network, and another network, on the training images of the data set."""
    listing = read_split(dataset, "train")
    data = listing.describe()
    return (
        [evaluation(tmp_path / f"frih/seed{i}", listing.items, 40 + 20 * i, data) for i in range(2)],
        [evaluation(tmp_path / "globalmask/seed0", listing.items[::-1], 60, data)],
    )


def test_sides_are_means_of_what_the_folders_hold(dataset, evaluations):
    sides = read_sides(*evaluations)
    assert sides.names == ("frih", "globalmask")
    assert (sides.root, sides.size, sides.protocol) == (dataset, 128, "idih")
    assert [one.scores["fmse"] for one in sides.first] == [50.0 + i for i in range(10)]
    assert [one.name for one in sides.first] == [one.name for one in sides.second]
    assert [one.scores["fmse"] for one in sides.second] == [69.0 - i for i in range(10)]


def test_sides_that_cannot_be_compared(evaluations, tmp_path):
    first, second = evaluations
    with pytest.raises(UserError, match="seed0: is given twice"):
        read_sides(first, [first[0]])
    with pytest.raises(UserError, match=r"no/summary.json: no such file; give a folder that evaluate.py wrote"):
        read_sides(first, [tmp_path / "no"])
    other = make_evaluation(tmp_path / "other", FIRST, images=False)
    with pytest.raises(UserError) as caught:
        read_sides(second, [other])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "the sizes differ",
        "globalmask/seed0 lacks A/0_1_1.jpg, A/1_1_1.jpg, A/2_1_1.jpg and 5 more, which others have",
        "other lacks A/a-0_x_1_1.jpg, A/a-0_x_1_2.jpg, A/a-1_x_1_1.jpg and 7 more, which others have",
        "give evaluations of the same images, at one size, by one protocol",
    ]


def test_looks_need_the_data_set_that_was_evaluated(dataset, tmp_path):
    item = read_split(dataset, "train").items[0]
    first = [row(item.subset, item.composite_name, item.real_name)]
    assert look_at_images(first, dataset, 128)[0].submasks >= 1
    with pytest.raises(UserError, match=r"--data: .*nowhere is no folder; give the data set"):
        look_at_images(first, tmp_path / "nowhere", 128)
    with pytest.raises(
        UserError, match=r"--data: .*/A: composite_images/b_1_1.jpg is missing \(and 1 more\); give the"
    ):
        look_at_images([*first, row("A", "b_1_1.jpg"), row("A", "x_1_2.jpg")], dataset, 128)


def test_program(capsys, dataset, evaluations, tmp_path):
    (first, second), out = evaluations, tmp_path / "out"
    (tmp_path / "c.csv").write_text("name,category\na-0_x,dog\na-1_x.jpg,cat\n")
    words = [*first, "--against", *second, "--categories", tmp_path / "c.csv", "--out", out]
    assert run_here("scripts/gains.py", *words) == 0
    printed = capsys.readouterr().out
    assert "frih less globalmask, by colours of the foreground" in printed
    assert "10 images of 6 real photos" in printed
    names = {"gains.md", "gains.json", "gains.csv", "gains.png", "best.jpg", "worst.jpg"}
    assert {path.name for path in out.iterdir()} == names
    lines = list(csv.DictReader((out / "gains.csv").read_text().splitlines()))
    assert [float(line["gain_fmse"]) for line in lines] == [2.0 * i - 19 for i in range(10)]
    assert lines[0]["category"] == "dog"
    assert (float(lines[0]["first_fmse"]), float(lines[0]["second_fmse"])) == (50, 69)
    assert all(1 <= int(line["submasks"]) <= 10 and 1 <= int(line["colours"]) <= 8 for line in lines)
    found = json.loads((out / "gains.json").read_text())
    assert found["gains"]["subset"]["All"]["fmse"]["mean"] == -10
    assert found["gains"]["category"] == {OTHERS: found["gains"]["subset"]["All"]}
    assert list(found["correlations"]) == ["foreground", "submasks", "largest", "colours", "distance"]
    best, worst = (np.asarray(Image.open(out / f"{name}.jpg")) for name in ("best", "worst"))
    assert best.shape == worst.shape == (26 + 6 * (22 + 32 + 6), 6 + 5 * (32 + 6), 3)  # of 6 photos

    assert run_here("scripts/gains.py", second[0], "--against", first[1], "--data", tmp_path / "c.csv") == 2
    assert "is no folder; give the data set" in capsys.readouterr().err


def test_program_without_images(capsys, evaluations, dataset, tmp_path):
    (first, second), out = evaluations, tmp_path / "out"
    dataset.rename(tmp_path / "elsewhere")
    Thumbnails(first[0]).path("A", "a-0_x_1_1.jpg", "refined").unlink()
    assert run_here("scripts/gains.py", *first, "--against", *second, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "give the data set: --data ROOT" in " ".join(printed.split())
    assert "no sheets of images" in printed
    assert {path.name for path in out.iterdir()} == {"gains.md", "gains.json", "gains.csv"}
