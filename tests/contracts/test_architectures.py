"""What every architecture promises; a new file in models/architectures is tested here without an edit."""

from dataclasses import dataclass
from functools import cache

import pytest
import torch

from synthbank import models
from synthbank.errors import OptionError
from synthbank.generation import Sampler
from synthbank.models import (
    AdversarialArchitecture,
    Discriminator,
    Generator,
    ModelSpec,
    adversarial_architecture,
    architectures,
    draw_latents,
    fused_state,
    load_feature_network,
    load_fused,
    load_tensors,
    save_tensors,
    state_fingerprint,
    to_uint8,
)
from synthbank.training import trainers

from ..conftest import NARROW

N = 4

ALL = [
    pytest.param((name, size, channels, classes), id=f"{name}-{size}px-{channels}ch-{classes}cl")
    for name in architectures
    for size in (32, 64)
    for channels in (1, 3, 4)
    for classes in (1, 3)
]
ONE_EACH = [pytest.param((name, 32, 3, 3), id=name) for name in architectures]
ADVERSARIAL = [case for case in ALL if isinstance(architectures.get(case.values[0][0]), AdversarialArchitecture)]


@dataclass
class Built:
    """The networks of one architecture, and a batch for them."""

    spec: ModelSpec
    generator: Generator
    discriminator: Discriminator | None
    """`None` where the architecture is not adversarial."""

    @property
    def networks(self):
        return (self.generator,) if self.discriminator is None else (self.generator, self.discriminator)

    @property
    def labels(self):
        return torch.arange(N) % self.spec.n_classes

    @property
    def latents(self):
        return draw_latents(self.generator, self.labels, torch.Generator().manual_seed(1))

    def images(self, labels=None):
        latents = self.latents
        return self.generator(latents.z, latents.labels if labels is None else labels, latents.noise)

    def reals(self):
        shape = (8, self.spec.channels, self.spec.size, self.spec.size)
        return torch.rand(shape, generator=torch.Generator().manual_seed(2)) * 2 - 1


def _spec(case) -> ModelSpec:
    name, size, channels, classes = case
    names = tuple(f"class {i}" for i in range(classes))
    return ModelSpec(name, size, channels, names, latent_dim=16, options=NARROW.get(name, {}))


def _build(spec: ModelSpec, seed: int) -> Built:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        architecture = architectures.get(spec.architecture)
        adversarial = isinstance(architecture, AdversarialArchitecture)
        return Built(spec, architecture.generator(spec), architecture.discriminator(spec) if adversarial else None)


