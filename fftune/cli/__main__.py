from fftune.cli import main

main()
