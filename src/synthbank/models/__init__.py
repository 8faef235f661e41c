"""Networks: architectures (one file per paper), frozen feature networks, blocks and weights files."""

import synthbank.models.architectures  # noqa: F401 (first: loaded later, the package would hide its registry)
from synthbank.models.base import (
    AdversarialArchitecture,
    Architecture,
    ArchitectureSpec,
    Denoiser,
    Discriminator,
    Generator,
    ModelSpec,
    adversarial_architecture,
    architectures,
    channels_last,
    count_parameters,
    networks_inside,
)
from synthbank.models.blocks import smooth_up
from synthbank.models.draws import SharedRng, integers, normal, uniform
from synthbank.models.features import (
    FeatureNetwork,
    FeatureNetworkSpec,
    UserEncoder,
    batched,
    feature_networks,
    load_encoder,
    load_feature_network,
)
from synthbank.models.features.space import SCORING_NETWORK, scoring_size
from synthbank.models.fuse import fused_state, load_fused
from synthbank.models.latents import Latents, draw_latents, to_uint8
from synthbank.models.symmetry import SYMMETRIES, draw_codes, turn
from synthbank.models.transfer import WeightTransfer, transfer_weights
from synthbank.models.weights import load_tensors, read_header, read_legacy_keys, save_tensors, state_fingerprint

__all__ = [
    "SCORING_NETWORK",
    "SYMMETRIES",
    "AdversarialArchitecture",
    "Architecture",
    "ArchitectureSpec",
    "Denoiser",
    "Discriminator",
    "FeatureNetwork",
    "FeatureNetworkSpec",
    "Generator",
    "Latents",
    "ModelSpec",
    "SharedRng",
    "UserEncoder",
    "WeightTransfer",
    "adversarial_architecture",
    "architectures",
    "batched",
    "channels_last",
    "count_parameters",
    "draw_codes",
    "draw_latents",
    "feature_networks",
    "fused_state",
    "integers",
    "load_encoder",
    "load_feature_network",
    "load_fused",
    "load_tensors",
    "networks_inside",
    "normal",
    "read_header",
    "read_legacy_keys",
    "save_tensors",
    "scoring_size",
    "smooth_up",
    "state_fingerprint",
    "to_uint8",
    "transfer_weights",
    "turn",
    "uniform",
]
