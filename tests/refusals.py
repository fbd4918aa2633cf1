"""What a command says of a command line that it refuses."""

from collections.abc import Callable

import pytest


def refused(capsys: pytest.CaptureFixture, call: Callable, *arguments: object) -> str:
    """The message of a command that ends with status 2, as an error that the user can correct."""
    with pytest.raises(SystemExit) as ended:
        call(*arguments)
    message = capsys.readouterr().err
    assert ended.value.code == 2, arguments
    assert message.startswith("error: "), message
    return message
