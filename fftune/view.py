"""`python -m fftune.view`: look at a study or at rows. The code is in `fftune.cli.view`."""

if __name__ == "__main__":
    import sys

    from fftune.cli.options import run
    from fftune.cli.view import main

    run(main, sys.argv[1:])
