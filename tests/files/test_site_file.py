"""What a site file says of drivers and blocks."""

from pathlib import Path

import pytest

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.files.site_file import read_site

SITE = """computeSite: x
site:
  x:
    class: merian_campaign.wms.sites.Slurm
    cores_per_node: 8
    mem_per_node: 64
    walltime: "04:00:00"
    nodes: 2
    partition: normal
    scheduler_options: |
      #SBATCH --partition=other
      #SBATCH --exclude=n9
"""


def read(folder: Path, text: str) -> SiteProfile:
    file = folder / "x.yaml"
    file.write_text(text)
    return read_site(str(file))


def test_what_blocks_ask_for(tmp_path: Path) -> None:
    blocks = read(tmp_path, SITE).blocks
    assert blocks is not None
    assert (blocks.partition, blocks.nodes, blocks.cpus, blocks.mem_mb) == ("other", 2, 8, 65536)
    assert (blocks.shared_mb, blocks.walltime, blocks.account) == (65536, "04:00:00", None)


def test_blocks_may_have_parts_of_a_gigabyte(tmp_path: Path) -> None:
    found = read(tmp_path, SITE.replace("mem_per_node: 64", "mem_per_node: 1.5"))
    assert found.blocks is not None
    assert (found.blocks.mem_mb, found.blocks.shared_mb, found.most_mb) == (1536, 1536, 1536)


def test_what_packs_the_blocks_of_a_user_on_one_node(tmp_path: Path) -> None:
    def told(text: str) -> tuple[bool, bool, int | None]:
        blocks = read(tmp_path, text).blocks
        assert blocks is not None
        return blocks.exclusive, blocks.exact, blocks.workers

    assert told(SITE) == (False, True, None)
    for word in ("true", "user"):
        own = SITE.replace("    nodes: 2", f"    exclusive: {word}\n    workers_per_node: 4")
        assert told(own) == (True, True, 4)
    stock = SITE.replace("merian_campaign.wms.sites.", "lsst.ctrl.bps.parsl.sites.")
    assert told(stock) == (False, True, None)
    assert told(stock.replace("sites.Slurm", "sites.SlurmWorkQueue")) == (False, False, None)
    # Lines of its own go before ours: then nothing can be promised.
    for line in ("--exclusive", "--mem=0", "--mem-per-cpu=4G", "-N 2", "--ntasks-per-node=2"):
        assert told(SITE.replace("--exclude=n9", line)) == (False, False, None)


def test_a_local_site_has_nothing_in_slurm(tmp_path: Path) -> None:
    found = read(tmp_path, SITE.replace("sites.Slurm", "sites.Local"))
    assert not found.on_slurm
    assert (found.driver, found.larger, found.most_mb) == (None, (), None)


def test_drivers_and_larger_blocks(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        'driver: slurm\ndriver_options: {account: me, time: "2-00:00:00"}\n'
        f"larger:\n  - {{mem_per_node: 256, partition: big}}\n{SITE}",
    )
    assert found.driver is not None
    assert (found.driver.account, found.driver.time) == ("me", "2-00:00:00")
    assert found.most_mb == 256 * 1024
    assert found.larger_for(64 * 1024) is None
    assert found.larger_for(64 * 1024 + 1) is found.larger[0]
    assert found.larger_for(300 * 1024) is None


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("driver: slrum\n", "driver", "'slurm'"),
        ("driver: slurm\ndriver_options: {acount: me}\n", "driver_options.acount", "account"),
        ("driver: slurm\ndriver_options: {time: 10:00:00}\n", "driver_options.time", "put it in quotes"),
        (
            "driver: slurm\ndriver_options: {scheduler_options: --x}\n",
            "scheduler_options",
            "begins with #SBATCH",
        ),
        ("driver_options: {account: me}\n", "driver_options", "only for driver: slurm"),
        ("larger: [{partition: big}]\n", "larger[0].mem_per_node", "missing"),
    ],
)
def test_mistakes_are_told_with_file_and_field(tmp_path: Path, text: str, field: str, words: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read(tmp_path, text + SITE)
    (complaint,) = str(caught.value).splitlines()
    assert str(tmp_path / "x.yaml") in complaint
    assert field in complaint
    assert words in complaint


def test_a_site_names_the_groups_it_trusts(tmp_path: Path) -> None:
    assert read(tmp_path, SITE).trusted_groups == ()
    assert read(tmp_path, f"trusted_groups: [merian, astro.data]\n{SITE}").trusted_groups == (
        "merian", "astro.data",
    )  # fmt: skip
    with pytest.raises(BadInputError, match=r"x\.yaml:1: trusted_groups"):
        read(tmp_path, f"trusted_groups: ['a b']\n{SITE}")


@pytest.mark.parametrize("site_class", ["merian_campaign.wms.sites.Slurm", "lsst.ctrl.bps.parsl.sites.Slurm"])
@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        ("partion: big", "site.x.partion", "did you mean 'partition'?"),
        ("walltime: 10:00:00", "site.x.walltime", "put it in quotes"),
        ("mem_per_node: 2GB", "site.x.mem_per_node", "write a number"),
        ('exclusive: "no"', "site.x.exclusive", "write true or false"),
        ("max_blocks: 0", "site.x.max_blocks", "0"),
        ("max_blocks: [4]", "site.x.max_blocks", "write a whole number"),
        ("partition: [big]", "site.x.partition", "write text"),
        ("worker_init: [module load x]", "site.x.worker_init", "write text"),
        ("retries: true", "site.x.retries", "write a whole number"),
        ("status_seconds: soon", "site.x.status_seconds", "write a number"),
    ],
)
def test_mistakes_of_a_section_are_told_with_file_line_and_field(
    tmp_path: Path, line: str, field: str, words: str, site_class: str
) -> None:
    text = f"computeSite: x\nsite:\n  x:\n    class: {site_class}\n    cores_per_node: 8\n"
    with pytest.raises(BadInputError) as caught:
        read(tmp_path, f"{text}    {line}\n")
    (complaint,) = str(caught.value).splitlines()
    assert complaint.startswith(f"{tmp_path}/x.yaml:6: {field}: ")
    assert words in complaint


def test_keys_of_bps_and_classes_of_others_are_not_looked_at(tmp_path: Path) -> None:
    more = "    requestMemory: 4096\n    commandPrefix: export A=b\n    retries: 0\n"
    assert read(tmp_path, SITE + more).workers == 8
    theirs = SITE.replace("merian_campaign.wms.sites.Slurm", "lsst.ctrl.bps.parsl.sites.TripleSlurm")
    assert read(tmp_path, f"{theirs}    whatever: [1]\n").workers == 8
