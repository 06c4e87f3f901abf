"""The command line in the process of the test."""

from click.testing import CliRunner

from audioattn_lib.cli import audioattn


def call(*arguments, code=0, **options):
    """Call ``audioattn`` with arguments of any type; ``code`` is the exit status that it must have."""
    result = CliRunner().invoke(audioattn, list(map(str, arguments)), prog_name="audioattn", **options)
    if result.exit_code != code:
        message = f"audioattn {' '.join(map(str, arguments))}\n{result.output}"
        raise AssertionError(message) from (None if isinstance(result.exception, SystemExit) else result.exception)
    return result
