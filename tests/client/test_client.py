"""The Python client against a real server, and synthetic images as a torch data set."""

import asyncio
import subprocess
import sys
from datetime import datetime
from typing import get_args

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import synthbank
from synthbank import errors
from synthbank.client import ImageRecord, JobRecord, ModelRecord, calls
from synthbank.client.calls import GenerateOptions
from synthbank.client.records import JobState, VerdictName
from synthbank.records import JobStatus, Verdict
from synthbank.service.schemas.bank import ModelOut
from synthbank.service.schemas.images import ImageOut
from synthbank.service.schemas.jobs import GenerateBody, JobOut
from synthbank.storage import decode_png

from ..service.conftest import CLASSES, MODEL


@pytest.fixture
def remote(client):
    with synthbank.Client(str(client.base_url)) as found:
        yield found


def test_images_arrive_as_pixels(remote):
    assert [model["name"] for model in remote.models()] == [MODEL]
    made = remote.generate(MODEL, class_name=CLASSES[0], count=3, seed=300)
    assert made.pixels().shape == (3, 3, 32, 32)
    assert made.pixels().dtype == np.uint8
    again = remote.generate(MODEL, class_name=CLASSES[0], count=3, seed=300)
    assert (made.pixels() == again.pixels()).all()
    assert (decode_png(remote.png(made.images[0])) == made.pixels()[0]).all()
    assert made.images[0].facts["verdict"] == "accepted"


def test_a_large_request_is_followed_to_its_end(remote):
    made = remote.generate(MODEL, class_name=CLASSES[1], count=40, seed=301)
    assert made.job["status"] == "done"
    assert made.pixels().shape == (40, 3, 32, 32)
    job = remote.submit(MODEL, count=2, seed=302)
    assert remote.wait(job["id"])["accepted"] == 4
    assert remote.cancel(job["id"])["status"] == "done"


def test_images_come_page_by_page(remote):
    found = list(remote.images(limit=7, verdict="accepted", class_name=CLASSES[0]))
    assert len(found) > 7
    assert len({image.id for image in found}) == len(found)
    assert {image.class_name for image in found} == {CLASSES[0]}
    with pytest.raises(errors.StateError, match=r"client\.png"):
        found[0].pixels()
    gone = remote.withdraw(found[-1].id, reason="odd")
    assert gone.facts["verdict"] == "withdrawn"
    with pytest.raises(errors.StateError, match="withdrawn"):
        remote.png(found[-1])


def test_problems_are_the_same_errors_as_at_home(remote):
    with pytest.raises(errors.OptionError, match="did you mean 'small'"):
        remote.generate("smal")
    with pytest.raises(errors.OptionError, match="count"):
        remote.generate(MODEL, count=0)
    with (
        pytest.raises(errors.SetupError, match="synthbank serve"),
        synthbank.Client("http://127.0.0.1:9") as no,
    ):
        no.models()
    assert isinstance(calls.problem(500, None), errors.SetupError)
    assert isinstance(calls.problem(429, {"error": {"type": "BusyError", "what": "full"}}), errors.BusyError)
    assert isinstance(calls.problem(401, {"error": {"type": "print", "what": "x"}}), errors.OptionError)


def test_records_of_the_client_have_the_fields_of_the_api():
    images = set(ImageOut.model_json_schema(mode="serialization")["properties"])
    assert set(ImageRecord.__annotations__) == images - {"png"}  # which becomes `RemoteImage.png`
    assert set(JobRecord.__annotations__) == set(JobOut.model_fields)
    assert set(ModelRecord.__annotations__) == set(ModelOut.model_fields)
    assert set(get_args(JobState)) == {status.value for status in JobStatus}
    assert set(get_args(VerdictName)) == {verdict.value for verdict in Verdict}


def test_options_of_the_client_are_those_of_the_api():
    body = GenerateOptions(MODEL, CLASSES[0], 3, 7, 0.5, 8).to_json()
    assert set(GenerateBody(**body).model_dump(by_alias=True)) - {"format"} == set(body)
    with synthbank.Client("http://127.0.0.1:9") as remote, pytest.raises(TypeError, match="cout"):
        remote.generate(MODEL, cout=3)


