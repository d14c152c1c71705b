import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frih.submasks import DensityPeaks, density_peaks, kmeans
from frih.submasks.jit import kernel
from frih.submasks.patience import Patience
from tests.conftest import FORMS, form
from tests.submasks import reference

EXAMPLES = int(os.environ.get("FRIH_EXAMPLES", "250"))
"""Random colour sets for each property; FRIH_EXAMPLES=1000 makes a thorough run."""
exhaustive = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@st.composite
def color_sets(draw):
    """Clouds, lines, clumps and lattices of 1 to 250 pixels, with and without repetition, over 1 to 256 levels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(1, 12) | st.integers(1, 250))
    span = draw(st.sampled_from([1, 2, 3, 5, 16, 52, 103, 256]))
    shape = draw(st.sampled_from(["cloud", "line", "clumps", "lattice", "grey"]))
    if shape == "cloud":
        colors = rng.integers(0, span, (size, 3))
    elif shape == "line":
        colors = rng.integers(0, span, (size, 1)) * rng.integers(0, 2, 3)
    elif shape == "clumps":
        middles = rng.integers(0, 256, (draw(st.integers(1, 5)), 3))
        colors = middles[rng.integers(0, len(middles), size)] + rng.normal(0, span / 20, (size, 3)).round().astype(int)
    elif shape == "lattice":
        colors = rng.integers(0, 6, (size, 3)) * draw(st.sampled_from([1, 3, 17, 51]))
    else:
        colors = np.repeat(rng.integers(0, span, (size, 1)), 3, axis=1)
    if draw(st.booleans()):
        colors = colors[rng.integers(0, draw(st.integers(1, size)), size)]
    colors = colors.clip(0, 255)
    return (colors + rng.integers(0, 256 - colors.max())).astype(np.uint8)


options = st.fixed_dictionaries(
    {
        "cutoff": st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 1, 0.123]),
        "candidates": st.sampled_from([1, 2, 10, 255]),
        "min_density": st.sampled_from([0, 1, 10, 40]),
        "distance": st.sampled_from(["euclidean", "normalized"]),
        "decision": st.sampled_from(["delta", "gamma"]),
    }
)


def assert_equal(found, expected):
    for field in DensityPeaks._fields:
        ours, theirs = getattr(found, field), getattr(expected, field)
        assert ours.dtype == theirs.dtype, field
        np.testing.assert_array_equal(ours, theirs, err_msg=field)


@given(colors=color_sets(), chosen=options)
@exhaustive
def test_equals_the_reference(colors, chosen):
    expected = reference.density_peaks(colors, **chosen)
    for name in FORMS:
        with form(name):
            assert_equal(density_peaks(colors, **chosen), expected)


@given(colors=color_sets(), seed=st.integers(0, 2**32 - 1))
@exhaustive
def test_the_order_of_pixels_does_not_matter(colors, seed):
    order = np.random.default_rng(seed).permutation(len(colors))
    before, after = density_peaks(colors), density_peaks(colors[order])
    np.testing.assert_array_equal(after.centers, before.centers)
    for field in ("labels", "density", "delta"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field)[order])


@pytest.mark.parametrize(("cutoff", "distance"), [(0.01, "euclidean"), (0.1, "euclidean"), (0.4, "normalized")])
def test_equals_the_reference_on_many_colors(cutoff, distance):
    rng = np.random.default_rng(3)
    middles = rng.integers(30, 226, (8, 3))
    clumps = middles[rng.integers(0, 8, 3000)] + rng.normal(0, 12, (3000, 3))
    colors = np.vstack([clumps.clip(0, 255), rng.integers(0, 256, (1000, 3))]).astype(np.uint8)
    expected = reference.density_peaks(colors, cutoff, distance=distance)
    for name in FORMS:
        with form(name):
            assert_equal(density_peaks(colors, cutoff, distance=distance), expected)


@pytest.mark.parametrize(
    ("colors", "span"),
    [(20_000, 256), (20_000, 40), (4_200, 256), (60_000, 20)],
    ids=["far apart", "crowded", "few and far apart", "many pixels of a colour"],
)
def test_the_plain_form_equals_the_compiled_one(colors, span):
    rng = np.random.default_rng(5)
    many = np.vstack([rng.integers(0, span, (colors, 3)), rng.normal(128, 9, (colors // 4, 3))]).astype(np.uint8)
    with form("compiled"):
        expected = density_peaks(many)
    with form("plain"):
        assert_equal(density_peaks(many), expected)


@pytest.mark.parametrize("pixels", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1])
@pytest.mark.parametrize("cutoff", [0.02, 0.1, 0.7])
def test_densities_that_nearly_fill_16_bits(pixels, cutoff):
    """Up to 2^16 pixels are counted in 16 bits; one colour holds nearly all, others lie far apart."""
    rng = np.random.default_rng(pixels)
    rare = np.vstack([rng.integers(90, 120, (900, 3)), rng.integers(0, 256, (60, 3))]).astype(np.uint8)
    colors = np.vstack([rare, np.full((pixels - len(rare), 3), 105, np.uint8)])
    with form("plain"):
        expected = density_peaks(colors, cutoff)
    with form("compiled"):
        assert_equal(density_peaks(colors, cutoff), expected)
    assert expected.density.max() > 60_000


def test_patience():
    patience = Patience(10)
    assert [patience.lasts(work) for work in (0, 4, 5, 0)] == [True] * 4
    assert [patience.lasts(work) for work in (1, 0)] == [False] * 2
    assert not Patience(10).lasts(11)


def test_patience_that_is_over(monkeypatch):
    monkeypatch.setattr(Patience, "over", True)
    assert not Patience(10).lasts(1)


def test_a_distance_equal_to_the_cutoff_does_not_count():
    colors = np.array([[0, 0, 0], [51, 0, 0], [0, 50, 0], [0, 51, 1]], np.uint8)
    assert density_peaks(colors, 0.2).density.tolist() == [2, 1, 3, 2]  # 0.2 is 51 levels exactly
    grey = np.array([[0, 0, 0], [51, 51, 51], [51, 51, 50]], np.uint8)
    assert density_peaks(grey, 0.2, distance="normalized").density.tolist() == [2, 2, 3]


def test_worked_by_hand():
    """12 pixels of grey 10, 21 around grey 200, and an outlier nearer to the latter."""
    colors = np.array([[10] * 3] * 12 + [[200] * 3] * 20 + [[203] * 3] + [[120] * 3], np.uint8)
    peaks = density_peaks(colors, candidates=2)
    assert density_peaks(colors).labels.tolist() == [3] * 12 + [1] * 20 + [2, 1]  # 203 is dense enough to be a centre
    assert peaks.labels.tolist() == [2] * 12 + [1] * 22
    assert peaks.centers.tolist() == [[200] * 3, [10] * 3]
    assert peaks.density.tolist() == [12] * 12 + [21] * 21 + [1]
    np.testing.assert_allclose(peaks.delta[[0, 12, 32, 33]] * 255 / 3**0.5, [190, 190, 3, 80])


def test_gamma_worked_by_hand():
    """Grey 10 is far but rare, grey 130 is near but frequent. Delta takes the first as second centre, gamma the other."""
    colors = np.repeat([[10] * 3, [100] * 3, [130] * 3], [5, 60, 50], axis=0).astype(np.uint8)
    by_delta, by_gamma = (density_peaks(colors, 0.05, 2, 0, decision=name) for name in ("delta", "gamma"))
    assert by_delta.centers.tolist() == [[100] * 3, [10] * 3]  # deltas 90 and 30
    assert by_gamma.centers.tolist() == [[100] * 3, [130] * 3]  # gammas 5 x 90 and 50 x 30
    assert by_delta.labels.tolist() == [2] * 5 + [1] * 110
    assert by_gamma.labels.tolist() == [1] * 65 + [2] * 50


def test_gamma_is_exact_where_64_bits_are_too_few():
    """The squares of the two largest gammas are 49e12 x 195075, above 2^63; that of the third is 1e6 x 65025."""
    colors = np.zeros((14_001_001, 3), np.uint8)
    colors[:7_000_000] = 255
    colors[:1000, 1] = 0
    peaks = density_peaks(colors, 0.01, candidates=2, decision="gamma")
    assert peaks.centers.tolist() == [[0, 0, 0], [255, 255, 255]]


@given(colors=color_sets(), candidates=st.integers(1, 30))
@exhaustive
def test_the_highest_of_equal_ones_are_the_denser(colors, candidates):
    """On a lattice nearly all deltas are equal."""
    lattice = colors // 51 * 51
    chosen = {"candidates": candidates, "min_density": 0, "cutoff": 0.05}
    assert_equal(density_peaks(lattice, **chosen), reference.density_peaks(lattice, **chosen))


def test_of_equally_dense_colors_the_smaller_is_the_denser():
    peaks = density_peaks(np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9]], np.uint8), min_density=0)
    assert peaks.centers.tolist() == [[0, 0, 9], [0, 9, 0], [9, 0, 0]]
    assert peaks.labels.tolist() == [3, 2, 1]


def test_at_equal_distance_the_densest_is_followed():
    colors = np.repeat([[0, 0, 0], [100, 0, 0], [50, 0, 0]], [20, 30, 5], axis=0).astype(np.uint8)
    assert density_peaks(colors).labels.tolist() == [2] * 20 + [1] * 35


def test_a_tiny_foreground_is_one_cluster():
    peaks = density_peaks(np.array([[0, 0, 0], [255, 255, 255], [0, 0, 0]], np.uint8))
    assert peaks.labels.tolist() == [1, 1, 1]
    assert peaks.centers.tolist() == [[0, 0, 0]]


def test_one_color_has_delta_zero():
    peaks = density_peaks(np.full((40, 3), 7, np.uint8))
    assert peaks.centers.tolist() == [[7, 7, 7]]
    assert set(peaks.density) == {40}
    assert set(peaks.delta) == {0.0}


def test_no_color_at_all():
    peaks = density_peaks(np.zeros((0, 3), np.uint8))
    assert [len(part) for part in peaks] == [0, 0, 0, 0]
    assert peaks.centers.shape == (0, 3)
    assert [part.dtype for part in peaks] == [np.uint8, np.uint8, np.int64, np.float64]


def test_takes_any_memory_layout():
    colors = np.random.default_rng(0).integers(0, 256, (50, 6), dtype=np.uint8)
    read_only = colors.copy()
    read_only.flags.writeable = False
    assert_equal(density_peaks(read_only[::2, ::2]), density_peaks(colors[::2, ::2].copy()))
    assert_equal(density_peaks(np.asfortranarray(colors[:, :3])), density_peaks(colors[:, :3].copy()))


COLORS = np.zeros((5, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"colors": COLORS / 255}, r"colors: .* uint8 .* not \(5, 3\) of float64"),
        ({"colors": COLORS.astype(np.int64)}, "colors: .* int64"),
        ({"colors": COLORS[:, :2]}, r"colors: .* \(5, 2\)"),
        ({"colors": COLORS.reshape(-1)}, "colors: "),
        ({"colors": COLORS.tolist()}, "colors: .* a list"),
        ({"colors": np.broadcast_to(COLORS[0], (1 << 31, 3))}, r"colors: .* fewer than 2\^31"),
        ({"cutoff": 0}, "cutoff: .* above 0 .* not 0"),
        ({"cutoff": -0.1}, "cutoff: "),
        ({"cutoff": 1.001}, "cutoff: .* at most 1"),
        ({"cutoff": float("nan")}, "cutoff: .* nan"),
        ({"cutoff": "0.1"}, "cutoff: "),
        ({"cutoff": True}, "cutoff: "),
        ({"candidates": 0}, "candidates: .* from 1 to 255 .* not 0"),
        ({"candidates": 256}, "candidates: .* 256"),
        ({"candidates": 10.0}, "candidates: "),
        ({"min_density": -1}, "min_density: .* not -1"),
        ({"min_density": 2.5}, "min_density: "),
        ({"distance": "euclidian"}, "distance: .* did you mean 'euclidean'"),
        ({"distance": None}, "distance: "),
        ({"decision": "gama"}, "decision: .* did you mean 'gamma'"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        density_peaks(**{"colors": COLORS, **arguments})


def test_refuses_wrong_options_of_an_empty_set_too():
    with pytest.raises(ValueError, match="cutoff"):
        density_peaks(np.zeros((0, 3), np.uint8), cutoff=2)


def test_without_a_compiler_the_answer_is_the_same():
    code = (
        "import sys; import numpy as np; from frih.submasks import density_peaks, kmeans; "
        "from frih.submasks.patience import Patience; Patience.over = True; "
        "colors = np.random.default_rng(1).integers(0, 90, (300, 3), dtype=np.uint8); "
        "print(*density_peaks(colors).labels, *kmeans(colors).labels); sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    colors = np.random.default_rng(1).integers(0, 90, (300, 3), dtype=np.uint8)
    expected = [*density_peaks(colors).labels.tolist(), *kmeans(colors).labels.tolist()]
    assert [int(label) for label in out.stdout.split()] == expected
    assert not out.stderr


def test_compiles_where_no_cache_can_be_written():
    space = {}
    exec(compile("def double(x):\n    return 2 * x\n", "<a file of no folder>", "exec"), space)
    assert kernel(space["double"])(21) == 42
