"""Frozen feature networks: images in, vectors or feature maps out, never trained."""

from synthbank.models.features.base import FeatureNetwork, batched, feature_networks, load_feature_network

__all__ = ["FeatureNetwork", "batched", "feature_networks", "load_feature_network"]
