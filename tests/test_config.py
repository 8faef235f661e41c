"""Configuration: what wins over what, what is refused and how, and which runs count as the same one."""

import dataclasses

import pytest
import yaml

from synthbank.config import (
    AdversarialConfig,
    TrainConfig,
    load_preset,
    option_defaults,
    presets,
    read_train_config,
    resolve_train_config,
)
from synthbank.errors import OptionError, UnknownNameError
from synthbank.models import architectures


@pytest.mark.parametrize("name", presets())
def test_every_preset_resolves_and_names_a_known_architecture(name):
    config = resolve_train_config(name)
    assert config.preset == name
    assert config.architecture in architectures
    assert config.architecture == name.rsplit("-", 1)[0]
    for key, value in load_preset(name).items():
        got = config.options()[key]
        assert (list(got) if isinstance(got, tuple) else got) == value
        assert type(got) is not str or not got.replace(".", "").replace("e-", "").isdigit(), f"{key} was read as text"


def test_every_architecture_has_a_quick_and_a_paper_preset():
    assert set(presets()) >= {f"{a}-{kind}" for a in architectures for kind in ("quick", "paper")}


def test_a_later_layer_wins(tmp_path):
    file = tmp_path / "mine.yaml"
    preset = load_preset("projected-quick")
    assert preset["lr_g"] == 5e-4
    assert resolve_train_config("projected-quick").lr_g == 5e-4
    fitted = {"lr_g": 1.0, "batch_size": 11, "seed": 1}
    assert resolve_train_config("projected-quick", fitted=fitted).lr_g == 1.0
    file.write_text("lr_g: 2.0\nseed: 2\n")
    both = resolve_train_config("projected-quick", fitted=fitted, file=file)
    assert (both.lr_g, both.seed, both.batch_size) == (2.0, 2, 11)
    overrides = {"lr_g": 3.0, "steps": None}
    all_four = resolve_train_config("projected-quick", fitted=fitted, file=file, overrides=overrides)
    assert (all_four.lr_g, all_four.seed, all_four.batch_size) == (3.0, 2, 11)
    assert all_four.time_budget_sec == preset["time_budget_sec"]


def test_none_means_not_given_on_the_command_line_but_counts_when_fitted():
    assert resolve_train_config("projected-paper", overrides={"steps": None}).steps == 100_000
    config = resolve_train_config("projected-paper", fitted={"steps": None, "time_budget_sec": 60.0})
    assert config.steps is None
    assert config.time_budget_sec == 60.0


