"""`python -m vqddm` is `vqddm`."""

from vqddm.cli import main

main()
