import sys

from fftune.cli import run
from fftune.doctor.cli import main

run(main, sys.argv[1:])
