import sys

from fftune.cli import run
from fftune.sweep.cli import main

run(main, sys.argv[1:])
