"""The command line: one file a command group; torch is imported only inside commands that compute."""

from synthbank.cli.app import main

__all__ = ["main"]
