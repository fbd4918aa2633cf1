"""The notice that this machine will be taken away: save, and end so that one can start again.

A notice is SIGTERM: clouds, SLURM and Kubernetes send it some seconds to minutes before the end. In
a run of several processes JAX's preemption service passes it on, and names the dispatch after which
all of them save together.
"""

import signal
import threading

from jax.experimental import multihost_utils

from amr_jax.run import distributed


class Notice:
    """Whether this run has been told to end; a context, outside of which SIGTERM ends at once.

    In one process a signal handler listens; it can only be set from the main thread. Among several,
    JAX does (`jax_enable_preemption_service`), from its start on.
    """

    def __init__(self):
        self._asked = threading.Event()
        self._calls = 0

    def __enter__(self) -> "Notice":
        self._before = None
        if not distributed.several() and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, lambda *_: self._asked.set())
        return self

    def __exit__(self, kind, *_) -> None:
        if self._before is None:
            return
        signal.signal(signal.SIGTERM, self._before)
        # It came too late to be acted upon here, and is whoever's who listened before.
        if kind is None and self._asked.is_set() and callable(self._before):
            self._before(signal.SIGTERM, None)

    def reached(self) -> bool:
        """Whether to save and end now; to be asked after every dispatch, by all processes alike."""
        if not distributed.several():
            return self._asked.is_set()
        # The service agrees on a number that no process has come to yet: numbers without gaps.
        self._calls += 1
        return multihost_utils.reached_preemption_sync_point(self._calls)
