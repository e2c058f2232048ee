"""`make bench`: measures this module beside the other ways to run Python on the web, and writes report.md.

Everything is compared within one run: the servers are started in turn with the same number of processes and threads, and
measured in interleaved rounds. QUICK=1 measures less, in five minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import profiles
import report
from measure import Bench


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure less, in five minutes")
    arguments = parser.parse_args()
    # Debian's mod_python asks the first python3 on PATH where its library is.
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ["PATH"]
    bench = Bench(arguments.quick)
    bench.run()
    bench.profiles = profiles.measure(bench)
    report.write(bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
