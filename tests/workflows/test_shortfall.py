"""Runs that saw too few images say so, with the command that resumes them."""

import shlex

import pytest

from synthbank.config import resolve_train_config
from synthbank.records import ModelCard, Shortfall
from synthbank.workflows.training.configure import configure
from synthbank.workflows.training.requests import TrainRequest
from synthbank.workflows.training.run import prepare_run
from synthbank.workflows.training.shortfall import find_shortfall, good_images

from .conftest import DATASET, MODEL


def shortfall(*, images_seen, elapsed_sec=240.0, size=64, preset="projected-quick", per_class=False, **overrides):
    config = resolve_train_config(preset, overrides=overrides)
    return find_shortfall(config, "cells", size, per_class=per_class, images_seen=images_seen, elapsed_sec=elapsed_sec)


def test_a_run_that_saw_enough_images_says_nothing():
    assert shortfall(images_seen=good_images(64) // 4) is None
    assert shortfall(images_seen=good_images(128) // 4, size=128) is None


def test_too_few_images_are_said_with_the_number_that_was_good():
    short = shortfall(images_seen=320)
    assert (short.images_seen, short.good_images) == (320, 50_000)
    assert "saw 320 images; good sets of this size had seen about 50,000" in short.sentence
    assert short.sentence.endswith(short.command)
    assert shortfall(images_seen=320, size=256).good_images == good_images(128)


def test_the_command_asks_for_the_time_that_so_many_images_take():
    words = shlex.split(shortfall(images_seen=5_000, elapsed_sec=300.0).command)
    assert words[words.index("--time-budget") + 1] == "3000s"
    assert shortfall(images_seen=0).command


def test_the_command_asks_for_the_steps_of_so_many_images():
    words = shlex.split(shortfall(images_seen=100, preset="sagan-paper", batch_size=8).command)
    assert words[words.index("--steps") + 1] == "6250"
    assert "--time-budget" not in words


def test_a_model_of_one_class_asks_for_all_of_them():
    assert "--per-class" in shortfall(images_seen=0, per_class=True).command


@pytest.mark.parametrize(
    "request_",
    [
        TrainRequest(DATASET, preset="quick", seed=4, time_budget_sec=1.0, init="none"),
        TrainRequest(DATASET, overrides={"init": "none", "lr_g": 5e-4, "batch_size": 8, "augment_d": ["cutout"]}),
        TrainRequest(DATASET, architecture="diffusion", preset="paper", steps=3),
        TrainRequest(DATASET, architecture="stylegan2", overrides={"model_options": {"base": 8}}),
    ],
    ids=["quick", "auto", "denoiser", "own networks"],
)
def test_the_command_resumes_the_run(trained, request_):
    run = prepare_run(trained, DATASET, configure(trained, request_).config)
    words = shlex.split(run.shortfall(10, 60.0).command)
    assert words[:3] == ["synthbank", "train", DATASET]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    again = TrainRequest(
        DATASET,
        architecture=options["--model"],
        preset=options["--preset"],
        seed=int(options["--seed"]),
        time_budget_sec=1.0,
        overrides=_assigned(words),
    )
    assert prepare_run(trained, DATASET, configure(trained, again).config).id == run.id


def _assigned(words):
    from synthbank.cli.train import parse_assignments

    return parse_assignments([words[i + 1] for i, word in enumerate(words) if word == "--set"])


def test_a_short_run_says_so_in_its_card(trained):
    with trained.catalogue.session() as session:
        from synthbank.catalogue import queries

        card = ModelCard.from_json(queries.get_model(MODEL, session=session).card)
    assert card.shortfall == Shortfall(32, 50_000, card.shortfall.command)
    assert ModelCard.from_json(card.to_json()) == card
