#!/bin/sh
# Runs one BPS job under the stock Parsl service and writes the journal's two lines about it.
#
#   quantum.sh JOURNAL LIMIT_MB LABEL [JOB] -- command...
#
# JOURNAL   file to append to, normally {submitPath}/journal.jsonl
# LIMIT_MB  if above 0, address space of the command is limited to this (ulimit -v, MiB)
# LABEL     BPS label of the job
# JOB       BPS name of the job, if known
#
# The quanta are read from the command's --qgraph-node-id argument.  Exits as the command does
# (128+n when signal n ended it).  A journal that cannot be written never fails the job.
# The format is that of merian_campaign.domain.execution.journal, version 1; what a shell cannot measure
# (peak memory) is left out, and the verdict is only "ok" or "failed": no guess is made from a code.

journal=$1
limit_mb=$2
label=$3
shift 3
job=
if [ "$1" != "--" ]; then
    job=$1
    shift
fi
if [ "$1" != "--" ] || [ $# -lt 2 ]; then
    echo "usage: quantum.sh JOURNAL LIMIT_MB LABEL [JOB] -- command..." >&2
    exit 2
fi
shift

# A limit that is not a whole number (an unset BPS variable expands to nothing) means no limit.
case $limit_mb in '' | *[!0-9]*) limit_mb=0 ;; esac

ids=
previous=
for word in "$@"; do
    case $previous in --qgraph-node-id) ids=$word ;; esac
    case $word in --qgraph-node-id=*) ids=${word#*=} ;; esac
    previous=$word
done

now() { date -u +%Y-%m-%dT%H:%M:%S.%6NZ; }
quoted() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\001-\037' | sed -e 's/[\\"]/\\&/g')"; }
# Fields of /proc/PID/stat from the third on; the command name in the second may hold blanks.
stat_of() { sed -e 's/.*) //' "/proc/$1/stat" 2>/dev/null; }
# CPU ticks of the children this shell has waited for: fields 16 and 17.
ticks() { stat_of $$ | awk '{ print $14 + $15 }'; }

start=$(date +%s.%N)
quanta=$(printf '%s' "$ids" | sed -e 's/[^0-9A-Fa-f,-]//g' -e 's/[^,][^,]*/"&"/g')
pid_start=$(stat_of $$ | cut -d ' ' -f 20)  # field 22
who='"job":'$(quoted "$job")',"label":'$(quoted "$label")',"quanta":['$quanta'],"host":'$(quoted "$(uname -n)")',"pid":'$$',"pid_start":'${pid_start:-null}
slurm=
if [ -n "$SLURM_JOB_ID" ]; then
    slurm=',"slurm_job":'$(quoted "$SLURM_JOB_ID")',"slurm_node":'$(quoted "$SLURMD_NODENAME")
fi
limit=
if [ "$limit_mb" -gt 0 ]; then limit=',"requested_mb":'$limit_mb; fi

# One short write(2) in append mode: lines of several writers do not mix.
append() { printf '%s\n' "$1" >>"$journal"; } 2>/dev/null
append '{"v":1,"t":"'"$(now)"'","event":"started",'"$who$limit$slurm"'}'

# A signal sent to this shell alone would leave the command behind: pass it on, then report as usual.
child=
trap '[ -n "$child" ] && kill -TERM "$child" 2>/dev/null' TERM INT HUP
(
    trap - TERM INT HUP
    if [ "$limit_mb" -gt 0 ]; then ulimit -v $((limit_mb * 1024)) || echo "quantum.sh: no memory limit" >&2; fi
    exec "$@"
) &
child=$!
before=$(ticks)
wait "$child"
status=$?
# A trapped signal ends "wait" early with the signal's own status; wait again for the command's.
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
done

cpu=$(ticks | awk -v before="${before:-0}" -v hz="$(getconf CLK_TCK)" '{ printf "%.2f", ($1 - before) / hz }')
wall=$(date +%s.%N | awk -v start="$start" '{ printf "%.3f", $1 - start }')
if [ "$status" -gt 128 ] && [ "$status" -le 192 ]; then
    how='"exit":null,"signal":'$((status - 128))
else
    how='"exit":'$status',"signal":null'
fi
if [ "$status" -eq 0 ]; then verdict=ok; else verdict=failed; fi
append '{"v":1,"t":"'"$(now)"'","event":"ended",'"$who,$how"',"verdict":"'$verdict'","evidence":{"wrapper":"quantum.sh","status":'$status'}'"$limit"',"cpu_s":'"${cpu:-null}"',"wall_s":'"${wall:-null}$slurm"'}'
exit $status
