"""`python -m egotools`: the command line, for where the installed command is not on the path."""

from egotools.cli.main import main

if __name__ == "__main__":
    main()
