"""Gathering memory into large pages changes where it lies, never what is in it."""

import os
import subprocess
import sys

from merian_campaign.host.huge_pages import large_ranges

_MIB = 1 << 20

MAPS = """\
10000000-10100000 rw-p 00000000 00:00 0                                  [heap]
20100000-20700000 rw-p 00000000 00:00 0 
30000000-30800000 r--p 00000000 00:00 0 
40000000-40800000 rw-s 00000000 00:00 0 
50000000-50800000 rw-p 00001000 08:01 1234                               /usr/lib/a library.so
60000000-60800000 rw-p 00000000 00:00 0                                  [stack]
70000000-70400000 rw-p 00000000 00:00 0                                  [heap]
"""  # noqa: W291 - as the kernel writes it


def test_whole_large_pages_of_private_memory_are_found() -> None:
    assert large_ranges(MAPS) == [0x20200000, 0x20400000, 0x70000000, 0x70200000]


def test_memory_holds_what_it_held_also_for_a_child() -> None:
    script = (
        "import os\n"
        "from merian_campaign.host.huge_pages import gather_pages\n"
        f"held = [bytes([n % 256]) * 5000 for n in range({16 * _MIB // 5000})]\n"
        "count = gather_pages()\n"
        "pid = os.fork()\n"
        "held[7] = held[7] + b'more'\n"
        "good = all(one[:5000] == bytes([n % 256]) * 5000 for n, one in enumerate(held))\n"
        "assert pid == 0 or os.waitpid(pid, 0)[1] == 0\n"
        "print(count if pid else '', flush=True)\n"
        "os._exit(not good)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if release >= (6, 1) and os.path.exists("/sys/kernel/mm/transparent_hugepage"):  # noqa: PTH110
        assert int(done.stdout) > 0
