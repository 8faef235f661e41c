"""One training step of SynthBank against plain loops of the same networks, side by side in one process.

    python benchmarks/training.py [--steps 40] [--rounds 5] [--architecture projected]

`ours` trains in the precision and layout that the product finds fastest here. `bare` does exactly our arithmetic with
torch alone: no Fabric, sampler, seeds, history or guards. What the framework costs is ours over bare; goal: at most
1.1. `plain` is the loop of a textbook with the same networks, losses, batch and augmentation: single precision, images
in the default layout, a generator pass for each update, reals and fakes in passes of their own, Adam and average
parameter by parameter. What our step gains is plain over ours; goal: at least 1.5. `frozen` is the least possible: the
frozen network forward and backward on one batch of fakes and forward on one of reals. Rounds alternate; ratios are of
medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from machine import write_json

from synthbank.config import TrainConfig, resolve_train_config
from synthbank.data import EpochSampler
from synthbank.models import ModelSpec, adversarial_architecture, architectures, draw_latents, load_feature_network
from synthbank.records import LabelledImages, UInt8Images
from synthbank.training import AdversarialTrainer, Hooks, TrainingLoop
from synthbank.training.augment_d import augment, symmetries
from synthbank.training.ema import ema_copy, ema_update
from synthbank.workflows.training.launch import Processes
from synthbank.workflows.training.speed import fastest

SIZE, CLASSES = 64, ("a", "b")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--architecture", default="projected")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (185, 3, SIZE, SIZE), dtype=np.uint8)
    data = LabelledImages(images, np.arange(185) % 2, CLASSES)
    asked = resolve_train_config(f"{options.architecture}-quick", overrides={"time_budget_sec": 1e9})
    spec = spec_of(asked)
    config = fastest(asked, spec=spec, images=data, wanted=Processes("cpu")).config
    loops = {
        "ours": framework_steps(config, data),
        "bare": bare_steps(config, data),
        "plain": plain_steps(options.architecture, data),
    }
    if options.architecture == "projected":
        loops["frozen"] = frozen_steps()
    for work in loops.values():
        work(5)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(options.rounds):
        pairs = list(loops.items())
        for name, work in pairs if number % 2 == 0 else reversed(pairs):
            seconds[name].append(work(options.steps))
    batch = config.batch_size
    median = {name: statistics.median(s) for name, s in seconds.items()}
    result = {
        "architecture": options.architecture,
        "size": SIZE,
        "batch": batch,
        "precision": config.precision,
        "layout": config.layout,
        "steps": options.steps,
        "rounds": options.rounds,
        **{f"{name}_images_per_sec": options.steps * batch / median[name] for name in loops},
        "ratio_to_bare": median["ours"] / median["bare"],
        "gain_over_plain": median["plain"] / median["ours"],
        "ratio_of_each_round": [a / b for a, b in zip(seconds["ours"], seconds["bare"], strict=True)],
    }
    for key, value in result.items():
        print(f"{key:24} {value}")
    print("written", write_json(f"training-{options.architecture}", result))


def spec_of(config: TrainConfig) -> ModelSpec:
    """What the loops train."""
    return ModelSpec(config.architecture, SIZE, 3, CLASSES, symmetry=config.augment_real, options=config.model_options)


Work = Callable[[int], float]
"""A number of steps to the seconds that they took."""


def timed(step: Callable[[], None]) -> Work:
    """Work that repeats a step."""

    def work(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        return time.perf_counter() - start

    return work


def framework_steps(config: TrainConfig, data: LabelledImages) -> Work:
    """The product's loop, with history and guards; only the time from the first step to the last one counts."""
    fabric = Processes("cpu").launch(config.precision)
    sampler = EpochSampler(data.labels, batch_size=config.batch_size, seed=0, balanced=True)
    trainer = AdversarialTrainer(spec_of(config), config, train=data, sampler=sampler, fabric=fabric)
    folder = Path(tempfile.mkdtemp())
    hooks = Hooks(score=_no_scores)
    loop = TrainingLoop(trainer, config, folder=folder, validation=data.take(np.arange(0)), hooks=hooks)

    def work(steps: int) -> float:
        before_steps: list[float] = []

        def should_stop() -> bool:
            before_steps.append(time.perf_counter())
            return len(before_steps) > steps

        loop.hooks = replace(hooks, should_stop=should_stop)
        loop.fit()  # resumes where the call before has stopped
        return before_steps[-1] - before_steps[0]

    return work


def _no_scores(images: UInt8Images) -> dict[str, float]:
    return {"kid": 0.0, "real_diversity": 1.0, "fake_diversity": 1.0}


