import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import synthbank.metrics as room

MODULES = sorted(m.name for m in pkgutil.walk_packages(room.__path__, f"{room.__name__}.") if not m.ispkg)


def examples_of(name):
    found = doctest.DocTestFinder().find(importlib.import_module(name), extraglobs={"np": np})
    return [example for example in found if example.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_give_what_they_show(name):
    runner = doctest.DocTestRunner(verbose=False)
    for example in examples_of(name):
        assert runner.run(example).failed == 0, example.name


def test_there_are_examples_of_the_public_functions():
    names = {example.name.rpartition(".")[2] for module in MODULES for example in examples_of(module)}
    assert {"frechet_distance", "kernel_distance", "inception_score", "vendi_score", "wilson_interval"} <= names
