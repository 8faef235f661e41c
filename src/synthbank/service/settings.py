"""Settings of the service: those of its bank, and the limits of requests."""

from __future__ import annotations

import ipaddress
import os
import secrets
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from synthbank.errors import OptionError
from synthbank.settings import Settings

_SHORTEST_SECRET = 32


class VertexSettings(BaseSettings):
    """The environment of a custom prediction container on Vertex AI (`AIP_*`); all `None` elsewhere."""

    model_config = SettingsConfigDict(env_prefix="AIP_", extra="ignore")

    http_port: int | None = None
    health_route: str | None = None
    predict_route: str | None = None
    storage_uri: str | None = None
    """Folder of the model's files, copied into the bank at the start."""

    @property
    def active(self) -> bool:
        """`True` if this process is a prediction container."""
        return self.http_port is not None and self.predict_route is not None


class ServiceSettings(Settings):
    """Settings of `synthbank serve`, from `SYNTHBANK_*` variables or options."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=0, le=64)
    """Worker processes of this server; 0: other servers on the same catalogue work."""
    device: str = "cpu"
    """Device of the workers: cpu, cuda, mps or auto."""
    threads: int | None = Field(None, ge=1)
    """torch threads of each worker; `None`: torch decides."""
    batching: bool = True
    """Fill forward passes with images of several requests."""
    lease_sec: float = Field(30.0, gt=0)
    """Seconds for which a silent worker keeps its jobs."""
    max_at_once: int = Field(64, ge=1)
    """Images that a request may wait for; more become a job."""
    max_images: int = Field(20_000, ge=1)
    """Images of one class that a job may ask for."""
    max_queued: int = Field(256, ge=1)
    """Jobs that may wait; beyond, requests are refused with 429."""
    wait_sec: float = Field(60.0, gt=0)
    """Seconds for which a request waits for its images before it is answered with the job."""
    rate_per_minute: int = Field(3000, ge=1)
    """Requests of one key (or address) a minute."""
    max_body_bytes: int = Field(1_000_000, ge=1024)
    body_timeout_sec: float = Field(10.0, gt=0)
    """A client that takes longer to send its request is dropped."""
    require_keys: bool | None = None
    """`None`: keys are required exactly when the host is not loopback."""
    show_originals: bool = False
    """Serve originals (images of patients) to callers with the scope "read"; off by default."""
    link_sec: int = Field(3600, ge=1)
    """Life of a signed link to a file."""
    secret: SecretStr | None = None
    """Signs links and sessions; the same for all servers of a team. `None`: a file in the bank's folder."""
    max_answer_bytes: int = 1_500_000
    """A prediction that would be larger names stored files instead (the limit of Vertex AI)."""
    vertex: VertexSettings = Field(default_factory=VertexSettings)

    @field_validator("secret")
    @classmethod
    def _no_placeholder(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (len(value.get_secret_value()) < _SHORTEST_SECRET or _is_repetitive(value)):
            raise ValueError(f"SYNTHBANK_SECRET needs {_SHORTEST_SECRET} random characters (`openssl rand -hex 32`)")
        return value

    @model_validator(mode="after")
    def _keys_beyond_loopback(self) -> Self:
        if self.require_keys is False and not self.on_loopback:
            raise ValueError("API keys can only be switched off on a loopback address")
        return self

    @property
    def on_loopback(self) -> bool:
        """`True` if only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def keys_required(self) -> bool:
        """`True` if a request without a key is refused."""
        return not self.on_loopback if self.require_keys is None else self.require_keys

    def signing_secret(self) -> bytes:
        """The secret of links and sessions; the file of the bank is made when missing."""
        if self.secret is not None:
            return self.secret.get_secret_value().encode()
        return _secret_of(self.home / "service.secret")


def resolve(
    *,
    home: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    device: str | None = None,
    show_originals: bool | None = None,
    batching: bool | None = None,
) -> ServiceSettings:
    """Settings from options over the environment; an option that is `None` was not given.

    On Vertex AI the platform names the port, and all requests come from outside the container.

    Raises:
        OptionError: a value is not allowed.
    """
    options = {
        "home": home,
        "host": host,
        "port": port,
        "workers": workers,
        "device": device,
        "show_originals": show_originals,
        "batching": batching,
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    vertex = VertexSettings()
    if vertex.active:
        given = {"host": "0.0.0.0", "port": vertex.http_port, **given}
    try:
        return ServiceSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise OptionError(f"A setting of the service is not allowed: {where}", got=first["msg"]) from error


def _secret_of(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "x", opener=_private) as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    text = path.read_text().strip()
    if len(text) < _SHORTEST_SECRET:
        raise OptionError("The secret of the service is too short", got=str(path), next_step="delete the file")
    return text.encode()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _is_repetitive(value: SecretStr) -> bool:
    return len(set(value.get_secret_value())) < 8
