"""Every packaged model draws the pixels that were recorded, and its discriminator fits the networks of today.

After a change that is meant to change images: `python tests/contracts/test_packaged_models.py` records them again.
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from synthbank.generation import Sampler
from synthbank.models import (
    adversarial_architecture,
    fused_state,
    load_fused,
    load_tensors,
    read_legacy_keys,
    transfer_weights,
)
from synthbank.workflows.models.record import DISCRIMINATOR, GENERATOR
from synthbank.workflows.models.transfer import read_package
from synthbank.workflows.models.zoo import zoo_names

RECORDED = Path(__file__).with_name("packaged_pixels.json")
SEEDS = [1, 2, 3, 4]
NAMES = zoo_names()


def _processor():
    """Whatever decides about the last bit of a convolution."""
    return {"cpu_capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}


def _pixels(name):
    """SHA-256 of the pixels of each class's images, in one thread."""
    package = read_package(f"zoo:{name}")
    sampler = Sampler(load_fused(package.spec, load_tensors(package.files[GENERATOR])))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        images = {c: sampler.draw_seeds(SEEDS, class_index=i) for i, c in enumerate(package.spec.class_names)}
    finally:
        torch.set_num_threads(threads)
    return {c: [hashlib.sha256(image.tobytes()).hexdigest() for image in drawn] for c, drawn in images.items()}


def test_pixels_are_recorded_of_every_packaged_model():
    assert set(NAMES) <= set(json.loads(RECORDED.read_text())["models"])


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_model_draws_the_recorded_pixels(name):
    recorded = json.loads(RECORDED.read_text())
    here = _processor()
    there = {key: recorded[key] for key in here}
    if here != there:
        pytest.skip(f"pixels were recorded on {there}, and this is {here}")
    pixels = _pixels(name)
    assert len(pixels) >= 2
    assert pixels == recorded["models"][name]
    assert len({h for hashes in pixels.values() for h in hashes}) == len(SEEDS) * len(pixels)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_of_a_packaged_discriminator_has_its_place_in_the_network_of_today(name):
    """Their files still bear the layer names of earlier versions."""
    package = read_package(f"zoo:{name}")
    if DISCRIMINATOR not in package.files:
        pytest.skip("this model travels without its discriminator")
    discriminator = adversarial_architecture(package.spec.architecture).discriminator(package.spec).eval()
    expected = {k: v.shape for k, v in fused_state(discriminator).items()}
    stored = read_legacy_keys(load_tensors(package.files[DISCRIMINATOR]), expected)
    assert {k: v.shape for k, v in stored.items()}.items() <= expected.items()
    heads = [k for k in stored if k.endswith("to_logits.weight")]
    assert len(heads) >= 4
    transfer_weights(stored, discriminator, same_classes=True)
    after = fused_state(discriminator)
    for head in heads:
        torch.testing.assert_close(after[head], stored[head].to(after[head].dtype), atol=1e-2, rtol=1e-2)


if __name__ == "__main__":
    values = _processor() | {"seeds": SEEDS, "models": {name: _pixels(name) for name in NAMES}}
    RECORDED.write_text(json.dumps(values, indent=1) + "\n")
