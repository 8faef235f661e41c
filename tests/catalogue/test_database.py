import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from synthbank.catalogue import Catalogue, migrate, queries, rows, tables
from synthbank.catalogue.tables import SCHEMA_VERSION, Base
from synthbank.errors import OptionError, SetupError, StateError
from synthbank.records import Score


@pytest.fixture
def empty(empty_database_url):
    found = Catalogue(empty_database_url)
    yield found
    found.close()


def table_names(catalogue):
    with catalogue.engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def test_migrations_make_what_the_models_say(empty):
    empty.migrate()
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    assert empty.schema_version() == SCHEMA_VERSION == migrate.head()


def test_up_down_and_up_again(empty):
    assert empty.schema_version() is None
    empty.migrate()
    empty.migrate()
    assert table_names(empty) == {*Base.metadata.tables, "alembic_version"}
    empty.downgrade("base")
    assert table_names(empty) == {"alembic_version"}
    assert empty.schema_version() is None
    empty.migrate()
    with empty.session() as session:
        assert set(queries.counts(session=session).values()) == {0}


THEN = "2026-01-01 00:00:00"
FIRST_RELEASE = (
    f"""INSERT INTO model VALUES
    ('alpha', NULL, NULL, NULL, 'sagan', '["a"]', 8, 3, 'models/alpha', 'x', '{{}}', 'published', '{THEN}')""",
    f"""INSERT INTO generation_job VALUES
    ('j1', 'alpha', '{{}}', 7, 'done', 1, 1, 0, 1, true, '{THEN}', NULL, 0.5, NULL)""",
    f"""INSERT INTO image VALUES
    ('j1-0-000000', 'j1', 'alpha', 0, 'a', 0, 7, 1.0, 'k', 'x', 'y', 9, '{{}}', NULL, 2.5, 'accepted', NULL, true,
    '{THEN}')""",
)


def test_a_bank_of_the_first_release_comes_up_and_goes_back_with_all_its_rows(empty):
    empty.migrate("0001")
    with empty.engine.begin() as connection:
        for statement in FIRST_RELEASE:
            connection.exec_driver_sql(statement)
    empty.migrate()
    with empty.session() as session:
        job = queries.get_job("j1", session=session)
        assert (job.n_accepted, job.targets, job.revision, job.claims, job.worker) == (1, None, 0, 0, None)
        assert [row.id for row in queries.images(session=session, model_id="alpha")] == ["j1-0-000000"]
        assert not queries.claimable(session=session)
    empty.downgrade("0001")
    with empty.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT job_id, nearest_distance FROM image").all()
    assert [tuple(row) for row in rows] == [("j1", 2.5)]
    empty.migrate()


def copies_beside(catalogue):
    """Copies of it, half-written ones as well; not SQLite's own files beside an open one."""
    files = Path(catalogue.url.database).parent.glob("catalogue-*")
    return sorted(path for path in files if not path.name.endswith(("-wal", "-shm")))


def test_a_catalogue_of_an_earlier_release_is_copied_before_it_is_migrated(tmp_path):
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    assert catalogue.migrate("0003") is None
    with catalogue.engine.begin() as connection:
        for statement in FIRST_RELEASE[:1]:
            connection.exec_driver_sql(statement)
    copy = catalogue.migrate()
    assert copies_beside(catalogue) == [copy]
    assert copy.name.startswith("catalogue-0003-")
    before = Catalogue(f"sqlite:///{copy}")
    assert before.schema_version() == "0003"
    with before.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT id FROM model").scalars().all() == ["alpha"]
    assert catalogue.migrate() is None
    assert len(copies_beside(catalogue)) == 1
    with catalogue.session() as session:
        assert queries.get_model("alpha", session=session).source is None
    before.close()
    catalogue.close()


def test_a_catalogue_that_cannot_be_copied_is_not_migrated(tmp_path, monkeypatch):
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    catalogue.migrate("0003")

    def no_room(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_room)
    with pytest.raises(SetupError, match="could not be copied"):
        catalogue.migrate()
    monkeypatch.undo()
    assert catalogue.schema_version() == "0003"
    assert copies_beside(catalogue) == []
    catalogue.close()


def test_a_new_catalogue_leaves_no_copy(tmp_path):
    catalogue = Catalogue(f"sqlite:///{tmp_path}/catalogue.db")
    assert catalogue.migrate() is None
    assert copies_beside(catalogue) == []
    catalogue.close()


