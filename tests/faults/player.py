"""A node's process, to be stopped and killed: player.py PLAN PACE_S

Writes what the plan says, one write after the other, says "done", and stays, as nodes do.
"""

import pickle
import sys
import time
from pathlib import Path

plan = pickle.loads(Path(sys.argv[1]).read_bytes())
for path, content in plan:
    with Path(path).open("ab", buffering=0) as file:
        file.write(content)
    time.sleep(float(sys.argv[2]))
sys.stdout.write("done\n")
sys.stdout.flush()
time.sleep(3600)
