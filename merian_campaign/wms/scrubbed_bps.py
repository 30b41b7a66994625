"""What BPS keeps of the environment of a submission, without the secrets in it.

BPS writes all of ``os.environ`` into ``*.env.info.yaml``, for anybody to read.
``python -m merian_campaign.wms.scrubbed_bps submit FILE`` is ``bps submit FILE`` with that mended.
"""

import os
from pathlib import Path

import yaml

from merian_campaign.domain.safe_text.credentials import shown_environment
from merian_campaign.host.atomic_files import write_atomically
from merian_campaign.wms.upstream import replace_environment_writer

__all__ = ["keep_secrets", "main", "write_environment"]


def write_environment(filename: str) -> None:
    """Write the environment as BPS does, with what may be a secret left out.

    Parameters
    ----------
    filename : `str`
        Without ``.yaml``, or with it.
    """
    file = Path(filename)
    if file.suffix.lower() not in {".yaml", ".yml"}:
        file = file.with_suffix(f"{file.suffix}.yaml")
    write_atomically(file, yaml.safe_dump(shown_environment(os.environ)))


def keep_secrets() -> None:
    """Have BPS, in this process, write environments that way."""
    replace_environment_writer(write_environment)


def main() -> None:
    """Be ``bps``, with the arguments in ``sys.argv``."""
    keep_secrets()
    from lsst.ctrl.bps.cli.bps import cli  # noqa: PLC0415

    cli(prog_name="bps")


if __name__ == "__main__":
    main()
