import csv
import json
import math

import pytest

from frih.metrics import Row
from frih.report import summarize, tables, write_report


def row(subset="A", name="x.jpg", fg=0.1, mse=1.0, psnr=30.0, fmse=10.0, **more) -> Row:
    return Row(subset, name, fg, 3, {"mse": mse, "psnr": psnr, "fmse": fmse, **more})


def test_all_is_the_mean_over_pictures_not_over_subsets():
    summary = summarize([row("A", mse=1), row("A", mse=2), row("A", mse=3), row("B", mse=10)], "idih")
    assert summary["subsets"]["A"] == {"images": 3, "mse": 2, "psnr": 30, "fmse": 10}
    assert summary["subsets"]["All"]["mse"] == 4
    assert summary["ratios"]["All"] == summary["subsets"]["All"]


def test_each_picture_counts_in_one_foreground_ratio():
    shares = [0.0, 0.0499, 0.05, 0.1499, 0.15, 1.0]
    ratios = summarize([row(fg=share) for share in shares], "idih")["ratios"]
    assert {name: cell["images"] for name, cell in ratios.items()} == {"0-5": 2, "5-15": 2, "15-100": 2, "All": 6}


def test_a_group_without_pictures_is_left_out():
    assert list(summarize([row(fg=0.2)], "idih")["ratios"]) == ["15-100", "All"]


def test_an_empty_mask_is_counted_and_stays_out_of_fmse_alone():
    summary = summarize([row(fmse=10, mse=1), row(fg=0.0, fmse=math.nan, mse=3)], "idih")
    assert summary["empty_masks"] == 1
    assert summary["subsets"]["All"] == {"images": 2, "mse": 2, "psnr": 30, "fmse": 10}


def test_only_empty_masks_have_no_fmse_at_all(tmp_path):
    rows = [row(fg=0.0, fmse=math.nan)]
    assert "fmse" not in summarize(rows, "idih")["subsets"]["All"]
    text = write_report(tmp_path, rows, "idih")
    assert "empty mask" in text
    assert "nan" not in text.lower()
    json.loads((tmp_path / "summary.json").read_text(), parse_constant=lambda word: pytest.fail(word))


def test_subsets_keep_the_order_of_the_rows():
    assert list(summarize([row("HCOCO"), row("HAdobe5k"), row("HCOCO")], "idih")["subsets"]) == [
        "HCOCO",
        "HAdobe5k",
        "All",
    ]


def test_tables_have_the_papers_form():
    rows = [
        row("A", fg=0.01, input_mse=5.0, input_psnr=20.0, input_fmse=50.0),
        row("B", fg=0.5, mse=3, input_mse=7.0, input_psnr=22.0, input_fmse=70.0),
    ]
    by_subset, by_ratio = tables(summarize(rows, "idih"))
    assert by_subset.groups == ["A", "B", "All"]
    assert by_subset.lines == [
        ["Input composite", "5.00", "20.00", "50.00", "7.00", "22.00", "70.00", "6.00", "21.00", "60.00"],
        ["Refined", "1.00", "30.00", "10.00", "3.00", "30.00", "10.00", "2.00", "30.00", "10.00"],
    ]
    assert by_ratio.images == [1, 1, 2]
    assert by_ratio.text().splitlines() == [
        "Foreground ratio      0-5% (1)        15-100% (1)         All (2)",
        "                  MSE↓ PSNR↑ fMSE↓  MSE↓ PSNR↑ fMSE↓  MSE↓ PSNR↑ fMSE↓",
        "-" * 70,
        "Input composite   5.00 20.00 50.00  7.00 22.00 70.00  6.00 21.00 60.00",
        "Refined           1.00 30.00 10.00  3.00 30.00 10.00  2.00 30.00 10.00",
    ]


def test_console_lines_are_aligned_even_under_long_subset_names():
    text = tables(summarize([row("a-very-long-name-of-a-subset-indeed"), row("B")], "idih"))[0].text()
    lengths = {len(line) for line in text.splitlines()[1:]}
    assert len(lengths) == 1


def test_written_files(tmp_path):
    rows = [row("A", "a,1.jpg", ssim=0.9), row("B", "b.jpg", fg=0.0, fmse=math.nan, ssim=0.8)]
    text = write_report(tmp_path / "new" / "folder", rows, "idih", {"": "Mine"}, {"step": 7, "split": "test"})
    folder = tmp_path / "new" / "folder"
    assert {path.name for path in folder.iterdir()} == {
        "rows.csv",
        "summary.json",
        "subsets.csv",
        "ratios.csv",
        "report.md",
    }
    with (folder / "rows.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert read[0] == {
        "subset": "A",
        "name": "a,1.jpg",
        "fg_ratio": "0.1",
        "submasks": "3",
        "mse": "1.0",
        "psnr": "30.0",
        "fmse": "10.0",
        "ssim": "0.9",
    }
    assert read[1]["fmse"] == ""
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["protocol"] == "idih"
    assert summary["subsets"]["All"]["ssim"] == pytest.approx(0.85)
    assert summary["about"] == {"step": 7, "split": "test"}
    markdown = (folder / "report.md").read_text()
    assert "- step: 7" in markdown
    assert "protocol idih" in markdown
    assert "protocol idih" in text
    assert "| Mine |" in markdown
    by_subset = [line.count("|") for line in markdown.splitlines() if line.startswith("|")][:4]
    assert by_subset == [11] * 4  # a name, and three metrics for each of A, B and All
    with (folder / "subsets.csv").open(newline="") as file:
        assert next(csv.reader(file))[:3] == ["Sub-dataset", "A mse", "A psnr"]