def test_images_are_filtered_by_time(remote):
    newest = next(remote.images(limit=1))
    made = datetime.fromisoformat(newest.facts["created_at"])
    assert newest.id in {image.id for image in remote.images(since=made)}
    assert newest.id not in {image.id for image in remote.images(until=made)}


def test_a_busy_service_is_asked_again(remote, monkeypatch):
    import httpx

    answers = [429, 429, 200]
    transport = httpx.MockTransport(
        lambda request: httpx.Response(answers.pop(0), headers={"Retry-After": "0"}, json=[{"name": "m"}])
    )
    with synthbank.Client(transport=transport) as patient:
        assert patient.models() == [{"name": "m"}]
    full = httpx.MockTransport(
        lambda request: httpx.Response(429, json={"error": {"type": "BusyError", "what": "full"}})
    )
    with synthbank.Client(transport=full, patience_sec=0) as hasty, pytest.raises(errors.BusyError, match="full"):
        hasty.models()


def test_the_asynchronous_client_makes_many_at_once(client):
    async def many():
        async with synthbank.AsyncClient(str(client.base_url)) as remote:
            made = await asyncio.gather(
                *(remote.generate(MODEL, class_name=CLASSES[0], count=1, seed=310 + n) for n in range(6))
            )
            large = await remote.generate(MODEL, class_name=CLASSES[0], count=20, seed=310)
            assert (await remote.job(large.job["id"]))["status"] == "done"
            assert (await remote.models())[0]["name"] == MODEL
            job = await remote.submit(MODEL, count=1, seed=330)
            await remote.wait(job["id"])
            await remote.cancel(job["id"])
            with pytest.raises(errors.SynthBankError):
                await remote.withdraw("none", reason="x")
            return made, large

    made, large = asyncio.run(many())
    assert len({one.images[0].id for one in made}) == 6
    assert (made[0].pixels()[0] == large.pixels()[0]).all()


def everything(dataset, **options):
    batches = list(DataLoader(dataset, batch_size=4, **options))
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def test_a_bank_and_a_server_give_the_same_data_set(remote, client):
    home = client.app.state.service.settings.home
    job = remote.submit(MODEL, count=9, seed=320)
    remote.wait(job["id"])
    here = synthbank.as_torch_dataset(home, job=job["id"])
    there = synthbank.as_torch_dataset(remote, job=job["id"])
    assert here.class_names == there.class_names == CLASSES
    (a, labels), (b, other) = everything(here), everything(there)
    assert a.shape == (18, 3, 32, 32)
    assert a.dtype == torch.uint8
    assert torch.equal(a, b)
    assert torch.equal(labels, other)
    assert labels.tolist() == [0] * 9 + [1] * 9


def test_shuffling_keeps_every_image_and_follows_the_seed(client):
    home = client.app.state.service.settings.home

    def order(seed):
        dataset = synthbank.as_torch_dataset(home, model=MODEL, shuffle=6, seed=seed)
        return [[image.numpy().tobytes() for image, _ in dataset] for _ in range(2)]

    first, second = order(1)
    assert sorted(first) == sorted(second)
    assert first != second
    assert order(1) == [first, second]
    assert order(2)[0] != first


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on machines with one core
def test_workers_share_the_images_out(client):
    home = client.app.state.service.settings.home
    dataset = synthbank.as_torch_dataset(home, model=MODEL, class_names=[CLASSES[1]])
    alone, _ = everything(dataset)
    shared, labels = everything(dataset, num_workers=2)
    assert sorted(map(bytes, alone.numpy())) == sorted(map(bytes, shared.numpy()))
    assert set(labels.tolist()) == {0}


def test_odd_data_sets_are_refused(remote):
    for wrong in ({}, {"model": MODEL, "job": "x"}, {"model": MODEL, "shuffle": -1}):
        with pytest.raises(errors.OptionError):
            synthbank.as_torch_dataset(remote, **wrong)


def test_importing_the_package_loads_neither_torch_nor_httpx():
    code = (
        "import sys, synthbank; print({'torch', 'httpx'} & set(sys.modules)); "
        "synthbank.Client; print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["set()", "False"]
