"""`python -m fftune.sweep`: search a front. The code is in `fftune.cli.sweep`."""

import sys

from fftune.cli.options import run
from fftune.cli.sweep import main

if __name__ == "__main__":
    run(main, sys.argv[1:])
