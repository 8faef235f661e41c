"""The part of a worker of the cluster: it draws, screens and stores a shard of a job's images, without a catalogue."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from synthbank.catalogue import ModelRow
from synthbank.scale.cluster import check_version
from synthbank.storage import ObjectStore
from synthbank.workflows.generation.plan import ClassTarget, Shard, next_slice
from synthbank.workflows.generation.producer import ImageRules, StageTimer, StoredImages, produce
from synthbank.workflows.models.load import LoadedModel, read_model


@dataclass(frozen=True)
class ShardContext:
    """Everything that the shards of a job have in common."""

    version: str
    """Of this package, where the job is driven from."""
    storage_url: str
    model: ModelRow
    rules: ImageRules
    device: str


ShardResult = StoredImages
"""A shard whose files are stored."""

_loaded: dict[tuple[str, ...], LoadedModel] = {}  # the model of the last shard: a worker mostly makes one job's


def make(context: ShardContext, shard: Shard) -> ShardResult:
    """Draw, screen and store a shard; done twice, it stores the same bytes under the same keys."""
    check_version(context.version)
    model, rules = _model(context), context.rules
    store = ObjectStore(context.storage_url)
    # to the worker its shard is a whole class target: it ends with its last number, or with `most` accepted images
    target = ClassTarget(
        rules.job_id,
        shard.class_index,
        model.row.class_names[shard.class_index],
        next_index=shard.first,
        accepted=0,
        wanted=shard.most,
        cap=shard.end,
        screened=rules.screened,
    )
    parts = []
    with ThreadPoolExecutor(store.writers, thread_name_prefix="png") as pool:
        while target.missing:
            slices = [next_slice(target, block=model.sampler.block)]
            for _, stored in produce(model, slices, {rules.job_id: rules}, store=store, pool=pool, timer=StageTimer()):
                target.advance(len(stored.written), accepted=stored.n_accepted)
                parts.append(stored)
    return StoredImages.joined(parts)


def _model(context: ShardContext) -> LoadedModel:
    key = (context.storage_url, context.model.id, context.model.sha256, context.device)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = read_model(ObjectStore(context.storage_url), context.model, device=context.device)
    return _loaded[key]
