"""The ablation runner: what it plans, what it finds done, what its tables say."""

import json
import math
import os
import re
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from frih.common.errors import UserError
from frih.common.files import sha256_of
from frih.config.recipes import differences, load_config, to_yaml
from frih.evaluation.rows import read_rows, write_rows
from frih.evaluation.tables import WORSE
from frih.metrics import Row
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from frih.tools.experiments.ablation_tables import mean_over_seeds, published_order, render
from frih.tools.experiments.ablations import (
    TABLES,
    evaluated_rows,
    first_evaluations,
    next_command,
    plan,
    progress,
    runnable,
    seconds_per_step,
    training_steps,
)
from frih.tools.experiments.run_log import latest
from tests.conftest import SMALL, make_dataset

ROOT = Path(__file__).parents[3]
PAPER = [row.title for row in TABLES["3"]]


@pytest.fixture
def recipes(tmp_path) -> Path:
    """The recipes of Table 3, small."""
    folder = tmp_path / "configs"
    (folder / "ablations").mkdir(parents=True)
    (folder / "frih.yaml").write_text(json.dumps(SMALL))
    for name in ("baseline", "cascade_globalmask", "cascade_submask"):
        (folder / f"ablations/{name}.yaml").write_text((ROOT / f"configs/ablations/{name}.yaml").read_text())
    return folder


@pytest.fixture
def job(recipes, dataset, tmp_path):
    """The first job of Table 3."""
    return plan(["3"], recipes=recipes, out=tmp_path / "out", overrides=[f"data.root={dataset}"])[0]


