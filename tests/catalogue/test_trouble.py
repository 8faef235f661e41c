"""A catalogue that cannot be used says why, whatever is asked of it first."""

import pytest

from synthbank.catalogue import Catalogue, queries
from synthbank.errors import SetupError, StateError


def test_a_page_that_is_damaged_is_told_when_it_is_read(sqlite_catalogue, bank):
    sqlite_catalogue.close()
    path = bank.home / "catalogue.db"
    data = bytearray(path.read_bytes())
    with sqlite_catalogue.session() as session:
        (root,) = session.connection().exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'model'").one()
        (size,) = session.connection().exec_driver_sql("PRAGMA page_size").one()
    sqlite_catalogue.close()
    data[(root - 1) * size : root * size] = b"\xff" * size
    path.write_bytes(data)
    damaged = Catalogue(bank.catalogue_url)
    with pytest.raises(SetupError, match="malformed"), damaged.session() as session:
        queries.list_models(session=session)
    damaged.close()


def test_a_newer_catalogue_is_not_migrated(catalogue):
    with catalogue.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StateError, match="install the newer SynthBank"):
        catalogue.migrate()


def test_a_wrong_statement_is_no_trouble_of_the_database(catalogue):
    with pytest.raises(Exception, match="alembic_version") as caught, catalogue.session() as session:
        session.connection().exec_driver_sql("INSERT INTO alembic_version VALUES (NULL)")
    assert not isinstance(caught.value, SetupError)
