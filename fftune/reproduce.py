"""`python -m fftune.reproduce`: both papers. The code is in `fftune.cli.reproduce`."""

if __name__ == "__main__":
    import sys

    from fftune.cli.options import run
    from fftune.cli.reproduce import main

    run(main, sys.argv[1:])
