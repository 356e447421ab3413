"""Says so when the charts did not arrive: they come through a symbolic link, which can get lost."""

import sys
from pathlib import Path

if not Path("charts/serving/Chart.yaml").is_file():
    sys.exit(
        "charts/ did not arrive: zip archives, and git on Windows without core.symlinks, lose their link. "
        "Generate from the template's git address, or from `git clone -c core.symlinks=true`"
    )
