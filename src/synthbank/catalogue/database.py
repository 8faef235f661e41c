"""One catalogue: engine, schema version, migrations and sessions, on SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from synthbank.catalogue import cloud_sql
from synthbank.catalogue.tables import SCHEMA_VERSION
from synthbank.catalogue.write import to_json
from synthbank.errors import OptionError, SetupError, StateError

_BUSY_MS = 30_000
_CHECKPOINT_PAGES = 8000  # 32 MB: entering images touches pages all over the indexes; fewer of them are written twice
_MIGRATION_LOCK = 0x5B_CA7A_106E
"""Key of the PostgreSQL advisory lock that migrations hold; any fixed number."""
_READ_ONLY = "synthbank_read_only"
_NEXT_OF_SQLITE = (
    "check that this account may write to the file and its folder, and that the disk has room; "
    "in place of a damaged file, put a copy of it from before"
)
_NEXT_OF_SERVER = "check that it runs, that its disk has room and that SYNTHBANK_DATABASE_URL is right"


class Catalogue:
    """The database of a bank. Nothing is opened before the first session.

    Args:
        url: `sqlite:///path` or `postgresql://user@host/name` (also `?host=/socket/folder`), or a Cloud SQL instance
            (see `cloud_sql.parse`).
        pool_size: PostgreSQL connections kept open; up to twice as many more under load.
    """

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self.url = _parse(url)
        self._pool_size = pool_size
        self._open_engine: Engine | None = None
        self._checked = False

    def __repr__(self) -> str:
        return f"Catalogue({self.url.render_as_string(hide_password=True)!r})"

    @property
    def engine(self) -> Engine:
        """The engine; made on first use."""
        if self._open_engine is None:
            self._open_engine = _engine(self.url, self._pool_size)
        return self._open_engine

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back on any exception.

        Args:
            read_only: one consistent view for all queries of the session, beside any writer; a write in it fails.
                Without it SQLite takes its single write lock at once, so that reading then writing cannot fail midway.

        Raises:
            StateError: the catalogue is missing, not migrated, or of a newer SynthBank.
            SetupError: the server does not answer, or the file is damaged or must not be written.
        """
        self._require_schema()
        bind = self.engine
        if read_only:
            bind = bind.execution_options(**{_READ_ONLY: True}, **_read_only_options(bind))
        with self._translate_errors(), Session(bind, expire_on_commit=False) as session:
            yield session
            if not read_only:
                session.commit()

    def migrate(self, revision: str = "head") -> Path | None:
        """Bring the schema up to `revision`; safe to call always, and from several processes at once.

        A SQLite catalogue of an earlier release is copied first, beside itself, with its version and the time in the
        name. A server's database is not copied.

        Returns:
            The copy; `None`: none was needed.

        Raises:
            StateError: the catalogue is of a newer SynthBank.
            SetupError: as of `session`.
        """
        from synthbank.catalogue.migrate import upgrade

        if (path := _sqlite_path(self.url)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._translate_errors():
                _use_write_ahead_log(self.engine)
        version = self.schema_version()
        if version is not None and version > SCHEMA_VERSION:
            raise _unfit(version)
        copy = None
        with self._exclusive() as connection:
            before = _version(connection)  # again, under the lock: another process may have migrated meanwhile
            newest = SCHEMA_VERSION if revision == "head" else revision
            if path is not None and before is not None and before < newest:
                copy = _copy_catalogue(path, before)
            upgrade(connection, revision)
        self._checked = False
        return copy

    def downgrade(self, revision: str) -> None:
        """Take the schema back to `revision` (`"base"`: no tables); data of dropped tables is lost."""
        from synthbank.catalogue.migrate import downgrade

        with self._exclusive() as connection:
            downgrade(connection, revision)
        self._checked = False

    def schema_version(self) -> str | None:
        """Number of the newest migration that was applied; `None` for an empty or missing catalogue."""
        path = _sqlite_path(self.url)
        if path is not None and not path.exists():
            return None
        with self._connect() as connection:
            connection.execution_options(**{_READ_ONLY: True})
            return _version(connection)

    def close(self) -> None:
        """Close every connection; the catalogue can be used again afterwards."""
        if self._open_engine is not None:
            self._open_engine.dispose()
            self._open_engine = None

    def _require_schema(self) -> None:
        if self._checked:
            return
        version = self.schema_version()
        if version is None:
            raise StateError(
                "There is no catalogue here yet",
                got=self.url.render_as_string(hide_password=True),
                next_step="make one with `synthbank ingest` or `synthbank catalogue migrate`",
            )
        if version != SCHEMA_VERSION:
            raise _unfit(version)
        self._checked = True

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        with self._translate_errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise an error of the database itself, not of a statement, as `SetupError`."""
        try:
            yield
        except (DatabaseError, sqlite3.DatabaseError) as error:
            cause = error.orig if isinstance(error, DatabaseError) else error
            unusable = isinstance(error, OperationalError | sqlite3.OperationalError)
            if not unusable and type(cause) is not sqlite3.DatabaseError:  # SQLite's kind for a damaged file
                raise
            raise SetupError(
                "The catalogue's database could not be used",
                got=f"{self.url.render_as_string(hide_password=True)}: {cause}",
                next_step=_NEXT_OF_SQLITE if self.url.get_backend_name() == "sqlite" else _NEXT_OF_SERVER,
            ) from error

    @contextmanager
    def _exclusive(self) -> Iterator[Connection]:
        """One transaction that no other migration runs beside: SQLite's write lock, PostgreSQL's advisory lock."""
        with self._connect() as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            yield connection


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _copy_catalogue(path: Path, version: str) -> Path:
    """Copy a SQLite catalogue beside itself, whole or not at all; raises `SetupError` where it cannot."""
    copy = path.with_name(f"{path.stem}-{version}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}{path.suffix}")
    half = copy.with_name(copy.name + ".part")
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(half)) as target:
            source.backup(target)
        half.replace(copy)
    except (OSError, sqlite3.Error) as error:
        half.unlink(missing_ok=True)
        raise SetupError(
            "The catalogue is of an earlier release and could not be copied, so it was not changed",
            got=f"{copy}: {error}",
            next_step="make room on the disk, or move the bank to where this account may write",
        ) from error
    return copy


def _unfit(version: str) -> StateError:
    newer = version > SCHEMA_VERSION
    return StateError(
        "The catalogue's schema does not fit this SynthBank",
        got=version,
        allowed=SCHEMA_VERSION,
        next_step="install the newer SynthBank" if newer else "run `synthbank catalogue migrate`",
    )


def _parse(text_url: str) -> URL:
    if text_url.startswith(f"{cloud_sql.SCHEME}:"):
        return cloud_sql.parse(text_url)
    try:
        url = make_url(text_url)
    except ArgumentError as error:
        raise _not_a_url(text_url) from error
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise _not_a_url(url.render_as_string(hide_password=True))
    return url


def _not_a_url(shown: str) -> OptionError:
    return OptionError(
        "This is not a catalogue URL",
        got=shown,
        allowed=["sqlite:////absolute/path.db", "postgresql://user:password@host/name", f"{cloud_sql.SCHEME}://…"],
        next_step="correct SYNTHBANK_DATABASE_URL",
    )


def _engine(url: URL, pool_size: int) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, json_serializer=to_json)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    instance = cloud_sql.CloudSql(url) if cloud_sql.is_cloud_sql(url) else None
    where: dict[str, Any] = {"creator": instance.connect} if instance else {"connect_args": {"connect_timeout": 10}}
    try:
        engine = create_engine(
            url,
            json_serializer=to_json,
            pool_size=pool_size,
            max_overflow=2 * pool_size,
            pool_pre_ping=True,
            **where,
        )
        if instance is not None:
            event.listen(engine, "engine_disposed", lambda _: instance.close())
        return engine
    except (ImportError, NoSuchModuleError) as error:
        raise SetupError(
            "The PostgreSQL driver is not installed", got=str(error), next_step="pip install 'synthbank[postgres]'"
        ) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event below says BEGIN, not the driver
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql(f"PRAGMA query_only = {int(read_only)}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _read_only_options(engine: Engine) -> dict[str, Any]:
    if engine.dialect.name == "postgresql":
        return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return {}


def _use_write_ahead_log(engine: Engine) -> None:
    """Readers beside a writer. SQLite keeps the mode in the file, and does not wait for locks when it is changed."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL").close()
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        finally:
            raw.close()


def _sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite URL; `None` for PostgreSQL and for a database in memory."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database))
