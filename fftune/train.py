"""`python -m fftune.train`: train one net. The code is in `fftune.cli.train`."""

import sys

from fftune.cli.options import run
from fftune.cli.train import main

if __name__ == "__main__":
    run(main, sys.argv[1:])
