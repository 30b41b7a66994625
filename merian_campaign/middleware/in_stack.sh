#!/bin/bash
# Sets up the LSST environment of a submission (its stack.sh) and starts a command of merian-campaign in it.
# When that cannot be done, the command is run by the Python that asked for it, with --no-stack and the reason.
#
#   in_stack.sh STACK_FILE OUTPUT OWN_PYTHON WORDS...
stack_file=$1 stack_output=$2 own_python=$3
shift 3
words=("$@")
set --  # scripts that are sourced look at these

# Of the own Python, whatever the stack has made of these by then.
unsets=() settings=()
for name in PATH PYTHONPATH PYTHONHOME LD_LIBRARY_PATH; do
    if [ -n "${!name+set}" ]; then settings+=("$name=${!name}"); else unsets+=(-u "$name"); fi
done

# The last words of the set-up, with those before them where they only name the line.
said() {
    local before last
    last=$(grep -v '^[[:space:]]*$' "$stack_output" | tail -n 1)
    before=$(grep -v '^[[:space:]]*$' "$stack_output" | tail -n 2 | head -n 1)
    case $last in
        "$before") echo "$last" ;;
        "this failed: "*) echo "$before ($last)" ;;
        *) echo "$last" ;;
    esac
}

exec 3>&1 4>&2
why=""
failed() {
    trap - EXIT
    set +eu
    exec 1>&3 2>&4 3>&- 4>&-
    cat "$stack_output"
    [ -n "$why" ] || why=$(said)
    exec env "${unsets[@]}" "${settings[@]}" "$own_python" -m merian_campaign "${words[@]}" --no-stack "$why"
}
trap failed EXIT

# Not behind ||, where bash takes no notice of set -e.
source "$stack_file" >"$stack_output" 2>&1
[ $? = 0 ] || exit 1
set +eu
stack_python=$(command -v python || command -v python3) || { why="there is no python in it"; exit 1; }
"$stack_python" -m merian_campaign.middleware.importable >>"$stack_output" 2>&1 || {
    why="$(tail -n 1 "$stack_output") (seen by $stack_python; \`merian-campaign stack\` says more)"
    exit 1
}
trap - EXIT
cat "$stack_output"
exec 3>&- 4>&-
exec "$stack_python" -m merian_campaign "${words[@]}"
