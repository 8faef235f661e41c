"""Store pixels as files: PNG with its provenance inside, hash, atomic put.

The writer knows no catalogue. A file is stored before its row is entered, and its key and bytes follow from job, class,
number and model alone: a process that is killed in between leaves at most files that are written again, the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthbank.fingerprint import bytes_sha256, pixel_sha256
from synthbank.generation.seeds import image_id
from synthbank.records import UInt8Images
from synthbank.storage import ObjectStore, encode_png, layout


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """One stored file."""

    id: str
    index: int
    seed: int
    key: str
    sha256: str
    """Of the file."""
    pixel_sha256: str
    """Of the pixels, whatever the encoder."""
    bytes: int


class ImageWriter:
    """Encodes and stores the images of one job.

    Args:
        store: where files go.
        job_id: names keys and ids.
        model: written into every file.
        class_names: of the model.
        threads: that encode and store; `None`: as many as suit the store.
        pool: threads shared by the writers of several jobs, whose owner ends them; `None`: `threads` of its own.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        job_id: str,
        model: str,
        class_names: Sequence[str],
        threads: int | None = None,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        self._store, self._job_id, self._model, self._class_names = store, job_id, model, class_names
        # threads, not processes: zlib compresses without the interpreter lock, and no pixels are copied
        self._pool = pool or ThreadPoolExecutor(threads or store.writers, thread_name_prefix="png")
        self._shared = pool is not None

    def write(self, images: UInt8Images, *, class_index: int, first: int, seeds: Sequence[int]) -> list[WrittenImage]:
        """Store images number `first` and on, of one class; a file that is there already is replaced by the same bytes.

        Args:
            images: `[N, C, H, W]`, uint8, 0..255.
            class_index: class of all of them.
            first: number of the first image within job and class.
            seeds: one an image.
        """

        def one(i: int) -> WrittenImage:
            return self._write_one(images[i], class_index, first + i, seeds[i])

        # `map` keeps the order of images, and raises here what failed in a thread: no row without its file
        return list(self._pool.map(one, range(len(images))))

    def _write_one(self, pixels: NDArray[np.uint8], class_index: int, index: int, seed: int) -> WrittenImage:
        identity = image_id(self._job_id, class_index, index)
        key = layout.image_key(self._job_id, class_index, index)
        text = provenance_text(identity, model=self._model, class_name=self._class_names[class_index], seed=seed)
        data = encode_png(pixels, text=text)
        # the put is atomic: a reader, or a check of the bank, sees the whole file or none
        self._store.put(key, data)
        return WrittenImage(identity, index, seed, key, bytes_sha256(data), pixel_sha256(pixels), len(data))

    def close(self) -> None:
        """Wait for its own encoders and end their threads."""
        if not self._shared:
            self._pool.shutdown()


def provenance_text(identity: str, *, model: str, class_name: str, seed: int) -> dict[str, str]:
    """The PNG text chunks that say an image is synthetic, and where it came from."""
    return {
        "Title": "Synthetic image, not a photograph of a specimen",
        "Software": "SynthBank",
        "SynthBank-Synthetic": "true",
        "SynthBank-Image": identity,
        "SynthBank-Model": model,
        "SynthBank-Class": class_name,
        "SynthBank-Seed": str(seed),
    }