def bare_steps(config: TrainConfig, data: LabelledImages) -> Work:
    """The same arithmetic in a plain loop."""
    torch.manual_seed(0)
    spec, architecture = spec_of(config), adversarial_architecture(config.architecture)
    order = torch.channels_last if config.layout == "channels_last" else torch.contiguous_format
    g = architecture.generator(spec).to(memory_format=order)
    d = architecture.discriminator(spec).to(memory_format=order)
    mixed = config.precision == "bf16-mixed"
    average = ema_copy(g)
    betas = (config.beta1, config.beta2)
    adam_g = torch.optim.Adam(g.parameters(), lr=config.lr_g, betas=betas, fused=True)
    adam_d = torch.optim.Adam(
        [p for p in d.parameters() if p.requires_grad], lr=config.adversarial.lr_d, betas=betas, fused=True
    )
    images, all_labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    rng = torch.Generator().manual_seed(0)

    def autocast() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=mixed)

    def step() -> None:
        chosen = torch.randint(0, len(images), (config.batch_size,), generator=rng)
        labels = all_labels[chosen]
        scaled = images[chosen].float().div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)
        real = symmetries(scaled, config.augment_real, rng)
        latents = draw_latents(g, labels, rng)
        with autocast():
            drawn = g(latents.z, labels, latents.noise)
        fake = augment(symmetries(drawn.float(), config.augment_real, rng), config.adversarial.augment_d, rng)
        with autocast():
            fake_features = [f.float() for f in d.features(fake)]
        with torch.no_grad(), autocast():
            real_features = [f.float() for f in d.features(augment(real, config.adversarial.augment_d, rng))]
        twice = torch.cat([labels, labels])
        pairs = [torch.cat([a, b.detach()]) for a, b in zip(real_features, fake_features, strict=True)]
        with autocast():
            logits = d.logits(pairs, twice)
        real_logit, fake_logit = logits.float().chunk(2)
        adam_d.zero_grad(set_to_none=True)
        (torch.relu(1 - real_logit).mean() + torch.relu(1 + fake_logit).mean()).backward()
        adam_d.step()
        pairs = [torch.cat([a, b]) for a, b in zip(real_features, fake_features, strict=True)]
        with autocast():
            logits = d.logits(pairs, twice)
        loss_g = -logits.float().chunk(2)[1].mean()
        gradient = torch.autograd.grad(loss_g, fake_features)
        adam_g.zero_grad(set_to_none=True)
        torch.autograd.backward(fake_features, list(gradient))
        adam_g.step()
        ema_update(average, g, decay=config.ema_decay, step=1000)

    return timed(step)


def plain_steps(architecture: str, data: LabelledImages) -> Work:
    """A textbook's loop over the same networks."""
    config = resolve_train_config(f"{architecture}-quick")
    torch.manual_seed(0)
    spec = spec_of(config)
    g, d = architectures.get(architecture).generator(spec), architectures.get(architecture).discriminator(spec)
    average = ema_copy(g)
    betas = (config.beta1, config.beta2)
    adam_g = torch.optim.Adam(g.parameters(), lr=config.lr_g, betas=betas)
    adam_d = torch.optim.Adam([p for p in d.parameters() if p.requires_grad], lr=config.adversarial.lr_d, betas=betas)
    images, all_labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    rng = torch.Generator().manual_seed(0)

    def fakes(labels: torch.Tensor) -> torch.Tensor:
        latents = draw_latents(g, labels, rng)
        fake = symmetries(g(latents.z, labels, latents.noise), config.augment_real, rng)
        return augment(fake, config.adversarial.augment_d, rng)

    def step() -> None:
        chosen = torch.randint(0, len(images), (config.batch_size,), generator=rng)
        labels = all_labels[chosen]
        real = symmetries(images[chosen].float() / 127.5 - 1, config.augment_real, rng)
        with torch.no_grad():
            fake = fakes(labels)
        adam_d.zero_grad()
        real_logit, fake_logit = d(augment(real, config.adversarial.augment_d, rng), labels), d(fake, labels)
        (torch.relu(1 - real_logit).mean() + torch.relu(1 + fake_logit).mean()).backward()
        adam_d.step()
        adam_g.zero_grad()
        (-d(fakes(labels), labels).mean()).backward()
        adam_g.step()
        with torch.no_grad():
            for mean, value in zip(average.parameters(), g.parameters(), strict=True):
                mean.mul_(config.ema_decay).add_(value, alpha=1 - config.ema_decay)

    return timed(step)


def frozen_steps() -> Work:
    """The frozen network alone: what no arrangement of the rest can save."""
    network = load_feature_network("lite0")
    batch = resolve_train_config("projected-quick").batch_size
    x = torch.rand(batch, 3, SIZE, SIZE).mul_(2).sub_(1).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        maps = network.taps(x.requires_grad_())
        torch.autograd.grad([m.sum() for m in maps], x)
        with torch.no_grad():
            network.taps(x)

    return timed(step)


if __name__ == "__main__":
    main()