def pretend(job, *, step: int) -> None:
    """A run that has come so far."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / "config.yaml").write_text(to_yaml(job.config))
    save_checkpoint(job.folder / "checkpoints/last.pt", job.config, build_model(job.config), {"step": step})


def rows_of(names: list[tuple[str, str]], psnr: float, *, seed: int = 0) -> list[Row]:
    """Rows whose PSNR is about so much."""
    noise = np.random.default_rng(seed).normal(0, 0.1, len(names))
    return [
        Row(subset, name, name.rsplit("_", 2)[0] + ".jpg", 0.02 + 0.1 * i, 3, scores(psnr + value))
        for i, ((subset, name), value) in enumerate(zip(names, noise, strict=True))
    ]


def scores(psnr: float) -> dict[str, float]:
    mse = 255**2 / 10 ** (psnr / 10)
    composite = {"input_mse": 400.0, "input_psnr": 22.11, "input_fmse": 3200.0}
    return {"mse": mse, "psnr": psnr, "fmse": 8 * mse, **composite}


def pretend_evaluation(job, names: list[tuple[str, str]], *, step: int, protocol: str = "idih") -> None:
    job.evaluation.mkdir(parents=True, exist_ok=True)
    write_rows(job.evaluation / "rows.csv", rows_of(names, 30))
    checkpoint = job.folder / "checkpoints/last.pt"
    about = {"step": step, **({"sha256": sha256_of(checkpoint)} if checkpoint.is_file() else {})}
    (job.evaluation / "summary.json").write_text(json.dumps({"protocol": protocol, "about": about}))


TEST = [("A", "a-3_x_1_2.jpg"), ("B", "b-1_x_1_2.jpg")]
"""The test split of the small dataset."""


def test_images_are_of_the_first_seed_that_all_finished_rows_have(recipes, dataset, tmp_path):
    jobs = plan(["3"], recipes=recipes, out=tmp_path / "out", seeds=2, overrides=[f"data.root={dataset}"])
    assert first_evaluations("3", jobs, evaluated_rows(jobs)) == {}
    done = {("ablations/baseline", 0), ("ablations/baseline", 1), ("frih", 1)}
    for job in jobs:
        if (job.row, job.config.seed) in done:
            pretend_evaluation(job, TEST, step=training_steps(job.config))
    found = first_evaluations("3", jobs, evaluated_rows(jobs))
    assert found == {
        row: tmp_path / f"out/{place}/seed1/evaluation/test"
        for row, place in {"baseline": "ablations/baseline", "FRIH": "frih"}.items()
    }


def test_jobs_of_all_tables_are_the_rows_each_once_seed_by_seed(tmp_path):
    jobs = plan(list(TABLES), recipes=ROOT / "configs/labelme", out=tmp_path, seeds=2, overrides=["train.epochs=70"])
    rows = ["ablations/baseline", "ablations/cascade_globalmask", "ablations/cascade_submask", "frih"]
    rows += [f"cutoff/{cutoff}" for cutoff in (0.01, 0.05, 0.2, 0.3, 0.4)] + ["ablations/separate"]
    assert [(job.row, job.config.seed) for job in jobs] == [(row, seed) for seed in (0, 1) for row in rows]
    assert {job.config.train.epochs for job in jobs} == {70}
    assert jobs[3].folder == tmp_path / "frih/seed0"
    seeds = plan(["3"], recipes=ROOT / "configs", out=tmp_path, seeds=2, overrides=["seed=5"])
    assert [job.config.seed for job in seeds] == [5] * 4 + [6] * 4


@pytest.mark.parametrize("folder", ["labelme", "labelme/cpu"])
def test_recipes_of_a_folder_differ_in_nothing_but_what_they_ablate(folder):
    recipes = ROOT / "configs" / folder
    expected = {
        "ablations/baseline": {"model.cascade", "model.fusion"},
        "ablations/cascade_globalmask": {"model.fusion", "submasks.method"},
        "ablations/cascade_submask": {"model.fusion"},
        "ablations/separate": {"train.end_to_end"},
    }
    if folder == "labelme":
        expected |= {f"cutoff/{cutoff}": {"submasks.cutoff"} for cutoff in (0.01, 0.05, 0.2, 0.3, 0.4)}
    frih = load_config(recipes / "frih.yaml", ["run=null"])
    for row, keys in expected.items():
        assert differences(frih, load_config(recipes / f"{row}.yaml", ["run=null"])).keys() == keys, row
        if row.startswith("cutoff"):
            assert load_config(recipes / f"{row}.yaml").submasks.cutoff == float(row.removeprefix("cutoff/"))


def test_the_steps_of_a_run_are_the_trainers(job):
    # of 10 training composites a quarter of each subset's photos is held out: 2 + 2 (or fewer, where the list ends)
    assert training_steps(job.config) == 2  # 2 epochs of one batch of 4
    with pytest.raises(UserError, match=r"train.batch: 64 is more than"):
        training_steps(load_config(None, [f"data.root={job.config.data.root}", "train.batch=64"]))


def test_a_job_begins_goes_on_and_is_evaluated(job, dataset):
    overrides = [f"data.root={dataset}"]
    folder = str(job.folder)
    for step, command in (
        (0, ["train.py", str(job.recipe), *overrides, "seed=0", f"run={folder}"]),
        (1, ["train.py", "--resume", folder, *overrides]),
        (2, ["evaluate.py", folder, "--out", str(job.evaluation), *overrides]),
    ):
        if step:
            pretend(job, step=step)
        assert progress(job) == (step, 2, False)
        found = next_command(job, progress(job))
        assert found == ["python", *command]
        assert runnable(found) == [sys.executable, str(ROOT / command[0]), *command[1:]]
    pretend_evaluation(job, TEST, step=2)
    assert progress(job) == (2, 2, True)
    assert runnable(next_command(job, progress(job))) is None
    assert evaluated_rows([job]) == {"ablations/baseline": {0: read_rows(job.evaluation / "rows.csv")}}


def test_an_evaluation_of_something_else_does_not_count(job):
    pretend(job, step=2)
    assert not progress(job).evaluated
    for names, other in ((TEST, {"step": 1}), (TEST[:1], {"step": 2}), (TEST, {"step": 2, "protocol": "dovenet"})):
        pretend_evaluation(job, names, **other)
        assert not progress(job).evaluated
    pretend_evaluation(job, TEST, step=2)
    assert progress(job).evaluated
    rows = job.evaluation / "rows.csv"
    rows.write_text(rows.read_text()[:-9])  # cut off
    assert not progress(job).evaluated
    pretend_evaluation(job, TEST, step=2)
    checkpoint = job.folder / "checkpoints/last.pt"
    os.utime(checkpoint, (time.time() + 60, time.time() + 60))  # the clock was set back in between
    assert progress(job).evaluated
    save_checkpoint(checkpoint, job.config, build_model(job.config), {"step": 2, "again": 1})  # trained again since
    assert not progress(job).evaluated
    checkpoint.unlink()  # figures that came back from another machine without it
    assert progress(job) == (2, 2, True)


def test_a_benchmark_is_evaluated_on_instead(recipes, dataset, tmp_path):
    benchmark = make_dataset(tmp_path / "benchmark")
    job = plan(
        ["3"],
        recipes=recipes,
        out=tmp_path / "out",
        overrides=[f"data.root={dataset}", "data.subsets=[A]", "data.workers=0", "train.lr=0.1"],
        benchmark=benchmark,
        processes=2,
    )[3]
    pretend(job, step=2)
    command = " ".join(next_command(job, progress(job)))
    folder = job.folder
    assert command == (
        f"torchrun --standalone --nproc-per-node 2 evaluate.py {folder} --out {folder}/evaluation/benchmark data.workers=0 "
        f"data.root={benchmark} data.subsets=null"
    )
    pretend_evaluation(job, TEST, step=2)  # all of the benchmark's subsets
    assert progress(job).evaluated


def test_a_run_with_other_settings_is_refused(recipes, dataset, tmp_path):
    where = {"recipes": recipes, "out": tmp_path / "out"}
    pretend(plan(["3"], **where, overrides=[f"data.root={dataset}"])[0], step=1)
    changed = [f"data.root={dataset}/", "data.workers=1", "evaluation.batch=5"]
    assert plan(["3"], **where, overrides=changed)  # where and how it runs may change
    with pytest.raises(UserError, match=r"baseline/seed0: was begun with train.epochs 2, not 3\ngive the same"):
        plan(["3"], **where, overrides=[*changed, "train.epochs=3"])


def test_recipes_that_are_not_there(recipes, tmp_path):
    with pytest.raises(UserError, match=r"separate.yaml: no such recipe"):
        plan(["separate"], recipes=recipes, out=tmp_path)


def test_what_was_measured_and_logged(tmp_path):
    assert seconds_per_step(tmp_path / "costs.jsonl", "frih") is None
    assert latest(tmp_path) == {}
    lines = [("frih", 10, 5.0), ("cutoff/0.2", 10, 50.0), ("frih", 30, 7.0)]
    text = "".join(json.dumps(dict(zip(("recipe", "steps", "seconds"), line, strict=True))) + "\n" for line in lines)
    (tmp_path / "costs.jsonl").write_text('{"recipe": "fr' + 2 * text + "\0" * 50)  # killed in the first line
    assert seconds_per_step(tmp_path / "costs.jsonl", "frih") == 19 / 70
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 3}\n\0\n{"step": 2, "val/All/psnr": 30}\n{"st')
    assert latest(tmp_path) == {"step": 2, "train/loss": 3, "val/All/psnr": 30}


NAMES = [("A", f"p{photo}_1_{variant}.jpg") for photo in range(6) for variant in (1, 2)]
"""12 composites of 6 photos."""


def test_means_over_seeds():
    first, second = rows_of(NAMES, 30, seed=1), rows_of(NAMES, 31, seed=2)
    second[3].scores["fmse"] = math.nan
    means = mean_over_seeds([first, list(reversed(second))])
    for i, row in enumerate(means):
        assert (row.subset, row.name) == NAMES[i]
        assert row.scores["psnr"] == pytest.approx((first[i].scores["psnr"] + second[i].scores["psnr"]) / 2)
    assert [i for i, row in enumerate(means) if math.isnan(row.scores["fmse"])] == [3]


def evaluations(psnrs: dict[str, list[float]]) -> dict[str, dict[int, list[Row]]]:
    """One evaluation a figure, its seeds from 0 on; images differ by the same noise in all."""
    return {recipe: {i: rows_of(NAMES, psnr) for i, psnr in enumerate(values)} for recipe, values in psnrs.items()}


def test_table_3_in_the_papers_order():
    found = evaluations(dict(zip((row.recipe for row in TABLES["3"]), ([30], [30.2], [31], [31.5]), strict=True)))
    text, figures = render("3", found, "idih")
    assert "12 images of 6 real photos, protocol idih" in text
    assert "**Table 3, measured**" in text
    assert "| Input composite | 400.00 | 22.11 | - | - | 400.00 | 22.11 | - | - |" in text
    assert "Table 3: Ablation study" in text  # the published rows, in a table of their own
    assert "35.38" in text
    noise = np.random.default_rng(0).normal(0, 0.1, 12).mean()
    assert figures["rows"]["Baseline"]["psnr"]["mean"] == pytest.approx(30 + noise)
    differences = {(one["first"], one["second"]): one["psnr"] for one in figures["differences"]}
    pairs = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 2))
    assert list(differences) == [(PAPER[one], PAPER[other]) for one, other in pairs]
    # the noise is the same, so the differences are the same in every image
    for ends, expected in zip(differences.values(), (0.2, 1, 0.8, 1.5, 0.5), strict=True):
        assert [ends[key] for key in ("mean", "low", "high")] == pytest.approx([expected] * 3)
        assert ends["wins"] == 1
    line = next(line for line in text.splitlines() if line.startswith(f"| {PAPER[3]}, against Baseline | "))
    assert "| +1.50 [+1.50, +1.50] | 100 % |" in line
    assert line.endswith("| +1.37 |")  # the paper's gain
    assert "- PSNR↑: the paper's order in 1 of 1 seeds" in text
    assert "- fMSE↓: the paper's order in 1 of 1 seeds" in text
    assert "| Input composite | 22.11 [22.11, 22.11] | 400.00 [400.00, 400.00] |" in text


def test_seeds_that_disagree_are_counted():
    psnrs = ([30, 30, 30.5], [30.1, 30.1, 30.4], [30.2, 30.2, 30.6], [30.3, 30.3, 30.7])
    found = evaluations(dict(zip((row.recipe for row in TABLES["3"]), psnrs, strict=True)))
    text, figures = render("3", found, "idih")
    assert "PSNR↑: the paper's order in 2 of 3 seeds" in text
    assert re.search(r"- PSNR↑, seed 2: Baseline\+Cascade Globalmask 30.\d\d → Baseline 30.\d\d → ", text)
    by_seed = figures["rows"]["Baseline"]["by_seed"]
    assert by_seed["2"]["psnr"] - by_seed["0"]["psnr"] == pytest.approx(0.5)
    row = next(line for line in text.splitlines() if line.startswith("| Baseline |") and " 3 |" in line)
    assert row.endswith("| 3 | 0.29 |")  # the deviation of 30, 30, 30.5


def test_shares_of_images_made_worse_stand_beside_the_means():
    """One of two seeds makes all composites worse (fMSE 5161 of 3200, 22.11 dB), the other none."""
    text, figures = render("3", evaluations({"frih": [20, 30]}), "idih")
    row = figures["rows"][PAPER[3]]
    assert [row["by_seed"][seed]["worse"] for seed in ("0", "1")] == [1, 0]
    assert row["worse"]["mean"] == row["worse_10"]["mean"] == 0.5
    line = next(line for line in text.splitlines() if line.startswith(f"| {PAPER[3]} |") and " 2 |" in line)
    assert line.count("| 50.0% [50.0%, 50.0%] |") == 1  # the next one shares its bar
    assert line.count("50.0% [50.0%, 50.0%]") == 2
    assert WORSE in text


def test_a_photo_of_several_subsets_is_one_photo():
    text, figures = render("3", evaluations({"frih": [31]}), "idih")
    doubled = [row for one in rows_of(NAMES, 31) for row in (one, one._replace(subset="B"))]
    again, same = render("3", {"frih": {0: doubled}}, "idih")
    assert "12 images of 6 real photos" in text
    assert "24 images of 6 real photos" in again
    for end in ("mean", "low", "high"):  # a second copy does not narrow the interval
        title = PAPER[3]
        assert same["rows"][title]["psnr"][end] == pytest.approx(figures["rows"][title]["psnr"][end])


def test_differences_are_of_the_seeds_that_both_have():
    found = evaluations({"ablations/baseline": [30, 50], "frih": [31]})
    text, figures = render("3", found, "idih")
    assert figures["differences"][0]["psnr"]["mean"] == pytest.approx(1)
    assert "Not finished yet: Baseline+Cascade Globalmask, Baseline+Cascade Submask." in text


def test_table_4_shows_foreground_ratios():
    text, _ = render("4", evaluations({"frih": [31]}), "idih")
    assert "Foreground ratio" in text
    assert f"| Input composite |{' 400.00 | 3200.00 | - | - |' * 4}" in text
    line = next(line for line in text.splitlines() if line.startswith(f"| {PAPER[3]} |"))
    assert line.count("| 0.0% | 0.0% |") == 4
    assert "421.53" in text  # published


def test_published_lines_stand_in_the_same_table_where_the_data_set_is_the_papers():
    names = [(subset, f"p{i}_1_1.jpg") for subset in ("HCOCO", "HAdobe5k", "HFlickr", "Hday2night") for i in range(2)]
    text, _ = render("3", {"frih": {0: rows_of(names, 38)}}, "idih")
    (table,) = (part for part in text.split("\n\n") if "35.38" in part and part.startswith("| "))
    assert "| Input composite | idih | 400.00 | 22.11 |" in table


def test_table_5_compares_with_a_tenth():
    psnrs = {"cutoff/0.01": [30], "cutoff/0.05": [31], "frih": [32]}
    text, figures = render("5", evaluations(psnrs), "idih")
    assert [(one["first"], one["second"]) for one in figures["differences"]] == [
        ("d_c = 0.01", "d_c = 0.1"),
        ("d_c = 0.05", "d_c = 0.1"),
    ]
    assert figures["differences"][0]["psnr"]["mean"] == pytest.approx(-2)
    assert "38.19" in text
    assert "the paper's order in 1 of 1 seeds" in text
    order = [float(title.removeprefix("d_c = ")) for title in published_order("5")]
    assert order == [0.4, 0.3, 0.01, 0.2, 0.05, 0.1]


def test_a_table_of_nothing_says_so():
    assert "No row is finished yet." in render("separate", {}, "idih")[0]


@pytest.fixture
def main(monkeypatch, capsys):
    """Runs the program here, with the first row of Table 3 only; returns its status and what it printed."""
    monkeypatch.setitem(TABLES, "3", TABLES["3"][:1])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(ROOT)

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["scripts/ablations.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path("scripts/ablations.py", run_name="__main__")
        return caught.value.code, "".join(capsys.readouterr())

    return run


def test_a_row_is_stopped_gone_on_with_and_finished(main, recipes, dataset, tmp_path):
    out = tmp_path / "out"
    folder = out / "ablations/baseline/seed0"
    overrides = (f"data.root={dataset}", "train.epochs=60", "train.milestones=[50]", "validation.every=60")
    command = ("--table", "3", "--recipes", recipes, "--out", out, *overrides)

    def press_control_c() -> None:
        end = time.monotonic() + 120
        while not (folder / "metrics.jsonl").exists() and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press_control_c)
    thread.start()
    status, printed = main(*command)
    thread.join()
    assert status == 130
    assert "0 of 1 rows finished; give the same command again to go on" in printed
    assert "No row is finished yet." in (out / "table-3.md").read_text()

    status, printed = main(*command, "train.lr=0.5")
    assert status == 2
    assert f"error: {folder}: was begun with train.lr None, not 0.5" in printed

    status, printed = main(*command)
    assert status == 0, printed
    assert "1 of 1 rows finished" in printed
    assert "step 60 of 60, complete" in (folder / "log.txt").read_text()
    assert len(read_rows(folder / "evaluation/test/rows.csv")) == 2
    assert "| Baseline | " in (out / "table-3.md").read_text()
    assert "ablations/baseline, seed 0: finished" in main(*command, "--dry-run")[1]
    assert sum(json.loads(line)["steps"] for line in (out / "costs.jsonl").read_text().splitlines()) == 60


def test_a_row_that_fails_is_named(main, recipes, dataset, tmp_path):
    for path in (dataset / "A/composite_images").iterdir():
        path.write_bytes(b"no image")
    status, printed = main("--table", "3", "--recipes", recipes, "--out", tmp_path / "out", f"data.root={dataset}")
    assert status == 2
    assert re.search(r"ablations/baseline, seed 0 +failed: .*cannot be read as an image.*log.txt\)", printed)
    assert "0 of 1 rows finished; failed: ablations/baseline, seed 0" in printed


def test_a_training_set_that_is_to_be_made(main, tmp_path):
    photos = ("--photos", "PHOTOS", "--per-photo", "2")
    status, printed = main("--table", "3", "--dry-run", *photos, f"data.root={tmp_path / 'made'}")
    assert status == 0
    assert f"python scripts/make_composites.py PHOTOS {tmp_path / 'made'} --per-photo 2\n" in printed
    assert "--per-photo: says how to make" in main("--table", "3", "--per-photo", "2", "data.root=x")[1]
    assert not (tmp_path / "made").exists()


def test_command_lines_that_make_no_sense(main, dataset, tmp_path):
    for arguments, message in (
        (("--seeds", "0"), "must be 1 or more"),
        (("--minutes", "0"), "--minutes: above 0"),
        (("run=here",), "run=here: each row has a folder of its own"),
        (("--photos", tmp_path), "--photos: give the folder of the data set"),
        (("--out", tmp_path / "out"), "data.root: not set"),
        ((f"data.root={dataset}", "train.batch=6", "--benchmark", tmp_path / "none"), "none is not a folder"),
        ((f"data.root={dataset}",), "train.batch: 128 is more than the"),
        (("--recipes", tmp_path), "baseline.yaml: no such recipe"),
    ):
        status, printed = main("--table", "3", "--dry-run", *arguments)
        assert status == 2
        assert message in printed
