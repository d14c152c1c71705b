import csv
import json
import math
import re

import pytest

from frih.evaluation.published import COUNTS
from frih.evaluation.rows import read_rows
from frih.tools.report import write_report
from tests.evaluation.helpers import random_rows, row


def test_written_files(tmp_path):
    rows = [row("A", "a,1.jpg", ssim=0.9), row("B", "b.jpg", fg=0.0, fmse=math.nan, ssim=0.8)]
    folder = tmp_path / "new" / "folder"
    text = write_report(folder, rows, "idih", {"": "Mine"}, {"step": 7, "split": "test"})
    names = {"rows.csv", "summary.json", "subsets.csv", "ratios.csv", "report.md", "report.html"}
    assert {path.name for path in folder.iterdir()} == names
    assert read_rows(folder / "rows.csv")[0] == rows[0]
    summary = json.loads((folder / "summary.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert summary["protocol"] == "idih"
    assert summary["subsets"]["All"]["ssim"] == pytest.approx(0.85)
    interval = {"mean": 10.0, "low": None, "high": None, "images": 1, "photos": 1}
    assert summary["intervals"]["subsets"]["All"]["fmse"] == interval
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


def test_only_empty_masks_have_no_fmse_at_all(tmp_path):
    text = write_report(tmp_path, [row(fg=0.0, fmse=math.nan)], "idih")
    assert text.startswith("1 image of 1 real photo, protocol idih: ")
    assert "1 of them, with an empty mask, count in MSE and PSNR but have no fMSE: A/x.jpg." in text
    assert "nan" not in text.lower()
    json.loads((tmp_path / "summary.json").read_text(), parse_constant=lambda word: pytest.fail(word))


def test_intervals_and_latex_for_papers(tmp_path):
    write_report(tmp_path, random_rows(), "idih")
    markdown = (tmp_path / "report.md").read_text()
    assert re.search(r"\| All, FRIH \| 24 \| 4 \| [\d.]+ \[[\d.]+, [\d.]+\] \|", markdown)
    assert "bootstrap" in markdown
    assert markdown.count(r"\begin{table}") == markdown.count(r"\end{table}") == 4
    assert "Table 1" not in markdown


def test_published_tables_stand_with_iharmony4_alone(tmp_path):
    write_report(tmp_path, [row(subset, name=subset) for subset in COUNTS], "idih")
    markdown = (tmp_path / "report.md").read_text()
    assert "The paper's Table 1" in markdown
    assert "The paper's Table 2" in markdown
    assert "| DoveNet (Cong et al. 2020) † | dovenet | 36.72 | 35.83 |" in markdown
    assert "The paper&#39;s Table 1" in (tmp_path / "report.html").read_text()
