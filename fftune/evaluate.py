"""`python -m fftune.evaluate`: attack nets. The code is in `fftune.cli.evaluate`."""

import sys

from fftune.cli.evaluate import main
from fftune.cli.options import run

if __name__ == "__main__":
    run(main, sys.argv[1:])
