"""The client: a service from Python, and synthetic images as a torch data set. Loads torch only for a data set."""

from synthbank.client.calls import Generated, RemoteImage
from synthbank.client.dataset import as_torch_dataset
from synthbank.client.http import AsyncClient, Client
from synthbank.client.records import ImageRecord, JobRecord, ModelRecord

__all__ = [
    "AsyncClient",
    "Client",
    "Generated",
    "ImageRecord",
    "JobRecord",
    "ModelRecord",
    "RemoteImage",
    "as_torch_dataset",
]
