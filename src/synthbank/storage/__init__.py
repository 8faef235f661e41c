"""Object storage: bytes under keys, PNG in memory, the layout of keys, and the history of a run."""

from synthbank.storage import layout
from synthbank.storage.cache import ArrayCache
from synthbank.storage.history import History
from synthbank.storage.local import write_atomic
from synthbank.storage.png import decode_png, encode_png, read_png_text
from synthbank.storage.remote import open_filesystem, sign, translate_errors
from synthbank.storage.store import ObjectStore, local_path_of

__all__ = [
    "ArrayCache",
    "History",
    "ObjectStore",
    "decode_png",
    "encode_png",
    "layout",
    "local_path_of",
    "open_filesystem",
    "read_png_text",
    "sign",
    "translate_errors",
    "write_atomic",
]
