import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frih.submasks import fast_kmeans, kmeans
from frih.submasks.kmeans import assign
from tests.conftest import FORMS, form
from tests.submasks import reference
from tests.submasks.test_density_peaks import color_sets, exhaustive


def assert_equal(found, labels, centers):
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.centers * 256, centers)


@given(colors=color_sets(), clusters=st.sampled_from([1, 2, 3, 8, 40, 255]))
@exhaustive
def test_equals_the_reference(colors, clusters):
    expected = reference.kmeans(colors, clusters)
    for name in FORMS:
        with form(name):
            assert_equal(kmeans(colors, clusters), *expected)


@pytest.mark.parametrize("clusters", [4, 60])
def test_equals_the_reference_on_many_colors(clusters):
    rng = np.random.default_rng(3)
    middles = rng.integers(30, 226, (8, 3))
    clumps = middles[rng.integers(0, 8, 2000)] + rng.normal(0, 12, (2000, 3))
    colors = np.vstack([clumps.clip(0, 255), rng.integers(0, 256, (1000, 3))]).astype(np.uint8)
    assert_equal(kmeans(colors, clusters), *reference.kmeans(colors, clusters))


@given(colors=color_sets(), seed=st.integers(0, 2**32 - 1))
@exhaustive
def test_the_order_of_pixels_does_not_matter(colors, seed):
    order = np.random.default_rng(seed).permutation(len(colors))
    before, after = kmeans(colors, 5), kmeans(colors[order], 5)
    np.testing.assert_array_equal(after.centers, before.centers)
    np.testing.assert_array_equal(after.labels, before.labels[order])


@given(colors=color_sets(), clusters=st.sampled_from([2, 8, 255]))
@exhaustive
def test_what_it_finds_is_k_means(colors, clusters):
    """Every colour is with its nearest centre, every centre is the mean of its colours, the largest cluster is the first."""
    labels, centers = kmeans(colors, clusters)
    distances = np.square(colors[:, None] - centers).sum(axis=2)
    assert (distances[np.arange(len(colors)), labels - 1] == distances.min(axis=1)).all()
    sizes = np.bincount(labels, minlength=len(centers) + 1)[1:]
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()
    means = np.stack([np.bincount(labels - 1, colors[:, c]) / sizes for c in range(3)], axis=1)
    assert np.abs(means - centers).max() <= 1 / 512
    assert len(centers) <= clusters
    assert len(centers) <= len(np.unique(colors, axis=0))


def test_worked_by_hand():
    """The mean of all is (70, 0, 0), so the first cut parts 0 and 10 from 200; the second part of the larger error is cut."""
    colors = np.zeros((13, 3), np.uint8)
    colors[:, 0] = [0] * 4 + [10] * 4 + [200] * 4 + [70]
    assert kmeans(colors, 1).centers.tolist() == [[70, 0, 0]]
    two, three = kmeans(colors, 2), kmeans(colors, 3)
    # 4 x 0, 4 x 10 and 70 have the mean 110 / 9 = 12.222, 12 + 57 / 256
    assert two.centers.tolist() == [[12 + 57 / 256, 0, 0], [200, 0, 0]]
    assert two.labels.tolist() == [1] * 8 + [2] * 4 + [1]
    assert three.centers.tolist() == [[5, 0, 0], [200, 0, 0], [70, 0, 0]]
    assert three.labels.tolist() == [1] * 8 + [2] * 4 + [3]


def test_of_equally_large_clusters_the_smaller_color_is_the_first():
    found = kmeans(np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9]], np.uint8), 3)
    assert found.centers.tolist() == [[0, 0, 9], [0, 9, 0], [9, 0, 0]]
    assert found.labels.tolist() == [3, 2, 1]


def test_there_are_no_more_clusters_than_colors():
    found = kmeans(np.array([[1, 2, 3]] * 5 + [[1, 2, 4]], np.uint8), 8)
    assert found.labels.tolist() == [1] * 5 + [2]
    assert found.centers.tolist() == [[1, 2, 3], [1, 2, 4]]


def test_a_center_without_colors_is_left_out():
    """Of the five centres of the start, one loses its colours to the others; found by trying random colours."""
    places = [(0, 2), (6, 4), (5, 10), (2, 3), (11, 7), (6, 9), (5, 2)]
    found = kmeans(np.array([(*place, 0) for place in places], np.uint8), 5)
    assert found.centers.tolist() == [[1, 2.5, 0], [5.5, 3, 0], [5.5, 9.5, 0], [11, 7, 0]]
    assert found.labels.tolist() == [1, 2, 3, 1, 4, 3, 2]


@pytest.mark.parametrize("assign", [assign, fast_kmeans.assign], ids=FORMS)
def test_sums_of_very_many_pixels_are_exact(assign):
    """Two billion pixels, nearly all of one colour."""
    palette = np.array([[255, 255, 255], [254, 0, 0]], np.uint8)
    weights = np.array([2**31 - 8, 7], np.int32)
    labels, sums = assign(palette, weights, np.array([[65280] * 3, [0] * 3]))
    assert labels.tolist() == [0, 1]
    assert sums.tolist() == [[2**31 - 8, *[255 * (2**31 - 8)] * 3], [7, 7 * 254, 0, 0]]


@pytest.mark.parametrize(
    ("colors", "clusters", "message"),
    [
        (np.zeros((5, 3)), 8, r"colors: .* uint8 .* not \(5, 3\) of float64"),
        (np.broadcast_to(np.uint8(0), (1 << 31, 3)), 8, r"colors: .* fewer than 2\^31"),
        (np.zeros((5, 3), np.uint8), 0, "clusters: .* from 1 to 255 .* not 0"),
        (np.zeros((0, 3), np.uint8), 256, "clusters: .* 256"),
        (np.zeros((5, 3), np.uint8), True, "clusters: "),
    ],
)
def test_refuses(colors, clusters, message):
    with pytest.raises(ValueError, match=message):
        kmeans(colors, clusters)


def test_no_color_at_all():
    found = kmeans(np.zeros((0, 3), np.uint8))
    assert found.labels.shape == (0,)
    assert found.centers.shape == (0, 3)
