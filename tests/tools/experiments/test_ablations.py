"""The ablation runner: what it plans, what it finds done, what its tables say."""

import dataclasses
import json
import math
import os
import re
import runpy
import signal
import subprocess
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
    CLAIMS,
    GLOBALMASK,
    SUBMASK,
    TABLES,
    evaluated_rows,
    first_evaluations,
    next_commands,
    plan,
    progress,
    runnable,
    training_steps,
)
from frih.tools.experiments.costs import cost
from frih.tools.experiments.run_log import latest
from frih.tools.experiments.running import describe_state
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


def pretend_evaluation(
    job, names: list[tuple[str, str]], *, step: int, protocol: str = "idih", on: str = "test"
) -> None:
    folder = job.evaluation(on)
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.csv", rows_of(names, 30))
    checkpoint = job.folder / "checkpoints/last.pt"
    about = {"step": step, **({"sha256": sha256_of(checkpoint)} if checkpoint.is_file() else {})}
    (folder / "summary.json").write_text(json.dumps({"protocol": protocol, "about": about}))


TEST = [("A", "a-3_x_1_2.jpg"), ("B", "b-1_x_1_2.jpg")]
"""The test split of the small dataset."""


def test_images_are_of_the_first_seed_that_all_finished_rows_have(recipes, dataset, tmp_path):
    jobs = plan(["3"], recipes=recipes, out=tmp_path / "out", seeds=2, overrides=[f"data.root={dataset}"])
    assert first_evaluations("3", jobs, "test", evaluated_rows(jobs, "test")) == {}
    done = {("ablations/baseline", 0), ("ablations/baseline", 1), ("frih", 1)}
    for job in jobs:
        if (job.row, job.config.seed) in done:
            pretend_evaluation(job, TEST, step=training_steps(job.config))
    found = first_evaluations("3", jobs, "test", evaluated_rows(jobs, "test"))
    assert found == {
        row: tmp_path / f"out/{place}/seed1/evaluation/test"
        for row, place in {"baseline": "baseline", "FRIH": "frih"}.items()
    }


def test_jobs_of_several_tables_are_the_rows_each_once_seed_by_seed(tmp_path):
    jobs = plan(CLAIMS, recipes=ROOT / "configs/photos", out=tmp_path, seeds=2, overrides=["train.epochs=70"])
    rows = ["ablations/baseline", GLOBALMASK, SUBMASK, "frih"]
    rows += [f"cutoff/{cutoff}" for cutoff in (0.01, 0.05, 0.2, 0.3, 0.4)] + ["ablations/separate"]
    assert [(job.row, job.config.seed) for job in jobs] == [(row, seed) for seed in (0, 1) for row in rows]
    assert {job.config.train.epochs for job in jobs} == {70}
    assert jobs[3].folder == tmp_path / "frih/seed0"
    assert jobs[3].stands_for == ("frih", "cutoff/0.1")
    seeds = plan(["3"], recipes=ROOT / "configs", out=tmp_path, seeds=2, overrides=["seed=5"])
    assert [job.config.seed for job in seeds] == [5] * 4 + [6] * 4


@pytest.mark.parametrize("folder", ["photos", "photos/cpu"])
def test_recipes_of_a_folder_differ_in_nothing_but_what_they_ablate(folder):
    recipes = ROOT / "configs" / folder
    expected = {
        "ablations/baseline": {"model.cascade", "model.fusion"},
        "ablations/cascade_globalmask": {"model.fusion", "submasks.method"},
        "ablations/cascade_submask": {"model.fusion"},
        "ablations/separate": {"train.end_to_end"},
    }
    frih = load_config(recipes / "frih.yaml", ["run=null"])
    for row, keys in expected.items():
        assert differences(frih, load_config(recipes / f"{row}.yaml", ["run=null"])).keys() == keys, row