@pytest.mark.parametrize("layer", ["fitted", "overrides", "file"])
def test_an_unknown_key_names_the_nearest(layer, tmp_path):
    values = {"batch_sise": 4}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(UnknownNameError, match="Unknown training option") as caught:
        resolve_train_config("projected-quick", **{layer: file if layer == "file" else values})
    assert "did you mean 'batch_size'?" in caught.value.message
    assert "Got: batch_sise" in caught.value.message


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'projected-quick'"):
        resolve_train_config("projected-quik")


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"batch_size": 0}, "batch_size must be above zero"),
        ({"batch_size": -3}, "batch_size must be above zero"),
        ({"steps": 0}, "steps must be above zero"),
        ({"time_budget_sec": -1.0}, "time_budget_sec must be above zero"),
        ({"snapshot_every": 0}, "snapshot_every must be above zero"),
        ({"snapshot_images": 0}, "snapshot_images must be above zero"),
        ({"latent_dim": 0}, "latent_dim must be above zero"),
        ({"lr_g": 0.0}, "lr_g must be above zero"),
        ({"lr_d": float("nan")}, "lr_d must be above zero"),
        ({"ema_decay": 1.0}, "ema_decay is out of range"),
        ({"ema_decay": -0.1}, "ema_decay is out of range"),
        ({"lr_final_fraction": 1.5}, "lr_final_fraction is out of range"),
        ({"lr_final_fraction_discriminator": -0.5}, "lr_final_fraction_discriminator is out of range"),
        ({"lr_floor": 1.5}, "lr_final_fraction is out of range"),
        ({"grow_share": 1.0}, "grow_share is out of range"),
        ({"penalty_every": 0}, "penalty_every must be above zero"),
        ({"ada_kimg": 0.0}, "ada_kimg must be above zero"),
        ({"ada_target": 1.0}, "ada_target is out of range"),
        ({"r1_gamma": -1.0}, "r1_gamma is out of range"),
        ({"r2_gamma": -1.0}, "r2_gamma is out of range"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_name(values, what):
    with pytest.raises(OptionError, match=what) as caught:
        resolve_train_config("projected-quick", overrides=values)
    assert str(next(iter(values.values()))) in caught.value.message


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": "eight"},
        {"batch_size": 2.5},
        {"lr_g": "fast"},
        {"ema_decay": [1]},
        {"steps": "many"},
        {"balanced": "no"},
        {"model_options": [1]},
        {"augment_d": 3},
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_name(values):
    with pytest.raises(OptionError) as caught:
        resolve_train_config("projected-quick", overrides=values)
    assert next(iter(values)) in caught.value.message


@pytest.mark.parametrize("values", [{"grad_clip": -1.0}, {"beta1": 1.0}, {"beta2": 1.5}])
def test_no_optimiser_is_asked_for_the_impossible(values):
    with pytest.raises(OptionError) as caught:
        resolve_train_config("projected-quick", overrides=values)
    assert next(iter(values)) in caught.value.message


def test_adaptive_augmentation_needs_an_augmentation():
    with pytest.raises(OptionError, match=r"nothing to adapt.*stain"):
        resolve_train_config("projected-quick", overrides={"ada_target": 0.6, "augment_d": []})


@pytest.mark.parametrize("values", [{"augment_real": "dihedrel"}, {"augment_d": ["color"]}])
def test_an_unknown_augmentation_names_the_nearest(values):
    with pytest.raises(UnknownNameError, match=r"did you mean '(dihedral|colour)'"):
        resolve_train_config("projected-quick", overrides=values)


def test_a_run_needs_an_end():
    with pytest.raises(OptionError, match=r"needs an end.*steps or a time budget"):
        TrainConfig()


@pytest.mark.parametrize(
    ("text", "what"), [("- a\n- b\n", "not a mapping"), ("a: [1\n", "cannot be read"), (None, "cannot be read")]
)
def test_a_file_that_is_no_configuration_is_refused_with_its_name(text, what, tmp_path):
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(OptionError, match=what) as caught:
        resolve_train_config("projected-quick", file=file)
    assert "mine.yaml" in caught.value.message


def test_the_identity_does_not_depend_on_the_length_of_the_run():
    config = TrainConfig(steps=10)
    longer = [
        dataclasses.replace(config, steps=500),
        dataclasses.replace(config, time_budget_sec=1.0),
        dataclasses.replace(config, preset="paper"),
    ]
    assert {c.identity() for c in longer} == {config.identity()}
    assert len(config.identity()) == 10


_OTHER = {str: "sagan", int: 77, float: 0.125, bool: None, tuple: ("cutout",), dict: {"width": 2}, type(None): 1}


@pytest.mark.parametrize(
    "field", [name for name in option_defaults() if name not in ("steps", "time_budget_sec", "preset")]
)
def test_the_identity_depends_on_every_other_choice(field):
    config = TrainConfig(steps=10)
    value = config.options()[field]
    other = (not value) if isinstance(value, bool) else _OTHER[type(value)]
    other = {"augment_real": "flip", "precision": "bf16-mixed", "layout": "contiguous"}.get(field, other)
    assert read_train_config(config.to_json() | {field: other}).identity() != config.identity()


def test_the_identity_does_not_depend_on_the_order_of_options():
    one = TrainConfig(steps=10, model_options={"width": 2, "depth": 1})
    two = TrainConfig(steps=10, model_options={"depth": 1, "width": 2})
    assert one.identity() == two.identity()


def test_a_configuration_goes_through_yaml_and_back(tmp_path):
    config = resolve_train_config("sagan-paper", overrides={"augment_d": ["cutout"]})
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config.to_json()))
    assert resolve_train_config("sagan-paper", file=file) == config


def test_progress_follows_whichever_of_steps_and_time_is_further():
    config = TrainConfig(steps=100, time_budget_sec=10.0)
    assert config.progress(50, 2.0) == 0.5
    assert config.progress(10, 7.5) == 0.75
    assert config.progress(500, 0.0) == 1.0
    assert TrainConfig(steps=100).progress(25, 1e9) == 0.25
    assert TrainConfig(time_budget_sec=10.0).progress(10**9, 1.0) == 0.1


