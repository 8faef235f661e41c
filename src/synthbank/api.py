"""The front door in Python: `open_bank(...)` gives a `Bank` whose methods are the steps of the command line.

Every method builds the request that its command builds, calls one workflow, and returns the frozen row or report that
the command prints. Nothing here prints or ends the process: progress goes to callbacks, trouble is a `SynthBankError`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from synthbank.records import TrainEvent, UInt8Images, Verdict
from synthbank.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from synthbank.catalogue import DatasetRow, ImageRow, JobRow, ModelRow
    from synthbank.catalogue.rows import WithdrawalReport
    from synthbank.data import IngestOptions
    from synthbank.export import ExportResult
    from synthbank.reports import Scorecard
    from synthbank.workflows.bank import Bank as OpenBank
    from synthbank.workflows.data.expand import ExpandReport
    from synthbank.workflows.data.ingest import IngestReport
    from synthbank.workflows.delivery.dataset import LabelledDataset
    from synthbank.workflows.delivery.export import ExportRequest
    from synthbank.workflows.evaluation.bias import BiasReport
    from synthbank.workflows.evaluation.cross_validation import CrossReport
    from synthbank.workflows.evaluation.evaluate import EvaluateReport
    from synthbank.workflows.evaluation.requests import BiasRequest, EvaluateRequest, ReportRequest, UtilityRequest
    from synthbank.workflows.evaluation.utility import UtilityReport
    from synthbank.workflows.generation.generate import GenerateReport
    from synthbank.workflows.generation.requests import GenerateRequest
    from synthbank.workflows.maintenance.verify import RegenerateReport, VerifyReport
    from synthbank.workflows.training.requests import TrainReport, TrainRequest

OnText = Callable[[str], None]
OnCount = Callable[[str, int, int], None]
"""Called with class name, accepted images so far and wanted ones."""
OnEvent = Callable[[TrainEvent], None]
ShouldStop = Callable[[], bool]


def _ignore(*_: object) -> None:
    """A callback that does nothing."""


def _never() -> bool:
    return False


def open_bank(path: str | Path | None = None, *, create: bool = True, settings: Settings | None = None) -> Bank:
    """Open a bank; use it in a `with` statement, or call `close`.

    Args:
        path: its folder; `None`: `SYNTHBANK_HOME`, else `./bank`.
        create: make what is missing; `False`: a bank that is not there is an error.
        settings: where its parts are; `None`: the `SYNTHBANK_*` environment variables. `path` wins over its `home`.

    Raises:
        NotFoundError: there is no bank and `create` is `False`.
        SetupError: the folder cannot be made, or the catalogue cannot be used.
    """
    chosen = settings or Settings()
    return Bank(chosen if path is None else chosen.model_copy(update={"home": Path(path)}), create=create)


class Bank:
    """An open bank. Methods that take a request take the name of its subject as well, with the usual options.

    Args:
        settings: where its parts are.
        create: make what is missing.
    """

    def __init__(self, settings: Settings, *, create: bool = True) -> None:
        from synthbank.workflows.bank import open_bank as open_parts

        self._stack = ExitStack()
        self._bank: OpenBank = self._stack.enter_context(open_parts(settings, create=create))

    def __enter__(self) -> Bank:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Bank({str(self.path)!r})"

    def close(self) -> None:
        """Close the catalogue's connections; may be called twice."""
        self._stack.close()

    @property
    def path(self) -> Path:
        """Folder of the bank."""
        return self._bank.settings.home

    # --- originals -------------------------------------------------------------------------------------------------

    def ingest(
        self,
        source: str | Path,
        *,
        name: str | None = None,
        options: IngestOptions | None = None,
        shares: tuple[float, float, float] | None = None,
        seed: int = 0,
    ) -> IngestReport:
        """Read, check, split and catalogue originals; the same call again changes nothing.

        Args:
            source: folder, archive or `.npz`, a URL of one, or a built-in sample such as "sample:ihc".
            name: of the data set; `None`: made from the source's name.
            options: size in pixels, fit, channels, grouping; `None`: the defaults of the command.
            shares: of train, validation and test, which add up to 1; `None`: 0.64, 0.16, 0.2 or as the source is split.
            seed: of the split.

        Raises:
            SourceError: the source cannot be read as labelled images.
            OptionError: a value out of range.
        """
        from synthbank.data import DEFAULT_SHARES
        from synthbank.workflows.data.ingest import default_name, ingest

        return ingest(
            self._bank,
            source,
            name=name or default_name(source),
            options=options,
            shares=shares or DEFAULT_SHARES,
            seed=seed,
        )

    def expand(self, dataset: str, *, to: int | None = None, seed: int | None = None) -> ExpandReport:
        """Plan and catalogue the paper's affine expansion of the training originals; copies are drawn when needed.

        Args:
            dataset: its name.
            to: originals and copies together; `None`: 3.8 times the originals.
            seed: of the draws; `None`: 0, or what an existing expansion has.

        Raises:
            OptionError: `to` is below the number of originals, or another expansion exists.
        """
        from synthbank.workflows.data.expand import expand

        return expand(self._bank, dataset, to=to, seed=seed)

    def datasets(self) -> list[DatasetRow]:
        """Every version of every data set, oldest first."""
        from synthbank.catalogue import queries

        with self._bank.catalogue.session(read_only=True) as session:
            return queries.list_datasets(session=session)

    # --- models ----------------------------------------------------------------------------------------------------

    def train(
        self,
        request: TrainRequest | str,
        *,
        steps: int | None = None,
        time_budget_sec: float | None = None,
        model_name: str | None = None,
        on_event: OnEvent = _ignore,
        should_stop: ShouldStop = _never,
    ) -> TrainReport:
        """Train on a data set and publish the best snapshot; the same call again resumes.

        Args:
            request: what to train, or the name of a data set.
            steps: optimiser steps; `None`, here and below: as the request says.
            time_budget_sec: seconds of training.
            model_name: of the published model.
            on_event: called with each line of the history, and with a "progress" event every few steps.
            should_stop: asked after every step; `True` saves the state and returns a report that is not finished.

        Raises:
            StateError: too few originals, or the model's name is taken.
            BusyError: another process trains this run.
            TrainingError: a loss stayed not finite after three rollbacks.
        """
        from synthbank.workflows.training.requests import TrainRequest
        from synthbank.workflows.training.train import train

        wanted = TrainRequest(request) if isinstance(request, str) else request
        given = _given(steps=steps, time_budget_sec=time_budget_sec, model_name=model_name)
        return train(self._bank, replace(wanted, **given), on_event=on_event, should_stop=should_stop)

    def import_model(self, source: str, *, name: str | None = None) -> ModelRow:
        """Bring in a model that was trained elsewhere; its hashes are checked and its originals recorded.

        Args:
            source: `zoo:NAME`, a folder or a URL of a pushed model.
            name: in this bank; `None`: the model's own.

        Raises:
            SourceError: there is no whole model.
            IntegrityError: a file is damaged or was exchanged.
            StateError: the name belongs to other weights here.
        """
        from synthbank.workflows.models.transfer import import_model

        return import_model(self._bank, source, name=name)

    def models(self) -> list[ModelRow]:
        """Published and withdrawn models, newest first."""
        from synthbank.catalogue import queries

        with self._bank.catalogue.session(read_only=True) as session:
            return queries.list_models(session=session)

    # --- synthetic images ------------------------------------------------------------------------------------------

    def generate(
        self,
        request: GenerateRequest | str,
        *,
        n: int | None = None,
        class_name: str | None = None,
        seed: int | None = None,
        device: str = "cpu",
        on_progress: OnCount = _ignore,
        should_stop: ShouldStop = _never,
    ) -> GenerateReport:
        """Make images until every wanted class holds `n` accepted ones; the same call again resumes or adds nothing.

        Args:
            request: what to generate, or the name of a model.
            n: accepted images of each class; with a model's name it must be given.
            class_name: this class alone; `None`: all, or as the request says.
            seed: of the job; `None`: 0, or as the request says.
            device: cpu, cuda, mps or auto.
            on_progress: called with class name, accepted so far and wanted.
            should_stop: asked before each forward pass; `True` ends the job with what it has.

        Raises:
            UnknownNameError: no such model or class.
            BusyError: another process works on the same job.
        """
        from synthbank.errors import OptionError
        from synthbank.workflows.generation.generate import generate
        from synthbank.workflows.generation.requests import GenerateRequest

        if isinstance(request, str) and n is None:
            raise OptionError("The number of images is missing", next_step="say generate(model, n=200)")
        wanted = GenerateRequest(request, n or 0) if isinstance(request, str) else request
        wanted = replace(wanted, **_given(n=n, class_name=class_name, seed=seed))
        return generate(self._bank, wanted, device=device, on_progress=on_progress, should_stop=should_stop)

    def jobs(self, *, limit: int = 50) -> list[JobRow]:
        """Generation jobs, newest first, at most `limit`."""
        from synthbank.catalogue import queries

        with self._bank.catalogue.session(read_only=True) as session:
            return queries.list_jobs(limit=limit, session=session)

    def images(
        self,
        *,
        job: str | None = None,
        model: str | None = None,
        class_name: str | None = None,
        verdict: Verdict | str | None = Verdict.ACCEPTED,
        limit: int = 100,
        after: str | None = None,
    ) -> list[ImageRow]:
        """A page of rows of synthetic images, newest first.

        Args:
            job: of this job alone.
            model: of this model alone.
            class_name: of this class alone.
            verdict: "accepted", "rejected" or "withdrawn"; `None`: any.
            limit: rows of the page.
            after: id of the last row of the page before.
        """
        from synthbank.catalogue import queries

        with self._bank.catalogue.session(read_only=True) as session:
            return queries.images(
                job_id=job,
                model_id=model,
                class_name=class_name,
                verdict=verdict,
                limit=limit,
                after=after,
                session=session,
            )

    def pixels(self, image: ImageRow | str) -> UInt8Images:
        """Pixels of a synthetic image: `[C, H, W]`, uint8, 0..255.

        Args:
            image: its row or id.

        Raises:
            NotFoundError: no such image, or its file is gone.
        """
        from synthbank.catalogue import queries
        from synthbank.storage import decode_png

        if isinstance(image, str):
            with self._bank.catalogue.session(read_only=True) as session:
                image = queries.get_image(image, session=session)
        return decode_png(self._bank.store.get(image.key))

    def dataset(
        self, job: str, *, part: str = "synthetic", transform: Callable[[Tensor], Any] | None = None
    ) -> LabelledDataset:
        """Images of a job, or the originals behind its model, as a map-style torch data set.

        It has `len`, `classes`, `class_to_idx` and `targets`; an item is (image, label), and labels are the same for
        every part.

        Args:
            job: id of a generation job.
            part: "synthetic", "train", "validation", "test", or "mixed" (training originals, then synthetic images).
            transform: of each uint8 tensor `[C, H, W]`, 0..255; `None`: none.

        Raises:
            UnknownNameError: no such job or part.
            StateError: the part holds no image.
        """
        from synthbank.workflows.delivery.dataset import job_dataset

        return job_dataset(self._bank, job, part=part, transform=transform)

    # --- evidence --------------------------------------------------------------------------------------------------

    def evaluate(self, request: EvaluateRequest | str, *, on_stage: OnText = _ignore) -> EvaluateReport:
        """Score a job against the test originals: fidelity, diversity, copying and privacy, with intervals and floors.

        Args:
            request: what to evaluate, or the id of a job.
            on_stage: called with what is going on.

        Raises:
            StateError: nothing was accepted, or the data set has no test originals.
        """
        from synthbank.workflows.evaluation.evaluate import evaluate
        from synthbank.workflows.evaluation.requests import EvaluateRequest

        wanted = EvaluateRequest(request) if isinstance(request, str) else request
        return evaluate(self._bank, wanted, on_stage=on_stage)

    def utility(self, request: UtilityRequest | str, *, on_stage: OnText = _ignore) -> UtilityReport | CrossReport:
        """Measure what a job's images do to a classifier that is tested on real images.

        Args:
            request: what to measure, or the id of a job.
            on_stage: called with what is going on.

        Returns:
            Results on the test split; `CrossReport` where the request asks for folds.

        Raises:
            StateError: nothing was accepted, or the data set has no test originals.
        """
        from synthbank.workflows.evaluation.requests import UtilityRequest
        from synthbank.workflows.evaluation.utility import utility

        wanted = UtilityRequest(request) if isinstance(request, str) else request
        return utility(self._bank, wanted, on_stage=on_stage)

    def bias(self, request: BiasRequest | str) -> BiasReport:
        """Measure which kinds of original, groups and labels a job's images forget.

        Args:
            request: what to measure, or the id of a job.

        Raises:
            StateError: nothing was accepted, or the data set has no test originals.
        """
        from synthbank.workflows.evaluation.bias import bias
        from synthbank.workflows.evaluation.requests import BiasRequest

        wanted = BiasRequest(request) if isinstance(request, str) else request
        return bias(self._bank, wanted)

    def report(self, request: ReportRequest | str, *, to: str | Path | None = None) -> Path:
        """Write a job's report, one HTML file that needs nothing else.

        Args:
            request: what to report on, or the id of a job.
            to: file to write; `None`: as the request says, else into the bank.

        Returns:
            Path of the file.
        """
        from synthbank.workflows.evaluation.report import write_report
        from synthbank.workflows.evaluation.requests import ReportRequest

        wanted = ReportRequest(request) if isinstance(request, str) else request
        return write_report(self._bank, wanted if to is None else replace(wanted, to=Path(to)))

    def scorecard(self, job: str) -> Scorecard:
        """The seven criteria of a job, with what is missing.

        Args:
            job: its id.

        Raises:
            StateError: the job holds no image yet.
        """
        from synthbank.workflows.evaluation.report import job_scorecard

        return job_scorecard(self._bank, job)

    # --- delivery and upkeep ---------------------------------------------------------------------------------------

    def export(self, request: ExportRequest | str, *, to: str | Path | None = None) -> ExportResult:
        """Export accepted images as class folders, a zip, an `.npz`, or to a bucket.

        Args:
            request: what to export, or the id of a job.
            to: folder, `file.zip`, `file.npz` or URL; `None`: as the request says.

        Raises:
            OptionError: no target was given.
            StateError: nothing to export, or the target is occupied.
        """
        from synthbank.errors import OptionError
        from synthbank.workflows.delivery.export import ExportRequest, export

        wanted = ExportRequest(job_id=request) if isinstance(request, str) else request
        wanted = wanted if to is None else replace(wanted, target=to)
        if wanted.target is None:
            raise OptionError("The export has no target", next_step="say export(job, to='images.zip')")
        return export(self._bank, wanted)

    def withdraw(self, original: str) -> WithdrawalReport:
        """Mark an original, and every model and image that depended on it, as withdrawn; records stay.

        Args:
            original: its pixel hash (`sha256` of its row).

        Raises:
            NotFoundError: no data set and no model holds this original.
        """
        from synthbank.catalogue import queries

        with self._bank.catalogue.session() as session:
            return queries.withdraw_original(original, session=session)

    def regenerate(self, image: str, *, device: str = "cpu") -> RegenerateReport:
        """Make a synthetic image again from its row, and compare it with the stored one.

        Args:
            image: its id.
            device: cpu, cuda, mps or auto.

        Raises:
            NotFoundError: no such image.
        """
        from synthbank.workflows.maintenance.verify import regenerate

        return regenerate(self._bank, image, device=device)

    def verify(self, *, hashes: bool = True) -> VerifyReport:
        """Compare every recorded file with its hash, and stored images with their rows.

        Args:
            hashes: read every file; `False`: look only whether it is there.
        """
        from synthbank.workflows.maintenance.verify import verify

        return verify(self._bank, hashes=hashes)


def _given(**values: Any) -> dict[str, Any]:
    """The values that are not `None`."""
    return {name: value for name, value in values.items() if value is not None}
