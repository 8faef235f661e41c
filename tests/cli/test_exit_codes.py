"""Exit codes: 1 for a problem of the bank, the machine or a server, 2 for a command that asks for the impossible."""

import pytest

from synthbank import errors
from synthbank.cli.app import exit_code


def _subclasses(kind):
    return {kind}.union(*(_subclasses(below) for below in kind.__subclasses__()))


PROBLEMS = {
    errors.SynthBankError,  # of a server, such as an operation of Google's that failed
    errors.SetupError,
    errors.TrainingError,
    errors.IntegrityError,
    errors.BusyError,
}


@pytest.mark.parametrize("kind", sorted(_subclasses(errors.SynthBankError), key=lambda kind: kind.__name__))
def test_every_error_of_the_tree_has_the_code_that_the_manual_gives_it(kind):
    if not kind.__module__.startswith("synthbank"):
        pytest.skip("of a test")
    error = kind("model", "m", []) if kind is errors.UnknownNameError else kind("it failed")
    assert exit_code(error) == (1 if kind in PROBLEMS else 2)


def test_a_damaged_catalogue_is_no_wrong_use(cli, tmp_path):
    assert cli("catalogue", "migrate", "--bank", "b").code == 0
    (tmp_path / "b" / "catalogue.db").write_bytes(b"no database" * 1000)
    assert cli("catalogue", "ls", "--bank", "b").code == 1
    assert cli("catalogue", "ls", "--bank", "elsewhere").code == 2
