"""Reading a gate from its file, of whichever form it is."""

from __future__ import annotations

from synthbank.errors import IntegrityError
from synthbank.generation import aligned_gate, outline_gate
from synthbank.generation.gate import Gate
from synthbank.generation.matching import VIEWS
from synthbank.models import load_tensors, read_header


def load_gate(data: bytes, *, sha256: str | None = None) -> Gate:
    """A gate from the bytes of `screen.safetensors`.

    Raises:
        IntegrityError: other bytes than recorded, a damaged file, or one of another form.
    """
    tensors, header = load_tensors(data, sha256=sha256), read_header(data)
    form = header.get("form")
    if form == aligned_gate.FORM:
        return aligned_gate.AlignedGate.from_tensors(tensors, header)
    older = form in (outline_gate.FORM, outline_gate.EIGHT_BIT_FORM)
    if older and "outlines" in tensors and tensors["outlines"].shape[1] == len(VIEWS):
        return outline_gate.OutlineGate.from_tensors(tensors, header)
    raise IntegrityError(
        "The model's gate is of another form",
        got=form or f"features of {header.get('network', 'an unknown network')}",
        allowed=f"{aligned_gate.FORM} or {outline_gate.FORM}",
        next_step="repeat its 'synthbank train' command with another --model-name: the run is not trained again",
    )
