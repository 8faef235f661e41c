"""Frozen feature networks: images in, vectors or feature maps out, never trained."""

from synthbank.models.features.base import (
    FeatureNetwork,
    FeatureNetworkSpec,
    batched,
    feature_networks,
    load_feature_network,
)
from synthbank.models.features.encoder import UserEncoder, load_encoder

__all__ = [
    "FeatureNetwork",
    "FeatureNetworkSpec",
    "UserEncoder",
    "batched",
    "feature_networks",
    "load_encoder",
    "load_feature_network",
]
