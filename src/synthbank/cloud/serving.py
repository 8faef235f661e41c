"""A model on an endpoint: upload, endpoint, deployment, predictions, and the deletion of all of it.

Every resource has an id made of the model's name, so that each request can be written down before the first is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from synthbank.cloud.jobs import Machine, container_env
from synthbank.cloud.request import JsonObject, Request, vertex_url
from synthbank.cloud.settings import CloudSettings
from synthbank.errors import OptionError
from synthbank.fingerprint import bytes_sha256

SERVING = Machine("n1-standard-4", None)
PREDICT_ROUTE, HEALTH_ROUTE, PORT = "/predict", "/vertex/health", 8080
_DEPLOYED = "1"
_LONGEST_ID = 63


def resource_id(settings: CloudSettings, model: str) -> str:
    """Id of a model and of its endpoint: lower-case letters, digits and hyphens.

    A name with other characters gets a short hash at its end.

    Raises:
        OptionError: the name is too long.
    """
    whole = f"{settings.prefix}-{model}"
    plain = re.sub(r"[^a-z0-9-]", "-", whole)
    # a hash keeps two names apart that have become the same text by the replacement
    is_unique = plain == whole and not whole.endswith("-") and "-" not in settings.prefix
    mark = "" if is_unique else f"-{bytes_sha256(f'{settings.prefix}/{model}'.encode())[:6]}"
    text = f"sb-{plain}{mark}"
    if len(text) > _LONGEST_ID:
        raise OptionError(
            "The model's name is too long for Vertex AI",
            got=text,
            allowed=f"{_LONGEST_ID} characters with the bank's prefix",
            next_step="publish it under a shorter name: synthbank models push, then pull --name",
        )
    return text


def deploy_requests(
    settings: CloudSettings, model: str, *, machine: Machine = SERVING, replicas: int = 1, most_replicas: int = 1
) -> list[Request]:
    """Upload of the model with its container, an endpoint, and the deployment on it.

    Args:
        settings: of the project.
        model: a published model of the bank.
        machine: of each replica.
        replicas: number of machines that always run; Vertex AI bills each by the hour, used or not.
        most_replicas: number of machines at most, under load.
    """
    if not 1 <= replicas <= most_replicas:
        raise OptionError(
            "Replicas are counted from 1", got=f"{replicas} to {most_replicas}", allowed="1 <= least <= most"
        )
    identity = resource_id(settings, model)
    upload = {"modelId": identity, "model": _model(settings, model, machine.device)}
    endpoint = {"displayName": f"synthbank-{model}"[:128], "labels": settings.labels_of("endpoint", model)}
    deployment = {
        "deployedModel": {
            "id": _DEPLOYED,
            "model": f"{settings.parent}/models/{identity}",
            "displayName": f"synthbank-{model}"[:128],
            "serviceAccount": settings.account_email,
            "dedicatedResources": {
                "machineSpec": machine.to_json(),
                "minReplicaCount": replicas,
                "maxReplicaCount": most_replicas,
            },
        },
        "trafficSplit": {"0": 100},  # "0" is the model of this request
    }
    return [
        Request(
            "POST",
            vertex_url(settings, "models:upload"),
            upload,
            "UploadModelRequest",
            waits=True,
            repeatable="exists",
        ),
        Request(
            "POST",
            vertex_url(settings, "endpoints"),
            endpoint,
            "Endpoint",
            query={"endpointId": identity},
            waits=True,
            repeatable="exists",
        ),
        Request(
            "POST",
            vertex_url(settings, f"endpoints/{identity}:deployModel"),
            deployment,
            "DeployModelRequest",
            waits=True,
        ),
    ]


def predict_request(
    settings: CloudSettings,
    model: str,
    *,
    class_name: str | None,
    count: int,
    seed: int | None,
    truncation: float | None,
) -> Request:
    """One prediction. A bank holds several models, so the request names its model."""
    instance = {"class": class_name, "count": count, "seed": seed, "truncation": truncation}
    body = {
        "instances": [{name: value for name, value in instance.items() if value is not None}],
        "parameters": {"model": model},
    }
    return Request(
        "POST", vertex_url(settings, f"endpoints/{resource_id(settings, model)}:predict"), body, "PredictRequest"
    )


def undeploy_requests(settings: CloudSettings, model: str) -> list[Request]:
    """Deletion of the deployment, the endpoint and the model in the registry; the bank keeps its model and images."""
    identity = resource_id(settings, model)
    address = vertex_url(settings, f"endpoints/{identity}")
    return [
        Request(
            "POST",
            f"{address}:undeployModel",
            {"deployedModelId": _DEPLOYED},
            "UndeployModelRequest",
            waits=True,
            repeatable="missing",
        ),
        Request("DELETE", address, waits=True, repeatable="missing"),
        Request("DELETE", vertex_url(settings, f"models/{identity}"), waits=True, repeatable="missing"),
    ]


def status_requests(settings: CloudSettings) -> dict[str, Request]:
    """Lists of the jobs, models and endpoints of this bank, by its label."""
    query = {"filter": f'labels.synthbank="{settings.prefix}"', "pageSize": "100"}
    kinds = ("customJobs", "models", "endpoints")
    return {kind: Request("GET", vertex_url(settings, kind), query=query) for kind in kinds}


def images_of(answer: Mapping[str, Any]) -> list[JsonObject]:
    """The images of a prediction.

    Raises:
        OptionError: the answer does not come from a SynthBank container.
    """
    try:
        return [image for prediction in answer["predictions"] for image in prediction["images"]]
    except (KeyError, TypeError):
        raise OptionError(
            "The endpoint does not answer as SynthBank does",
            got=json.dumps(answer)[:200],
            next_step="synthbank cloud status",
        ) from None


def _model(settings: CloudSettings, model: str, device: str) -> JsonObject:
    return {
        "displayName": f"synthbank-{model}"[:128],
        "artifactUri": f"{settings.storage_url}/models/{model}",
        "containerSpec": {
            "imageUri": settings.image_uri,
            "args": ["serve", "--device", device],
            "env": container_env(settings),
            "ports": [{"containerPort": PORT}],
            "predictRoute": PREDICT_ROUTE,
            "healthRoute": HEALTH_ROUTE,
        },
        "labels": settings.labels_of("model", model),
    }
