"""Training configuration: frozen, resolved once (preset < YAML file < command line), written down before step one.

In files, on the command line and in what is stored, options are one flat mapping. In Python, those that act on a
discriminator stand apart (`TrainConfig.adversarial`), so that a network without one cannot be given any.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, model_validator
from pydantic.dataclasses import dataclass

from synthbank.errors import OptionError, UnknownNameError
from synthbank.fingerprint import set_fingerprint

Precision = Literal["32-true", "bf16-mixed", "auto"]
Layout = Literal["channels_last", "contiguous", "auto"]
AugmentReal = Literal["none", "flip", "dihedral"]
AugmentD = Literal["stain", "colour", "geometry", "zoom", "translation", "cutout"]
PRECISIONS = tuple(name for name in get_args(Precision) if name != "auto")
LAYOUTS = tuple(name for name in get_args(Layout) if name != "auto")

# An integer stays one (5, not 5.0): identities are hashed over the JSON of what was given.
_Number = float | int
_Positive = Annotated[_Number, Field(gt=0)]
_NotNegative = Annotated[_Number, Field(ge=0)]
_Share = Annotated[_Number, Field(ge=0, le=1)]
_BelowOne = Annotated[_Number, Field(ge=0, lt=1)]
_Count = Annotated[int, Field(gt=0)]

_STRICT = ConfigDict(strict=True, extra="forbid", defer_build=True)  # built when first used: commands start faster
_KINDS = {  # of a name that is not in a list of choices, for the message
    "augment_real": "real-image augmentation",
    "augment_d": "discriminator augmentation",
}
_OLD_NAMES = {"lr_floor": "lr_final_fraction", "lr_floor_d": "lr_final_fraction_discriminator"}
_NOT_IDENTITY = ("steps", "time_budget_sec", "preset")


class _Options:
    """Translates what pydantic finds wrong into errors that name the option, the value and what is allowed."""

    @model_validator(mode="wrap")
    @classmethod
    def _translate(cls, values: Any, handler: ValidatorFunctionWrapHandler) -> Self:
        try:
            made: Self = handler(values)
        except ValidationError as error:
            _refuse(cls, error)
        return made


@dataclass(frozen=True, config=_STRICT)
class AdversarialConfig(_Options):
    """Choices of a training run that act on a discriminator, or on a generator through one."""

    loss: str = "hinge"
    """Of adversarial training: hinge, nonsaturating, relativistic."""
    r1_gamma: _NotNegative = 0.0
    """Gradient penalty of the discriminator on reals, at what its `features` gives; 0: none."""
    r2_gamma: _NotNegative = 0.0
    """The same on fakes."""
    penalty_every: _Count = 1
    """Steps between gradient penalties, which weigh as much more (lazy regularisation)."""
    lr_d: _Positive = 5e-4
    """Learning rate of the discriminator."""
    lr_final_fraction_discriminator: _Share | None = None
    """As `TrainConfig.lr_final_fraction`, of the discriminator alone; `None`: it falls as the generator's does."""
    augment_d: Annotated[tuple[AugmentD, ...], Field(strict=False)] = ("colour", "translation")
    """Differentiable augmentation of everything the discriminator sees: stain, colour, geometry, zoom, translation,
    cutout; empty: none."""
    ada_target: _BelowOne = 0.0
    """Mean sign of the logits on train reals at which `augment_d` is kept by its probability (Karras et al. 2020);
    0: every image is augmented."""
    ada_kimg: _Positive = 100.0
    """Thousands of images in which that probability can go from 0 to 1."""

    def __post_init__(self) -> None:
        if self.ada_target and not self.augment_d:
            raise OptionError("ada_target has nothing to adapt", got="augment_d: []", allowed=get_args(AugmentD))


