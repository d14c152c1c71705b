"""benchmarks/fuzz.py: what it finds when something is planted; and of some cases of each kind, nothing."""

import os
import random
import sys
import time
from pathlib import Path

import pytest

from frih.common.errors import UserError
from frih.config.recipes import load_config
from tests.conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import fuzz
from fuzz import Limits, examine, judge
from fuzz_inputs import KINDS, Base, Kind, make_base


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Base:
    return make_base(tmp_path_factory.mktemp("base"))


def make(rng: random.Random, base: Base, folder: Path) -> Path:
    path = folder / f"case.{rng.choice(['one', 'two'])}"
    path.touch()
    return path


def works(path: Path, base: Base) -> None:
    pass


def refuses(path: Path, base: Base) -> None:
    raise UserError(f"{path}: is not good; take another")


def names_a_key(path: Path, base: Base) -> None:
    load_config(None, ["train.epochs=0"])


def names_nothing(path: Path, base: Base) -> None:
    raise UserError("something is wrong")


def is_a_defect(path: Path, base: Base) -> None:
    load_config(None, [0])  # type: ignore[list-item]


def has_no_file(path: Path, base: Base) -> None:
    raise OSError("a library could not")


def exits(path: Path, base: Base) -> None:
    raise SystemExit(1)


def leaves_a_part(path: Path, base: Base) -> None:
    path.with_name(".case.1.part").touch()


@pytest.mark.parametrize(
    ("uses", "outcome", "what"),
    [
        ([works], "worked", ""),
        ([refuses, works], "refused", ""),
        ([names_a_key], "refused", ""),
        ([refuses, names_nothing], "wrong", "refused without the name of a file or key"),
        ([refuses, is_a_defect], "wrong", "AttributeError"),
        ([has_no_file], "wrong", "OSError"),
        ([exits], "wrong", "SystemExit"),
        ([leaves_a_part], "wrong", "leaves an unfinished file behind"),
    ],
)
def test_the_judge_tells_right_from_wrong(uses, outcome, what, base, tmp_path):
    kind = Kind(make, tuple(uses))
    verdict = judge(kind, make(random.Random(0), base, tmp_path), base)
    assert (verdict.outcome, verdict.what) == (outcome, what)
    if what == "AttributeError":
        assert verdict.place.startswith("frih/config/recipes.py:")
        assert verdict.place.endswith(" _parse_overrides")


def ends_or_hangs(path: Path, base: Base) -> None:
    if path.suffix == ".one":
        os.abort()
    time.sleep(60)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_case_that_ends_its_process_or_hangs_is_a_finding_and_the_others_go_on(base, monkeypatch):
    monkeypatch.setattr(fuzz, "START", "fork")  # faster
    verdicts = dict(examine(Kind(make, (ends_or_hangs,)), "0", [3, 4, 5, 6], base, Limits(seconds=0.5)))
    suffixes = {n: make(random.Random(f"0/{n}"), base, base.folder).suffix for n in verdicts}
    assert set(suffixes) == {3, 4, 5, 6}
    assert set(suffixes.values()) == {".one", ".two"}
    for number, verdict in verdicts.items():
        assert verdict.what == {".one": "ends the process by SIGABRT", ".two": "hangs"}[suffixes[number]]
        assert verdict.place.endswith(" in ends_or_hangs")


@pytest.mark.filterwarnings("ignore:.*image format:DeprecationWarning")  # of those that Pillow will give up
@pytest.mark.parametrize("name", KINDS)
def test_cases_work_or_are_refused_by_name(name, base, tmp_path):
    kind, wrong = KINDS[name], []
    for number in range(8 if name == "checkpoints" else 20):
        folder = tmp_path / str(number)
        folder.mkdir()
        verdict = judge(kind, kind.make(random.Random(f"0/{name}/{number}"), base, folder), base)
        if verdict.outcome == "wrong":
            wrong.append((number, *verdict[1:3]))
    assert wrong == []
