"""The client: a service from Python, and synthetic images as a torch data set. Loads no torch before it is asked to."""

from synthbank.client.calls import Generated, RemoteImage
from synthbank.client.dataset import as_torch_dataset
from synthbank.client.http import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "Generated", "RemoteImage", "as_torch_dataset"]
