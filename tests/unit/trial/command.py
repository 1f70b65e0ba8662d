"""The real command line with trial backends registered beside the real ones; batch's processes load this file too."""

from bridge.backends import base

base.register("trial", "tests.unit.trial.backends:Trial")
base.register("slow", "tests.unit.trial.tempers:Slow")
base.register("dying", "tests.unit.trial.tempers:Dying")

if __name__ == "__main__":
    from bridge.cli import main

    main()
