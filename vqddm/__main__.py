"""What `vqddm` and `python -m vqddm` call."""

import signal
import sys


def main() -> None:
    """Run the command line, which is imported here, so that Ctrl-C in that moment ends as quietly as later."""
    try:
        from vqddm.cli import main as run
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    run()


if __name__ == "__main__":
    main()
