import numpy as np
from PIL import Image

from frih.evaluation.rows import write_rows
from frih.tools.experiments.ablation_images import COUNT, write_images
from frih.tools.report import Thumbnails
from tests.evaluation.helpers import row, stages

SIDE = 32


def evaluation(folder, fmses, *, level, final="refined"):
    """One whose images are all of one level of grey."""
    rows = [row("A", f"{i}.jpg", fmse=fmse) for i, fmse in enumerate(fmses)]
    folder.mkdir()
    write_rows(folder / "rows.csv", rows)
    for i, one in enumerate(rows):
        images = stages(i, side=SIDE, final=final) | {final: np.full((SIDE, SIDE, 3), level, np.uint8)}
        images["composite"] = np.full((SIDE, SIDE, 3), 5 * i, np.uint8)
        Thumbnails(folder).add("A", one.name, images)
    return folder


def column(sheet, number):
    """The grey of each image in a column."""
    pixels = np.asarray(Image.open(sheet).convert("L")).astype(int)
    lines = (pixels.shape[0] - 26) // (SIDE + 6)
    x = 6 + number * (SIDE + 6) + SIDE // 2
    return [pixels[26 + i * (SIDE + 6) + SIDE // 2, x] for i in range(lines)]


def test_every_nth_best_and_worst(tmp_path):
    count = 3 * COUNT
    first = evaluation(tmp_path / "first", [100] * count, level=50, final="prediction")
    last = evaluation(tmp_path / "last", [200 - 4 * i for i in range(count)], level=150)  # the later, the better
    sheets = write_images({"baseline": first, "FRIH": last}, tmp_path / "table-3")
    assert [one.name for one in sheets] == ["table-3-every-3.jpg", "table-3-best.jpg", "table-3-worst.jpg"]
    every, best, worst = ([round(grey / 5) for grey in column(sheet, 0)] for sheet in sheets)
    assert every == list(range(0, count, 3))
    assert best == list(range(count - 1, count - 1 - COUNT, -1))
    assert worst == list(range(COUNT))
    assert np.allclose(column(sheets[0], 2), 50, atol=2)
    assert np.allclose(column(sheets[0], 3), 150, atol=2)


def test_one_row_or_no_images_make_no_sheet(tmp_path):
    first = evaluation(tmp_path / "first", [100, 100], level=50)
    last = evaluation(tmp_path / "last", [90, 80], level=50)
    assert write_images({"baseline": first}, tmp_path / "t") == []
    Thumbnails(last).path("A", "1.jpg", "refined").unlink()
    assert write_images({"baseline": first, "FRIH": last}, tmp_path / "t") == []
    assert list(tmp_path.glob("*.jpg")) == []
