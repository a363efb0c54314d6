"""`python -m choreo`, the same as `choreo`; worker processes are started this way."""

from choreo.cli import main

if __name__ == "__main__":
    main(prog_name="choreo")
