"""What is particular to `diffusion`: groups of channels that are normalised together."""

from synthbank.models.architectures.diffusion import _norm


def test_groups_divide_the_channels_and_hold_eight_of_them_where_that_goes():
    for channels in range(1, 300):
        groups = _norm(channels).num_groups
        assert channels % groups == 0
        if channels % max(channels // 8, 1) == 0:
            assert groups == max(channels // 8, 1)
