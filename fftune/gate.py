"""`python -m fftune.gate`: compare two nets. The code is in `fftune.cli.gate`."""

if __name__ == "__main__":
    import sys

    from fftune.cli.gate import main
    from fftune.cli.options import run

    run(main, sys.argv[1:])
