"""The progress bar of commands that do not import JAX."""

from amr_jax.run.progress import progress_bar


def test_the_bar_is_on_standard_error(capsys):
    with progress_bar("parsing [a]", 3) as advance:
        advance(1)
        advance(2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "parsing [a]" in err
    assert "3/3" in err
