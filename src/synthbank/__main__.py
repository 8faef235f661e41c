"""`python -m synthbank` is `synthbank`."""

from synthbank.cli import main

main()
