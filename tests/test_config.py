"""Configuration: what wins over what, what is refused and how, and which runs count as the same one."""

import dataclasses

import pytest
import yaml

from synthbank.config import TrainConfig, load_preset, presets, resolve_train_config
from synthbank.errors import OptionError, UnknownNameError
from synthbank.models import architectures


@pytest.mark.parametrize("name", presets())
def test_every_preset_resolves_and_names_a_known_architecture(name):
    config = resolve_train_config(name)
    assert config.preset == name
    assert config.architecture in architectures
    assert config.architecture == name.rsplit("-", 1)[0]
    for key, value in load_preset(name).items():
        got = getattr(config, key)
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
        ({"lr_floor": 1.5}, "lr_floor is out of range"),
        ({"lr_floor_d": -0.5}, "lr_floor_d is out of range"),
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
    "field", [f.name for f in dataclasses.fields(TrainConfig) if f.name not in ("steps", "time_budget_sec", "preset")]
)
def test_the_identity_depends_on_every_other_choice(field):
    config = TrainConfig(steps=10)
    value = getattr(config, field)
    other = (not value) if isinstance(value, bool) else _OTHER[type(value)]
    other = {"augment_real": "flip", "precision": "bf16-mixed", "layout": "contiguous"}.get(field, other)
    assert dataclasses.replace(config, **{field: other}).identity() != config.identity()


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