def test_rows_are_keys_on_top_of_a_recipe(recipes, dataset, tmp_path):
    where = {"recipes": recipes, "out": tmp_path / "out", "overrides": [f"data.root={dataset}"]}
    jobs = {job.row: job for job in plan(["5"], **where)}
    frih = jobs["frih"].config
    assert frih.submasks.cutoff == 0.1
    for cutoff in (0.01, 0.05, 0.2, 0.3, 0.4):
        job = jobs.pop(f"cutoff/{cutoff}")
        assert differences(frih, job.config).keys() == {"submasks.cutoff", "run"}
        assert job.config.submasks.cutoff == cutoff
        assert job.folder == tmp_path / f"out/cutoff/{cutoff}/seed0"
    assert list(jobs) == ["frih"]
    ((command),) = next_commands(job, progress(job))
    words = ["submasks.cutoff=0.4", f"data.root={dataset}", "seed=0", f"run={job.folder}"]
    assert command == ["python", "train.py", str(recipes / "frih.yaml"), *words]


def test_a_row_whose_keys_its_recipe_has_is_the_run_of_the_recipe(recipes, dataset, tmp_path, monkeypatch):
    known = tuple(row for row in TABLES["loss"] if "refine_weight" not in str(row.keys))
    monkeypatch.setitem(TABLES, "loss", known)
    where = {"recipes": recipes, "overrides": [f"data.root={dataset}"]}
    (recipes / "ablations/cascade_submask.yaml").write_text("{base: ../frih.yaml, loss: {equal: pixels}}")
    jobs = plan(["loss", "3"], out=tmp_path, **where)
    names = {job.row: job.stands_for for job in jobs}
    assert names == {
        GLOBALMASK: (GLOBALMASK,),
        "loss/submask-equation-8": ("loss/submask-equation-8",),
        SUBMASK: ("loss/submask-pixels", SUBMASK),
        "frih": ("loss/frih-equation-8", "frih"),
        "loss/frih-pixels": ("loss/frih-pixels",),
        "ablations/baseline": ("ablations/baseline",),
    }
    assert {job.row: job.config.loss.equal for job in jobs}[SUBMASK] == "pixels"
    pretend_evaluation(jobs[2], TEST, step=2)
    assert list(evaluated_rows(jobs, "test")) == ["loss/submask-pixels", SUBMASK]


def test_a_division_is_named_by_its_method_and_keys():
    assert [(row.name, row.keys) for row in TABLES["divisions"]] == [
        ("divisions/whole", ("submasks.method=whole",)),
        ("divisions/random-8", ("submasks.method=random", "submasks.clusters=8")),
        ("divisions/kmeans-4", ("submasks.method=kmeans", "submasks.clusters=4")),
        ("divisions/kmeans-8", ("submasks.method=kmeans", "submasks.clusters=8")),
        ("divisions/gamma-0.1", ("submasks.method=gamma", "submasks.cutoff=0.1")),
        ("divisions/cfsfdp-0.02", ("submasks.method=cfsfdp", "submasks.cutoff=0.02")),
        ("divisions/cfsfdp-0.1", ("submasks.method=cfsfdp", "submasks.cutoff=0.1")),
    ]


def test_keys_in_which_the_rows_differ_are_refused(recipes, tmp_path):
    with pytest.raises(
        UserError, match=r"^submasks.method=given: the rows of table 3 differ in this key; leave it out"
    ):
        plan(["3"], recipes=recipes, out=tmp_path, overrides=["submasks.method=given"])
    with pytest.raises(UserError, match=r"^submasks.cutoff=0.2: the rows of table 5 differ in this key; leave it out"):
        plan(["3", "5"], recipes=recipes, out=tmp_path, overrides=["train.lr=0.1", "submasks.cutoff=0.2"])
    assert plan(["3"], recipes=recipes, out=tmp_path, overrides=["submasks.cutoff=0.2"])


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
        (2, ["evaluate.py", folder, "--out", str(job.evaluation("test")), *overrides]),
    ):
        if step:
            pretend(job, step=step)
        assert progress(job) == (step, 2, ("test",))
        (found,) = next_commands(job, progress(job))
        assert found == ["python", *command]
        assert runnable(found) == [sys.executable, str(ROOT / command[0]), *command[1:]]
    pretend_evaluation(job, TEST, step=2)
    assert progress(job) == (2, 2, ())
    assert next_commands(job, progress(job)) == []
    rows = read_rows(job.evaluation("test") / "rows.csv")
    assert evaluated_rows([job], "test") == {"ablations/baseline": {0: rows}}


