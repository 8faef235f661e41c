import numpy as np
import pytest
import torch

from synthbank.errors import OptionError
from synthbank.generation import Draw, Recipe, Sampler, forward_block, image_seed
from synthbank.generation.sampler import slerp
from synthbank.models import architectures, to_uint8

SEED = 7


@pytest.fixture(scope="module", params=list(architectures))
def generator(request, build_generator):
    return build_generator(request.param)


@pytest.fixture(scope="module")
def sampler(generator):
    return Sampler(generator)


def _acts(sampler) -> bool:
    """Does truncation act on this architecture? The contract tests hold that it is refused where it does not."""
    return architectures.spec(sampler.spec.architecture).truncation


@pytest.fixture(scope="module")
def truncated(sampler):
    if not _acts(sampler):
        pytest.skip("truncation does not act on this architecture")
    return sampler


@pytest.fixture(scope="module")
def first_images(sampler):
    """Images 0..191 of class 1, three blocks in order."""
    return np.concatenate([sampler.draw_block(job_seed=SEED, class_index=1, block=b) for b in range(3)])


def take(sampler, first, n, class_index=1):
    """Images `first` and on of the job, as a request for `n` of them draws them."""
    images = []
    while len(images) < n:
        block, offset = divmod(first + len(images), sampler.block)
        part = sampler.draw_block(job_seed=SEED, class_index=class_index, block=block)
        images += list(part[offset : offset + n - len(images)])
    return np.stack(images)


@pytest.mark.parametrize(("first", "n"), [(0, 1), (0, 64), (0, 65), (1, 70), (63, 2), (77, 1), (100, 92), (191, 1)])
def test_an_image_is_the_same_bytes_for_any_request(sampler, first_images, first, n):
    np.testing.assert_array_equal(take(sampler, first, n), first_images[first : first + n])


def test_an_image_is_the_same_bytes_in_another_sampler_after_other_draws(build_generator, generator, first_images):
    torch.manual_seed(123)
    other = Sampler(build_generator(generator.spec.architecture))
    other.draw_block(job_seed=SEED + 1, class_index=0, block=5, truncation=0.4 if _acts(other) else 1.0)
    torch.rand(10)
    np.testing.assert_array_equal(take(other, 130, 1), first_images[130:131])


