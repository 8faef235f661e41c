"""The one exception tree.

    SynthBankError
    ├── InputError              the user's files or folder
    │   ├── SourceError         a folder, archive or .npz that cannot be read as a labelled set
    │   └── UnsafeArchiveError  path traversal, bombs, links out of the archive
    ├── OptionError             an option or setting outside what is allowed
    │   └── UnknownNameError    a name that no registry or catalogue holds (knows the nearest one)
    ├── StateError              the bank is not in the state that the step needs
    │   ├── NotFoundError       a row, file or snapshot that should be there
    │   ├── IntegrityError      stored bytes differ from what was recorded
    │   └── BusyError           the queue is full, or another process holds the job; the same request works later
    ├── AccessError             a key that is missing, unknown, ended, or without the right
    ├── TrainingError           training cannot go on (rollbacks used up, reason kept)
    └── SetupError      the machine lacks something: weights, disk, a library, a server

Every message says what was wrong, what was got, what is allowed, and the next step. The facts also stay on the
exception as attributes (`error.facts`). Rooms raise; only `cli` and `service` turn errors into exit codes or HTTP.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class SynthBankError(Exception):
    """Base of every error that SynthBank raises on purpose.

    Args:
        what: one sentence that says what went wrong.
        got: the value that was received (`None`: not shown).
        allowed: what would have been accepted (`None`: not shown).
        next_step: what the user can do now (`None`: not shown).
        **facts: machine-readable details such as `path=` or `run_id=`.
    """

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        allowed: object = None,
        next_step: str | None = None,
        **facts: Any,
    ) -> None:
        self.what = what
        self.got = got
        self.allowed = allowed
        self.next_step = next_step
        self.facts = facts
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole message on one line: what, got, allowed, next step."""
        parts = [self.what.rstrip(".") + "."]
        if self.got is not None:
            parts.append(f"Got: {_show(self.got)}.")
        if self.allowed is not None:
            parts.append(f"Allowed: {_show(self.allowed)}.")
        if self.next_step is not None:
            parts.append(f"Next: {self.next_step.rstrip('.')}.")
        return " ".join(parts)


class InputError(SynthBankError):
    """The user's input files cannot be used."""


class SourceError(InputError):
    """A folder, archive or array file cannot be read as a set of labelled images."""


class UnsafeArchiveError(InputError):
    """An archive holds entries that would escape the target folder or exhaust the machine."""


class OptionError(SynthBankError):
    """An option or setting is outside what is allowed."""


class UnknownNameError(OptionError):
    """A name is not known; the message offers the nearest known one."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, next_step: str | None = None) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else next_step
        super().__init__(f"Unknown {kind}", got=name, allowed=names or "none yet", next_step=hint, kind=kind)


class StateError(SynthBankError):
    """The bank is not in the state that this step needs."""


class NotFoundError(StateError):
    """Something that should exist is not there."""


class IntegrityError(StateError):
    """Stored bytes do not match what was recorded about them."""


class BusyError(StateError):
    """Too much is asked for at once; `facts["retry_after_sec"]` says when to ask again."""


class AccessError(SynthBankError):
    """A key is missing, unknown or no longer valid (`facts["known"]` is `False`), or lacks the scope."""


class TrainingError(SynthBankError):
    """Training stopped for a reason that a retry with the same settings will not change."""


class SetupError(SynthBankError):
    """The machine lacks something that the step needs."""


def _show(value: object) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(str(v) for v in value)
    return str(value)
