"""Publishing a generator: spectral normalisation multiplied in, nothing else changed."""

import pytest
import torch
from torch.nn.utils.parametrize import is_parametrized

from synthbank.errors import OptionError, UnknownNameError
from synthbank.models import ModelSpec, architectures, count_parameters, fused_state, load_fused


@pytest.fixture(params=["projected", "sagan"])
def generator(request):
    options = {"projected": {"width": 0.25}, "sagan": {"base": 4}}[request.param]
    spec = ModelSpec(request.param, 32, 3, ("a", "b"), latent_dim=16, options=options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return architectures.get(request.param).generator(spec).eval()


def test_baked_weights_are_the_normalised_ones(generator):
    state = fused_state(generator)
    assert not any("parametrizations" in name for name in state)
    n = 0
    for prefix, module in generator.named_modules():
        if is_parametrized(module):
            assert torch.equal(state[f"{prefix}.weight"], module.weight)
            assert not torch.equal(state[f"{prefix}.weight"], module.parametrizations.weight.original)
            n += 1
    assert n > 3
    plain = {k: v for k, v in generator.state_dict().items() if ".parametrizations." not in k}
    assert all(torch.equal(state[k], v) for k, v in plain.items())


def test_baking_does_not_move_the_power_iteration(generator):
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    fused_state(generator)
    assert all(torch.equal(v, before[k]) for k, v in generator.state_dict().items())


def test_a_generator_in_train_mode_is_not_fused(generator):
    with pytest.raises(AssertionError):
        fused_state(generator.train())


def test_baked_weights_are_copies(generator):
    state = fused_state(generator)
    name = next(p for p, m in generator.named_modules() if is_parametrized(m))
    kept = state[f"{name}.weight"].clone()
    with torch.no_grad():
        generator.get_submodule(name).parametrizations.weight.original.mul_(2).add_(1)
    assert torch.equal(state[f"{name}.weight"], kept)


def test_a_loaded_generator_is_plain_frozen_and_channels_last(generator):
    again = load_fused(generator.spec, fused_state(generator))
    assert again.spec == generator.spec
    assert not any(is_parametrized(m) for m in again.modules())
    assert count_parameters(again) == 0
    convolutions = [m for m in again.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size != (1, 1)]
    assert convolutions
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in convolutions)


def test_a_missing_or_surplus_tensor_is_refused(generator):
    state = fused_state(generator)
    with pytest.raises(RuntimeError, match="Missing key"):
        load_fused(generator.spec, dict(list(state.items())[1:]))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        load_fused(generator.spec, state | {"surplus": torch.zeros(1)})


def test_a_spec_goes_through_json(generator):
    values = generator.spec.to_json()
    assert values["class_names"] == ["a", "b"]
    assert ModelSpec.from_json(values) == generator.spec


@pytest.mark.parametrize("size", [16, 48, 63, 1024])
def test_sizes_that_no_generator_makes_are_refused(size):
    with pytest.raises(OptionError, match="32, 64, 128, 256, 512") as caught:
        ModelSpec("sagan", size, 3, ("a",))
    assert caught.value.got == size


@pytest.mark.parametrize("values", [{"channels": 0}, {"class_names": ()}, {"latent_dim": 0}])
def test_a_spec_without_channels_classes_or_latent_is_refused(values):
    with pytest.raises(OptionError, match="at least one class"):
        ModelSpec(**({"architecture": "sagan", "size": 32, "channels": 3, "class_names": ("a",)} | values))


def test_an_unknown_architecture_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'sagan'"):
        load_fused(ModelSpec("segan", 32, 3, ("a",)), {})
