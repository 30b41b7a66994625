"""`python tests/slurm/cluster`: a Slurm cluster on this machine, for tests and to play with."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)

from cluster.processes import Process  # noqa: E402 - found below the folder put on the path above
from cluster.running import Cluster  # noqa: E402
from cluster.settings import Settings  # noqa: E402
from cluster.starting import clear, keep, up  # noqa: E402
from cluster.stopping import down  # noqa: E402
from cluster.trouble import ClusterError  # noqa: E402

NODE_COMMANDS = {
    "crash": "lose a node: its daemon and all processes on it",
    "start": "start a node's daemon again",
    "freeze": "stop all processes of a node",
    "thaw": "let them go on",
}
COMMANDS = {
    "up": "install what is missing, start a cluster, wait until a first job has run",
    "down": "end jobs and daemons, remove the directory",
    "status": "nodes and jobs; exit status 1 when no cluster answers",
    "env": 'print what a shell needs: eval "$(python tests/slurm/cluster env)"',
    "stop-controller": "end slurmctld; jobs run on",
    "start-controller": "start slurmctld again",
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python tests/slurm/cluster", description=__doc__)
    fallback = os.environ.get("MERIAN_SLURM_DIR") or f"{tempfile.gettempdir()}/merian-slurm-{os.getuid()}"
    made.add_argument("--dir", type=Path, default=Path(fallback), help="private directory (%(default)s)")
    verbs = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        verb = verbs.add_parser(name, help=text, description=text)
        if name == "up":
            verb.add_argument("--port", type=int, help="first of 100 ports (default: free ones)")
            verb.add_argument("--prefix", help="beginning of node names (default: from the directory)")
            verb.add_argument(
                "--keeper-of", type=int, metavar="PID", help="end the cluster with this process"
            )
    for name, text in NODE_COMMANDS.items():
        verbs.add_parser(name, help=text, description=text).add_argument("node")
    keeper = verbs.add_parser("keep")
    keeper.add_argument("pid", type=int)
    keeper.add_argument("start", type=int)
    return made


def main() -> int:
    """Do one command; exit status 1 with a message when it cannot be done."""
    options = parser().parse_args()
    try:
        return _do(options)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _do(options: argparse.Namespace) -> int:
    if options.command == "up":
        cluster = up(
            options.dir, port=options.port, prefix=options.prefix, keeper_of=options.keeper_of, say=_say
        )
        _say(f"ready, nodes {' '.join(cluster.nodes)}. To use it:  . {options.dir}/env.sh")
        return 0
    cluster = Cluster(Settings.load(options.dir))
    match options.command:
        case "down":
            down(cluster.settings, purge=True)
            clear(options.dir)
        case "status":
            return _status(cluster)
        case "env":
            _say((cluster.settings.directory / "env.sh").read_text(encoding="utf-8").rstrip())
        case "stop-controller":
            cluster.stop_controller()
        case "start-controller":
            cluster.start_controller()
        case "keep":
            keep(cluster.settings, watched=Process(pid=options.pid, start=options.start))
        case verb:
            getattr(cluster, verb)(options.node)
    return 0


def _status(cluster: Cluster) -> int:
    for name in cluster.ended_daemons():
        _say(f"not running: {name}")
    if not cluster.controller_answers():
        _say("the controller does not answer")
        return 1
    _say(cluster.output("sinfo", "--Node", "--long"))
    _say(cluster.output("squeue"))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
