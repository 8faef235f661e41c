"""Our distances against MONAI's on the same features; an independent implementation of the same papers."""

import numpy as np
import pytest
import torch

from synthbank.metrics import frechet_distance, kernel_distance, multi_scale_similarity

monai_metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed (extra 'dev')")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:monai")


def sets(n=60, m=75, d=12):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + 0.4


def test_frechet_distance_is_monais():
    real, fake = sets()
    theirs = monai_metrics.FIDMetric()(torch.from_numpy(fake), torch.from_numpy(real))
    assert frechet_distance(real=real, fake=fake) == pytest.approx(float(theirs), rel=1e-6)


def test_kernel_distance_is_monais_in_the_cubic_kernels_own_features():
    """MONAI's MMD has a linear kernel; (x.y / D + 1)^3 is linear in all products of three of (x / sqrt(D), 1)."""
    real, fake = sets(40, 40, 5)

    def cubic(x):
        z = np.concatenate([x / np.sqrt(x.shape[1]), np.ones((len(x), 1))], axis=1)
        return torch.from_numpy(np.einsum("ni,nj,nk->nijk", z, z, z).reshape(len(x), -1))

    theirs = monai_metrics.MMDMetric()(cubic(real), cubic(fake))
    assert kernel_distance(real=real, fake=fake) == pytest.approx(float(theirs), rel=1e-9)


def test_structural_similarity_of_one_scale_is_monais():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (3, 1, 16, 16), dtype=np.uint8)
    y = np.clip(x + rng.normal(0, 20, x.shape), 0, 255).astype(np.uint8)
    metric = monai_metrics.SSIMMetric(spatial_dims=2, data_range=255.0, win_size=11, kernel_sigma=1.5)
    theirs = metric(torch.from_numpy(x).double(), torch.from_numpy(y).double()).numpy().ravel()
    np.testing.assert_allclose(multi_scale_similarity(x, y), np.maximum(theirs, 0.0), atol=1e-4)
