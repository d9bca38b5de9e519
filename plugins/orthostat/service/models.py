"""Warm models: several, bounded by number and memory, each in a process of its own."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from orthostat.errors import MachineError
from orthostat.planning.manifest import Recipe
from orthostat.prediction.batch import prepare_model
from orthostat.prediction.process import ModelProcess
from orthostat.scratch import scratch_folder

log = logging.getLogger(__name__)

_Key = tuple[str, str, str, str]


@dataclass
class _Warm:
    key: _Key
    process: ModelProcess
    held: ExitStack
    """Its scratch folder, and itself."""
    is_busy: bool = True
    has_large: bool = False
    """Works on a large image."""
    used: float = field(default_factory=time.monotonic)


class WarmModels:
    """Lends out models; the one that was used longest ago makes room for another."""

    def __init__(self, most: int, most_mb: float):
        """At most so many; idle ones go while all together hold more megabytes."""
        self._most = most
        self._most_mb = most_mb
        self._warm: list[_Warm] = []
        self._changed = threading.Condition()
        self._loading = threading.Lock()

    @contextmanager
    def borrow(self, recipe: Recipe, *, is_large: bool) -> Iterator[ModelProcess]:
        """The recipe's model, for one prediction at a time.

        Raises BundleError, LimitError and StorageError when it cannot be had; then no other was let go for
        it.
        """
        # With its address: who may not read it there must not use what others have loaded.
        key = (recipe.bundle, recipe.sha256 or "", recipe.engine, recipe.options.model_dump_json())
        warm = self._take(key, is_large=is_large) or self._load(recipe, key, is_large=is_large)
        try:
            yield warm.process
        except MachineError:
            self._remove(warm)
            raise
        finally:
            self._give_back(warm)

    @property
    def count(self) -> int:
        """Number of warm models."""
        return len(self._warm)

    @property
    def memory_mb(self) -> float:
        """What their processes hold."""
        return sum(warm.process.memory_mb for warm in list(self._warm))

    def close(self) -> None:
        """Let all of them go."""
        with self._changed:
            for warm in list(self._warm):
                self._let_go(warm)

    def _take(self, key: _Key, *, is_large: bool) -> _Warm | None:
        """The idle model, waited for where it will be idle soon; None where another must be loaded."""
        with self._changed:
            while True:
                same = [warm for warm in self._warm if warm.key == key]
                for warm in same:
                    if not warm.is_busy:
                        warm.is_busy, warm.has_large = True, is_large
                        return warm
                if not any(not warm.has_large for warm in same):
                    return None
                self._changed.wait()

    def _load(self, recipe: Recipe, key: _Key, *, is_large: bool) -> _Warm:
        with self._loading, ExitStack() as stack:
            warm = self._take(key, is_large=is_large)  # somebody else may have loaded it
            if warm is not None:
                return warm
            process = stack.enter_context(prepare_model(recipe, stack.enter_context(scratch_folder())))
            with self._changed:
                self._make_room()
            process.start()
            warm = _Warm(key, process, stack.pop_all(), has_large=is_large)
            with self._changed:
                self._warm.append(warm)
            return warm

    def _make_room(self) -> None:
        """Only now that the other is here and checked: a wrong digest lets no model go."""
        while len(self._warm) >= self._most:
            idle = [warm for warm in self._warm if not warm.is_busy]
            if idle:
                self._let_go(min(idle, key=lambda warm: warm.used))
            else:
                self._changed.wait()

    def _give_back(self, warm: _Warm) -> None:
        with self._changed:
            warm.is_busy, warm.has_large, warm.used = False, False, time.monotonic()
            for other in sorted(self._warm, key=lambda warm: warm.used):
                if self.memory_mb > self._most_mb and not other.is_busy and len(self._warm) > 1:
                    self._let_go(other)
            self._changed.notify_all()

    def _remove(self, warm: _Warm) -> None:
        with self._changed:
            self._let_go(warm)

    def _let_go(self, warm: _Warm) -> None:
        with contextlib.suppress(ValueError):
            self._warm.remove(warm)
        warm.held.close()
        log.info("model %s let go", warm.key[1][:12])
