"""`sidecar` with other limits: launch.py '{"REBUILD_RETRY_S": 0.1}' serve ...

Nothing else is another: a fault that costs seconds in the field costs a test a tenth of one.
"""

import json
import sys

from sidecar import limits

for name, value in json.loads(sys.argv.pop(1)).items():
    assert hasattr(limits, name), name
    setattr(limits, name, value)

from sidecar.cli.main import main  # noqa: E402 - modules take limits when they are imported

sys.exit(main())
