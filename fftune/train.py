import sys

from fftune.cli import run
from fftune.train.cli import main

run(main, sys.argv[1:])
