"""Cloud SQL for PostgreSQL by instance name: the official connector finds it, encrypts, and signs in with IAM."""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL

from synthbank.errors import OptionError, SetupError

SCHEME = "cloudsql+postgresql"
_MARK = "cloudsql"
"""Name of the option that marks a parsed URL, and holds how the instance is reached."""
_URL = re.compile(
    re.escape(SCHEME) + r"://(?:(?P<user>[^/]+)@)?(?P<instance>(?:[^/@:]+\.[^/@:]+:)?[^/@:]+:[^/@:]+:[^/@:]+)"
    r"/(?P<database>[^/?]+)(?:\?ip=(?P<ip>public|private|psc))?"
)


def parse(text_url: str) -> URL:
    """`cloudsql+postgresql://[USER@]PROJECT:REGION:INSTANCE/DATABASE[?ip=private]` as an SQLAlchemy URL.

    Args:
        text_url: USER is the IAM user of the database; left out, it is the service account that this machine acts as.
            `ip` is public (the default), private or psc.

    Raises:
        OptionError: not of this form.
    """
    match = _URL.fullmatch(text_url)
    if match is None:
        raise OptionError(
            "This is not a Cloud SQL URL",
            got=text_url,
            allowed=f"{SCHEME}://[USER@]PROJECT:REGION:INSTANCE/DATABASE, and ?ip=private or ?ip=psc",
            next_step="correct SYNTHBANK_DATABASE_URL",
        )
    return URL.create(
        "postgresql+psycopg",
        username=unquote(match["user"]) if match["user"] else None,
        host=match["instance"],
        database=unquote(match["database"]),
        query={_MARK: match["ip"] or "public"},
    )


def is_cloud_sql(url: URL) -> bool:
    """Tell whether `parse` made this URL."""
    return _MARK in url.query


class CloudSql:
    """Opens connections to one instance; the connector is made with the first of them.

    Args:
        url: of `parse`.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._user = url.username
        self._connector: Any = None
        self._lock = Lock()

    def connect(self) -> Any:
        """A new connection; raises `SetupError` where library, credentials, rights or instance are missing."""
        try:
            with self._lock:
                connector = self._connector = self._connector or self._library()(
                    enable_iam_auth=True, ip_type=str(self._url.query[_MARK]), refresh_strategy="lazy"
                )
                self._user = self._user or _own_account()
            return connector.connect(
                self._url.host, "psycopg", user=self._user, db=self._url.database, connect_timeout=10
            )
        except SetupError:
            raise
        except Exception as error:  # of credentials, of the interface, of the network, of the driver
            raise SetupError(
                "The Cloud SQL instance could not be reached",
                got=f"{self._url.host}: {error}",
                next_step="check the instance's name, that it runs, and that this account may connect as "
                f"{self._user or 'its user'} (roles cloudsql.client and cloudsql.instanceUser)",
            ) from error

    def close(self) -> None:
        """End the connector; the next connection makes a new one."""
        with self._lock:
            if self._connector is not None:
                self._connector.close()
            self._connector = None

    def _library(self) -> Callable[..., Any]:
        try:
            from google.cloud.sql.connector import Connector
        except ImportError as error:
            raise SetupError(
                "The Cloud SQL connector is not installed",
                got=str(error),
                next_step="pip install 'synthbank[gcp,postgres]'",
            ) from error
        made: Callable[..., Any] = Connector
        return made


def _own_account() -> str:
    """The database user of the service account that this machine acts as: its address without the common ending."""
    import google.auth
    from google.auth.transport.requests import Request

    credentials_and_project: Any = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials = credentials_and_project[0]
    if getattr(credentials, "service_account_email", None) == "default":  # of a machine, known after the first refresh
        credentials.refresh(Request())
    address = getattr(credentials, "service_account_email", None)
    if not address:
        raise SetupError(
            "This machine acts as a person, whose database user cannot be read from the credentials",
            next_step=f"name the user in SYNTHBANK_DATABASE_URL: {SCHEME}://YOU%40example.org@PROJECT:REGION:INSTANCE/DATABASE",
        )
    return str(address).removesuffix(".gserviceaccount.com")
