"""One registry class for everything that is chosen by name: sources, checks, architectures, metrics, exporters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from inspect import Parameter, signature
from pkgutil import iter_modules
from typing import Generic, TypeVar

from synthbank.errors import OptionError, UnknownNameError

T = TypeVar("T")
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class NoFacts:
    """Spec of a kind whose entries declare nothing but their name."""


class Registry(Generic[T, F]):
    """Names to objects of type `T`, each with a frozen spec of type `F` that holds its declared facts.

    The files of one folder and the entry points of outside packages fill it. Adding a thing is one file: it is imported
    on the first look-up, and registers itself with `@registry.register("name", fact=value)`.

    Args:
        kind: the singular noun used in messages, such as "architecture".
        spec: the dataclass of facts; it checks their values itself.
        package: dotted name of the folder whose files register themselves (`None`: nothing is imported). Sub-folders
            and files that begin with an underscore are not imported.
        entry_point_group: group through which outside packages add entries (`None`: closed).
    """

    def __init__(
        self, kind: str, spec: Callable[..., F], *, package: str | None = None, entry_point_group: str | None = None
    ) -> None:
        self.kind = kind
        self._spec = spec
        self._package = package
        self._group = entry_point_group
        self._items: dict[str, T] = {}
        self._specs: dict[str, F] = {}
        self._loaded = package is None and entry_point_group is None

    def register(self, name: str, **facts: object) -> Callable[[T], T]:
        """Decorator that stores an object under `name` with the spec that its facts make.

        Raises:
            UnknownNameError: a fact that the spec does not have; the message offers the nearest one.
            OptionError: a fact is missing, or its value is outside what the spec allows.
            ValueError: the name is registered already.
        """
        spec = self._make_spec(name, facts)

        def store(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._items[name] = item
            self._specs[name] = spec
            return item

        return store

    def get(self, name: str) -> T:
        """The object called `name`; raises `UnknownNameError` with the nearest name."""
        self._load()
        if name not in self._items:
            raise UnknownNameError(self.kind, name, self._items)
        return self._items[name]

    def spec(self, name: str) -> F:
        """The facts declared with `name`; raises `UnknownNameError` with the nearest name."""
        self.get(name)
        return self._specs[name]

    def names(self) -> list[str]:
        """Every known name, sorted."""
        self._load()
        return sorted(self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._items

    def _make_spec(self, name: str, facts: dict[str, object]) -> F:
        parameters = signature(self._spec).parameters
        for fact in facts:
            if fact not in parameters:
                raise UnknownNameError(f"fact of {self.kind} '{name}'", fact, parameters)
        required = [fact for fact, parameter in parameters.items() if parameter.default is Parameter.empty]
        missing = [fact for fact in required if fact not in facts]
        if missing:
            raise OptionError(
                f"The {self.kind} '{name}' does not declare all its facts",
                got=sorted(facts) or "none",
                allowed=f"all of {', '.join(required)}",
                next_step=f"declare {', '.join(missing)}",
            )
        return self._spec(**facts)

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
            for module in sorted(m.name for m in iter_modules(package.__path__) if not m.ispkg):
                if not module.startswith("_"):
                    import_module(f"{self._package}.{module}")
        if self._group is not None:
            for point in sorted(entry_points(group=self._group), key=lambda p: p.name):
                point.load()


def check_fact(fact: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise `OptionError` for the value of a fact that is none of the allowed ones."""
    if value not in allowed:
        raise OptionError(f"The fact '{fact}' cannot have this value", got=repr(value), allowed=allowed)
