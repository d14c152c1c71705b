"""The four published colour transfers that made iHarmony4's composites, and the regraining of the fourth.

A transfer takes the pixels of a foreground and of a reference object, and returns the foreground's pixels in the reference's
colours::

    restyled = TRANSFERS["reinhard"](source, reference)    # (N, 3), (M, 3) -> (N, 3)

All colours are float RGB in [0, 1], as the image's file has them (not linearised; the publications do not mention gamma).
Results are clipped to [0, 1]. The order of pixels does not matter. A foreground with itself as reference stays the same within
1e-6. One pixel, one colour and greys are allowed: a spread of a quarter of an 8-bit level or less counts as none and is not
stretched. Where a publication leaves something open, the function says what it does. Every transfer raises ``ValueError`` for
colours of another shape or range.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags

Colors = NDArray[np.float64]
"""(N, 3) RGB in [0, 1]."""
Transfer = Callable[[Colors, Colors], Colors]

_FLAT = 1e-3
"""Smaller standard deviations of values in [0, 1] are rounding noise; that of 8 bits is 1.1e-3."""

_RGB_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_LOG_LMS_TO_LAB = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
_RGB_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_YCBCR_OF_BLACK = np.array([16.0, 128.0, 128.0])
_DARKEST = 1 / 255
"""Added to L, M and S before the logarithm, because the logarithm of 0 does not exist."""

_IDT_ITERATIONS, IDT_BINS = 20, 300
IDT_CELLS = 16
"""Parts of a bin. All values in one part move alike, so that a table holds the moves; a search would be slower."""
_SOLVED, _MAX_STEPS = 1e-3, 500


def transfer_reinhard(source: Colors, reference: Colors) -> Colors:
    """Gives the source the reference's mean and standard deviation along each axis of l-alpha-beta.

    Reinhard, Ashikhmin, Gooch and Shirley: Color transfer between images. IEEE Computer Graphics and Applications 21(5), 2001.
    The logarithm is taken of the value plus 1/255, so that it exists for black and the way back is exact.
    """
    source, reference = _checked(source, reference)
    start, goal = _to_lab(source), _to_lab(reference)
    gain = _ratio(goal.std(axis=0), start.std(axis=0))
    return _clipped(_from_lab((start - start.mean(axis=0)) * gain + goal.mean(axis=0)))


def transfer_xiao(source: Colors, reference: Colors) -> Colors:
    """Gives the source the reference's mean and covariance in RGB: moves, turns and scales it along the principal axes.

    Xiao and Ma: Color transfer in correlated color space. VRCIA 2006. Axes are scaled by the ratio of standard deviations, that
    is, by square roots of the covariances' singular values; the singular values themselves would not make the covariances
    equal. The decomposition leaves the sign of an axis open, and a wrong sign makes a negative. So each axis of the reference
    points to the same side as the source's axis of the same rank.
    """
    source, reference = _checked(source, reference)
    start_axes, start_deviation = _principal_axes(source)
    goal_axes, goal_deviation = _principal_axes(reference)
    goal_axes = goal_axes * np.where((start_axes * goal_axes).sum(axis=0) < 0, -1, 1)
    turn = start_axes @ np.diag(_ratio(goal_deviation, start_deviation)) @ goal_axes.T
    return _clipped(_times(source - source.mean(axis=0), turn) + reference.mean(axis=0))


def transfer_fecker(source: Colors, reference: Colors) -> Colors:
    """Gives the source the reference's cumulative histograms of Y, Cb and Cr, each channel by itself.

    Fecker, Barkowsky and Kaup: Histogram-based prefiltering for luminance and chrominance compensation of multiview video.
    IEEE Transactions on Circuits and Systems for Video Technology 18(9), 2008. Histograms have a bin for each of 256 levels.
    The level v of the source becomes the highest level u that occurs in the reference and has C_reference(u) <= C_source(v);
    if there is none, the lowest that occurs. A pixel moves by as much as its level and keeps its rounding remainder. YCbCr is
    that of ITU-R BT.601, Y in 16..235.
    """
    source, reference = _checked(source, reference)
    ycbcr = _times(source, _RGB_TO_YCBCR.T) + _YCBCR_OF_BLACK
    levels = np.rint(ycbcr).astype(np.intp)
    goal = np.rint(_times(reference, _RGB_TO_YCBCR.T) + _YCBCR_OF_BLACK).astype(np.intp)
    moved = [_match_levels(levels[:, i], goal[:, i]) for i in range(3)]
    restyled = ycbcr + np.stack(moved, axis=1) - levels - _YCBCR_OF_BLACK
    return _clipped(_times(restyled, np.linalg.inv(_RGB_TO_YCBCR).T))


def transfer_pitie(source: Colors, reference: Colors) -> Colors:
    """Gives the source the reference's whole distribution in RGB: matches the projections on many sets of axes in turn.

    Pitie, Kokaram and Dahyot: Automated colour grading using colour distribution transfer. Computer Vision and Image
    Understanding 107, 2007. This is the first stage, the iterative distribution transfer; the second, :func:`regrain`,
    needs the image. The first axes are those of RGB, then come 19 random rotations, which are the same in every call.
    Projections are matched by histograms of 300 bins; a bin stands at the mean of its values.
    """
    source, reference = _checked(source, reference)
    for rotation in idt_rotations():
        start, goal = _times(source, rotation), _times(reference, rotation)
        moves = [_match_values(start[:, i], goal[:, i]) for i in range(3)]
        source = source + _times(np.stack(moves, axis=1), rotation.T)
    return _clipped(source)


@cache
def idt_rotations() -> Colors:
    """The axes of :func:`transfer_pitie`, (20, 3, 3)."""
    rng = np.random.default_rng(2007)
    turns = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(_IDT_ITERATIONS - 1)]
    return np.stack([np.eye(3), *turns])


TRANSFERS: dict[str, Transfer] = {
    "reinhard": transfer_reinhard,
    "xiao": transfer_xiao,
    "fecker": transfer_fecker,
    "pitie": transfer_pitie,
}
"""By the first author's name."""