def test_running_statistics_are_measured_before_the_evaluation(job, tmp_path):
    pretend(job, step=2)
    pretend_evaluation(job, TEST, step=2)  # with the statistics of the training
    again = dataclasses.replace(job, recalibrate=4)
    assert progress(again) == (2, 2, ("test",))
    (command,) = next_commands(again, progress(again))
    weights = job.folder / "recalibrated-4.safetensors"
    options = ["--out", str(weights), "--images", "4", "--batch", "4", f"data.root={job.config.data.root}"]
    assert command == ["python", "scripts/recalibrate.py", str(job.folder), *options]
    subprocess.run(runnable(command), check=True, capture_output=True, cwd=tmp_path)
    (command,) = next_commands(again, progress(again))
    out = job.folder / "evaluation/test-recalibrated-4"
    assert command[:5] == ["python", "evaluate.py", str(weights), "--out", str(out)]
    subprocess.run(runnable(command), check=True, capture_output=True, cwd=tmp_path)
    assert progress(again).finished
    assert progress(job).finished
    weights.write_bytes(b"others")
    assert not progress(again).finished


def test_an_evaluation_of_something_else_does_not_count(job):
    pretend(job, step=2)
    assert not progress(job).finished
    for names, other in ((TEST, {"step": 1}), (TEST[:1], {"step": 2}), (TEST, {"step": 2, "protocol": "dovenet"})):
        pretend_evaluation(job, names, **other)
        assert not progress(job).finished
    pretend_evaluation(job, TEST, step=2)
    assert progress(job).finished
    rows = job.evaluation("test") / "rows.csv"
    rows.write_text(rows.read_text()[:-9])  # cut off
    assert not progress(job).finished
    pretend_evaluation(job, TEST, step=2)
    checkpoint = job.folder / "checkpoints/last.pt"
    os.utime(checkpoint, (time.time() + 60, time.time() + 60))  # the clock was set back in between
    assert progress(job).finished
    save_checkpoint(checkpoint, job.config, build_model(job.config), {"step": 2, "again": 1})  # trained again since
    assert not progress(job).finished
    checkpoint.unlink()  # figures that came back from another machine without it
    assert progress(job) == (2, 2, ())


def test_benchmarks_are_evaluated_on_instead(recipes, dataset, tmp_path):
    things, stuff = (make_dataset(tmp_path / name) for name in ("things", "stuff"))
    job = plan(
        ["3"],
        recipes=recipes,
        out=tmp_path / "out",
        overrides=[f"data.root={dataset}", "data.subsets=[A]", "data.workers=0", "train.lr=0.1"],
        benchmarks=[things, stuff],
        processes=2,
    )[3]
    pretend(job, step=2)
    folder = job.folder
    commands = [" ".join(command) for command in next_commands(job, progress(job))]
    assert commands == [
        f"torchrun --standalone --nproc-per-node 2 evaluate.py {folder} --out {folder}/evaluation/{name} data.workers=0 "
        f"data.root={tmp_path / name} data.subsets=null"
        for name in ("things", "stuff")
    ]
    pretend_evaluation(job, TEST, step=2, on="things")  # all of the benchmark's subsets
    assert progress(job) == (2, 2, ("stuff",))
    (command,) = next_commands(job, progress(job))
    assert f"data.root={stuff}" in command
    assert list(evaluated_rows([job], "things")) == ["frih"]
    assert evaluated_rows([job], "stuff") == {}
    pretend_evaluation(job, TEST, step=2, on="stuff")
    assert progress(job).finished


def test_benchmarks_of_one_name_are_refused(recipes, tmp_path):
    where = {"recipes": recipes, "out": tmp_path}
    with pytest.raises(UserError, match=r"--benchmark b/things/../things: has the name of a/things; .* rename one"):
        plan(["3"], **where, benchmarks=[Path("a/things"), Path("b/things/../things")])
    with pytest.raises(UserError, match=r"--benchmark a/test: has the name of the test split"):
        plan(["3"], **where, benchmarks=[Path("a/test")])
    link = tmp_path / "other"
    link.symlink_to("things")
    assert plan(["3"], **where, benchmarks=[Path("things"), link])


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


