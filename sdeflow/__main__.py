"""python -m sdeflow: the command; Ctrl-C while it loads ends it in one line too."""

import sys

try:
    from sdeflow.command import main
except KeyboardInterrupt:
    print("sdeflow: stopped", file=sys.stderr)
    raise SystemExit(130) from None

if __name__ == "__main__":
    main()
