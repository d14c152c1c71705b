"""``validation.list``: composites held out by name, and what is left for training."""

import pytest

from frih.common.errors import UserError
from frih.config.recipes import load_config
from frih.data.held_out import divide, with_held_out
from frih.data.iharmony4 import read_split


@pytest.fixture
def parts(dataset):
    """Names in training and validation with a ``validation.list``, and the remarks.

    The training split has A's photos a-0 to a-3 but for the last composite, and B's b-0 and b-1 likewise.
    """

    def divided(wanted: str, *overrides: str) -> tuple[list[str], list[str], tuple[str, ...]]:
        config = load_config(None, [f"data.root={dataset}", f"validation.list={wanted}", *overrides])
        listing = with_held_out(read_split(dataset, "train", config.data.subsets), config)
        training, validation = divide(listing, config)
        return [item.name for item in training], [item.name for item in validation], listing.unused

    return divided


@pytest.mark.parametrize(
    "lines",
    [
        ["A/composite_images/a-1_x_1_2.jpg", "B/composite_images/b-1_x_1_1.jpg"],
        ["a-1_x_1_2.jpg", "b-1_x_1_1.jpg"],  # by name alone
        ["/data/iHarmony4/A/composite_images/a-1_x_1_2.jpg", "C:\\D\\B\\composite_images\\b-1_x_1_1.jpg"],
        ["A/a-1_x_1_2.jpg", "", "B/b-1_x_1_1.jpg"],
    ],
)
def test_a_file_names_what_is_held_out_and_its_real_images_leave_training(parts, tmp_path, lines):
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(lines) + "\n")
    training, validation, remarks = parts(str(file))
    assert validation == ["A/a-1_x_1_2.jpg", "B/b-1_x_1_1.jpg"]
    assert training == [
        *(f"A/a-{photo}_x_1_{variant}.jpg" for photo, variant in ((0, 1), (0, 2), (2, 1), (2, 2), (3, 1))),
        *(f"B/b-0_x_1_{variant}.jpg" for variant in (1, 2)),
    ]
    assert remarks == (
        f"2 composites of {file} held out for validation, 1 other of their real images left out of training",
    )


def test_a_word_names_the_datasets_own_lists(parts, dataset):
    (dataset / "A/A_val.txt").write_text("a-0_x_1_1.jpg\n")
    (dataset / "B/B_val.txt").write_text("b-0_x_1_2.jpg\n")
    assert parts("val")[1] == ["A/a-0_x_1_1.jpg", "B/b-0_x_1_2.jpg"]
    for subset in "AB":
        (dataset / subset / f"{subset}_val.txt").unlink()
    (dataset / "IHD_val.txt").write_text("B/composite_images/b-0_x_1_2.jpg\nA/composite_images/a-3_x_1_2.jpg\n")
    training, validation, remarks = parts("val")
    assert validation == [
        "A/a-3_x_1_2.jpg",
        "B/b-0_x_1_2.jpg",
    ]  # the first is not in the training split, but its photo is
    assert not {"A/a-3_x_1_1.jpg", "B/b-0_x_1_1.jpg", "B/b-0_x_1_2.jpg"} & set(training)
    assert remarks[0].endswith("2 others of their real images left out of training")


def test_lines_of_other_subsets_are_not_used(parts, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("A/composite_images/a-0_x_1_1.jpg\nB/composite_images/b-0_x_1_1.jpg\n")
    _, validation, remarks = parts(str(file), "data.subsets=[A]")
    assert validation == ["A/a-0_x_1_1.jpg"]
    assert remarks[1] == "mine.txt: 1 line for B not used"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no composite of A, B"),
        ("C/composite_images/c_1_1.jpg\n", "names no composite of A, B; mine.txt: 1 line for C not used"),
        (
            "nothing_1_1.jpg\n",
            "nothing_1_1.jpg is in none of A, B; write it as SUBSET/composite_images/nothing_1_1.jpg",
        ),
        ("A/composite_images/gone_1_1.jpg\n", "composite_images/gone_1_1.jpg is missing"),
        ("a-0_x_1_1.jpg\na-0_x_1_1.jpg\n", "a-0_x_1_1.jpg is named twice"),
        ("both_1_1.jpg\n", "both_1_1.jpg is in A and B; write it as"),
    ],
)
def test_lists_that_name_nothing_sensible(parts, dataset, tmp_path, text, message):
    for subset in "AB":
        (dataset / subset / "composite_images/both_1_1.jpg").touch()
    file = tmp_path / "mine.txt"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        parts(str(file))
    assert str(error.value).startswith(f"validation.list: {file}: ")
    assert message in str(error.value)


def test_lists_that_are_not_there(parts, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"validation\.list: .*A_val\.txt: no such list"):
        parts("val")
    with pytest.raises(
        UserError, match=r"validation\.list: mine\.txt: no such file; give a list of composites, or a split"
    ):
        parts("mine.txt")
    (dataset / "mine.txt").touch()
    with pytest.raises(
        UserError, match=r"no such file; give a list of composites, or .*dataset/mine\.txt, which is there"
    ):
        parts("mine.txt")
    with pytest.raises(UserError, match="no such file"):
        parts(str(tmp_path))
    with pytest.raises(UserError, match=r"validation\.list: train names every real image of the training split"):
        parts("train")


def test_a_share_of_the_real_images_trains_with_all_their_composites(dataset):
    def training(share: float, seed: int = 0) -> tuple[set[str], list[str]]:
        config = load_config(
            None, [f"data.root={dataset}", f"data.share={share}", f"seed={seed}", "validation.fraction=0.25"]
        )
        listing = read_split(dataset, "train", None)
        items, held_out = divide(listing, config)
        assert (
            held_out
            == divide(listing, load_config(None, [f"data.root={dataset}", "validation.fraction=0.25", f"seed={seed}"]))[
                1
            ]
        )
        reals = {item.real_name for item in items}
        assert not reals & {item.real_name for item in held_out}
        assert items == [item for item in listing.items if item.real_name in reals]  # all of them, in the same order
        return reals, [item.name for item in items]

    everything, some, few = (training(share)[0] for share in (1.0, 0.5, 0.01))
    assert few < some < everything
    assert len(some) == round(len(everything) / 2)
    assert len(few) == 1
    assert len({tuple(training(0.5, seed)[1]) for seed in range(8)}) > 1
