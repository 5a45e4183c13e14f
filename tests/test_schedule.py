"""The learning rate and the share of predictions at the corners of their schedules."""

import pytest

from aot_plus.networks.managers.schedule import encoder_learning_rate, learning_rate, prediction_share

TOTAL, BASE, MINIMUM, POWER, WARM_UP = 20_000, 2e-4, 1e-5, 0.9, 0.05


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, MINIMUM),
        (1, MINIMUM + 1.9e-4 / 1000),
        (500, MINIMUM + 0.95e-4),
        (999, MINIMUM + 1.9e-4 * 0.999),
        (1000, BASE),
        (10_500, MINIMUM + 1.9e-4 * 0.5**0.9),
        (19_999, MINIMUM + 1.9e-4 * (1 / 19_000) ** 0.9),
        (20_000, MINIMUM),
        (30_000, MINIMUM),
    ],
)
def test_learning_rate_at_its_corners(step: int, rate: float) -> None:
    assert learning_rate(step, TOTAL, BASE, MINIMUM, POWER, WARM_UP) == pytest.approx(rate, rel=1e-9)


def test_it_rises_until_the_warm_up_ends_and_falls_after() -> None:
    rates = [learning_rate(step, 200, BASE, MINIMUM, POWER, 0.1) for step in range(201)]
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert max(rates) == rates[20] == BASE


@pytest.mark.parametrize("warm_up_ratio", [0.0, 0.01])
def test_without_a_warm_up_it_starts_at_the_base(warm_up_ratio: float) -> None:
    assert learning_rate(0, 50, BASE, MINIMUM, POWER, warm_up_ratio) == pytest.approx(BASE)


def test_warm_up_only() -> None:
    assert learning_rate(9, 10, BASE, MINIMUM, POWER, 1.0) == pytest.approx(MINIMUM + 1.9e-4 * 0.9)
    assert learning_rate(10, 10, BASE, MINIMUM, POWER, 1.0) == MINIMUM


def test_encoder_learning_rate() -> None:
    assert encoder_learning_rate(BASE, MINIMUM, 0.1) == pytest.approx(2.9e-5)
    assert encoder_learning_rate(MINIMUM, MINIMUM, 0.1) == MINIMUM
    assert encoder_learning_rate(BASE, MINIMUM, 1.0) == pytest.approx(BASE)


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 0.0), (9, 0.0), (10, 0.0), (30, 0.425), (49, 0.85 * 39 / 40), (50, 0.85), (99, 0.85)],
)
def test_the_share_of_predictions_ramps_up(step: int, share: float) -> None:
    assert prediction_share(step, 100, 0.1, 0.5, 0.85) == pytest.approx(share)


@pytest.mark.parametrize("end", [0.5, 0.2])
def test_the_published_share_of_predictions_is_a_jump(end: float) -> None:
    shares = [prediction_share(step, 20_000, 0.5, end, 1.0) for step in (0, 9_999, 10_000, 19_999)]
    assert shares == [0.0, 0.0, 1.0, 1.0]


def test_a_start_at_the_end_commits_no_prediction() -> None:
    assert prediction_share(99, 100, 1.0, 0.5, 1.0) == 0.0
