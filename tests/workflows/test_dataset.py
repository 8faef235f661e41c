"""A job's images and originals as a torch data set."""

import pickle

import numpy as np
import torch
from torch.utils.data import DataLoader

from synthbank.records import Split
from synthbank.settings import Settings
from synthbank.storage import decode_png
from synthbank.workflows.bank import open_bank
from synthbank.workflows.data.datasets import load_split
from synthbank.workflows.delivery.dataset import job_dataset


def newest(bank):
    from synthbank.catalogue import queries

    with bank.catalogue.session() as session:
        job = queries.list_jobs(limit=1, session=session)[0]
        model = queries.get_model(job.model_id, session=session)
        return job, queries.get_dataset_by_id(model.dataset_id, session=session)


def test_parts_hold_what_they_say_with_the_same_labels(home):
    with open_bank(Settings(home=home), create=False) as bank:
        job, dataset = newest(bank)
        synthetic, train, mixed = (job_dataset(bank, job.id, part=part) for part in ("synthetic", "train", "mixed"))
        originals = load_split(bank, dataset, Split.TRAIN).images
    assert len(synthetic) == job.n_accepted
    assert len(mixed) == len(train) + len(synthetic)
    assert mixed.targets == train.targets + synthetic.targets
    assert train.targets == originals.labels.tolist()
    assert synthetic.classes == train.classes == dataset.class_names
    assert synthetic.class_to_idx == {name: i for i, name in enumerate(dataset.class_names)}
    image, label = train[3]
    assert np.array_equal(image.numpy(), originals.images[3])
    assert (image.dtype, label) == (torch.uint8, originals.labels[3])


def test_items_go_through_the_transform_and_a_loader_with_workers(home):
    with open_bank(Settings(home=home), create=False) as bank:
        job, _ = newest(bank)
        dataset = job_dataset(bank, job.id, transform=_halve)
        raw = job_dataset(bank, job.id)
    assert torch.equal(dataset[0][0], raw[0][0].float() / 2)
    batches = list(DataLoader(dataset, batch_size=5, num_workers=1))
    assert sum(len(labels) for _, labels in batches) == len(dataset)
    assert torch.equal(batches[0][0][1], dataset[1][0])


def _halve(image):
    return image.float() / 2


def test_a_data_set_can_be_sent_to_another_process(home):
    with open_bank(Settings(home=home), create=False) as bank:
        job, _ = newest(bank)
        dataset = job_dataset(bank, job.id)
    again = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    assert torch.equal(again[2][0], dataset[2][0])
    assert decode_png(again._store.get(again._keys[2])).shape == tuple(dataset[2][0].shape)
