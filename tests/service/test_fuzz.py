"""The API against requests that a machine makes up from its own document: nothing may answer above 499."""

from contextlib import suppress

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from .conftest import served

EXAMPLES = 5
SLOW = ("/events", "/regenerate")  # a stream, and a process that loads a network
QUIET = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_nothing_that_fits_or_breaks_the_document_is_a_server_error(home):
    with served(home, workers=0, wait_sec=0.02, rate_per_minute=10**6, max_queued=10**6) as client:
        address = str(client.base_url)
        schema = schemathesis.openapi.from_url(f"{address}/v1/openapi.json")
        operations = [found.ok() for found in schema.get_all_operations()]
        tried = [operation for operation in operations if not operation.path.endswith(SLOW)]
        statuses = set()
        for operation in tried:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @seed(1)
                @QUIET
                @given(case=operation.as_strategy(generation_mode=mode))
                def one(case):
                    statuses.add(case.call_and_validate(checks=[not_a_server_error]).status_code)

                with suppress(Unsatisfiable):  # nothing about a request without parameters can be wrong
                    one()
        assert len(tried) >= 25
        assert {200, 404, 422} <= statuses
        assert httpx.get(f"{address}/ready").status_code == 200
