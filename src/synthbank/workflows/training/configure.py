"""From what the user asked for to one resolved training configuration, with the reasons of every automatic choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from synthbank.catalogue import DatasetRow, queries
from synthbank.config import TrainConfig, read_options, resolve_train_config
from synthbank.data import variance_by_place
from synthbank.records import Split, UInt8Images
from synthbank.workflows.bank import Bank
from synthbank.workflows.data.datasets import load_split, require_dataset
from synthbank.workflows.models.transfer import InitialWeights, initial_weights, read_package
from synthbank.workflows.models.zoo import HOW_TO_INSTALL, ZOO, ZOO_PACKAGE, missing_zoo_names
from synthbank.workflows.training.growth import smallest_size
from synthbank.workflows.training.requests import TrainRequest

_STYLEGAN2_BATCH = 16  # of its presets
# measured on 12 to 555 images: 0.07 to 0.50 on single cells, 0.001 to 0.016 on tissue
_CENTRED = 0.05
START = "zoo:cytology3-64"
_LARGE_START = "zoo:cytology3-128"
_LARGE = 128
_GROW_SHARE = 0.4
_PICTURE_SHARE = 0.75  # where the larger size keeps the images of the smaller one
_FRESH_LR_G = 4e-3  # docs/recipes.md, "The generator's learning rate"
_LOOKED_AT = 200
# the gate takes at most 2% of new images for copies
_SEEN_BEFORE = 0.1


@dataclass(frozen=True)
class _Choice:
    """Values that "auto" chose, and why; given only where nobody chose otherwise."""

    why: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resolved:
    """A configuration, and why it is as it is."""

    config: TrainConfig
    reasons: tuple[str, ...]


def configure(bank: Bank, request: TrainRequest) -> Resolved:
    """Resolve the preset and the options of a request for its data set.

    From scratch, "auto" and "quick" let the generator of `projected` learn faster.

    Args:
        bank: where the data set is.
        request: see `TrainRequest`; a configuration that is resolved already stays as it is.

    Raises:
        OptionError: an option is unknown, or outside what is allowed.
    """
    if request.config is not None:
        return Resolved(request.config, ())
    dataset = require_dataset(bank, request.dataset)
    architecture, preset, file, overrides = request.architecture, request.preset, request.file, request.options()
    packaged = f"{architecture}-{'quick' if preset == 'auto' else preset}"
    config = resolve_train_config(packaged, file=file, overrides=overrides)
    given = {*overrides, *(read_options(file) if file else ())}
    init = config.init if "init" in given else None
    start = None if init is None else initial_weights(bank, init)
    choices = _fit(bank, dataset, architecture, init, start) if preset == "auto" else []
    if start is not None and "model_options" not in given:
        choices += _built_alike(start, architecture)
    fitted = {k: v for choice in choices for k, v in choice.values.items()}
    if architecture == "projected" and preset != "paper" and fitted.get("init", config.init) == "none":
        why = f"generator's learning rate: {_FRESH_LR_G:g}, as it starts from scratch"
        choices.append(_Choice(why, {"lr_g": _FRESH_LR_G}))
        fitted |= choices[-1].values
    if "steps" in given and "time_budget_sec" not in given:
        fitted["time_budget_sec"] = None
    adversarial = config.adversarial
    if adversarial is None or not adversarial.augment_d:  # the user's choice, which leaves nothing to adapt
        fitted.pop("ada_target", None)
    config = resolve_train_config(packaged, file=file, overrides=overrides, fitted=fitted)
    resolved = config.options()
    reasons = [c.why for c in choices if all(resolved[name] == value for name, value in c.values.items())]
    return Resolved(config, tuple(reasons))


def _fit(
    bank: Bank, dataset: DatasetRow, architecture: str, init: str | None, start: InitialWeights | None
) -> list[_Choice]:
    """What "auto" changes in the quick preset, and why; `init` is the user's choice of initial weights, if any, and
    `start` what it names."""
    with bank.catalogue.session() as session:
        n = len(queries.originals(dataset.id, split=Split.TRAIN, session=session))
    minutes = min(max(20.0 * (dataset.size / 64) ** 2, 5.0), 240.0)
    choices = [
        _Choice(
            f"{n} training images, {len(dataset.class_names)} classes, "
            f"{dataset.size} pixels, {dataset.channels} channels"
        ),
        _Choice(
            f"time: {minutes:.0f} minutes, as pixels cost time (--time-budget or --steps changes it)",
            {"time_budget_sec": minutes * 60},
        ),
    ]
    if architecture == "projected":
        originals = load_split(bank, dataset, Split.TRAIN).images.images
        choices += _fit_projected(originals)
        if init is None:
            choices += _start(originals)
        else:
            choices += _growth(dataset.size, None if start is None else start.spec.size)
    if architecture == "stylegan2":
        gamma = 0.0002 * dataset.size**2 / _STYLEGAN2_BATCH
        choices.append(_Choice(f"R1: {gamma:.2g}, by size and batch as in its paper", {"r1_gamma": gamma}))
    return choices


def _built_alike(start: InitialWeights, architecture: str) -> list[_Choice]:
    """The networks of the initial weights, where they are not the architecture's usual ones."""
    if start.spec.architecture != architecture or not start.spec.options:
        return []
    options = ", ".join(f"{name} {value}" for name, value in start.spec.options.items())
    return [_Choice(f"networks: {options}, as those of the initial weights", {"model_options": start.spec.options})]


