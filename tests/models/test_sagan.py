"""What is particular to `sagan`: self-attention in both networks."""

import pytest

from synthbank.models import ModelSpec, architectures
from synthbank.models.blocks import SelfAttention


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_each_network_looks_once_at_all_places_together(role, size):
    network = getattr(architectures.get("sagan"), role)(ModelSpec("sagan", size, 3, ("a", "b"), options={"base": 4}))
    assert sum(isinstance(module, SelfAttention) for module in network.modules()) == 1