@dataclass(frozen=True, config=_STRICT)
class TrainConfig(_Options):
    """Every choice of a training run. `configs/*.yaml` holds the presets.

    Raises:
        OptionError: an option is unknown, of the wrong type or outside its bounds, or the run would have no end.
    """

    architecture: str = "projected"
    model_options: dict[str, Any] = field(default_factory=dict)
    """Passed to the architecture as `ModelSpec.options`."""
    latent_dim: _Count = 128
    seed: int = 0
    steps: _Count | None = None
    """Optimiser steps; `None`: the time budget decides."""
    time_budget_sec: _Positive | None = None
    """Seconds of training, time already spent before a resume included; `None`: the steps decide."""
    batch_size: _Count = 16
    adversarial: AdversarialConfig | None = field(default_factory=AdversarialConfig)
    """Of the discriminator; `None`: the architecture has none."""
    lr_g: _Positive = 5e-4
    """Learning rate of the generator, or of the only network."""
    beta1: _BelowOne = 0.0
    """Of Adam, as `beta2`."""
    beta2: _BelowOne = 0.99
    lr_final_fraction: _Share = 1.0
    """Learning rates fall linearly to this fraction over the second half of the schedule; 1: constant."""
    ema_decay: _BelowOne = 0.995
    """A step; reached gradually (warm-up), so that early averages do not remember the initial weights."""
    augment_real: AugmentReal = "dihedral"
    """Label-preserving symmetries that real and generated images are laid in at random: none, flip, dihedral."""
    offline_expansion: bool = False
    """Train on originals and their affine copies; `False`: on the originals alone."""
    balanced: bool = True
    """Draw classes equally often, whatever their sizes."""
    grad_clip: _NotNegative = 0.0
    """Largest gradient norm of each network; 0: no clipping."""
    grow_share: _BelowOne = 0.0
    """Share of the schedule that is trained at half the size (after Karras et al. 2018, arXiv 1710.10196), and where
    that is above 64 pixels and the size of the initial weights, that share of it at half of that; 0: all at full size.
    At 32 pixels, at most three minutes of a time budget or 8,000 images of a number of steps."""
    precision: Precision = "32-true"
    """As in lightning-fabric: 32-true, bf16-mixed; auto: whichever is faster here, measured before the first step."""
    layout: Layout = "channels_last"
    """Memory order of the trained networks' maps: channels_last, contiguous; auto: as for `precision`."""
    snapshot_every: _Count | None = None
    """Steps between snapshots; `None`: a tenth of `steps`, and where only time ends the run, a sixth of its budget."""
    snapshot_images: _Count = 256
    """Synthetic images that score a snapshot."""
    init: str = "none"
    """Initial weights: `zoo:NAME`, a model of the bank, a folder or URL of a pushed model; none: random."""
    preset: str = "quick"

    def __post_init__(self) -> None:
        if self.steps is None and self.time_budget_sec is None:
            raise OptionError("A training run needs an end", allowed="steps or a time budget", next_step="add --steps")

    def options(self) -> dict[str, Any]:
        """Every option by its name, in one flat mapping; without a discriminator, "adversarial" is `None`."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values if self.adversarial is None else _flat(values, dataclasses.asdict(self.adversarial))

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored in the run folder, the catalogue and a model's card."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self.options().items()}

    def identity(self) -> str:
        """Ten hexadecimal digits over every choice but the length of the run, so that a longer run can resume."""
        values = self.to_json()
        if self.adversarial is None:
            # Denoisers once had the discriminator's options too, unused: their runs were named with them.
            unused = dataclasses.asdict(AdversarialConfig()) | {"augment_d": []}
            unused["lr_d"] = 1e-3 if self.preset == "diffusion-paper" else 5e-4
            values = _flat(values, unused)
        # Hashed under the first names of the options, so that runs of earlier versions resume.
        first_names = {new: old for old, new in _OLD_NAMES.items()}
        values = {first_names.get(k, k): v for k, v in values.items() if k not in _NOT_IDENTITY}
        return set_fingerprint(f"{k}={json.dumps(v, sort_keys=True)}" for k, v in values.items())[:10]

    def progress(self, step: int, elapsed_sec: float) -> float:
        """Share of the schedule that is done, 0..1; whichever of steps and time is further."""
        by_step = step / self.steps if self.steps else 0.0
        by_time = elapsed_sec / self.time_budget_sec if self.time_budget_sec else 0.0
        return min(max(by_step, by_time), 1.0)


_ADVERSARIAL = tuple(f.name for f in dataclasses.fields(AdversarialConfig))


def option_defaults() -> dict[str, Any]:
    """Every option's default by its name, in one flat mapping."""
    return TrainConfig(steps=1).options() | {"steps": None}


