import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from frih.common.errors import UserError
from frih.evaluation.rows import by_image
from frih.tools.report import compare, write_report
from frih.tools.report.comparison import short_names
from tests.evaluation.helpers import make_evaluation, random_rows, row
from tests.tools.report.test_html import Page

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder, rows = tmp_path_factory.mktemp("made"), random_rows(12)
    better = [one._replace(scores={**one.scores, "psnr": one.scores["psnr"] + 1, "mse": 5.0}) for one in rows]
    make_evaluation(folder / "old", rows)
    make_evaluation(folder / "new", better[::-1])  # the order of rows does not matter
    return folder


@pytest.fixture
def pair(made, tmp_path) -> dict[str, Path]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return {name: tmp_path / name for name in ("old", "new")}


def test_a_comparison_has_tables_differences_and_a_page(pair, tmp_path):
    out = tmp_path / "out"
    text = compare(pair, out)
    assert {path.name for path in out.iterdir()} == {"comparison.md", "comparison.html", "comparison.json"}
    assert "new less old" in text
    found = json.loads((out / "comparison.json").read_text())
    difference = found["differences"]["new"]["subsets"]["All"]["psnr"]
    assert [difference[key] for key in ("mean", "low", "high", "wins")] == pytest.approx([1, 1, 1, 1])
    assert found["differences"]["new"]["subsets"]["All"]["mse"]["wins"] == 1
    assert found["differences"]["new"]["subsets"]["A"]["psnr"]["images"] == 6
    assert found["differences"]["new"]["subsets"]["All"]["fmse"]["wins"] == 0.5
    assert found["reference"] == "old"
    assert found["remarks"] == []
    markdown = (out / "comparison.md").read_text()
    assert "| All | 12 | " in markdown
    assert "| +1.00 [+1.00, +1.00] | 100% |" in markdown
    assert "| Input composite |" in markdown
    page = Page((out / "comparison.html").read_text())
    slots = json.loads(page.texts["script"][0])["slots"]
    assert [slot["label"] for slot in slots if not slot["error"]] == [
        *("composite", "mask", "submasks", "old", "new", "real")
    ]
    assert slots[3]["folder"] == "../old/images"
    assert len([1 for line in page.all("tr") if "data-place" in line]) == 12
    assert "fMSE change old, %" in (out / "comparison.html").read_text()
    assert "fMSE change new, %" in (out / "comparison.html").read_text()
    one = found["systems"]["old"]
    assert one["subsets"]["All"]["worse"] == one["intervals"]["subsets"]["All"]["worse"]["mean"] == 0


def test_a_copy_of_the_data_in_another_format_is_paired_by_names_without_suffix(tmp_path):
    rows = random_rows(6)
    make_evaluation(tmp_path / "first", rows)
    renamed = [
        one._replace(**{key: f"{Path(getattr(one, key)).stem}.webp" for key in ("name", "real")}) for one in rows
    ]
    make_evaluation(tmp_path / "copy", renamed)
    compare({name: tmp_path / name for name in ("first", "copy")}, tmp_path / "out")
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    assert found["differences"]["copy"]["subsets"]["All"]["psnr"]["images"] == 6
    slots = json.loads(Page((tmp_path / "out/comparison.html").read_text()).texts["script"][0])["slots"]
    theirs = next(slot for slot in slots if slot["label"] == "copy" and not slot["error"])
    assert theirs["names"] == [one.name for one in renamed]
    assert (tmp_path / "copy/images" / rows[0].subset / f"{theirs['names'][0]}{theirs['ending']}").is_file()


def test_doubled_names_without_suffix_are_told_apart_by_it():
    rows = [row(name=name) for name in ("x.jpg", "x.png")]
    assert by_image(rows) == {("A", "x.jpg"): rows[0], ("A", "x.png"): rows[1]}
    assert by_image(rows[:1]) == {("A", "x"): rows[0]}


def test_what_was_not_measured_alike_is_refused_by_name(pair, tmp_path):
    rows = random_rows(12)
    make_evaluation(tmp_path / "new", rows[1:], images=False, protocol="frih", size=512)
    with pytest.raises(UserError) as caught:
        compare(pair, tmp_path / "out")
    message = str(caught.value)
    assert "protocols differ: old idih, new frih" in message
    assert "sizes differ: old 256, new 512" in message
    assert f"new lacks A/{rows[0].name}, which others have" in message
    assert not (tmp_path / "out").exists()
    text = compare(pair, tmp_path / "out", anyway=True)
    for written in (text, (tmp_path / "out/comparison.md").read_text(), (tmp_path / "out/comparison.html").read_text()):
        assert "Beware: the protocols differ: old idih, new frih." in written
        assert "11 images" in written
    assert json.loads((tmp_path / "out/comparison.json").read_text())["remarks"]


def test_nothing_in_common_or_nothing_to_compare(pair, tmp_path):
    make_evaluation(tmp_path / "new", random_rows(4, subsets=("C",)), images=False)
    with pytest.raises(UserError, match="no image in common"):
        compare(pair, tmp_path / "out", anyway=True)
    with pytest.raises(UserError, match="two evaluations or more"):
        compare([pair["old"]], tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no such file"),
        ("{", "no summary"),
        ("[]", "no summary"),
        ('{"protocol": "mine"}', "protocol 'mine'"),
        ('{"protocol": {}}', "no summary"),
    ],
)
def test_a_folder_that_is_no_evaluation_is_refused_by_name(pair, tmp_path, content, complaint):
    path = tmp_path / "new/summary.json"
    path.unlink()
    if content:
        path.write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        compare(pair, tmp_path / "out")
    assert str(path) in str(caught.value)


def test_names_are_what_differs_in_the_paths():
    paths = [Path("runs/frih/evaluation/test"), Path("runs/ablations/baseline/evaluation/test")]
    assert list(short_names(paths)) == ["frih", "ablations/baseline"]
    assert list(short_names([Path("a/test"), Path("a/test-best")])) == ["test", "test-best"]
    assert list(short_names([Path("a"), Path("a/b")])) == ["a", "a/b"]
    with pytest.raises(UserError, match="given twice"):
        short_names([Path("a"), Path("a/../a")])


def test_the_command(pair, tmp_path):
    def run(*words):
        command = [sys.executable, "scripts/compare.py", *map(str, words), "--out", str(tmp_path / "out")]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    done = run(f"first={pair['old']}", f"second={pair['new']}")
    assert done.returncode == 0, done.stderr
    assert "second less first" in done.stdout
    write_report(pair["new"], random_rows(6), "idih", about={"size": 256})
    for words, complaint in (
        ((pair["old"], pair["new"]), "new lacks"),
        ((pair["old"], f"b={pair['new']}"), "b lacks"),
        ((f"b={pair['old']}", f"b={pair['new']}"), "b is there already; give another name as NAME=DIR"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr
