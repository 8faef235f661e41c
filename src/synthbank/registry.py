"""One registry class for everything that is chosen by name: sources, checks, architectures, metrics, exporters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar

from synthbank.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects, filled by the files of one folder and by entry points.

    Adding a thing is one file: it is imported on first look-up, and registers itself with `@registry.register("name")`.

    Args:
        kind: the singular noun used in messages, such as "architecture".
        package: dotted name of the folder whose modules register themselves (`None`: nothing is imported).
        entry_point_group: group through which outside packages add entries (`None`: closed).
    """

    def __init__(self, kind: str, *, package: str | None = None, entry_point_group: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._group = entry_point_group
        self._items: dict[str, T] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._loaded = package is None and entry_point_group is None

    def register(self, name: str, **facts: Any) -> Callable[[T], T]:
        """Decorator that enters an object under `name` with declared facts; a name used twice is an error."""

        def enter(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._items[name] = item
            self._facts[name] = facts
            return item

        return enter

    def get(self, name: str) -> T:
        """The object called `name`; raises `UnknownNameError` with the nearest name."""
        self._load()
        if name not in self._items:
            raise UnknownNameError(self.kind, name, self._items)
        return self._items[name]

    def facts(self, name: str) -> dict[str, Any]:
        """The facts declared with `name`."""
        self.get(name)
        return self._facts[name]

    def names(self) -> list[str]:
        """Every known name, sorted."""
        self._load()
        return sorted(self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._items

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # set first: a file may look something up while it is imported
        try:
            self._import_all()
        except BaseException:
            self._loaded = False  # the next look-up must fail in the same way, not with half of the names
            raise

    def _import_all(self) -> None:
        if self._package is not None:
            package = import_module(self._package)
            for module in sorted(m.name for m in iter_modules(package.__path__)):
                if not module.startswith("_"):
                    import_module(f"{self._package}.{module}")
        if self._group is not None:
            for point in sorted(entry_points(group=self._group), key=lambda p: p.name):
                point.load()
