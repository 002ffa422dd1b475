"""Evidence that the kernel killed for want of memory; a killed process cannot tell it itself."""

import re
from pathlib import Path

_VMSTAT = Path("/proc/vmstat")


def num_oom_kills(vmstat: Path = _VMSTAT) -> int:
    """How many processes of this machine the kernel has killed for memory; 0 where it won't say."""
    try:
        found = re.search(r"^oom_kill (\d+)$", vmstat.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