def rename_old_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options under their names of today, from a file or a record of any version.

    Raises:
        OptionError: an option stands there under both names.
    """
    for old, new in _OLD_NAMES.items():
        if old in values and new in values:
            raise OptionError(
                f"{new} is given twice", got=f"{old} and {new}", next_step=f"leave out {old}, its old name"
            )
    return {_OLD_NAMES.get(k, k): v for k, v in values.items()}


def read_train_config(values: Mapping[str, Any]) -> TrainConfig:
    """The configuration that a run folder, the catalogue or a model's card holds, of this version or an earlier one.

    Args:
        values: as of `TrainConfig.to_json`.

    Raises:
        OptionError: an unknown option or a value out of range.
    """
    options = rename_old_options(values)
    if "adversarial" not in options and not _has_discriminator(str(options.get("architecture"))):
        options = {k: v for k, v in options.items() if k not in _ADVERSARIAL} | {"adversarial": None}
    return _from_options(options)


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
        OptionError: an unknown option or a value out of range.
    """
    values = load_preset(preset) | dict(fitted or {})
    if file is not None:
        values |= read_options(file)
    values |= rename_old_options({k: v for k, v in (overrides or {}).items() if v is not None})
    return _from_options({**values, "preset": preset})


def read_options(file: Path) -> dict[str, Any]:
    """The options of a user's YAML file under their names of today, otherwise unchecked.

    Raises:
        OptionError: it cannot be read, or is no mapping.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise OptionError("The configuration file cannot be read", got=f"{file}: {error}") from error
    return rename_old_options(_mapping(content, str(file)))


def _mapping(values: object, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise OptionError(f"{where} is not a mapping of options", got=type(values).__name__)
    return {str(k): v for k, v in values.items()}


def _flat(values: Mapping[str, Any], adversarial: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with the discriminator's options in the place of "adversarial"."""
    return {k: v for name, value in values.items() for k, v in _unpacked(name, value, adversarial)}


def _unpacked(name: str, value: Any, adversarial: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from adversarial.items() if name == "adversarial" else ((name, value),)


def _from_options(values: Mapping[str, Any]) -> TrainConfig:
    """A configuration from one flat mapping of options."""
    known = option_defaults()
    for name in values:
        if name not in (*known, "adversarial"):
            raise UnknownNameError("training option", name, known)
    of_discriminator = {k: v for k, v in values.items() if k in _ADVERSARIAL}
    shared = {k: v for k, v in values.items() if k not in (*_ADVERSARIAL, "adversarial")}
    if "adversarial" not in values:
        return TrainConfig(**shared, adversarial=AdversarialConfig(**of_discriminator))
    for name, value in of_discriminator.items():
        if value and value != known[name]:  # what is off, or as it is anyway, asks for nothing
            raise OptionError(
                f"{name} acts on a discriminator, and '{values.get('architecture')}' has none",
                got=value,
                next_step="leave it out",
            )
    return TrainConfig(**shared, adversarial=values["adversarial"])


def _has_discriminator(architecture: str) -> bool:
    """Tell whether the packaged presets of an architecture train one; `True` where it has no preset."""
    name = f"{architecture}-quick"
    return name not in presets() or "adversarial" not in load_preset(name)


_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list of names",
    "dict_type": "a mapping",
    "dataclass_exact_type": "nothing: its options stand beside the others",
}


def _refuse(cls: type, error: ValidationError) -> NoReturn:
    """Raise the first fault that pydantic names, in the words of this package."""
    first = error.errors()[0]
    kind, value = first["type"], first["input"]
    name = str(first["loc"][0]) if first["loc"] else "adversarial"
    if kind == "unexpected_keyword_argument":
        raise UnknownNameError("training option", name, option_defaults()) from None
    if kind == "literal_error":
        choices = [part.strip("'") for part in first["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        raise UnknownNameError(_KINDS.get(name, name), str(value), choices) from None
    if kind == "greater_than":
        raise OptionError(f"{name} must be above zero", got=value) from None
    if kind in ("greater_than_equal", "less_than", "less_than_equal"):
        raise OptionError(f"{name} is out of range", got=value, allowed=_bounds(cls, name)) from None
    raise OptionError(f"{name} has the wrong type", got=repr(value), allowed=_WORDS.get(kind, first["msg"])) from None


def _bounds(cls: type, name: str) -> str:
    """The bounds that stand beside a field, such as "0 <= beta1 < 1"."""
    hint = get_type_hints(cls, include_extras=True)[name]
    of_field = (
        getattr(hint, "__metadata__", None) or get_args(hint)[0].__metadata__
    )  # optional fields: inside the union
    bounds = {type(b).__name__.lower(): b for b in of_field[0].metadata}
    low = f"{bounds['ge'].ge:g} <= " if "ge" in bounds else ""
    high = f" < {bounds['lt'].lt:g}" if "lt" in bounds else f" <= {bounds['le'].le:g}" if "le" in bounds else ""
    return f"{low}{name}{high}"