def regrain(image: Colors, restyled: Colors, region: NDArray[np.bool_]) -> Colors:
    """Restores an image's gradients after a transfer that has stretched its noise: the second stage of Pitie et al. 2007.

    Finds the J that minimizes the sum over the region of phi |grad J - grad I|^2 + psi |J - T|^2. I is the image, T the
    restyled one, phi = 30 / (1 + 10 |grad I|) for I in [0, 1], and psi = min(|grad I| / 5, 1) for I in 0..255, at least 1e-3,
    so that a flat region keeps its new colour. The gradients in phi and psi are differences of the neighbours on both sides,
    as in the authors' program. Pixels outside the region have no influence on J. The authors stop a multigrid method early;
    here the linear equations are solved.

    Args:
        image: (H, W, 3) RGB in [0, 1], before the transfer.
        restyled: the region's pixels after the transfer, (N, 3) RGB in [0, 1], row by row.
        region: (H, W) bool with N pixels set.

    Returns:
        The region's pixels, (N, 3) RGB in [0, 1].

    Raises:
        ValueError: the shapes do not fit together.
    """
    count = int(region.sum())
    if restyled.shape != (count, 3) or image.shape != (*region.shape, 3):
        raise ValueError(f"{image.shape} image, {restyled.shape} pixels and {count} of the region do not fit together")
    original = image[region]
    stiffness, fidelity = regrain_weights(image, region)
    index = np.full(region.shape, -1)
    index[region] = np.arange(count)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    inside = (first >= 0) & (second >= 0)
    first, second = first[inside], second[inside]
    weight = (stiffness[first] + stiffness[second]) / 2
    links = coo_matrix((weight, (first, second)), shape=(count, count)).tocsr()
    links = links + links.T
    diagonal = fidelity + np.asarray(links.sum(axis=1)).ravel()
    # grad J = grad I means that the gradients of J - I vanish: solve for the change of colour
    change = restyled - original
    change = _solve((diags(diagonal) - links).tocsr(), diagonal, fidelity[:, None] * change, change)
    return _clipped(original + change)


def regrain_weights(image: Colors, region: NDArray[np.bool_]) -> tuple[Colors, Colors]:
    """The phi and psi of :func:`regrain`, (N,) each."""
    slope = _slope(image, region)
    return 30 / (1 + 10 * slope), np.asarray(np.clip(255 * slope / 5, 1e-3, 1))


def _checked(source: Colors, reference: Colors) -> tuple[Colors, Colors]:
    for name, colors in (("source", source), ("reference", reference)):
        if colors.ndim != 2 or colors.shape[1] != 3 or not len(colors):
            raise ValueError(f"{name}: {colors.shape} is not (N, 3) with at least one pixel")
        if not (colors.min() >= 0 and colors.max() <= 1):
            raise ValueError(f"{name}: colours must be in [0, 1], not {colors.min()} to {colors.max()}")
    return source.astype(np.float64), reference.astype(np.float64)


def _clipped(colors: Colors) -> Colors:
    return np.asarray(np.clip(colors, 0, 1), dtype=np.float64)


