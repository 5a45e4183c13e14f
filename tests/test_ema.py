"""The exponential moving average: its first steps by hand, its warm-up, saving and loading."""

import pytest
import torch
from torch import nn

from aot_plus.networks.managers.ema import ModelEMA, decay_at, final_decay


def one_weight(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    set_weight(model, value)
    return model


def set_weight(model: nn.Linear, value: float) -> None:
    nn.init.constant_(model.weight, value)


def test_decay_is_warmed_up() -> None:
    decay = final_decay(20_000, 0.1)
    assert decay == pytest.approx(1 - 1 / 2000)
    assert decay_at(1, decay) == pytest.approx(2 / 11)
    assert decay_at(2, decay) == pytest.approx(3 / 12)
    # (1 + k) / (10 + k) reaches 0.9995 at k = 17,990.
    assert decay_at(17_989, decay) < decay
    assert decay_at(17_991, decay) == decay
    assert final_decay(5, 0.1) == 0.0


def test_first_updates_by_hand() -> None:
    model = one_weight(1.0)
    ema = ModelEMA(model, total_steps=20_000, ratio=0.1)
    expected = 1.0
    assert ema.updates == 0
    for update, value in enumerate([2.0, 4.0, -1.0], start=1):
        set_weight(model, value)
        ema.update(model)
        decay = [2 / 11, 3 / 12, 4 / 13][update - 1]
        expected = decay * expected + (1 - decay) * value
        assert ema.model.weight.item() == pytest.approx(expected, rel=1e-12)
        assert ema.updates == update


def test_a_short_training_stops_at_its_own_decay() -> None:
    model = one_weight(0.0)
    ema = ModelEMA(model, total_steps=12, ratio=0.1)  # decay 1/6, below the warm-up's 2/11
    set_weight(model, 6.0)
    ema.update(model)
    assert ema.model.weight.item() == pytest.approx(5.0)


def test_the_average_is_a_copy_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).train()
    ema = ModelEMA(model, 100, 0.1)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    model(torch.randn(8, 2))
    assert not torch.equal(ema.model[0].weight, model[0].weight)
    assert not any(module.training for module in ema.model.modules())
    assert model.training
    assert model[0].weight.requires_grad
    ema.update(model)
    assert torch.equal(ema.model[1].running_mean, model[1].running_mean)


def test_frozen_parameters_stay_exactly_what_they_are() -> None:
    model = nn.Linear(7, 7).requires_grad_(False)
    ema = ModelEMA(model, 1000, 0.1)
    for _ in range(5):
        ema.update(model)
    assert torch.equal(ema.model.weight, model.weight)


def test_a_loaded_average_goes_on_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    ema = ModelEMA(model, 100, 0.1)
    values = [torch.randn(3, 3) for _ in range(6)]
    resumed = ModelEMA(nn.Linear(3, 3), 100, 0.1)
    for number, value in enumerate(values):
        if number == 3:
            resumed.load_state_dict(ema.state_dict())
        model.load_state_dict({"weight": value, "bias": torch.zeros(3)})
        ema.update(model)
        if number >= 3:
            resumed.update(model)
    assert torch.equal(ema.model.weight, resumed.model.weight)
    assert resumed.updates == 6
