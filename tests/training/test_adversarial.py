"""How reals and fakes are judged."""

from dataclasses import replace

import torch

from .test_loop import CONFIG, Run, fabric  # noqa: F401


def _first_logit_of_reals(run, scale):
    with torch.no_grad():
        run.trainer.generator.module.to_pixels.bias.fill_(scale)
    return run.trainer.step(0, progress=0.0)["logit_real"]


def test_judged_apart_reals_do_not_feel_the_fakes(tmp_path, fabric):  # noqa: F811
    found = {}
    for apart in (True, False):
        config = replace(CONFIG, judge_apart=apart)
        found[apart] = [_first_logit_of_reals(Run(tmp_path, fabric, config), scale) for scale in (-3.0, 3.0)]
    assert torch.equal(*found[True])
    assert not torch.allclose(*found[False])
