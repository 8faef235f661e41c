"""The published average: closed form, warm-up, which buffers are averaged, and recalibrated statistics."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from synthbank.training.ema import ema_copy, ema_update, recalibrate_batchnorm


class _Value(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor([value], dtype=torch.float64))


def _set(module: _Value, value: float) -> None:
    with torch.no_grad():
        module.value.fill_(value)


def test_a_copy_is_frozen_and_independent():
    live = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = ema_copy(live)
    assert not average.training
    assert live.training
    assert not any(p.requires_grad for p in average.parameters())
    assert all(p.requires_grad for p in live.parameters())
    before = average[0].weight.clone()
    with torch.no_grad():
        live[0].weight.add_(1)
    assert torch.equal(average[0].weight, before)


def test_after_the_warm_up_it_is_the_exponential_average():
    live, decay = _Value(1.0), 0.9
    average = ema_copy(live)
    _set(live, 5.0)
    first = 1000  # (1 + 1000) / (10 + 1000) is above 0.9
    for k in range(1, 21):
        ema_update(average, live, decay=decay, step=first + k)
        assert average.value.item() == pytest.approx(5.0 + (1.0 - 5.0) * decay**k, rel=1e-12)


def test_early_on_the_past_weighs_less():
    live, decay = _Value(0.0), 0.999
    average, expected = ema_copy(live), 0.0
    for step in range(1, 60):
        _set(live, float(step * step % 17))
        ema_update(average, live, decay=decay, step=step)
        past = min(decay, (1 + step) / (10 + step))
        expected = past * expected + (1 - past) * (step * step % 17)
        assert average.value.item() == pytest.approx(expected, rel=1e-12)


def test_the_first_steps_forget_the_initial_weights():
    live = _Value(1000.0)
    average = ema_copy(live)
    _set(live, 0.0)
    for step in range(1, 31):
        ema_update(average, live, decay=0.9999, step=step)
    assert average.value.item() < 0.01  # without the warm-up: 997


def test_running_statistics_are_averaged_and_everything_else_is_copied():
    live = nn.Sequential(spectral_norm(nn.Conv2d(2, 3, 3)), nn.BatchNorm2d(3))
    average = ema_copy(live)
    start = {k: v.clone() for k, v in average.state_dict().items()}
    for _ in range(3):
        live(torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0)))
    ema_update(average, live, decay=0.75, step=1000)
    new, now = average.state_dict(), live.state_dict()
    for name, value in new.items():
        if name.endswith(("_u", "_v", "num_batches_tracked")):
            assert torch.equal(value, now[name]), name
        else:
            torch.testing.assert_close(value, 0.75 * start[name] + 0.25 * now[name], msg=name)
    assert not torch.equal(new["1.running_mean"], start["1.running_mean"])
    assert not torch.equal(new["1.running_mean"], now["1.running_mean"])
    vector = next(v for k, v in new.items() if k.endswith("_u"))
    assert vector.norm().item() == pytest.approx(1.0, abs=1e-5)


class _Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x))


def test_recalibrated_statistics_are_those_of_the_averages_own_activations():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        average = ema_copy(_Small())
    average.norm.running_mean.fill_(99.0)
    batches = [torch.randn(16, 2, 4, 4, generator=torch.Generator().manual_seed(i)) * 3 + 1 for i in range(4)]
    left = list(batches)
    done = recalibrate_batchnorm(average, lambda module: module(left.pop(0)), batches=4)
    assert not left
    hidden = [average.conv(x).detach().transpose(0, 1).flatten(1) for x in batches]
    torch.testing.assert_close(done.norm.running_mean, torch.stack([h.mean(dim=1) for h in hidden]).mean(dim=0))
    torch.testing.assert_close(done.norm.running_var, torch.stack([h.var(dim=1) for h in hidden]).mean(dim=0))
    assert not any(m.training for m in done.modules())
    outputs = torch.cat([done(x).detach().transpose(0, 1).flatten(1) for x in batches], dim=1)
    torch.testing.assert_close(outputs.mean(dim=1), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(outputs.std(dim=1), torch.ones(3), atol=0.05, rtol=0)


def test_settling_leaves_the_average_and_its_weights_alone():
    average = ema_copy(_Small())
    before = {k: v.clone() for k, v in average.state_dict().items()}
    done = recalibrate_batchnorm(average, lambda module: module(torch.ones(2, 2, 2, 2)), batches=1)
    assert all(torch.equal(v, before[k]) for k, v in average.state_dict().items())
    assert torch.equal(done.conv.weight, average.conv.weight)
    assert not average.norm.training


def test_nothing_is_drawn_where_there_is_nothing_to_measure():
    drawn = []
    recalibrate_batchnorm(ema_copy(nn.Linear(2, 2)), drawn.append, batches=4)
    assert not drawn
