"""The identity of every synthetic image: its id and its seed follow from job, class and number."""

from __future__ import annotations

from synthbank.fingerprint import stable_seed


def image_seed(job_seed: int, class_index: int, index: int) -> int:
    """The 63-bit seed of one image; depends on nothing but its arguments.

    >>> image_seed(7, 0, 5) == image_seed(7, 0, 5)
    True
    """
    return stable_seed("image", job_seed, class_index, index)


def image_id(job_id: str, class_index: int, index: int) -> str:
    """The catalogue id of one image.

    >>> image_id("j1a2b", 1, 42)
    'j1a2b-1-000042'
    """
    return f"{job_id}-{class_index}-{index:06d}"
