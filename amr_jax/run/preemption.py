"""Stop requests: SIGTERM from a scheduler, Ctrl-C from a user.

Clouds, SLURM and Kubernetes send SIGTERM some seconds to minutes before they take a machine away.
In a run of several processes, JAX's preemption service passes it on to all of them and names the
dispatch after which they save together.
"""

import os
import signal
import threading

from jax.experimental import multihost_utils

from amr_jax.run import distributed

_CTRL_C = b"Ctrl-C: the run saves and ends. A second Ctrl-C ends it at once, without saving.\n"


class StopRequest:
    """Whether this run was asked to stop; a context manager that handles the signals meanwhile.

    Python allows signal handlers in the main thread only. In a run of several processes JAX handles
    SIGTERM itself (`jax_enable_preemption_service`), and Ctrl-C becomes SIGTERM.
    """

    def __init__(self):
        self._received: signal.Signals | None = None
        self._before = {}
        self._calls = 0

    def __enter__(self) -> "StopRequest":
        numbers = [signal.SIGINT] if distributed.several() else [signal.SIGINT, signal.SIGTERM]
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                # A shell starts background jobs with SIGINT ignored; it remains ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        # A signal after the last dispatch: pass it on to the previous handler.
        handler = self._before.get(self._received)
        if kind is None and callable(handler):
            handler(self._received, None)

    def _receive(self, number: int, _) -> None:
        self._received = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.write(2, _CTRL_C)  # not print: that is not reentrant
            if distributed.several():
                os.kill(os.getpid(), signal.SIGTERM)

    def reached(self) -> bool:
        """Whether to save and end now; every process asks once before every dispatch."""
        if not distributed.several():
            return self._received is not None
        # The service picks a call that no process has made yet: the numbers must have no gaps.
        self._calls += 1
        return multihost_utils.reached_preemption_sync_point(self._calls)
