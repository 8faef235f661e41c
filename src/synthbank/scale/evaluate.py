"""Evaluation on a cluster: workers compute features, this process everything that follows from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbank import __version__
from synthbank.models import FeatureNetwork, feature_networks, load_feature_network
from synthbank.records import UInt8Images
from synthbank.scale.cluster import check_version, cluster, task, width
from synthbank.workflows.bank import Bank
from synthbank.workflows.evaluation.evaluate import EvaluateReport
from synthbank.workflows.evaluation.evaluate import evaluate as evaluate_here
from synthbank.workflows.evaluation.requests import EvaluateRequest
from synthbank.workflows.features import Backend, embed_batches

_AHEAD = 2


def evaluate(
    bank: Bank, request: EvaluateRequest, *, on: str, on_stage: Callable[[str], None] = lambda text: None
) -> EvaluateReport:
    """`workflows.evaluation.evaluate.evaluate` with features from a Ray cluster: the same scores.

    A user's own encoder, which is a file of this machine, is computed here.

    Args:
        bank: images travel from here to the workers, which need no access to it.
        request: the job and the choices.
        on: `ray` or `ray:ADDRESS`.
        on_stage: called with the name of each step as it begins.
    """
    with cluster(on, storage_url=None) as ray:
        return evaluate_here(bank, request, on_stage=on_stage, backend=backend(ray))


def backend(ray: Any) -> Backend:
    """The features of registered networks, computed on the cluster some batches ahead; others are computed here."""
    remote, ahead = task(ray, embed), _AHEAD * width(ray)

    def compute(
        network: FeatureNetwork, batches: Iterable[UInt8Images], input_size: int
    ) -> Iterator[NDArray[np.float32]]:
        if network.name not in feature_networks:
            return embed_batches(network, batches, input_size)
        return _in_order(
            ray, lambda batch: remote(__version__, network.name, network.fingerprint, batch, input_size), batches, ahead
        )

    return compute


def embed(version: str, network: str, fingerprint: str, batch: UInt8Images, input_size: int) -> NDArray[np.float32]:
    """On a worker: features of one batch."""
    check_version(version)
    loaded = load_feature_network(network)
    assert loaded.fingerprint == fingerprint, f"other weights of {network} on this worker"
    return next(embed_batches(loaded, [batch], input_size))


def _in_order(
    ray: Any, send: Callable[[UInt8Images], Any], batches: Iterable[UInt8Images], ahead: int
) -> Iterator[NDArray[np.float32]]:
    sent: deque[Any] = deque()
    for batch in batches:
        sent.append(send(batch))
        if len(sent) >= ahead:
            yield ray.get(sent.popleft())
    while sent:
        yield ray.get(sent.popleft())
