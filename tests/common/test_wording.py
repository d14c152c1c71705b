import pytest

from frih.common.wording import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (90, "90 s"),
        (91, "2 min"),
        (5400, "90 min"),
        (5401, "1.5 h"),
        (172800, "48.0 h"),
        (216000, "2.5 days"),
    ],
)
def test_a_time_is_told_in_the_unit_that_fits(seconds, said):
    assert duration(seconds) == said
