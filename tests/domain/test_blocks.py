"""The file of a submission's Slurm jobs: read, folded, and forgiving."""

from merian_campaign.domain.slurm.blocks import (
    Block,
    BlockEvent,
    BlockLine,
    block_ids,
    block_name,
    fold_blocks,
    format_block_line,
    parse_block_lines,
)

T = "2026-11-23T00:00:0{}.000000Z"


def _text(*lines: BlockLine) -> str:
    return "".join(format_block_line(line) for line in lines)


def test_a_block_is_followed_from_its_submission_to_its_end() -> None:
    lines = parse_block_lines(
        _text(
            BlockLine(event=BlockEvent.SUBMITTING, t=T.format(0), name="n", comment="c"),
            BlockLine(event=BlockEvent.SUBMITTED, t=T.format(1), name="n", slurm_job="7"),
            BlockLine(event=BlockEvent.STATE, t=T.format(2), slurm_job="7", state="RUNNING"),
            BlockLine(
                event=BlockEvent.STATE, t=T.format(5), slurm_job="7", state="TIMEOUT", reason="TimeLimit"
            ),
        )
    )
    block = fold_blocks(lines)["7"]
    assert (block.name, block.state, block.reason) == ("n", "TIMEOUT", "TimeLimit")
    assert block.submitted is not None
    assert block.running is not None
    assert block.seen is not None
    assert (block.seen - block.running).total_seconds() == 3


def test_torn_old_and_later_lines_are_read() -> None:
    old = '{"slurm_job": "3"}\n'
    torn = '{"v": 1, "event": "submi' + _text(BlockLine(event=BlockEvent.SUBMITTED, slurm_job="4"))
    later = '{"v": 2, "event": "frozen", "slurm_job": "4", "depth": 3}\n'
    lines = parse_block_lines(old + torn + later + "nonsense\n[1]\n" + '{"v": 1, "event"')
    assert block_ids(lines) == ("3", "4")
    assert [line.event for line in lines] == ["submitted", "submitted", "frozen"]
    assert fold_blocks(lines)["3"] == Block(slurm_job="3")


def test_a_name_is_unique_to_its_submit_directory_and_safe() -> None:
    assert block_name("u/me/a b", "/one") != block_name("u/me/a b", "/two")
    assert block_name("u/me/a b", "/one").startswith("u_me_a_b-")
