"""``merian-campaign`` and ``python -m merian_campaign``: the command line, or what it lacks to start."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from merian_campaign.domain.errors import CampaignError
from merian_campaign.host.collector import collect_seldom
from merian_campaign.host.home import hide_passwords
from merian_campaign.host.safe_python import keep_out_current_folder


def main() -> None:
    """Run the command line; where a package is missing, say which, and how to install just that."""
    collect_seldom()
    keep_out_current_folder(os.environ)
    with suppress(OSError, CampaignError):  # what is started is refused then, with words
        hide_passwords(os.environ)
    try:
        from merian_campaign import app  # noqa: PLC0415 - may not be possible
    except ModuleNotFoundError as missing:
        from merian_campaign.domain.safe_text.text import clean  # noqa: PLC0415
        from merian_campaign.middleware import import_check  # noqa: PLC0415

        sys.exit(import_check.main() or clean(f"merian-campaign: {missing}"))
    app.main()


if __name__ == "__main__":
    main()
