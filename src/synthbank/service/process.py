"""The two processes beside the server: `evaluate` scores one job and ends, `regenerate` makes single images again.

The server starts them as `python -m synthbank.service.process NAME`. Both read the settings of the service from the
first line of stdin, so that no setting shows in a list of processes, and answer with one line of JSON for each request.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable

from synthbank.catalogue import queries
from synthbank.errors import SynthBankError
from synthbank.service.evaluations import FINISHED
from synthbank.service.settings import ServiceSettings
from synthbank.workflows.bank import open_bank


def evaluate(settings: ServiceSettings) -> None:
    """Evaluate the job whose id is on the next line of stdin."""
    from synthbank.workflows.evaluation.evaluate import evaluate
    from synthbank.workflows.evaluation.requests import EvaluateRequest

    job = sys.stdin.readline().strip()
    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    with open_bank(settings, create=False) as bank:
        try:
            result: dict[str, object] = {"scores": len(evaluate(bank, EvaluateRequest(job)).scores)}
        except SynthBankError as error:
            result = {"problem": error.message}
        with bank.catalogue.session() as session:
            queries.add_audit(
                FINISHED, actor="service", subject_kind="job", subject_id=job, details=result, session=session
            )
    print(json.dumps(result))


def regenerate(settings: ServiceSettings) -> None:
    """Make the image again whose id is on each further line of stdin, until stdin closes."""
    from synthbank.workflows.maintenance.verify import regenerate

    with open_bank(settings, create=False) as bank:
        for line in sys.stdin:
            try:
                report = regenerate(bank, line.strip(), device=settings.device)
                answer = {"equal": report.equal, "png": base64.b64encode(report.png()).decode()}
            except SynthBankError as error:
                answer = {"problem": error.message}
            print(json.dumps(answer), flush=True)


_PROCESSES: dict[str, Callable[[ServiceSettings], None]] = {"evaluate": evaluate, "regenerate": regenerate}


if __name__ == "__main__":
    _PROCESSES[sys.argv[1]](ServiceSettings.model_validate_json(sys.stdin.readline()))
