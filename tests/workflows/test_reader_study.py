import base64
import io
import json
import re

import pytest
from PIL import Image

from synthbank.catalogue import queries
from synthbank.errors import InputError, OptionError, StateError, UnknownNameError
from synthbank.workflows.evaluation.reader_study import FORMAT, import_answers, make_study, newest_study, study_scores
from synthbank.workflows.evaluation.report import job_scorecard
from synthbank.workflows.generation.generate import newest_job


@pytest.fixture
def study(trained, tmp_path):
    return make_study(trained, newest_job(trained), to=tmp_path / "sheet.html", n=16)


def items_of(bank, study):
    with bank.catalogue.session() as session:
        return queries.study_items(study.study.id, session=session)


def answer_file(folder, study, answers, *, reader="ann", name="a.json"):
    lines = [{"item": t, "answer": a, "milliseconds": 1200} for t, a in answers]
    value = {"format": FORMAT, "study": study.study.id, "reader": reader, "answers": lines}
    path = folder / name
    path.write_text(json.dumps(value))
    return path


def test_the_study_is_balanced_blinded_and_repeats_itself(trained, study, tmp_path):
    assert study.counts == {c: {"real": 4, "synthetic": 4} for c in ("dab_negative", "dab_positive")}
    page = study.sheet.read_text()
    items = items_of(trained, study)
    assert [i.position for i in items] == list(range(16))
    assert [i.truth for i in items] != sorted(i.truth for i in items)
    for item in items:
        assert item.token in page
        assert (item.image_id or "no id") not in page
    for data in re.findall(r"base64,([A-Za-z0-9+/=]+)", page):
        assert not Image.open(io.BytesIO(base64.b64decode(data))).text  # a text chunk would give it away
    again = make_study(trained, newest_job(trained), to=tmp_path / "again.html", n=16)
    assert again.study == study.study
    assert again.sheet.read_bytes() == study.sheet.read_bytes()
    assert newest_study(trained) == study.study.id


def test_originals_come_from_the_test_split_while_there_are_any(trained, study):
    with trained.catalogue.session() as session:
        dataset = queries.list_datasets(session=session)[0]
        split = {o.id: o.split for o in queries.originals(dataset.id, session=session)}
    assert {split[i.original_id] for i in items_of(trained, study) if i.original_id} == {"test"}


def test_answers_come_in_once_and_are_scored(trained, study, tmp_path):
    items = items_of(trained, study)
    given = [(i.token, i.truth) for i in items[:12]]
    report = import_answers(trained, answer_file(tmp_path, study, given))
    assert (report.n_new, report.n_known, report.n_open) == (12, 0, 4)
    report = import_answers(trained, answer_file(tmp_path, study, [(i.token, i.truth) for i in items]))
    assert (report.n_new, report.n_known, report.n_open) == (4, 12, 0)
    rows = "\n".join(f'"{study.study.id}","bob","{i.token}","real","900"' for i in items)
    (tmp_path / "b.csv").write_text(f"study,reader,item,answer,milliseconds\n{rows}\n")
    assert import_answers(trained, tmp_path / "b.csv").n_new == 16
    found = {(s.reader, s.class_name): s for s in study_scores(trained, study.study.id)}
    assert found["ann", None].accuracy == 1.0
    assert found["bob", None].accuracy == 0.5
    assert found["bob", "dab_positive"].synthetic_called_real == 1.0
    assert found[None, None].n == 32
    with trained.catalogue.session() as session:
        rows = queries.scores(subject_kind="job", subject_id=study.study.job_id, session=session)
    (row,) = [r for r in rows if r.metric.startswith("reader-accuracy") and r.class_name is None]
    assert (row.value, row.n_real) == (0.75, 32)
    assert "Accuracy of readers" in {
        x.measure for c in job_scorecard(trained, row.subject_id).criteria for x in c.lines
    }


def test_answers_that_do_not_fit_are_refused_whole(trained, study, tmp_path):
    items = items_of(trained, study)
    import_answers(trained, answer_file(tmp_path, study, [(items[0].token, "real")]))
    changed = [(items[1].token, "real"), (items[0].token, "synthetic")]
    with pytest.raises(InputError, match="differently before"):
        import_answers(trained, answer_file(tmp_path, study, changed))
    with pytest.raises(InputError, match="no such image"):
        import_answers(trained, answer_file(tmp_path, study, [(items[2].token, "real"), ("ffff", "real")]))
    with pytest.raises(InputError, match="no answer of a reader"):
        import_answers(trained, answer_file(tmp_path, study, [(items[1].token, "perhaps")]))
    with pytest.raises(InputError, match="one reader and one study"):
        import_answers(trained, answer_file(tmp_path, study, []))
    with trained.catalogue.session() as session:
        assert len(queries.reader_answers(reading=study.study.id, session=session)) == 1
    for name, text in (("x.json", "{"), ("y.json", '{"format": "other"}'), ("z.csv", "a,b\n1,2\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="no file of a reader"):
            import_answers(trained, tmp_path / name)


def test_studies_that_cannot_be_made_or_found_say_why(trained, tmp_path):
    with pytest.raises(OptionError, match="4 or more"):
        make_study(trained, newest_job(trained), to=tmp_path / "s.html", n=3)
    with pytest.raises(StateError, match="no reader study"):
        newest_study(trained)
    with pytest.raises(UnknownNameError, match="reader study"):
        study_scores(trained, "r123")
