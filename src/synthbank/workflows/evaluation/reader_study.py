"""Reader studies: a blinded, balanced set of images, a sheet that works offline, and the answers back in the bank."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from synthbank.catalogue import ImageRow, OriginalRow, ReaderAnswerRow, ReaderItemRow, ReaderStudyRow, queries
from synthbank.errors import InputError, NotFoundError, OptionError, StateError
from synthbank.fingerprint import set_fingerprint, stable_seed
from synthbank.metrics import Answer, ReaderScore, metrics, reader_scores
from synthbank.records import Score, Split
from synthbank.reports import SheetItem, render_reader_sheet
from synthbank.storage import decode_png, encode_png, write_atomic
from synthbank.workflows.bank import Bank

__all__ = [
    "FORMAT",
    "ImportReport",
    "ReaderScore",
    "StudyReport",
    "give_answer",
    "import_answers",
    "make_study",
    "newest_study",
    "record_study",
    "study_image",
    "study_scores",
    "unanswered_tokens",
]

FORMAT = "synthbank-reader-1"
_LONGEST_NAME = 80
_MOST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class StudyReport:
    """A study and its sheet."""

    study: ReaderStudyRow
    sheet: Path
    counts: dict[str, dict[str, int]]
    """Class to "real" and "synthetic" to images."""


@dataclass(frozen=True)
class ImportReport:
    """Counts of the answers that a file held."""

    study: ReaderStudyRow
    reader: str
    n_new: int
    n_known: int
    """Answers that were there already."""
    n_open: int
    """Images of the study that this reader has not answered."""


def make_study(bank: Bank, job_id: str, *, to: Path, n: int = 40, seed: int = 0) -> StudyReport:
    """Choose images, record the study and write its sheet; the same call gives the same sheet.

    Args:
        bank: where the job is.
        job_id: a generation job.
        to: HTML file to write.
        n: images in all.
        seed: of choice, order and tokens.
    """
    study = record_study(bank, job_id, n=n, seed=seed)
    keys = _image_keys(bank, study.id)
    rows = [row for row in _items(bank, study.id) if row.token in keys]
    items = [SheetItem(row.token, _without_text(bank.store.get(keys[row.token]))) for row in rows]
    page = render_reader_sheet(study.id, items, file_format=FORMAT)
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(to, page.encode())
    counts = {
        c: {k: sum(r.class_name == c and r.truth == k for r in rows) for k in ("real", "synthetic")}
        for c in sorted({r.class_name for r in rows})
    }
    return StudyReport(study, to, counts)


def record_study(bank: Bank, job_id: str, *, n: int = 40, seed: int = 0) -> ReaderStudyRow:
    """Choose images and record the study; the same call gives the same study.

    Half of the images of each class are accepted synthetic images of the job, half are originals: test originals
    first, which the generator never saw. Readers get pixels and random tokens alone; the truth stands in the catalogue.

    Args:
        bank: where the job is.
        job_id: a generation job.
        n: images in all; spread over classes, an equal number of both kinds in each.
        seed: of choice, order and tokens.

    Raises:
        StateError: a class has no accepted image or no original.
        OptionError: fewer than two images a class.
    """
    with bank.catalogue.session(read_only=True) as session:
        job = queries.get_job(job_id, session=session)
        model = queries.get_model(job.model_id, session=session)
        originals = [] if model.dataset_id is None else queries.originals(model.dataset_id, session=session)
        synthetic = {
            c: list(queries.accepted_images(job_id=job_id, class_name=c, session=session)) for c in model.class_names
        }
    half = n // (2 * len(model.class_names))
    if half < 1:
        least = 2 * len(model.class_names)
        raise OptionError("There are too few images for a balanced study", got=n, allowed=f"{least} or more")
    rng = np.random.default_rng(stable_seed(seed, "reader", job_id))
    chosen: list[tuple[str, ImageRow | OriginalRow]] = []
    for name in model.class_names:
        real = _unseen_first([o for o in originals if o.class_name == name], rng)
        fake = [synthetic[name][i] for i in rng.permutation(len(synthetic[name]))]
        count = min(half, len(real), len(fake))
        if not count:
            raise StateError(
                f"Class '{name}' cannot be asked about",
                got=f"{len(real)} originals and {len(fake)} accepted images",
                allowed="one or more of each",
                next_step=f"synthbank generate {model.id}",
            )
        chosen += [(name, row) for row in (*real[:count], *fake[:count])]
    # the id hashes the chosen rows too: a job that has grown since gives another study, not other images of this one
    order = rng.permutation(len(chosen))
    study_id = "r" + set_fingerprint([repr((job_id, n, seed)), *(str(row.id) for _, row in chosen)])[:10]
    items = [_item(position, chosen[i][0], chosen[i][1], rng) for position, i in enumerate(order)]
    with bank.catalogue.session() as session:
        return queries.add_study(study_id, job_id=job_id, seed=seed, options={"asked": n}, items=items, session=session)


def study_image(bank: Bank, study_id: str, token: str) -> bytes:
    """One image of a study as a PNG that holds pixels alone; raises `NotFoundError` where there is none any more."""
    key = _image_keys(bank, study_id).get(token)
    if key is None:
        raise NotFoundError("The study holds no such image", got=token)
    return _without_text(bank.store.get(key))


def unanswered_tokens(bank: Bank, study_id: str, reader: str) -> list[str]:
    """Tokens of the images that a reader has not answered yet, in the order in which they are shown."""
    items, keys = _items(bank, study_id), _image_keys(bank, study_id)
    with bank.catalogue.session(read_only=True) as session:
        rows = queries.reader_answers(reading=study_id, session=session)
    return _unanswered(items, keys, rows, reader)


def give_answer(bank: Bank, study_id: str, *, reader: str, token: str, answer: str, milliseconds: int) -> None:
    """Record one answer; the same answer again changes nothing.

    Raises:
        InputError: no such image in the study, or this reader answered it differently before.
    """
    with bank.catalogue.session() as session:
        study = queries.get_study(study_id, session=session)
        items = queries.study_items(study_id, session=session)
        _record_answers(study, reader, [(token, answer, milliseconds)], items, session)
    if not unanswered_tokens(bank, study_id, reader):
        _record_scores(bank, study)


def import_answers(bank: Bank, file: Path) -> ImportReport:
    """Read the file that a sheet saved, as JSON or CSV, and record its answers; the same file twice adds nothing.

    Raises:
        InputError: not such a file, an image that the study does not hold, or an answer that contradicts one given
            before by the same reader.
        UnknownNameError: the study is not in this bank.
    """
    study_id, reader, given = _read_answers(file)
    with bank.catalogue.session() as session:
        study = queries.get_study(study_id, session=session)
        items = queries.study_items(study_id, session=session)
        n_new, n_known = _record_answers(study, reader, given, items, session)
    if n_new:
        _record_scores(bank, study)
    return ImportReport(study, reader, n_new, len(given) - n_new, len(items) - n_known)


def _record_answers(
    study: ReaderStudyRow,
    reader: str,
    given: Sequence[tuple[str, str, int]],
    items: Sequence[ReaderItemRow],
    session: Session,
) -> tuple[int, int]:
    """Record answers; returns how many are new, and how many images this reader has answered now."""
    by_token = {item.token: item for item in items}
    known = _answered(queries.reader_answers(reading=study.id, session=session), items, reader)
    n_new = 0
    for token, answer, milliseconds in given:
        item = by_token.get(token)
        if item is None:
            raise InputError("The study holds no such image", got=token, allowed=f"the images of {study.id}")
        if known.get(token, answer) != answer:  # a first answer is never overwritten, or a study could be polished
            raise InputError(
                f"Reader '{reader}' answered an image of this study differently before",
                got=f"{token}: {answer}",
                allowed=known[token],
                next_step="use another reader's name for a second reading",
            )
        if token not in known:
            queries.add_reader_answer(
                reading=study.id,
                reader=reader,
                truth=item.truth,
                answer=answer,
                milliseconds=milliseconds,
                image_id=item.image_id,
                original_id=item.original_id,
                session=session,
            )
            known[token] = answer
            n_new += 1
    return n_new, len(known)


def study_scores(bank: Bank, study_id: str, *, whole: bool = False) -> list[ReaderScore]:
    """Accuracy with interval of each reader and of all, overall and by class.

    Args:
        bank: where the study is.
        study_id: names it.
        whole: only readers who have answered every image, over all classes; none of them: an empty list.

    Raises:
        OptionError: no answer at all (unless `whole`).
    """
    with bank.catalogue.session(read_only=True) as session:
        queries.get_study(study_id, session=session)
        items = queries.study_items(study_id, session=session)
        rows = queries.reader_answers(reading=study_id, session=session)
        keys = queries.study_keys(study_id, session=session) if whole else {}
    if whole:
        done = {name for name in {r.reader for r in rows} if not _unanswered(items, keys, rows, name)}
        rows = [r for r in rows if r.reader in done]
        if not rows:
            return []
    class_of = {(item.image_id, item.original_id): item.class_name for item in items}
    answers = [Answer(r.reader, class_of[r.image_id, r.original_id], r.truth, r.answer) for r in rows]
    return [score for score in reader_scores(answers) if not whole or score.class_name is None]


def _record_scores(bank: Bank, study: ReaderStudyRow) -> None:
    """Accuracy of all readers together, as scores of the job, so that its report and scorecard show them."""
    scores = [
        Score(
            f"reader-accuracy-all-{study.id}",
            score.accuracy,
            score.low,
            score.high,
            n_real=score.n,
            n_fake=score.n,
            class_name=score.class_name,
            higher_is_better=metrics.spec("reader-accuracy").higher_is_better,
            note="0.5 is guessing; answers of several readers about one image are taken as independent",
            details={"synthetic_called_real": score.synthetic_called_real, "verdict": score.conclusion},
        )
        for score in study_scores(bank, study.id)
        if score.reader is None
    ]
    with bank.catalogue.session() as session:
        queries.add_scores(scores, subject_kind="job", subject_id=study.job_id, session=session)


def newest_study(bank: Bank) -> str:
    """Id of the newest reader study."""
    with bank.catalogue.session(read_only=True) as session:
        studies = queries.list_studies(session=session)
    if not studies:
        raise StateError("There is no reader study yet", next_step="synthbank reader make")
    return studies[0].id


def _unseen_first(rows: Sequence[OriginalRow], rng: np.random.Generator) -> list[OriginalRow]:
    """Shuffled; test originals first, then validation, then training."""
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    order = (Split.TEST, Split.VALIDATION, Split.TRAIN)
    return sorted(shuffled, key=lambda row: order.index(row.split) if row.split in order else len(order))


def _item(position: int, class_name: str, row: ImageRow | OriginalRow, rng: np.random.Generator) -> dict[str, Any]:
    synthetic = isinstance(row, ImageRow)
    return {
        "position": position,
        "token": rng.bytes(6).hex(),
        "class_name": class_name,
        "truth": "synthetic" if synthetic else "real",
        "image_id": row.id if synthetic else None,
        "original_id": None if synthetic else row.id,
    }


def _items(bank: Bank, study_id: str) -> list[ReaderItemRow]:
    with bank.catalogue.session(read_only=True) as session:
        queries.get_study(study_id, session=session)
        return queries.study_items(study_id, session=session)


def _image_keys(bank: Bank, study_id: str) -> dict[str, str]:
    """Token to storage key of the images that may still be shown; withdrawn ones are missing."""
    with bank.catalogue.session(read_only=True) as session:
        return queries.study_keys(study_id, session=session)


def _unanswered(
    items: Sequence[ReaderItemRow], keys: Mapping[str, str], rows: Sequence[ReaderAnswerRow], reader: str
) -> list[str]:
    """Tokens that may be shown and have no answer of this reader."""
    known = _answered(rows, items, reader)
    return [item.token for item in items if item.token in keys and item.token not in known]


def _without_text(png: bytes) -> bytes:
    """The image coded anew: a synthetic one carries text chunks that would give it away."""
    return encode_png(decode_png(png))


def _answered(rows: Sequence[ReaderAnswerRow], items: Sequence[ReaderItemRow], reader: str) -> dict[str, str]:
    """Token to the answer that this reader has given."""
    token_of: dict[tuple[str | None, int | None], str] = {(i.image_id, i.original_id): i.token for i in items}
    return {token_of[r.image_id, r.original_id]: r.answer for r in rows if r.reader == reader}


def _read_answers(file: Path) -> tuple[str, str, list[tuple[str, str, int]]]:
    """Study, reader and (token, answer, milliseconds)."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise InputError("This file is too large for a reader's answers", got=str(file), allowed="16 MB")
        text = file.read_text(encoding="utf-8-sig")
        parse: Callable[[str], list[dict[str, Any]]] = _from_csv if file.suffix.lower() == ".csv" else _from_json
        lines = parse(text)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "This is no file of a reader's answers",
            got=f"{file}: {str(error)[:120]}",
            allowed="the JSON or CSV file that the sheet saves",
            path=str(file),
        ) from error
    readers, studies = {str(line["reader"]).strip() for line in lines}, {str(line["study"]) for line in lines}
    if len(readers) != 1 or len(studies) != 1 or not 0 < len(min(readers)) <= _LONGEST_NAME:
        raise InputError(
            "A file of answers is of one reader and one study",
            got=f"{len(readers)} readers, {len(studies)} studies",
            next_step="answer one image at least, under a name of 1 to 80 letters",
        )
    return studies.pop(), readers.pop(), [_checked_answer(line) for line in lines]


def _from_json(text: str) -> list[dict[str, Any]]:
    value = json.loads(text)
    if value["format"] != FORMAT:
        raise ValueError(f"format {value['format']!r}")
    return [{"study": value["study"], "reader": value["reader"], **answer} for answer in value["answers"]]


def _from_csv(text: str) -> list[dict[str, Any]]:
    lines = list(csv.DictReader(io.StringIO(text)))
    wanted = {"study", "reader", "item", "answer", "milliseconds"}
    if lines and not wanted <= set(lines[0]):
        raise ValueError(f"columns {sorted(lines[0])}")
    return lines


def _checked_answer(line: dict[str, Any]) -> tuple[str, str, int]:
    token, answer, milliseconds = line.get("item"), line.get("answer"), line.get("milliseconds")
    if answer not in ("real", "synthetic") or not str(milliseconds).isdigit():
        raise InputError(
            "This is no answer of a reader", got=f"{answer}, {milliseconds} ms", allowed="real or synthetic, whole ms"
        )
    return str(token), str(answer), min(int(str(milliseconds)), 2**31 - 1)
