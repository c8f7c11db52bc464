"""What a command said at the edge, and what every mistake comes to there."""

import contextlib
import io
from collections.abc import Callable

from fftune.cli.edge import ended


class Said:
    """Exit code, stdout and stderr of work at the edge."""

    def __init__(self, work: Callable[[], object]) -> None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.code = ended(lambda: work() and None)
        self.out, self.err = out.getvalue(), err.getvalue()

    @classmethod
    def of(cls, code: int, err: str) -> "Said":
        """What a command in another process said."""
        said = cls.__new__(cls)
        said.code, said.out, said.err = code, "", err
        return said

    @property
    def lines(self) -> list[str]:
        """Lines of the edge."""
        return [line for line in self.err.splitlines() if line.startswith("fftune: ")]

    def require_one_line(self) -> None:
        """Assert that all went well, or that one line said what did not."""
        assert self.code in (0, 2), self.err
        assert "Traceback" not in self.err
        assert len(self.lines) == (self.code != 0), self.err
        assert all(line.isprintable() and len(line) < 2100 for line in self.lines)