def _times(colors: Colors, matrix: Colors) -> Colors:
    """(N, 3) times (3, 3) without BLAS, whose threads spend most of their time waiting on a busy machine."""
    return np.asarray(np.einsum("ni,ij->nj", colors, matrix))


def _ratio(goal: Colors, start: Colors) -> Colors:
    """The ratio of deviations, or 1 where the start has no spread."""
    return np.asarray(np.where(start < _FLAT, 1, goal / np.maximum(start, _FLAT)))


def _to_lab(rgb: Colors) -> Colors:
    return _times(np.log10(_times(rgb, _RGB_TO_LMS.T) + _DARKEST), _LOG_LMS_TO_LAB.T)


def _from_lab(lab: Colors) -> Colors:
    lms = 10 ** _times(lab, np.linalg.inv(_LOG_LMS_TO_LAB).T) - _DARKEST
    return _times(lms, np.linalg.inv(_RGB_TO_LMS).T)


def _principal_axes(colors: Colors) -> tuple[Colors, Colors]:
    """The axes, (3, 3), one in each column, by falling standard deviation; and these deviations, (3,)."""
    centred = colors - colors.mean(axis=0)
    axes, variance, _ = np.linalg.svd(np.einsum("ni,nj->ij", centred, centred) / len(colors))
    return axes, np.sqrt(variance)


def _match_levels(source: NDArray[np.intp], reference: NDArray[np.intp]) -> NDArray[np.intp]:
    """The new level of each pixel; levels are in 0..255."""
    # counts times the total of the other side instead of shares: integers compare exactly
    start = np.bincount(source, minlength=256).cumsum() * len(reference)
    occurring, counts = np.unique(reference, return_counts=True)
    rank = np.searchsorted(counts.cumsum() * len(source), start, side="right") - 1
    return np.asarray(occurring[np.maximum(rank, 0)][source])


def _match_values(source: Colors, reference: Colors) -> Colors:
    """The move of each of the source's N values, after which they are distributed as the reference's M values."""
    low, high = min(source.min(), reference.min()), max(source.max(), reference.max())
    if high - low < 1e-9:
        return np.zeros_like(source)
    cells = _cells(source, low, high)
    start, start_rank = _knots(source, cells)
    goal, goal_rank = _knots(reference, _cells(reference, low, high))
    move = np.interp(start_rank, goal_rank, goal) - start
    centres = low + (np.arange(IDT_BINS * IDT_CELLS) + 0.5) * ((high - low) / (IDT_BINS * IDT_CELLS))
    return np.asarray(np.interp(centres, start, move)[cells])


def _cells(values: Colors, low: float, high: float) -> NDArray[np.intp]:
    """The part of a bin that each value falls into."""
    count = IDT_BINS * IDT_CELLS
    return np.minimum(((values - low) * (count / (high - low))).astype(np.intp), count - 1)


def _knots(values: Colors, cells: NDArray[np.intp]) -> tuple[Colors, Colors]:
    """For each bin with values: their mean, and the share of all values below its middle one."""
    bins = cells // IDT_CELLS
    counts = np.bincount(bins, minlength=IDT_BINS)
    sums = np.bincount(bins, weights=values, minlength=IDT_BINS)
    taken = counts > 0
    rank = (counts.cumsum() - counts / 2) / len(values)
    return sums[taken] / counts[taken], rank[taken]


def _slope(image: Colors, region: NDArray[np.bool_]) -> Colors:
    """|grad I| of the region's pixels over the three channels, (N,), from the neighbours on both sides."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across, down = padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
    return np.asarray(np.sqrt((across**2 + down**2).sum(axis=-1))[region])


def _solve(system: csr_matrix, diagonal: Colors, goal: Colors, guess: Colors) -> Colors:
    """Solves a positive definite system for the columns of (N, 3) by conjugate gradients, scaled by the diagonal."""
    scale = 1 / diagonal[:, None]
    solution, residual = guess.copy(), goal - system @ guess
    direction = scale * residual
    energy = _dots(residual, direction)
    enough = _SOLVED**2 * _dots(goal, scale * goal) + 1e-30
    for _ in range(_MAX_STEPS):
        if (energy <= enough).all():
            break
        image = system @ direction
        step = energy / np.maximum(_dots(direction, image), 1e-300)
        solution += step * direction
        image *= step
        residual -= image
        scaled = scale * residual
        energy, before = _dots(residual, scaled), energy
        direction *= energy / np.maximum(before, 1e-300)
        direction += scaled
    return np.asarray(solution)


def _dots(first: Colors, second: Colors) -> Colors:
    """Dot products of the columns, (3,)."""
    return np.asarray(np.einsum("ni,ni->i", first, second))
