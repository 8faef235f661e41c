"""A generation request and the id of its job. No network is loaded here, so that a server can take requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from synthbank.catalogue import ImageRow, JobRow, ModelRow, queries
from synthbank.errors import OptionError, UnknownNameError
from synthbank.fingerprint import set_fingerprint
from synthbank.records import MAX_ATTEMPTS, JobRequest, SelectionRule
from synthbank.workflows.bank import Bank

MAX_SEED = 2**63 - 1
MAX_STEPS = 256
"""Images of a latent interpolation at most."""


@dataclass(frozen=True)
class GenerateRequest:
    """Images to be made by a model: number, classes, seed and options."""

    model: str
    n: int
    """Accepted images for each class; of a latent interpolation: its images, both ends included."""
    class_name: str | None = None
    """`None`: every class."""
    seed: int = 0
    truncation: float = 1.0
    screen: bool = True
    """`False`: nothing is rejected, and every row says that it was not screened."""
    max_attempts: float = MAX_ATTEMPTS
    """Attempts a class may take, as a multiple of `n` (of `n / share` with selection)."""
    select: float | None = None
    """Share of the images of each class to keep, those most typical of it; `None`: all."""
    match: float | None = None
    """Share of the images of each class to keep, so that they occur as often as their like among the originals."""
    towards: int | None = None
    """Seed of the job whose first image ends a latent interpolation from the first image of `seed`; `None`: none.

    All images of an interpolation lie in the orientation of its first one.
    """

    def __post_init__(self) -> None:
        if self.n < 1:
            raise OptionError("The number of images must be above zero", got=self.n)
        if not 0 <= self.truncation <= 1:
            raise OptionError("Truncation is out of range", got=self.truncation, allowed="0 to 1")
        if self.max_attempts < 1:
            raise OptionError("max_attempts is a multiple of n", got=self.max_attempts, allowed="1 or more")
        for seed in (self.seed, 0 if self.towards is None else self.towards):
            if not 0 <= seed <= MAX_SEED:
                raise OptionError("The seed is out of range", got=seed, allowed="0 to 2**63 - 1")
        for name, share in self._shares().items():
            if not 0.0 < share < 1.0:
                raise OptionError(f"The share to {name} is out of range", got=share, allowed="between 0 and 1")
        if len(self._shares()) > 1:
            raise OptionError("One job is selected in one way", got="select and match", next_step="leave one out")
        if self._shares() and (not self.screen or self.towards is not None):
            raise OptionError(
                "Selection works on screened, independent images, not on an interpolation",
                next_step="leave one of them out",
            )
        if self.towards is not None and not 2 <= self.n <= MAX_STEPS:
            raise OptionError(
                "The number of images of an interpolation is out of range", got=self.n, allowed=f"2 to {MAX_STEPS}"
            )

    def job_id(self) -> str:
        """The id of the job: the same model, seed, truncation, screening and selection; asking for more extends it."""
        # neither `n` nor the class is hashed, as images follow from seed, class and number alone. What came later
        # (interpolation, selection) is appended only where asked for: jobs of earlier versions keep their ids
        parts: tuple[object, ...] = (self.model, self.seed, self.truncation, self.screen)
        if self.towards is not None:
            parts += ("walk", self.towards, self.n)  # the steps lie elsewhere for another `n`: another job
        if self.select is not None:
            parts += (self.select,)
        if self.match is not None:
            parts += ("match", self.match)
        return "j" + set_fingerprint([repr(parts)])[:10]

    def job_request(self) -> JobRequest:
        """The part of the request that the job's row keeps, beside model and seed."""
        return JobRequest(
            truncation=self.truncation,
            screen=self.screen,
            towards=self.towards,
            steps=0 if self.towards is None else self.n,
            selection=next((SelectionRule(option, share) for option, share in self._shares().items()), None),
        )

    def _shares(self) -> dict[str, float]:
        return {k: v for k, v in (("select", self.select), ("match", self.match)) if v is not None}

    def targets(self, class_names: Sequence[str]) -> dict[str, int]:
        """Class name to accepted images wanted.

        Raises:
            UnknownNameError: the model has no such class.
        """
        if self.class_name is None:
            return dict.fromkeys(class_names, self.n)
        if self.class_name not in class_names:
            raise UnknownNameError(f"class of model '{self.model}'", self.class_name, class_names)
        return {self.class_name: self.n}


def submit(
    bank: Bank,
    request: GenerateRequest,
    *,
    max_queued: int | None = None,
    audit: Mapping[str, Any] | None = None,
) -> tuple[ModelRow, JobRow]:
    """Queue a request for whichever worker is free; a job that holds these images already is returned as it is.

    Args:
        bank: where the model is.
        request: the images wanted.
        max_queued: refuse when so many jobs wait already; `None`: no limit.
        audit: `actor` and `details` of the audit log's entry; `None`: none is made.

    Raises:
        UnknownNameError: no such model or class.
        StateError: the model was withdrawn.
        BusyError: the queue is full.
    """
    # one transaction: a job that is queued stands in the audit log, and a refused one in neither
    with bank.catalogue.session() as session:
        model = queries.get_model(request.model, session=session)
        job = queries.enqueue(
            request.job_id(),
            model_id=model.id,
            request=request.job_request().to_json(),
            seed=request.seed,
            screened=request.screen,
            targets=request.targets(model.class_names),
            max_queued=max_queued,
            session=session,
        )
        if audit is not None:
            queries.add_audit("generate", subject_kind="job", subject_id=job.id, session=session, **audit)
    return model, job


def first_images(bank: Bank, job_id: str, targets: Mapping[str, int]) -> list[ImageRow]:
    """The first accepted images of a job, at most as many of each class as `targets` says."""
    # the first by number, not the newest: the same request gets the same images, however far the job has grown since
    with bank.catalogue.session(read_only=True) as session:
        return [
            row
            for name, n in targets.items()
            for row in islice(queries.accepted_images(job_id=job_id, class_name=name, session=session), n)
        ]
