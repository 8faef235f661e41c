"""Custom jobs: `synthbank train` and `synthbank generate` on a machine of Vertex AI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synthbank.cloud.request import JsonObject, Request, vertex_url
from synthbank.cloud.settings import CloudSettings
from synthbank.errors import OptionError

_HOME = "/tmp/synthbank"


@dataclass(frozen=True)
class Machine:
    """The machine of a job or an endpoint."""

    type: str = "g2-standard-8"
    accelerator: str | None = "NVIDIA_L4"
    """One of Vertex AI's AcceleratorType; `None`: no accelerator."""
    count: int = 1

    @property
    def device(self) -> str:
        """The value of `--device` on this machine."""
        return "cpu" if self.accelerator is None else "cuda"

    def to_json(self) -> JsonObject:
        """A MachineSpec."""
        spec: JsonObject = {"machineType": self.type}
        if self.accelerator is not None:
            spec |= {"acceleratorType": self.accelerator, "acceleratorCount": self.count}
        return spec


@dataclass(frozen=True)
class JobOptions:
    """Machine, price and end of a job."""

    machine: Machine = Machine()
    spot: bool = True
    """A spot machine: cheaper, and may be preempted at any time. The job is then started again and resumes."""
    max_hours: float = 24.0
    """Vertex AI ends the job after so long."""

    def __post_init__(self) -> None:
        if not 0 < self.max_hours <= 168:
            raise OptionError("A job has an end", got=self.max_hours, allowed="over 0 and at most 168 hours")


def train_request(settings: CloudSettings, dataset: str, words: Sequence[str], options: JobOptions) -> Request:
    """A custom job that trains on a data set of the bank.

    Args:
        settings: of the project.
        dataset: its name in the bank.
        words: options of `synthbank train`, as on its command line.
        options: machine, price and end.
    """
    return _job_request(settings, "train", dataset, ["train", dataset, *words], options)


def generate_request(settings: CloudSettings, model: str, words: Sequence[str], options: JobOptions) -> Request:
    """A custom job that makes images with a published model; `words` as `synthbank generate` takes them."""
    return _job_request(settings, "generate", model, ["generate", model, *words], options)


def container_env(settings: CloudSettings) -> list[dict[str, str]]:
    """The environment in which a container finds the bank; its own disk keeps nothing."""
    values = {
        "SYNTHBANK_HOME": _HOME,
        "SYNTHBANK_STORAGE_URL": settings.storage_url,
        "SYNTHBANK_DATABASE_URL": settings.database_url,
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _job_request(settings: CloudSettings, kind: str, name: str, args: Sequence[str], options: JobOptions) -> Request:
    body = {
        "displayName": f"synthbank-{kind}-{name}"[:128],
        "jobSpec": {
            "workerPoolSpecs": [
                {
                    "machineSpec": options.machine.to_json(),
                    "replicaCount": "1",
                    "containerSpec": {
                        "imageUri": settings.image_uri,
                        "args": [*args],
                        "env": [*container_env(settings), {"name": "SYNTHBANK_RUNS", "value": _runs(settings)}],
                    },
                }
            ],
            "scheduling": {
                "timeout": f"{round(options.max_hours * 3600)}s",
                "restartJobOnWorkerRestart": True,
                "strategy": "SPOT" if options.spot else "STANDARD",
            },
            "serviceAccount": settings.account_email,
        },
        "labels": settings.labels_of(kind, name),
    }
    return Request("POST", vertex_url(settings, "customJobs"), body, "CustomJob")


def _runs(settings: CloudSettings) -> str:
    """Work folder of runs: in the bucket, as Vertex AI mounts it, so that the state outlives the machine."""
    return f"/gcs/{settings.bucket}/{settings.prefix}-work"