def test_a_step_costs_what_was_measured(recipes, dataset, tmp_path):
    jobs = plan(["3", "5"], recipes=recipes, out=tmp_path, seeds=2, overrides=[f"data.root={dataset}"])
    frih = next(job for job in jobs if job.row == "frih")
    assert cost(tmp_path, frih, jobs) is None
    (other,) = (job for job in jobs if job.row == "frih" and job.config.seed == 1)
    other.folder.mkdir(parents=True)
    rates = [{"step": 1, "time/images_per_second": 8}, {"step": 1}, {"step": 2, "time/images_per_second": 2}]
    (other.folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in rates))
    assert cost(tmp_path, frih, jobs) == (1.25, "by the row's log")  # steps of 4 images took 0.5 and 2 seconds
    lines = [("frih", 10, 5.0), ("cutoff/0.2", 10, 50.0), ("frih", 30, 7.0)]
    text = "".join(json.dumps(dict(zip(("recipe", "steps", "seconds"), line, strict=True))) + "\n" for line in lines)
    (tmp_path / "costs.jsonl").write_text('{"recipe": "fr' + 2 * text + "\0" * 50)  # killed in the first line
    found = cost(tmp_path, frih, jobs)
    assert found == (19 / 70, "timed in 70 steps")
    assert found.describe(700) == "about 3 min (0.271 s a step, timed in 70 steps)"


