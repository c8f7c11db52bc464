import sys

from fftune.cli import run
from fftune.report.cli import main

run(main, sys.argv[1:])
