"""evaluate.py as a user runs it."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from frih.common.files import locked
from frih.config.recipes import to_yaml
from frih.data.iharmony4 import read_split
from frih.evaluation import Evaluation
from frih.evaluation.rows import read_rows
from frih.evaluation.unfinished import FOLDER
from frih.metrics import PROTOCOLS
from frih.models import build_model
from frih.models.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from frih.tools.report import compare
from frih.tools.sharing.hub import save_pretrained
from tests.conftest import no_weight_is_zero

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(dataset, small_config, tmp_path):
    """A run's folder, with an untrained network that changes something."""
    config = small_config(data={"root": str(dataset)}, run=str(tmp_path / "run"))
    model = no_weight_is_zero(build_model(config))
    save_checkpoint(tmp_path / "run/checkpoints/last.pt", config, model, {"step": 7})
    (tmp_path / "run/config.yaml").write_text(to_yaml(config))
    return tmp_path / "run"


@pytest.fixture
def evaluate(monkeypatch, capsys, tmp_path):
    """Calls evaluate.py in this process, in an empty folder; gives its status, output and errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
        monkeypatch.syspath_prepend(ROOT)
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "evaluate.py"), run_name="__main__")
        told = capsys.readouterr()
        return caught.value.code, told.out, told.err

    return call


def predict(folder: Path, dataset: Path, ending: str = "", kind: str = "composite", split: str = "test") -> Path:
    """Files as a peer's program writes them."""
    folder.mkdir(parents=True)
    for item in read_split(dataset, split).items:
        Image.open(getattr(item, kind)).save(folder / f"{Path(item.composite_name).stem}{ending}.png")
    return folder


