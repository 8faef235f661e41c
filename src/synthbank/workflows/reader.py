"""Reader studies: a blinded, balanced set of images, a sheet that works offline, and the answers back in the bank."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthbank.catalogue import ImageRow, OriginalRow, ReaderItemRow, ReaderStudyRow, queries
from synthbank.errors import InputError, OptionError, StateError
from synthbank.fingerprint import set_fingerprint, stable_seed
from synthbank.metrics import Answer, ReaderScore, reader_scores
from synthbank.records import Score, Split, UInt8Images
from synthbank.reports import SheetItem, render_reader_sheet
from synthbank.storage import decode_png, encode_png
from synthbank.training.state import write_atomic
from synthbank.workflows.bank import Bank

FORMAT = "synthbank-reader-1"
_LONGEST_NAME = 80
_MOST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class StudyReport:
    """A study that was made."""

    study: ReaderStudyRow
    sheet: Path
    counts: dict[str, dict[str, int]]
    """Class to "real" and "synthetic" to images."""


@dataclass(frozen=True)
class ImportReport:
    """What a file of answers brought."""

    study: ReaderStudyRow
    reader: str
    n_new: int
    n_known: int
    """Answers that were there already."""
    n_open: int
    """Images of the study that this reader has not answered."""


def make_study(bank: Bank, job_id: str, *, to: Path, n: int = 40, seed: int = 0) -> StudyReport:
    """Choose images, enter the study, and write the sheet; the same call gives the same study and the same sheet.

    Half of the images of each class are accepted synthetic images of the job, half are originals: test originals
    first, which the generator never saw. The sheet holds pixels and random tokens alone; what is what stands only in
    the catalogue.

    Args:
        bank: where the job is.
        job_id: a generation job.
        to: HTML file to write.
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
    order = rng.permutation(len(chosen))
    study_id = "r" + set_fingerprint([repr((job_id, n, seed)), *(str(row.id) for _, row in chosen)])[:10]
    items = [_item(position, chosen[i][0], chosen[i][1], rng) for position, i in enumerate(order)]
    with bank.catalogue.session() as session:
        study = queries.add_study(
            study_id, job_id=job_id, seed=seed, options={"asked": n}, items=items, session=session
        )
        rows = queries.study_items(study_id, session=session)
    pixels = [_pixels(bank, chosen[i][1]) for i in order]
    page = render_reader_sheet(
        study_id, [SheetItem(row.token, encode_png(p)) for row, p in zip(rows, pixels, strict=True)], file_format=FORMAT
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(to, page.encode())
    counts = {
        c: {k: sum(r.class_name == c and r.truth == k for r in rows) for k in ("real", "synthetic")}
        for c in model.class_names
    }
    return StudyReport(study, to, counts)


def import_answers(bank: Bank, file: Path) -> ImportReport:
    """Take in what a sheet saved, as JSON or CSV; the same file twice adds nothing.

    Raises:
        InputError: not such a file, an image that the study does not hold, or an answer that contradicts one given
            before by the same reader.
        UnknownNameError: the study is not in this bank.
    """
    study_id, reader, given = _read_answers(file)
    with bank.catalogue.session() as session:
        study = queries.get_study(study_id, session=session)
        items = {item.token: item for item in queries.study_items(study_id, session=session)}
        known = _answered(queries.reader_answers(reading=study_id, session=session), items.values(), reader)
        n_new = 0
        for token, answer, milliseconds in given:
            item = items.get(token)
            if item is None:
                raise InputError("The study holds no such image", got=token, allowed=f"the images of {study_id}")
            if known.get(token, answer) != answer:
                raise InputError(
                    f"Reader '{reader}' answered an image of this study differently before",
                    got=f"{token}: {answer}",
                    allowed=known[token],
                    next_step="use another reader's name for a second reading",
                )
            if token not in known:
                queries.add_reader_answer(
                    reading=study_id,
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
    if n_new:
        _record_scores(bank, study)
    return ImportReport(study, reader, n_new, len(given) - n_new, len(items) - len(known))


def study_scores(bank: Bank, study_id: str) -> list[ReaderScore]:
    """Accuracy with interval of each reader and of all, overall and by class; errors as of `reader_scores`."""
    with bank.catalogue.session(read_only=True) as session:
        queries.get_study(study_id, session=session)
        items = queries.study_items(study_id, session=session)
        rows = queries.reader_answers(reading=study_id, session=session)
    class_of = {(item.image_id, item.original_id): item.class_name for item in items}
    answers = [Answer(r.reader, class_of[r.image_id, r.original_id], r.truth, r.answer) for r in rows]
    return reader_scores(answers)


def _record_scores(bank: Bank, study: ReaderStudyRow) -> None:
    """Accuracy of all readers together, as scores of the job, so that its report and scorecard show them."""
    scores = [
        Score(
            f"reader-accuracy-all-{study.id}",
            found.accuracy,
            found.low,
            found.high,
            n_real=found.n,
            n_fake=found.n,
            class_name=found.class_name,
            higher_is_better=False,
            note="0.5 is guessing; answers of several readers about one image are taken as independent",
            details={"synthetic_called_real": found.synthetic_called_real, "verdict": found.words},
        )
        for found in study_scores(bank, study.id)
        if found.reader is None
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


def _pixels(bank: Bank, row: ImageRow | OriginalRow) -> UInt8Images:
    """Decoded, so that the sheet's files carry none of the text chunks that would give them away."""
    assert row.key is not None
    return decode_png(bank.store.get(row.key))


def _answered(rows: Sequence[Any], items: Any, reader: str) -> dict[str, str]:
    """Token to answer of what this reader said before."""
    token_of: dict[tuple[str | None, int | None], str] = {
        (i.image_id, i.original_id): i.token for i in items if isinstance(i, ReaderItemRow)
    }
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
