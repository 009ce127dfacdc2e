"""Read staff's pages and every report, one after the other, until told to stop.

    python -m benchmarks.scale_reader          # in the database of DATABASE_URL

Ends at the end of standard input; prints what each took, as JSON.
"""

import json
import sys
import threading
import time
from collections import defaultdict

import django


def main() -> None:
    django.setup()
    from benchmarks.scale_alone import reading

    works = reading()
    took_ms: dict[str, list[float]] = defaultdict(list)
    told = threading.Thread(target=sys.stdin.read)
    told.start()
    while told.is_alive():
        for title, work in works.items():
            began = time.monotonic()
            work()
            took_ms[title].append(1000 * (time.monotonic() - began))
    print(json.dumps(took_ms))


if __name__ == "__main__":
    main()