def launch(*words) -> subprocess.CompletedProcess:
    """Runs evaluate.py in two processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, "evaluate.py", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_two_processes_write_the_rows_of_one(run, evaluate, tmp_path):
    words = [run, "--split", "train", "evaluation.batch=2", "train.device=cpu", "--out"]
    assert evaluate(*words, tmp_path / "one", "--save-images", tmp_path / "images-of-one")[0] == 0
    done = launch(*words, tmp_path / "two", "--save-images", tmp_path / "images-of-two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("protocol idih") == 1
    one, two = (read_rows(tmp_path / name / "rows.csv") for name in ("one", "two"))
    assert len(one) == 10
    for a, b in zip(one, two, strict=True):
        assert a[:5] == b[:5]
        assert a.scores == pytest.approx(b.scores, rel=1e-6)
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("one", "two")]
    assert files[0] == files[1]
    images = [sorted((tmp_path / f"images-of-{name}").glob("*/*")) for name in ("one", "two")]
    assert len(images[0]) == 10
    assert [path.read_bytes() for path in images[0]] == [path.read_bytes() for path in images[1]]


def test_an_error_in_one_of_two_processes_ends_both(dataset, tmp_path):
    broken = read_split(dataset, "train").items[1].composite  # of the second process
    broken.write_bytes(b"no image")
    done = launch("--input-composite", "--split", "train", f"data.root={dataset}", "--out", tmp_path / "out")
    assert done.returncode != 0
    assert done.stderr.count(f"error: {broken}: cannot be read as an image") == 1
    assert not (tmp_path / "out/rows.csv").exists()


def test_an_evaluation_that_was_stopped_goes_on(run, evaluate, monkeypatch, tmp_path):
    original, seen = Evaluation.score, []

    def stop(self, sample, systems):
        seen.append(sample.item.name)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return original(self, sample, systems)

    monkeypatch.setattr(Evaluation, "score", stop)
    arguments = (run, "--split", "train", "--out", "out", "evaluation.batch=2")
    assert evaluate(*arguments)[0] == 130
    assert (tmp_path / "out" / FOLDER).is_dir()
    assert not (tmp_path / "out/rows.csv").exists()
    status, out, err = evaluate(*arguments)
    assert status == 0, err
    assert "of 10 images were evaluated before" in out + err
    assert not (tmp_path / "out" / FOLDER).exists()
    assert len(read_rows(tmp_path / "out/rows.csv")) == 10
    again = evaluate(*arguments, "evaluation.protocol=ht")
    assert again[0] == 0
    assert "before" not in again[1] + again[2]


@pytest.mark.parametrize("more", [(), ("--size", "original"), ("--protocol", "ht")])
def test_saved_images_are_predictions_with_the_same_figures(run, dataset, evaluate, tmp_path, more):
    status, out, err = evaluate(run, "--save-images", "images", *more)
    assert status == 0, err
    assert out.splitlines()[-1] == "written: 2 images in images"
    names = ["A/a-3_x_1_2.png", "B/b-1_x_1_2.png"]
    assert [str(path.relative_to(tmp_path / "images")) for path in sorted((tmp_path / "images").glob("*/*"))] == names
    size = (160, 140) if "original" in more else (128, 128)
    for name in names:
        with Image.open(tmp_path / "images" / name) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", size)
    status, _, err = evaluate("--predictions", "images", f"data.root={dataset}", "data.size=128", *more)
    assert status == 0, err
    saved, read = read_rows(run / "evaluation/test/rows.csv"), read_rows(tmp_path / "outputs/images/rows.csv")
    for a, b in zip(saved, read, strict=True):
        assert a[:3] == b[:3]
        assert {name: a.scores[name] for name in b.scores} == b.scores
        assert a.scores["mse"] != a.scores["input_mse"]
    assert "8 bits, as these files have" in (run / "evaluation/test/report.md").read_text()


def test_saving_that_was_stopped_goes_on(run, evaluate, monkeypatch, tmp_path):
    original, seen = Evaluation.score, []

    def stop(self, sample, systems):
        seen.append(sample.item.name)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return original(self, sample, systems)

    monkeypatch.setattr(Evaluation, "score", stop)
    arguments = (run, "--split", "train", "--out", "out", "evaluation.batch=2", "--save-images", "images")
    assert evaluate(*arguments)[0] == 130
    kept = sorted((tmp_path / "images").glob("*/*.png"))
    assert len(kept) >= 2
    kept[0].unlink()  # whose row is kept
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept[1:]}
    finished = sum(len(path.read_text().splitlines()) - 1 for path in tmp_path.glob("out/unfinished-rows/*"))
    (tmp_path / "images/A/.x.png.1.part").write_bytes(b"of a killed process")
    monkeypatch.setattr(Evaluation, "score", original)
    status, out, err = evaluate(*arguments)
    assert status == 0, err
    assert "of 10 images were evaluated before" in out + err
    assert all(path.read_bytes() == content for path, (content, _) in before.items())
    # one may have been saved without its row, and one was removed
    assert sum(path.stat().st_mtime_ns == time for path, (_, time) in before.items()) >= finished - 1 >= 1
    assert len([*(tmp_path / "images").glob("*/*")]) == 10
    for path in (tmp_path / "images").glob("*/*"):
        Image.open(path).load()
    # the same again is welcome; anything else would be mixed with them
    assert evaluate(*arguments)[0] == 0
    status, _, err = evaluate(*arguments, "--size", "256")
    assert status == 2
    assert "images: was made with size 128, not 256; give the same again, or another folder" in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("run --save-images dataset", "lies in"),
        ("run --save-images dataset/A/composite_images", "lies in"),
        ("run --save-images new --out new", "lies in new, which is in use; give a folder elsewhere"),
        ("run --save-images new/images --out new", "lies in new, which is in use"),
        ("run --save-images .", "but no manifest.json of this program; give an empty or new folder"),
        ("--input-composite --save-images images", "needs a run or weights"),
        ("--predictions dataset --save-images images", "needs a run or weights"),
    ],
)
def test_places_for_images_that_are_refused(run, dataset, evaluate, tmp_path, words, complaint):
    before = sorted(path for path in tmp_path.rglob("*") if path.suffix)
    status, _, err = evaluate(*words.split(), f"data.root={dataset}")
    assert status == 2
    assert complaint in err
    assert sorted(path for path in tmp_path.rglob("*") if path.suffix) == before


def test_images_of_one_name_are_not_saved(run, dataset, evaluate):
    folder = dataset / "A/composite_images"
    Image.open(folder / "a-3_x_1_2.jpg").save(folder / "a-3_x_1_2.png")
    (dataset / "A/A_test.txt").write_text("a-3_x_1_2.jpg\na-3_x_1_2.png\n")
    status, _, err = evaluate(run, "--save-images", "images")
    assert status == 2
    assert "A/a-3_x_1_2.jpg and A/a-3_x_1_2.png would be one file; rename a composite" in err


def test_a_run_that_is_not_finished_says_so_everywhere(run, dataset, evaluate, tmp_path, small_config):
    model = no_weight_is_zero(build_model(small_config()))
    config = small_config(data={"root": str(dataset)}, run=str(run))
    save_checkpoint(run / "checkpoints/last.pt", config, model, {"step": 20, "steps": 2000})
    status, out, err = evaluate(run)
    assert status == 0, err
    assert "Beware: step 20 of 2000: the run was not finished" in out
    place = run / "evaluation/test"
    for name in ("report.md", "report.html", "subsets.csv", "ratios.csv", "summary.json"):
        assert "step 20 of 2000" in (place / name).read_text()
    assert "FRIH (step 20 of 2000) & " in (place / "report.md").read_text()  # in LaTeX
    save_pretrained(run, tmp_path / "shared")
    assert load_checkpoint(find_checkpoint(tmp_path / "shared"))["training"] == {"step": 20, "steps": 2000}
    save_checkpoint(run / "checkpoints/last.pt", config, model, {"step": 2000, "steps": 2000})
    status, out, err = evaluate(run, "--out", "finished")
    assert status == 0, err
    assert "2000" not in out
    text = compare({"early": place, "late": tmp_path / "finished"}, tmp_path / "comparison")
    assert "Beware: early is of step 20 of 2000 of its run." in text
    for name in ("md", "html", "json"):
        assert "early is of step 20 of 2000" in (tmp_path / f"comparison/comparison.{name}").read_text()


def test_several_predictions_at_once(dataset, evaluate, tmp_path):
    predict(tmp_path / "a", dataset, "_harmonized")
    predict(tmp_path / "b", dataset, "_HYT", "real")
    status, out, err = evaluate("--predictions", "ours=a", "theirs=b", f"data.root={dataset}", "data.size=128")
    assert status == 0, err
    lines = out.splitlines()
    assert {"ours", "theirs"} <= {line.partition(" ")[0] for line in lines}
    place = tmp_path / "outputs/ours-theirs"
    assert {row.scores["mse"] for row in read_rows(place / "theirs/rows.csv")} == {0.0}
    assert all(row.scores["mse"] == row.scores["input_mse"] for row in read_rows(place / "ours/rows.csv"))
    assert (place / "comparison.md").is_file()


def test_predictions_named_by_a_pattern_at_the_original_size(dataset, evaluate, tmp_path):
    predict(tmp_path / "a", dataset, "-x2", "real")
    more = ("--size", "original", "--metrics", "all", f"data.root={dataset}")
    status, _, err = evaluate("--predictions", "a", *more, "--pattern", "{name}-x2.png")
    assert status == 0, err
    summary = json.loads((tmp_path / "outputs/a/summary.json").read_text())
    assert summary["about"]["size"] == "original"
    assert {"fpsnr", "fssim", "ciede2000"} <= summary["subsets"]["All"].keys()
    status, _, err = evaluate("--predictions", "a", *more)
    assert status == 2
    assert err.startswith("error: a: is not evaluated, for every image has to count once: 2 of 2 are missing")


def test_all_protocols(dataset, evaluate, tmp_path):
    status, out, err = evaluate("--input-composite", "--protocol", "all", f"data.root={dataset}", "data.size=128")
    assert status == 0, err
    place = tmp_path / "outputs/input-composite"
    for name, protocol in PROTOCOLS.items():
        assert json.loads((place / name / "summary.json").read_text())["protocol"] == name
        assert protocol.users in out
    assert "HarmonyTransformer, IIH" in (place / "protocols.md").read_text()


def test_exported_weights_give_the_rows_of_the_run(run, dataset, evaluate, tmp_path):
    save_pretrained(run, tmp_path / "shared")
    status, _, err = evaluate(tmp_path / "shared", f"data.root={dataset}")
    assert status == 0, err
    assert evaluate(run)[0] == 0
    assert read_rows(tmp_path / "outputs/shared/test/rows.csv") == read_rows(run / "evaluation/test/rows.csv")


def test_a_run_at_the_original_size(run, evaluate):
    status, _, err = evaluate(run, "--size", "original", "--protocol", "frih")
    assert status == 0, err
    rows = read_rows(run / "evaluation/test/rows.csv")
    assert len(rows) == 2
    assert all(row.scores["mse"] != row.scores["input_mse"] for row in rows)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "give one of: a run"),
        ("run --predictions a", "give one of: a run"),
        ("--predictions a b --protocol all", "takes one folder of predictions"),
        ("--predictions x/a y/a", "is there already; give another name"),
        ("--predictions a=b/c a=d", "is there already; give another name"),
        ("--predictions a/b:c", "write it as NAME=DIR"),
        ("--input-composite --metrics mse,sim", "evaluation.metrics.1: input should be 'mse', "),
        ("--input-composite evaluation.protocol=idhi", "did you mean 'idih'?"),
        ("--input-composite --lpips w.pth", "w.pth: no such file; get AlexNet's weights from https://"),
        ("--input-composite model.head_width=3", "model.head_width: is fixed by the run"),
    ],
)
def test_command_lines_that_make_no_sense(dataset, evaluate, words, complaint):
    status, _, err = evaluate(*words.split(), f"data.root={dataset}")
    assert status == 2
    assert complaint in err


def test_a_list_that_names_an_image_twice(dataset, evaluate):
    path = dataset / "A/A_test.txt"
    path.write_text(path.read_text() * 2)
    status, _, err = evaluate("--input-composite", f"data.root={dataset}")
    assert status == 2
    assert f"{path}: " in err
    assert "named twice" in err


def test_a_split_without_foreground(dataset, evaluate, tmp_path):
    for item in read_split(dataset, "test").items:
        Image.new("L", (160, 140)).save(item.mask)
    status, _, err = evaluate("--input-composite", f"data.root={dataset}", "--out", "out")
    assert status == 2
    assert "no mask of the test split has foreground" in err
    assert not (tmp_path / "out").exists()


def test_two_evaluations_in_one_folder(dataset, evaluate, tmp_path):
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out/.lock"):
        status, _, err = evaluate("--input-composite", f"data.root={dataset}", "--out", "out")
    assert status == 2
    assert "is at work there" in err