def test_two_processes_may_migrate_at_once(empty_database_url, empty):
    code = (
        "import sys; from synthbank.catalogue import Catalogue\n"
        "c = Catalogue(sys.argv[1]); sys.stdin.readline(); c.migrate(); print(c.schema_version())"
    )
    start = [sys.executable, "-W", "error", "-c", code, empty_database_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(start, **pipes) for _ in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in answers] == [SCHEMA_VERSION] * 2, answers
    assert empty.schema_version() == SCHEMA_VERSION


def test_a_failed_migration_leaves_no_table(empty, monkeypatch):
    real = migrate.upgrade

    def fails(connection, revision):
        real(connection, revision)
        raise RuntimeError("power cut")

    monkeypatch.setattr(migrate, "upgrade", fails)
    with pytest.raises(RuntimeError):
        empty.migrate()
    monkeypatch.undo()
    assert table_names(empty) == set()
    empty.migrate()


def test_an_exception_rolls_everything_back(filled):
    with filled.session() as session:
        before = queries.counts(session=session)
    score = Score("kid-lite1-64", 0.5)

    def fails_at_the_end():
        with filled.session() as session:
            queries.add_scores([score], session=session, subject_kind="job", subject_id="job-alpha")
            queries.withdraw_original(queries.model_originals("beta", session=session)[0], session=session)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_at_the_end()
    with filled.session() as session:
        assert queries.counts(session=session) == before
        assert queries.get_model("beta", session=session).status == "published"


def test_a_read_only_session_sees_one_moment_and_writes_nothing(filled, image_rows):
    rows = image_rows("job-alpha", 4)
    with filled.session(read_only=True) as reader:
        assert queries.counts(session=reader)["image"] == 0
        with filled.session() as writer:
            queries.add_images(rows, session=writer)
        assert queries.counts(session=reader)["image"] == 0
    with pytest.raises(Exception, match=r"(?i)read-?only"), filled.session(read_only=True) as reader:
        queries.add_scores([Score("fid", 1.0)], session=reader, subject_kind="job", subject_id="job-alpha")
    with filled.session() as session:
        counts = queries.counts(session=session)
    assert (counts["image"], counts["evaluation"]) == (8, 0)


def test_a_catalogue_that_was_not_made_yet_says_so(empty, tmp_path):
    with pytest.raises(StateError, match="no catalogue here yet"), empty.session():
        pass
    missing = Catalogue(f"sqlite:///{tmp_path}/none/catalogue.db")
    with pytest.raises(StateError, match="no catalogue here yet"), missing.session():
        pass
    assert not (tmp_path / "none").exists()


def test_a_schema_of_another_release_says_so(catalogue):
    for version, advice in (("9999", "newer SynthBank"), ("0000", "catalogue migrate")):
        with catalogue.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
        fresh = Catalogue(catalogue.url.render_as_string(hide_password=False))
        with pytest.raises(StateError, match=advice), fresh.session():
            pass
        fresh.close()


def test_urls_that_are_no_catalogue_are_refused():
    for url in ("nonsense", "mysql://host/name", "http://host"):
        with pytest.raises(OptionError, match="not a catalogue URL"):
            Catalogue(url)
    assert Catalogue("postgresql://u@h/n").url.drivername == "postgresql+psycopg"
    assert "secret" not in repr(Catalogue("postgres://u:secret@h/n"))


def test_a_server_that_is_not_there_is_told(tmp_path):
    catalogue = Catalogue(f"postgresql://u:secret@/n?host={tmp_path}")
    with pytest.raises(SetupError, match="could not be used") as caught, catalogue.session():
        pass
    assert "secret" not in str(caught.value)
    catalogue.close()


def test_rows_name_every_column():
    pairs = {name: name for name in ("Dataset", "Original", "Expansion", "Snapshot", "Model", "Image")}
    pairs |= {"TrainingRun": "Run", "GenerationJob": "Job", "Evaluation": "Evaluation", "Export": "Export"}
    pairs |= {name: name for name in ("ReaderAnswer", "ReaderStudy", "ReaderItem", "ApiKey")}
    pairs |= {"AuditEvent": "Audit"}
    for table, row in pairs.items():
        fields = [field.name for field in dataclasses.fields(getattr(rows, f"{row}Row"))]
        assert fields == list(getattr(tables, table).__table__.c.keys())


def test_the_catalogue_imports_no_torch_and_no_alembic():
    code = "import sys, synthbank.catalogue.queries; print(sorted({'torch', 'alembic', 'PIL'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