def test_drawing_leaves_the_global_random_state_alone(sampler):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    sampler.draw_block(job_seed=1, class_index=0, block=0, truncation=0.5 if _acts(sampler) else 1.0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("batch", [1, 3, 17, 64])
def test_in_other_batch_shapes_an_image_differs_by_rounding_at_most(sampler, first_images, batch):
    """The reason for `forward_block`: these may be one grey level off, whole blocks never are."""
    seeds = [image_seed(SEED, 1, i) for i in range(batch)]
    images = sampler.draw_seeds(seeds, class_index=1)
    apart = np.abs(images.astype(int) - first_images[:batch])
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


def test_the_order_of_seeds_is_the_order_of_images(sampler, first_images):
    seeds = [image_seed(SEED, 1, i) for i in range(63, -1, -1)]
    assert np.abs(sampler.draw_seeds(seeds, class_index=1)[::-1].astype(int) - first_images[:64]).max() <= 1


def test_images_of_a_block_differ_from_each_other(first_images):
    assert len({image.tobytes() for image in first_images}) == len(first_images)


def test_blocks_are_uint8_images_of_the_spec(sampler, first_images):
    spec = sampler.spec
    assert first_images.shape == (192, spec.channels, spec.size, spec.size)
    assert first_images.dtype == np.uint8
    assert first_images.flags.c_contiguous
    assert first_images.std() > 5


def test_an_image_is_what_the_generator_draws_from_its_own_random_numbers(sampler, generator, first_images):
    rng = torch.Generator().manual_seed(image_seed(SEED, 1, 9))
    drawn = torch.randn(1, 16 + generator.noise_dim, generator=rng)
    with torch.inference_mode():
        image = to_uint8(generator(drawn[:, :16], torch.tensor([1]), drawn[:, 16:]))
    assert np.abs(image[0].astype(int) - first_images[9]).max() <= 1


def test_the_label_changes_the_image_of_a_seed(sampler):
    seeds = list(range(16))
    a, b = (sampler.draw_seeds(seeds, class_index=c).astype(int) for c in (0, 1))
    assert (np.abs(a - b).mean(axis=(1, 2, 3)) > 1).all()


def test_another_job_seed_gives_other_images(sampler, first_images):
    other = sampler.draw_block(job_seed=SEED + 1, class_index=1, block=0)
    assert (np.abs(other.astype(int) - first_images[:64]).mean(axis=(1, 2, 3)) > 0.5).all()


def test_truncation_one_changes_nothing(sampler, first_images):
    images = sampler.draw_block(job_seed=SEED, class_index=1, block=0, truncation=1.0)
    np.testing.assert_array_equal(images, first_images[:64])


def spread(images):
    return images.astype(float).std(axis=0).mean()


def test_truncation_takes_variety_away_step_by_step(truncated, first_images):
    drawn = [truncated.draw_block(job_seed=SEED, class_index=1, block=0, truncation=t) for t in (0.0, 0.3, 0.6)]
    spreads = [spread(images) for images in (*drawn, first_images[:64])]
    assert spreads == sorted(spreads)
    assert spreads[0] < 0.8 * spreads[-1]
    if truncated.generator.noise_dim == 0:
        assert spreads[0] == 0.0


def test_truncation_zero_draws_each_class_about_its_own_mean(truncated):
    a, b = (truncated.draw_block(job_seed=SEED, class_index=c, block=0, truncation=0.0)[0] for c in (0, 1))
    assert np.abs(a.astype(int) - b).mean() > 1


@pytest.mark.parametrize(
    "options", [{"class_index": 2}, {"class_index": -1}, {"truncation": 1.1}, {"truncation": -0.1}]
)
def test_unknown_classes_and_truncations_are_refused(sampler, options):
    with pytest.raises(OptionError, match=r"0 to|0 \(class mean\)"):
        sampler.draw_block(**({"job_seed": 0, "class_index": 0, "block": 0} | options))


def test_grey_images_and_one_class(build_generator):
    grey = Sampler(build_generator("projected", channels=1, class_names=("only",)))
    assert grey.draw_block(job_seed=0, class_index=0, block=0).shape == (64, 1, 32, 32)


@pytest.mark.parametrize(("size", "block"), [(32, 64), (64, 64), (128, 16), (256, 4), (512, 1)])
def test_a_block_holds_a_fixed_number_of_pixels_at_most(size, block):
    assert forward_block(size) == block
    assert block * size * size <= 64 * 64 * 64


def test_where_a_device_mixes_an_image_is_the_same_bytes_between_any_others(sampler, first_images):
    if not sampler.mixes:
        pytest.skip("this device rounds differently at other places of a block")
    recipe, low = Recipe(SEED), 0.3 if _acts(sampler) else 1.0
    strangers = [Draw(seed, seed % 2, truncation=(low, 1.0)[seed % 2]) for seed in range(40)]
    draws = [*strangers[:20], recipe.draw(1, 70), *strangers[20:], recipe.draw(1, 3)]
    images = sampler.draw(draws)
    assert len(images) == len(draws)
    np.testing.assert_array_equal(images[20], first_images[70])
    np.testing.assert_array_equal(images[-1], first_images[3])
    lone = sampler.draw_block(job_seed=SEED, class_index=0, block=0, truncation=low)
    mixed = sampler.draw([strangers[0], Recipe(SEED, low).draw(0, 5)])
    np.testing.assert_array_equal(mixed[1], lone[5])


def test_a_device_that_rounds_by_place_is_found_out(generator, monkeypatch):
    original = Sampler._forward

    def by_place(sampler, draws):
        images = original(sampler, draws)
        images[-1] ^= 1
        return images

    monkeypatch.setattr(Sampler, "_forward", by_place)
    assert not Sampler(generator).mixes


def test_a_latent_interpolation_goes_from_one_image_to_the_other_in_small_steps(sampler, first_images):
    steps = 9
    recipe = Recipe(SEED, towards=SEED + 1, steps=steps)
    draws = [recipe.draw(1, index) for index in range(sampler.block)]
    path = sampler.draw(draws).astype(int)
    np.testing.assert_array_equal(path[0], first_images[0])
    assert (path[steps - 1 :] == path[steps - 1]).all()
    small = [np.abs(path[i + 1] - path[i]).mean() for i in range(steps - 1)]
    assert 0 < max(small) < np.abs(path[steps - 1] - path[0]).mean()


def test_an_arc_begins_and_ends_with_its_latents_bit_for_bit():
    a, b = torch.randn(2, 999, generator=torch.Generator().manual_seed(0))
    assert torch.equal(slerp(a, b, 0.0), a)
    assert torch.equal(slerp(a, b, 1.0), b)


def test_points_on_a_great_arc():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, b, 0.5), (a + b) / 2**0.5)
    torch.testing.assert_close(slerp(a, a * 3, 0.5), a * 2)
    assert slerp(torch.zeros(0), torch.zeros(0), 0.5).shape == (0,)