RECORDED = {
    "dcgan-paper": "d916190a5e",
    "dcgan-quick": "6d7a2b396f",
    "diffusion-paper": "593f6d184e",
    "diffusion-quick": "89ca1966b6",
    "projected-paper": "eab18c85a2",
    "projected-quick": "38172e6259",
    "r3gan-paper": "fcefdd76fb",
    "r3gan-quick": "12f456af05",
    "sagan-paper": "40f49545aa",
    "sagan-quick": "f6dafb507c",
    "stylegan2-paper": "5a8b010043",
    "stylegan2-quick": "3c72d9f4aa",
}
"""Identities at 4e65e33, before options had new names: runs of then must resume."""
SINGLE = {"lr_floor": 0.1, "lr_floor_d": 1.0, "ada_target": 0.6, "ada_kimg": 20.0, "batch_size": 8, "ema_decay": 0.998}
PAPER = {"steps": 10, "snapshot_every": 2, "balanced": False, "augment_real": "flip", "offline_expansion": False}
EVERYTHING = {"loss": "nonsaturating", "latent_dim": 64, "r2_gamma": 1, "penalty_every": 4, "beta1": 0, "grad_clip": 1}
GROWING = {"lr_floor": 0.2, "model_options": {"picture_size": 64}, "grow_share": 0.75, "seed": 7}


@pytest.mark.parametrize("name", presets())
def test_a_preset_names_the_runs_that_it_always_named(name):
    assert resolve_train_config(name).identity() == RECORDED[name]


@pytest.mark.parametrize(
    ("preset", "overrides", "identity"),
    [
        (
            "projected-quick",
            {**SINGLE, "augment_d": ["colour", "translation"], "time_budget_sec": 1200.0},
            "bec0056a8e",
        ),
        ("projected-quick", {**GROWING, "init": "zoo:cytology3-64"}, "5c33ffda06"),
        (
            "projected-paper",
            {"lr_floor": 1, "lr_g": 1, "precision": "bf16-mixed", "layout": "contiguous"},
            "613c79145a",
        ),
        ("diffusion-paper", {"lr_g": 2e-4, "seed": 3}, "5db218b0c0"),
        ("diffusion-quick", {"model_options": {"base": 32}, "steps": 50}, "573fdc3686"),
        ("stylegan2-quick", {"r1_gamma": 0.2, "augment_d": [], "ada_target": 0}, "4955429bd8"),
        ("sagan-paper", {**PAPER, **EVERYTHING, "snapshot_images": 64}, "6036d2dd5f"),
    ],
)
def test_options_name_the_runs_that_they_always_named(preset, overrides, identity):
    config = resolve_train_config(preset, overrides=overrides)
    assert config.identity() == identity
    assert read_train_config(config.to_json()) == config


@pytest.mark.parametrize("layer", ["overrides", "file"])
def test_an_old_name_of_an_option_is_read(layer, tmp_path):
    values = {"lr_floor": 0.25, "lr_floor_d": 0.5}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    config = resolve_train_config("projected-paper", **{layer: file if layer == "file" else values})
    assert (config.lr_final_fraction, config.adversarial.lr_final_fraction_discriminator) == (0.25, 0.5)
    assert not {"lr_floor", "lr_floor_d"} & set(config.to_json())


def test_an_option_under_both_of_its_names_is_refused():
    with pytest.raises(OptionError, match="lr_final_fraction is given twice"):
        resolve_train_config("projected-quick", overrides={"lr_floor": 0.1, "lr_final_fraction": 0.2})


def test_what_an_earlier_version_stored_is_read():
    flat = TrainConfig(steps=3).to_json()
    fraction, of_discriminator = flat.pop("lr_final_fraction"), flat.pop("lr_final_fraction_discriminator")
    stored = flat | {"lr_floor": fraction, "lr_floor_d": of_discriminator}
    assert read_train_config(stored) == TrainConfig(steps=3)
    denoiser = read_train_config(stored | {"architecture": "diffusion", "augment_d": [], "lr_d": 1e-3})
    assert denoiser == TrainConfig("diffusion", steps=3, adversarial=None)


def test_what_is_stored_of_a_denoiser_holds_no_option_of_a_discriminator():
    config = resolve_train_config("diffusion-quick")
    assert config.adversarial is None
    assert config.to_json()["adversarial"] is None
    assert not {"lr_d", "augment_d", "loss"} & set(config.to_json())
    with pytest.raises(OptionError, match=r"ada_target acts on a discriminator, and 'diffusion' has none. Got: 0.6"):
        resolve_train_config("diffusion-quick", overrides={"ada_target": 0.6})


def test_a_refusal_names_the_bounds_that_stand_beside_the_option():
    with pytest.raises(OptionError, match="Allowed: 0 <= ema_decay < 1"):
        TrainConfig(steps=1, ema_decay=1.0)
    with pytest.raises(OptionError, match="Allowed: 0 <= lr_final_fraction_discriminator <= 1"):
        AdversarialConfig(lr_final_fraction_discriminator=2)
    with pytest.raises(OptionError, match="Allowed: 0 <= r1_gamma"):
        AdversarialConfig(r1_gamma=-1)
    with pytest.raises(UnknownNameError, match="did you mean 'batch_size'"):
        TrainConfig(steps=1, batchsize=4)
