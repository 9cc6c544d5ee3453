"""`python -m eggycore` is the `eggycore` command."""

from eggycore.cli import main

main()