def _leave_zero(module: torch.nn.Module) -> None:
    """Move whatever starts at exactly zero (gates, class offsets), as the first updates would."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in module.parameters():
            if value.requires_grad and not value.any():
                value.copy_(0.1 * torch.randn(value.shape, generator=rng))


@cache
def _built(case) -> Built:
    built = _build(_spec(case), seed=0)
    if built.discriminator is not None:
        built.discriminator.calibrate(built.reals())
    for module in built.networks:
        _leave_zero(module)
    with torch.no_grad():
        for _ in range(2):  # running statistics and power iterations leave their first values
            images = built.images()
            if built.discriminator is not None:
                built.discriminator(images, built.labels)
    return built


@pytest.fixture
def built(request):
    """Networks that have left their starting point, in eval mode; whatever a test does to them is undone."""
    found = _built(request.param)
    modules = [m.eval() for m in found.networks]
    states = [{k: v.clone() for k, v in m.state_dict().items()} for m in modules]
    yield found
    for module, state in zip(modules, states, strict=True):
        module.zero_grad(set_to_none=True)
        module.load_state_dict(state)


every = pytest.mark.parametrize("built", ALL, indirect=True)
adversarial = pytest.mark.parametrize("built", ADVERSARIAL, indirect=True)


@every
def test_images_have_the_asked_shape_and_range(built):
    for training in (False, True):
        built.generator.train(training)
        with torch.no_grad():
            images = built.images()
        assert images.shape == (N, built.spec.channels, built.spec.size, built.spec.size)
        assert images.dtype == torch.float32
        assert images.isfinite().all()
        assert images.abs().max() <= 1
        assert images.std() > 1e-3


@every
def test_gradients_reach_every_trainable_value(built):
    for module in built.networks:
        module.train()
    out = built.images()
    if built.discriminator is not None:
        out = built.discriminator(out, built.labels)
    # not the mean: a normalised batch has a mean that nothing can change
    out.square().mean().backward()
    for module in built.networks:
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        assert named
        for name, value in named:
            assert value.grad is not None, name
            assert value.grad.isfinite().all(), name
            assert value.dim() < 2 or value.grad.any(), f"{name} gets no gradient"


@adversarial
def test_logits_follow_from_the_features_alone(built):
    images, labels = built.reals()[:N], built.labels
    with torch.no_grad():
        whole = built.discriminator(images, labels)
        parts = built.discriminator.logits(built.discriminator.features(images), labels)
    assert torch.equal(whole, parts)
    assert whole.dim() == 2
    assert len(whole) == N
    assert whole.isfinite().all()


@adversarial
def test_the_discriminator_looks_at_every_channel(built):
    with torch.no_grad():
        images = built.reals()[:N]
        before = built.discriminator(images, built.labels)
        for channel in range(built.spec.channels):
            changed = images.clone()
            changed[:, channel] = changed[:, channel].flip(2)
            assert not torch.equal(built.discriminator(changed, built.labels), before), f"channel {channel}"


@every
def test_the_class_changes_image_and_logit(built):
    labels = built.labels
    other = (labels + 1) % built.spec.n_classes
    with torch.no_grad():
        moved = [(built.images(other) - built.images(labels)).abs().amax(dim=(1, 2, 3))]
        if built.discriminator is not None:
            reals = built.reals()[:N]
            moved.append((built.discriminator(reals, other) - built.discriminator(reals, labels)).abs().amax(dim=1))
    for change, least in zip(moved, (1e-4, 1e-6), strict=False):
        assert (change > least).all() if built.spec.n_classes > 1 else not change.any()


@every
def test_what_is_published_draws_the_same_images(built):
    spec = built.spec
    data = save_tensors(fused_state(built.generator), header=spec.to_json())
    again = load_fused(spec, load_tensors(data))
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    latents = built.latents
    with torch.no_grad():
        # a hundredth of a grey level: another memory layout rounds differently
        torch.testing.assert_close(again(latents.z, latents.labels, latents.noise), built.images(), atol=1e-4, rtol=0)
    assert state_fingerprint(fused_state(again)) == state_fingerprint(load_tensors(data))


@every
def test_an_image_does_not_depend_on_its_batch_mates(built):
    sampler = Sampler(load_fused(built.spec, fused_state(built.generator)))
    classes = built.spec.n_classes
    block = sampler.draw_block(job_seed=5, class_index=classes - 1, block=1)
    assert block.shape == (sampler.block, built.spec.channels, built.spec.size, built.spec.size)
    assert (block == sampler.draw_block(job_seed=5, class_index=classes - 1, block=1)).all()
    assert len({image.tobytes() for image in block}) == sampler.block
    seeds = list(range(sampler.block))
    alone = sampler.draw_seeds([7000 + s if s != 3 else s for s in seeds], class_index=0)
    among = sampler.draw_seeds(seeds, class_index=0)
    assert (alone[3] == among[3]).all()  # bit for bit, as the sampler promises for one batch shape
    assert not (alone[4] == among[4]).all()
    few = sampler.draw_seeds(seeds[2:5], class_index=0).astype(int)
    assert abs(few - among[2:5]).max() <= 1  # another batch shape may round differently, by one level at most


@pytest.mark.parametrize("case", ALL)
def test_the_same_seed_gives_the_same_weights(case):
    def prints(seed: int) -> list[str]:
        built = _build(_spec(case), seed)
        return [state_fingerprint(m.state_dict()) for m in built.networks]

    first = prints(1)
    assert prints(1) == first
    assert all(a != b for a, b in zip(prints(2), first, strict=True))


@pytest.mark.parametrize("case", ONE_EACH)
def test_weights_do_not_depend_on_what_the_process_loaded_before(case):
    def prints() -> list[str]:
        built = _build(_spec(case), seed=1)
        return [state_fingerprint(m.state_dict()) for m in built.networks]

    warm = prints()
    load_feature_network.cache_clear()
    assert prints() == warm


@pytest.mark.parametrize("built", ONE_EACH, indirect=True)
def test_the_state_goes_through_a_file(built):
    fresh = _build(built.spec, seed=9)
    for network, module in zip(built.networks, fresh.networks, strict=True):
        state = network.state_dict()
        assert state_fingerprint(module.state_dict()) != state_fingerprint(state)
        module.load_state_dict(load_tensors(save_tensors(state)))
        assert state_fingerprint(module.state_dict()) == state_fingerprint(state)
    fresh.generator.eval()
    with torch.no_grad():
        assert torch.equal(fresh.images(), built.images())


@pytest.mark.parametrize("built", ONE_EACH, indirect=True)
def test_noise_has_the_declared_length(built):
    latents = built.latents
    assert latents.noise.shape == (N, built.generator.noise_dim)
    assert latents.z.shape == (N, built.spec.latent_dim)


@pytest.mark.parametrize("built", ONE_EACH, indirect=True)
def test_forward_is_the_body_of_the_stem(built):
    latents = built.latents
    with torch.no_grad():
        hidden = built.generator.stem(latents.z, latents.labels)
        assert torch.equal(built.generator.body(hidden, latents.labels, latents.noise), built.images())


@pytest.mark.parametrize("built", ONE_EACH, indirect=True)
def test_building_a_published_generator_leaves_the_global_generator_alone(built):
    before = torch.random.get_rng_state()
    load_fused(built.spec, fused_state(built.generator))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("built", ONE_EACH, indirect=True)
def test_a_generator_can_learn_one_picture(built):
    """A few updates towards a fixed picture lower the error: the weights that get gradients are the ones that draw."""
    spec = built.spec
    generator = _build(spec, seed=4).generator.train()
    target = built.reals()[:N].mean(dim=0, keepdim=True).sign() * 0.5
    optimizer = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], lr=1e-2)
    labels = built.labels
    errors = []
    for _ in range(16):
        latents = draw_latents(generator, labels, torch.Generator().manual_seed(6))
        error = (generator(latents.z, labels, latents.noise) - target).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.95 * errors[0]


@pytest.mark.parametrize("name", architectures.names())
def test_a_larger_picture_works_as_well(name):
    built = _build(_spec((name, 128, 3, 2)), seed=0)
    with torch.no_grad():
        images = built.images()
        assert images.shape == (N, 3, 128, 128)
        assert images.isfinite().all()
        if built.discriminator is not None:
            assert built.discriminator(images, built.labels).isfinite().all()
    assert to_uint8(images).shape == images.shape


def test_every_architecture_says_where_it_comes_from():
    assert len(architectures.names()) >= 2
    for name in architectures:
        spec = architectures.spec(name)
        assert "arXiv" in spec.citation
        assert spec.labels
        assert spec.trainer in trainers
        assert isinstance(architectures.get(name), AdversarialArchitecture) == (spec.trainer == "adversarial")


@pytest.mark.parametrize("built", ONE_EACH, indirect=True)
def test_truncation_acts_or_is_refused(built):
    sampler = Sampler(built.generator)
    if architectures.spec(built.spec.architecture).truncation:
        whole, mean = (sampler.draw_seeds([1, 2], class_index=0, truncation=t) for t in (1.0, 0.0))
        assert not (whole == mean).all()
    else:
        with pytest.raises(OptionError, match="Truncation does not act"):
            sampler.draw_seeds([1, 2], class_index=0, truncation=0.9)


def test_asking_for_two_players_where_there_is_one_names_those_that_have_them():
    with pytest.raises(OptionError, match=r"no discriminator.*projected"):
        adversarial_architecture("diffusion")


def test_the_registry_keeps_its_name_when_the_architectures_are_loaded():
    architectures.names()
    assert models.architectures is architectures
