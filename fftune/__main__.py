"""`python -m fftune VERB ...`, the same as `fftune VERB ...`."""

from fftune.cli import main

if __name__ == "__main__":
    main()
