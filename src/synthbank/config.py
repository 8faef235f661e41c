"""Training configuration: frozen, resolved once (preset < YAML file < command line), written down before step one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from synthbank.errors import OptionError, UnknownNameError
from synthbank.fingerprint import set_fingerprint

_AUGMENT_D = ("stain", "colour", "geometry", "zoom", "translation", "cutout")
_TYPES: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "str": str, "tuple": tuple, "dict": dict}
_AUGMENT_REAL = ("none", "flip", "dihedral")
PRECISIONS = ("32-true", "bf16-mixed")
LAYOUTS = ("channels_last", "contiguous")


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run. `configs/*.yaml` holds the presets."""

    architecture: str = "projected"
    model_options: dict[str, Any] = field(default_factory=dict)
    """Passed to the architecture as `ModelSpec.options`."""
    latent_dim: int = 128
    seed: int = 0
    steps: int | None = None
    """Optimiser steps; `None`: the time budget decides."""
    time_budget_sec: float | None = None
    """Seconds of training, time already spent before a resume included; `None`: the steps decide."""
    batch_size: int = 16
    loss: str = "hinge"
    """Of adversarial training: hinge, nonsaturating, relativistic."""
    r1_gamma: float = 0.0
    """Gradient penalty of the discriminator on reals, at what its `features` gives; 0: none."""
    r2_gamma: float = 0.0
    """The same on fakes."""
    penalty_every: int = 1
    """Steps between gradient penalties, which weigh as much more (lazy regularisation)."""
    lr_g: float = 5e-4
    lr_d: float = 5e-4
    beta1: float = 0.0
    beta2: float = 0.99
    lr_floor: float = 1.0
    """Learning rates fall linearly to this fraction over the second half of the schedule; 1: constant."""
    lr_floor_d: float | None = None
    """The same for the discriminator alone; `None`: it falls as the generator's does."""
    ema_decay: float = 0.995
    """A step; reached gradually (warm-up), so that early averages do not remember the initial weights."""
    augment_real: str = "dihedral"
    """Label-preserving symmetries that real and generated images are laid in at random: none, flip, dihedral."""
    augment_d: tuple[str, ...] = ("colour", "translation")
    """Differentiable augmentation of everything the discriminator sees: stain, colour, geometry, zoom, translation,
    cutout; empty: none."""
    ada_target: float = 0.0
    """Mean sign of the logits on train reals at which `augment_d` is held by its probability (Karras et al. 2020);
    0: every image is augmented."""
    ada_kimg: float = 100.0
    """Thousands of images in which that probability can go from 0 to 1."""
    offline_expansion: bool = False
    """Train on originals and their affine copies; `False`: on the originals alone."""
    balanced: bool = True
    """Draw classes equally often, whatever their sizes."""
    grad_clip: float = 0.0
    """Largest gradient norm of either player; 0: no clipping."""
    grow_share: float = 0.0
    """Share of the schedule that is trained at half the size (after Karras et al. 2018, arXiv 1710.10196), and where
    that is above 64 pixels and the size of the start weights, that share of it at half of that; 0: all at full size.
    At 32 pixels, at most three minutes of a time budget or 8,000 images of a number of steps."""
    precision: str = "32-true"
    """As in lightning-fabric: 32-true, bf16-mixed; auto: whichever is faster here, measured before the first step."""
    layout: str = "channels_last"
    """Memory order of the trained networks' maps: channels_last, contiguous; auto: as for `precision`."""
    snapshot_every: int | None = None
    """Steps between snapshots; `None`: a tenth of the schedule."""
    snapshot_images: int = 256
    """Synthetic images that score a snapshot."""
    init: str = "none"
    """Start weights: `zoo:NAME`, a model of the bank, a folder or URL of a pushed model; none: random."""
    preset: str = "quick"

    def __post_init__(self) -> None:
        _check_types(self)
        if self.steps is None and self.time_budget_sec is None:
            raise OptionError("A training run needs an end", allowed="steps or a time budget", next_step="add --steps")
        _positive(self, "latent_dim", "batch_size", "lr_g", "lr_d", "snapshot_images", "penalty_every", "ada_kimg")
        for name in ("steps", "time_budget_sec", "snapshot_every"):
            if getattr(self, name) is not None:
                _positive(self, name)
        if not 0 <= self.ema_decay < 1:
            raise OptionError("ema_decay is out of range", got=self.ema_decay, allowed="0 <= ema_decay < 1")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name} is out of range", got=getattr(self, name), allowed=f"0 <= {name} < 1")
        for name in ("grad_clip", "r1_gamma", "r2_gamma"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name} is out of range", got=getattr(self, name), allowed="0 (none) or more")
        if not 0 <= self.ada_target < 1:
            raise OptionError("ada_target is out of range", got=self.ada_target, allowed="0 (off) <= ada_target < 1")
        if self.ada_target and not self.augment_d:
            raise OptionError("ada_target has nothing to adapt", got="augment_d: []", allowed=_AUGMENT_D)
        if not 0 <= self.grow_share < 1:
            raise OptionError("grow_share is out of range", got=self.grow_share, allowed="0 (off) <= grow_share < 1")
        for name in ("lr_floor", "lr_floor_d"):
            floor = getattr(self, name)
            if floor is not None and not 0 <= floor <= 1:
                raise OptionError(f"{name} is out of range", got=floor, allowed="0 to 1")
        for name, allowed in (("precision", PRECISIONS), ("layout", LAYOUTS)):
            if getattr(self, name) not in (*allowed, "auto"):
                raise UnknownNameError(name, getattr(self, name), (*allowed, "auto"))
        if self.augment_real not in _AUGMENT_REAL:
            raise UnknownNameError("real-image augmentation", self.augment_real, _AUGMENT_REAL)
        for name in self.augment_d:
            if name not in _AUGMENT_D:
                raise UnknownNameError("discriminator augmentation", name, _AUGMENT_D)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the run folder and the catalogue."""
        return {**dataclasses.asdict(self), "augment_d": list(self.augment_d)}

    def identity(self) -> str:
        """Ten hexadecimal digits over every choice but the length of the run, so that a longer run can resume."""
        values = {k: v for k, v in self.to_json().items() if k not in ("steps", "time_budget_sec", "preset")}
        return set_fingerprint(f"{k}={json.dumps(v, sort_keys=True)}" for k, v in values.items())[:10]

    def progress(self, step: int, elapsed_sec: float) -> float:
        """Share of the schedule that is done, 0..1; whichever of steps and time is further."""
        by_step = step / self.steps if self.steps else 0.0
        by_time = elapsed_sec / self.time_budget_sec if self.time_budget_sec else 0.0
        return min(max(by_step, by_time), 1.0)


def _check_types(config: TrainConfig) -> None:
    for option in dataclasses.fields(config):
        value, kind = getattr(config, option.name), str(option.type)
        wanted = _TYPES[kind.split("[")[0].split(" ")[0]]
        if value is None and kind.endswith("None"):
            continue
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise OptionError(f"{option.name} has the wrong type", got=repr(value), allowed=kind)


def _positive(config: TrainConfig, *names: str) -> None:
    for name in names:
        if not getattr(config, name) > 0:
            raise OptionError(f"{name} must be above zero", got=getattr(config, name))


def presets() -> list[str]:
    """Names of the packaged presets (`configs/NAME.yaml`), sorted."""
    folder = resources.files("synthbank") / "configs"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def preset_architectures() -> list[str]:
    """Architectures that have packaged presets, sorted; known without loading any network."""
    return sorted({name.rsplit("-", 1)[0] for name in presets()})


def load_preset(name: str) -> dict[str, Any]:
    """Values of a packaged preset."""
    if name not in presets():
        raise UnknownNameError("preset", name, presets())
    text = (resources.files("synthbank") / "configs" / f"{name}.yaml").read_text()
    return _mapping(yaml.safe_load(text), f"configs/{name}.yaml")


def resolve_train_config(
    preset: str,
    *,
    fitted: Mapping[str, Any] | None = None,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Preset, then what was fitted to the data, then a YAML file, then the command line; a later one wins.

    Args:
        preset: name of a packaged preset, such as "projected-quick".
        fitted: automatic choices; here `None` values count.
        file: the user's own YAML (`None`: none).
        overrides: values of the command line; `None` values mean "not given".

    Raises:
        OptionError: an unknown key or a value out of range.
    """
    values = load_preset(preset) | dict(fitted or {})
    if file is not None:
        values |= read_options(file)
    values |= {k: v for k, v in (overrides or {}).items() if v is not None}
    known = {f.name for f in dataclasses.fields(TrainConfig)}
    for key in values:
        if key not in known:
            raise UnknownNameError("training option", key, known)
    if isinstance(values.get("augment_d"), list):
        values["augment_d"] = tuple(values["augment_d"])
    return TrainConfig(**{**values, "preset": preset})


def read_options(file: Path) -> dict[str, Any]:
    """What a user's YAML file says, unchecked.

    Raises:
        OptionError: it cannot be read, or is no mapping.
    """
    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise OptionError("The configuration file cannot be read", got=f"{file}: {error}") from error
    return _mapping(found, str(file))


def _mapping(values: object, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise OptionError(f"{where} is not a mapping of options", got=type(values).__name__)
    return {str(k): v for k, v in values.items()}