def _fit_projected(originals: UInt8Images) -> list[_Choice]:
    """Measured on both kinds of image: docs/recipes.md."""
    average = _Choice("average: over about 500 steps, as the run is longer than a first look", {"ema_decay": 0.998})
    share = variance_by_place(originals)
    if share > _CENTRED:
        kind = f"single objects, as place explains {share:.0%} of the variance"
        return [
            average,
            _Choice("generator's learning rate: falls to a tenth over the second half", {"lr_final_fraction": 0.1}),
            _Choice(
                "discriminator's learning rate: stays, as it never runs out of differences",
                {"lr_final_fraction_discriminator": 1.0},
            ),
            _Choice(f"kind: {kind}: no zoom, which would grow them", {"augment_d": ("colour", "translation")}),
            _Choice(
                "augmentation: only while the discriminator is too sure of the originals, as it hides fine differences",
                {"ada_target": 0.6, "ada_kimg": 20.0},
            ),
            _Choice("batch: 8, better than 16 on single objects", {"batch_size": 8}),
        ]
    kind = f"tissue, as place explains {share:.1%} of the variance"
    zoom = {"augment_d": ("colour", "zoom", "translation")}
    return [
        average,
        _Choice(
            "learning rates: fall to a fifth over the second half, so that the end is steady",
            {"lr_final_fraction": 0.2},
        ),
        _Choice(f"kind: {kind}: zoom, for what is a few pixels wide", zoom),
        _Choice("batch: 16, as 8 leaves grain on tissue", {"batch_size": 16}),
    ]


def _growth(size: int, start_size: int | None = None) -> list[_Choice]:
    """A start at a smaller size, where the initial weights leave room for one."""
    smallest = smallest_size(size, start_size)
    if smallest == size:
        return []
    if start_size is None and size >= _LARGE:
        why = (
            f"growth: {_PICTURE_SHARE:.0%} of the schedule at half the size, where a step costs less (and so on, to "
            f"{smallest} pixels); larger sizes keep its images, enlarged, and add detail"
        )
        return [_Choice(why, {"grow_share": _PICTURE_SHARE, "model_options": {"picture_size": smallest}})]
    why = (
        f"growth: {_GROW_SHARE:.0%} of the schedule at half the size, where a step costs less (at 32 pixels three "
        "minutes at most; larger images: again and again, down to 64 pixels or the size of the initial weights)"
    )
    return [_Choice(why, {"grow_share": _GROW_SHARE})]


def _start(originals: UInt8Images) -> list[_Choice]:
    """Trained weights shorten training, unless they know these images: then the test originals were no longer new."""
    size = originals.shape[-1]
    weights = START if size < _LARGE else _LARGE_START
    if weights.removeprefix(ZOO) in missing_zoo_names():
        why = f"start: from scratch, as the package {ZOO_PACKAGE} is not installed ({HOW_TO_INSTALL})"
        return [_Choice(why, {"init": "none"}), *_growth(size)]
    package = read_package(weights)
    some = originals[:: max(len(originals) // _LOOKED_AT, 1)]
    reasons = package.gate.screen(some).reasons
    known = sum(reason in ("exact_copy", "near_copy") for reason in reasons)
    if known > _SEEN_BEFORE * len(some):
        why = f"start: from scratch, as {weights} was trained on {known} of {len(some)} of these originals"
        return [_Choice(why, {"init": "none"}), *_growth(size)]
    why = f"start: {weights}, blood cells; also for other images, it saves time (--init none starts from scratch)"
    return [_Choice(why, {"init": weights}), *_growth(size, package.spec.size)]