def test_what_was_logged(tmp_path):
    assert latest(tmp_path) == {}
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 3}\n\0\n{"step": 2, "val/All/psnr": 30}\n{"st')
    assert latest(tmp_path) == {"step": 2, "train/loss": 3, "val/All/psnr": 30}


def test_a_running_row_tells_the_time_left(job):
    assert describe_state(job) == "training: step 0 of 2"
    job.folder.mkdir(parents=True)
    (job.folder / "metrics.jsonl").write_text('{"step": 1, "train/loss": 0.5, "time/images_per_second": 0.4}\n')
    assert describe_state(job) == "training: step 1 of 2, about 10 s left, loss 0.5"


def test_older_results_stay_where_they_are(recipes, dataset, tmp_path):
    where = {"recipes": recipes, "overrides": [f"data.root={dataset}"], "seeds": 2}
    (tmp_path / "ablations/baseline/seed1").mkdir(parents=True)
    folders = [job.folder for job in plan(["3"], out=tmp_path, **where)]
    names = ["ablations/baseline", "cascade_globalmask", "cascade_submask", "frih"]
    assert folders == [tmp_path / name / f"seed{seed}" for seed in (0, 1) for name in names]


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
    text, _, _, figures, _ = render("3", found, "idih")
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
    text, _, _, figures, _ = render("3", found, "idih")
    assert "PSNR↑: the paper's order in 2 of 3 seeds" in text
    assert re.search(r"- PSNR↑, seed 2: Baseline\+Cascade Globalmask \(30.\d\d\) → Baseline \(30.\d\d\) → ", text)
    by_seed = figures["rows"]["Baseline"]["by_seed"]
    assert by_seed["2"]["psnr"] - by_seed["0"]["psnr"] == pytest.approx(0.5)
    row = next(line for line in text.splitlines() if line.startswith("| Baseline |") and " 3 |" in line)
    assert row.endswith("| 3 | 0.29 |")  # the deviation of 30, 30, 30.5


def test_shares_of_images_made_worse_stand_beside_the_means():
    """One of two seeds makes all composites worse (fMSE 5161 of 3200, 22.11 dB), the other none."""
    text, _, _, figures, _ = render("3", evaluations({"frih": [20, 30]}), "idih")
    row = figures["rows"][PAPER[3]]
    assert [row["by_seed"][seed]["worse"] for seed in ("0", "1")] == [1, 0]
    assert row["worse"]["mean"] == row["worse_10"]["mean"] == 0.5
    line = next(line for line in text.splitlines() if line.startswith(f"| {PAPER[3]} |") and " 2 |" in line)
    assert line.count("| 50.0% [50.0%, 50.0%] |") == 1  # the next one shares its bar
    assert line.count("50.0% [50.0%, 50.0%]") == 2
    assert WORSE in text


def test_a_photo_of_several_subsets_is_one_photo():
    text, _, _, figures, _ = render("3", evaluations({"frih": [31]}), "idih")
    doubled = [row for one in rows_of(NAMES, 31) for row in (one, one._replace(subset="B"))]
    again, _, _, same, _ = render("3", {"frih": {0: doubled}}, "idih")
    assert "12 images of 6 real photos" in text
    assert "24 images of 6 real photos" in again
    for end in ("mean", "low", "high"):  # a second copy does not narrow the interval
        title = PAPER[3]
        assert same["rows"][title]["psnr"][end] == pytest.approx(figures["rows"][title]["psnr"][end])


def test_differences_are_of_the_seeds_that_both_have():
    found = evaluations({"ablations/baseline": [30, 50], "frih": [31]})
    text, _, _, figures, _ = render("3", found, "idih")
    assert figures["differences"][0]["psnr"]["mean"] == pytest.approx(1)
    assert "Not finished yet: Baseline+Cascade Globalmask, Baseline+Cascade Submask." in text


def test_table_4_shows_foreground_ratios():
    text, *_ = render("4", evaluations({"frih": [31]}), "idih")
    assert "Foreground ratio" in text
    assert f"| Input composite |{' 400.00 | 3200.00 | - | - |' * 4}" in text
    line = next(line for line in text.splitlines() if line.startswith(f"| {PAPER[3]} |"))
    assert line.count("| 0.0% | 0.0% |") == 4
    assert "421.53" in text  # published


def test_published_lines_stand_in_the_same_table_where_the_data_set_is_the_papers():
    names = [(subset, f"p{i}_1_1.jpg") for subset in ("HCOCO", "HAdobe5k", "HFlickr", "Hday2night") for i in range(2)]
    text, *_ = render("3", {"frih": {0: rows_of(names, 38)}}, "idih")
    (table,) = (part for part in text.split("\n\n") if "35.38" in part and part.startswith("| "))
    assert "| Input composite | idih | 400.00 | 22.11 |" in table


def test_the_console_gets_what_fits_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = ["ablations/cascade_globalmask", "ablations/cascade_submask", "frih"]
    text = render("3", evaluations({name: [31, 32] for name in names}), "idih", "things").text
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("\nBaseline+Cascade Submask+Fusion  ") > 4
    assert "**" not in text


def test_table_5_compares_with_a_tenth():
    psnrs = {"cutoff/0.01": [30], "cutoff/0.05": [31], "cutoff/0.1": [32]}
    text, _, _, figures, _ = render("5", evaluations(psnrs), "idih")
    assert [(one["first"], one["second"]) for one in figures["differences"]] == [
        ("d_c = 0.01", "d_c = 0.1"),
        ("d_c = 0.05", "d_c = 0.1"),
    ]
    assert figures["differences"][0]["psnr"]["mean"] == pytest.approx(-2)
    assert "38.19" in text
    assert "the paper's order in 1 of 1 seeds" in text
    order = [float(title.removeprefix("d_c = ")) for title in published_order("5")]
    assert order == [0.4, 0.3, 0.01, 0.2, 0.05, 0.1]


def test_table_5_is_in_table_3s_form_beside_the_papers():
    found = render("5", evaluations({"cutoff/0.05": [31], "cutoff/0.1": [32]}), "idih")
    lines = found.markdown.splitlines()
    start = lines.index("**Table 5, measured**") + 2
    assert lines[start] == "| Sub-dataset | A (12) |  |  |  | All (12) |  |  |  |"
    assert [line.split(" | ")[0] for line in lines[start + 3 : start + 6]] == [
        *("| Input composite", "| d\\_c = 0.05", "| d\\_c = 0.1")
    ]
    assert "**The paper's Table 5: comparative experiment for d\\_c**" in lines
    assert [line[0] for line in found.csv] == ["Sub-dataset", "Input composite", "d_c = 0.05", "d_c = 0.1"]


def test_the_best_rows_are_bold_but_not_the_composites():
    """By hand: of 20, 30 and 30 dB two tie; composites have 22.11 dB, and only the first row is worse than they are."""
    psnrs = dict(zip(("ablations/baseline", GLOBALMASK, SUBMASK), ([20], [30], [30]), strict=True))
    found = render("3", {name: {0: rows_of(NAMES, *psnr, seed=1)} for name, psnr in psnrs.items()}, "idih")
    rows = rows_of(NAMES, 30, seed=1)
    mse, psnr = (f"{sum(row.scores[score] for row in rows) / 12:.2f}" for score in ("mse", "psnr"))
    cells = f" **{mse}** | **{psnr}** | **0.0%** | **0.0%** |"
    assert (
        found.markdown.count(f"| {PAPER[1]} |{cells}{cells}")
        == found.markdown.count(f"| {PAPER[2]} |{cells}{cells}")
        == 1
    )
    assert "| Input composite | 400.00 | 22.11 | - | - | 400.00 | 22.11 | - | - |" in found.markdown
    assert re.search(rf"\| {re.escape(PAPER[1])} \| \*\*{psnr}\*\* \[\d\d.\d\d, ", found.markdown)  # not the interval
    cells = rf" & \textbf{{{mse}}} & \textbf{{{psnr}}} & \textbf{{0.0\%}} & \textbf{{0.0\%}}"
    assert f"{PAPER[1]}{cells}{cells} \\\\" in found.latex
    assert found.csv[3] == [PAPER[1], *2 * [mse, psnr, "0.0", "0.0"]]
    assert "textbf" not in found.latex.split("paired differences")[1]
    alone = render("3", {"frih": {0: rows}}, "idih")  # nothing to compete with
    assert "**" not in "".join(line for line in alone.markdown.splitlines() if line.startswith("|"))


def test_all_tables_are_in_latex_each_for_its_benchmark():
    found = render("3", evaluations({"ablations/baseline": [30], "frih": [31]}), "idih", "things")
    assert found.markdown.startswith("# Table 3 on things\n")
    assert found.latex.startswith("% Table 3 on things\n% 12 images of 6 real photos, protocol idih")
    captions = re.findall(r"\\caption\{([^.:]*)", found.latex)
    assert captions == [
        "Table 3 on things, measured",
        "The paper's Table 3",
        *("Table 3 on things", "Table 3 on things"),
    ]
    assert ": means and intervals." in found.latex
    assert ": paired differences." in found.latex
    assert found.latex.count("\\begin{tabular}") == found.latex.count("\\end{table}") == 4
    assert found.figures["benchmark"] == "things"


@pytest.mark.parametrize(
    ("table", "pairs"),
    [
        ("divisions", [(1, 0), (2, 0), (6, 0), (0, 6), (1, 6), (2, 6)]),
        ("loss", [(1, 0), (2, 0), (2, 1), (4, 0), (4, 1)]),
    ],
)
def test_tables_that_the_paper_does_not_have(table, pairs):
    rows = TABLES[table]
    done = {row.name: [30 + i] for i, row in enumerate(rows) if i in {index for pair in pairs for index in pair}}
    found = render(table, evaluations(done), "idih")
    assert [(one["first"], one["second"]) for one in found.figures["differences"]] == [
        (rows[first].title, rows[second].title) for first, second in pairs
    ]
    for first, second in pairs:
        assert f"| {rows[first].title}, against {rows[second].title} | ".replace("_", "\\_") in found.markdown
    assert "paper" not in found.markdown + found.latex
    assert "- PSNR↑, seed 0: " in found.markdown


def test_a_table_of_nothing_says_so():
    nothing = render("separate", {}, "idih")
    assert "No row is finished yet." in nothing.markdown
    assert "No row is finished yet." in nothing.text
    assert nothing.latex == "% No row is finished yet."
    assert nothing.csv == []


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
    folder = out / "baseline/seed0"
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
    assert "\nBaseline & " in (out / "table-3.tex").read_text()
    assert "\nBaseline," in (out / "table-3.csv").read_text()
    assert "ablations/baseline, seed 0: finished" in main(*command, "--dry-run")[1]
    assert sum(json.loads(line)["steps"] for line in (out / "costs.jsonl").read_text().splitlines()) == 60


def test_a_dry_run_tells_the_time_only_where_it_was_measured(main, recipes, dataset, tmp_path):
    out = tmp_path / "out"
    keys = (f"data.root={dataset}", "train.epochs=60", "train.milestones=[50]")
    words = ("--table", "3", "--dry-run", "--recipes", recipes, "--out", out, *keys)
    status, printed = main(*words)
    assert status == 0
    assert "60 steps of 4: 240 images; time unknown\n" in printed
    assert printed.endswith(
        "\n1 row\ntime unknown: 1 row, of which no step was timed; --measure 10 times ten of each here\n"
    )
    assert not out.exists()
    for command in ((*words, "--measure", 2), words):
        status, printed = main(*command)
        assert status == 0, printed
        assert re.search(r"images; about \d+ s \(0\.\d+ s a step, timed in 2 steps\)\n", printed)
        assert re.search(r"\n1 row; training about \d+ s, one row after the other\n$", printed)
    assert [path.name for path in out.iterdir()] == ["costs.jsonl"]


def test_a_row_that_fails_is_named(main, recipes, dataset, tmp_path):
    for path in (dataset / "A/composite_images").iterdir():
        path.write_bytes(b"no image")
    status, printed = main("--table", "3", "--recipes", recipes, "--out", tmp_path / "out", f"data.root={dataset}")
    assert status == 2
    assert re.search(r"ablations/baseline, seed 0 +failed: .*cannot be read as an image.*log.txt\)", printed)
    assert "0 of 1 rows finished; failed: ablations/baseline, seed 0" in printed


def test_a_benchmark_that_fails_keeps_no_other_from_being_evaluated(main, recipes, dataset, tmp_path):
    things, stuff, out = make_dataset(tmp_path / "things"), make_dataset(tmp_path / "stuff"), tmp_path / "out"
    (things / "A/composite_images" / TEST[0][1]).write_bytes(b"no image")
    pretend(plan(["3"], recipes=recipes, out=out, overrides=[f"data.root={dataset}"])[0], step=2)
    words = ("--recipes", recipes, "--out", out, "--benchmark", things, stuff, f"data.root={dataset}")
    status, printed = main("--table", "3", *words)
    assert status == 2
    assert re.search(r"seed 0 +failed: .*cannot be read as an image", printed)
    assert "No row is finished yet." in (out / "table-3-things.md").read_text()
    assert "# Table 3 on stuff" in (out / "table-3-stuff.md").read_text()
    assert "| Baseline | " in (out / "table-3-stuff.md").read_text()
    status, printed = main("--table", "3", *words, "--dry-run")
    assert f"data.root={things}\n" in printed
    assert f"data.root={stuff}\n" not in printed


def test_keys_may_stand_before_and_behind_benchmarks(main, recipes, dataset, tmp_path):
    folders = [make_dataset(tmp_path / name) for name in ("one", "two")]
    start = ("--table", "3", "--dry-run", "--recipes", recipes, "--out", tmp_path / "out")
    expected = None
    for words in (
        ("--benchmark", *folders, "--seeds", 2, f"data.root={dataset}", "data.workers=0"),
        (f"data.root={dataset}", "data.workers=0", "--seeds", 2, "--benchmark", *folders),
        ("--seeds", 2, "--benchmark", *folders, f"data.root={dataset}", "data.workers=0"),
        ("--benchmark", folders[0], "--benchmark", folders[1], f"data.root={dataset}", "data.workers=0", "--seeds", 2),
    ):
        status, printed = main(*start, *words)
        assert status == 0, printed
        assert printed.count("train.py") == 2
        assert printed.count("evaluate.py") == 4
        assert printed == (expected := expected or printed)
    status, printed = main(*start, "--benchmark", f"data.root={dataset}")
    assert status == 2
    assert f"--benchmark data.root={dataset}: is no folder" in printed


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
        (("--measure", "-1"), "--measure: goes with --dry-run"),
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
