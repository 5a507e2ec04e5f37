"""Run the command line with `python -m ulasis_backup`."""

from ulasis_backup.cli.main import main

if __name__ == "__main__":
    main()
