"""Architecture options: declared once, checked before anything is built from them."""

import math

import pytest
import torch

from synthbank.errors import OptionError, UnknownNameError
from synthbank.models import AdversarialArchitecture, ModelSpec, architectures, draw_latents, fused_state, load_fused

DECLARED = [(name, option) for name in architectures for option in architectures.spec(name).options]


def _spec(name, **options):
    return ModelSpec(name, 32, 3, ("a", "b"), latent_dim=8, options=options)


def _draw(spec):
    """Images and what the discriminator, if there is one, says of them."""
    architecture = architectures.get(spec.architecture)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        generator = architecture.generator(spec).eval()
        latents = draw_latents(generator, torch.arange(4) % 2, torch.Generator().manual_seed(0))
        images = generator(latents.z, latents.labels, latents.noise)
        if isinstance(architecture, AdversarialArchitecture):
            return images, architecture.discriminator(spec).eval()(images, latents.labels)
        return images, images


@pytest.mark.parametrize("name", architectures.names())
def test_what_is_declared_is_what_the_networks_ask_for(name, monkeypatch):
    asked, option = set(), ModelSpec.option

    def listen(spec, key):
        asked.add(key)
        return option(spec, key)

    monkeypatch.setattr(ModelSpec, "option", listen)
    _draw(_spec(name))
    assert asked == set(architectures.spec(name).options)


@pytest.mark.parametrize(("name", "option"), DECLARED)
def test_an_option_is_its_own_value_or_the_declared_one(name, option):
    default = architectures.spec(name).options[option]
    other = default if isinstance(default, str) else 2 * default
    assert _spec(name).option(option) == default
    assert _spec(name, **{option: other}).option(option) == other


@pytest.mark.parametrize(("name", "option"), DECLARED)
def test_a_misspelt_option_is_refused_with_the_nearest_name(name, option):
    with pytest.raises(UnknownNameError, match=f"option of '{name}'.*did you mean '{option}'"):
        _spec(name, **{option[:-2] + option[:-3:-1]: 8})


@pytest.mark.parametrize("name", architectures.names())
def test_an_option_that_is_like_no_other_is_refused_with_all_there_are(name):
    declared = ", ".join(sorted(architectures.spec(name).options))
    with pytest.raises(UnknownNameError, match=rf"Got: 7\. Allowed: {declared}\. Next: leave it out"):
        ModelSpec(name, 32, 3, ("a",), options={7: 8})


@pytest.mark.parametrize("value", [None, True, [4], 0, -4, 0.0, math.nan, math.inf, "big"])
@pytest.mark.parametrize(("name", "option"), DECLARED)
def test_a_value_of_another_type_or_not_above_zero_is_refused(name, option, value):
    default = architectures.spec(name).options[option]
    if value == "big" and isinstance(default, str):
        value = 4  # not a name
    with pytest.raises(OptionError, match=f"'{option}' of '{name}'.*Allowed: a .*Next: the default is .*{default}"):
        _spec(name, **{option: value})


@pytest.mark.parametrize(("name", "option"), DECLARED)
def test_only_what_is_a_fraction_by_default_may_be_one(name, option):
    default = architectures.spec(name).options[option]
    if isinstance(default, float):
        assert _spec(name, **{option: 0.25}).option(option) == 0.25
        assert _spec(name, **{option: 2}).option(option) == 2
    else:
        with pytest.raises(OptionError, match=f"'{option}' of '{name}'"):
            _spec(name, **{option: 4.5})


@pytest.mark.parametrize("value", [1, 3, 28])
@pytest.mark.parametrize("name", architectures.names())
def test_networks_work_at_any_width(name, value):
    declared = architectures.spec(name).options
    widths = {k: value for k in ("base", "mixing") if k in declared} | {
        k: value / 8 for k in ("width",) if k in declared
    }
    small = {k: 1 for k in ("depth", "sampling_steps") if k in declared}
    assert widths
    assert all(out.isfinite().all() for out in _draw(_spec(name, **widths, **small)))


@pytest.mark.parametrize("name", architectures.names())
def test_a_card_whose_options_nobody_checked_still_loads(name):
    """Earlier versions ignored options they did not know and cut fractions off."""
    declared = architectures.spec(name).options
    narrow = {k: 4 for k in ("base", "mixing") if k in declared}
    small = _spec(name, **narrow)
    with torch.random.fork_rng(devices=[]):
        published = fused_state(architectures.get(name).generator(small).eval())
    card = small.to_json() | {"options": {**{k: str(v) for k, v in narrow.items()}, "bsae": 64}}
    assert ModelSpec.from_json(card) == small == ModelSpec.from_json(small.to_json())
    load_fused(ModelSpec.from_json(card), published)
