"""Accepted synthetic images as a torch data set, streamed from a bank's folder or from a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthbank.client.http import Client
from synthbank.errors import OptionError
from synthbank.fingerprint import stable_seed
from synthbank.storage import decode_png

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import IterableDataset

Labelled = tuple[NDArray[np.uint8], int]
Fetch = Callable[[], bytes]
"""Reads the PNG of one image, when it is called."""


def as_torch_dataset(
    source: Client | str | Path,
    *,
    model: str | None = None,
    job: str | None = None,
    class_names: Sequence[str] | None = None,
    shuffle: int = 0,
    seed: int = 0,
) -> IterableDataset[tuple[Tensor, int]]:
    """A `torch.utils.data.IterableDataset` of (image, label): uint8 `[C, H, W]`, and the index of its class.

    Images are fetched while they are iterated, never all at once; the workers of a `DataLoader` share them out.

    Args:
        source: a client of a service, or the folder of a bank.
        model: accepted images of this model.
        job: accepted images of this job; either this or `model`.
        class_names: label order, and which classes; `None`: those of the model.
        shuffle: size of the buffer from which images are drawn at random; 0: class by class, in order of their ids.
        seed: of the order; every pass over the data set has another order.
    """
    from torch import Tensor, from_numpy
    from torch.utils.data import IterableDataset, get_worker_info

    if (model is None) == (job is None):
        raise OptionError("A data set is of one model or of one job", got=[model, job], allowed="exactly one")
    if shuffle < 0:
        raise OptionError("The shuffle buffer is a number of images", got=shuffle, allowed="0 or more")

    class SyntheticImages(IterableDataset[tuple[Tensor, int]]):
        """Accepted images, streamed."""

        def __init__(self) -> None:
            self.class_names = tuple(class_names) if class_names is not None else _class_names(source, model, job)
            self._passes = 0

        def __iter__(self) -> Iterator[tuple[Tensor, int]]:
            worker = get_worker_info()
            part, parts = (0, 1) if worker is None else (worker.id, worker.num_workers)
            stream = _stream(source, model, job, self.class_names, part, parts)
            self._passes += 1
            rng = np.random.default_rng(stable_seed(seed, self._passes, part))
            for pixels, label in _shuffled(stream, shuffle, rng):
                yield from_numpy(pixels), label

    return SyntheticImages()


def _stream(
    source: Client | str | Path, model: str | None, job: str | None, names: Sequence[str], part: int, parts: int
) -> Iterator[Labelled]:
    """Every `parts`-th image, beginning with number `part`."""
    number = 0
    for label, name in enumerate(names):
        for fetch in _files(source, model, job, name):
            if number % parts == part:
                yield decode_png(fetch()), label
            number += 1


def _files(source: Client | str | Path, model: str | None, job: str | None, class_name: str) -> Iterator[Fetch]:
    """Functions that fetch the accepted images of a class, in order."""
    if isinstance(source, Client):
        return _from_service(source, model, job, class_name)
    return _from_bank(source, model, job, class_name)


def _from_service(client: Client, model: str | None, job: str | None, class_name: str) -> Iterator[Fetch]:
    for image in client.images(model=model, job=job, class_name=class_name, verdict="accepted", order="id", limit=500):
        yield partial(client.png, image)


def _from_bank(home: str | Path, model: str | None, job: str | None, class_name: str) -> Iterator[Fetch]:
    from synthbank.catalogue import queries
    from synthbank.settings import Settings
    from synthbank.workflows.bank import open_bank

    with open_bank(Settings(home=Path(home)), create=False) as bank, bank.catalogue.session(read_only=True) as session:
        rows = queries.accepted_images(model_id=model, job_id=job, class_name=class_name, session=session)
        for row in rows:
            yield partial(bank.store.get, row.key)


def _class_names(source: Client | str | Path, model: str | None, job: str | None) -> tuple[str, ...]:
    if isinstance(source, Client):
        name = model or source.job(str(job))["model"]
        return tuple(next(m["classes"] for m in source.models() if m["name"] == name))
    from synthbank.catalogue import queries
    from synthbank.settings import Settings
    from synthbank.workflows.bank import open_bank

    with open_bank(Settings(home=Path(source)), create=False) as bank, bank.catalogue.session() as session:
        name = model or queries.get_job(str(job), session=session).model_id
        return queries.get_model(name, session=session).class_names


def _shuffled(stream: Iterator[Labelled], size: int, rng: np.random.Generator) -> Iterator[Labelled]:
    """A buffer of `size` items from which each next one is drawn at random."""
    held: list[Labelled] = []
    for item in stream:
        if len(held) < size:
            held.append(item)
            continue
        if not size:
            yield item
            continue
        place = int(rng.integers(size))
        item, held[place] = held[place], item
        yield item
    yield from (held[place] for place in rng.permutation(len(held)))
