#!/bin/bash
# Sets up the LSST environment of a submission (its stack.sh) and starts a command of merian-campaign in it.
# When that cannot be done, the command is run by the Python that asked for it, with --no-stack and the reason.
#
# Names are its own: what it sources may use any others.
#
#   in_stack.sh STACK_FILE OUTPUT OWN_PYTHON WORDS...
merian_file=$1 merian_output=$2 merian_own_python=$3
shift 3
merian_words=("$@")
set --  # scripts that are sourced look at these

# Of the own Python, whatever the stack has made of these by then.
merian_unsets=() merian_settings=()
for merian_name in PATH PYTHONPATH PYTHONHOME LD_LIBRARY_PATH; do
    if [ -n "${!merian_name+set}" ]; then
        merian_settings+=("$merian_name=${!merian_name}")
    else
        merian_unsets+=(-u "$merian_name")
    fi
done

# The last words of the set-up, with those before them where they only name the line.
merian_said() {
    local before last
    last=$(grep -v '^[[:space:]]*$' "$merian_output" | tail -n 1)
    before=$(grep -v '^[[:space:]]*$' "$merian_output" | tail -n 2 | head -n 1)
    case $last in
        "$before") echo "$last" ;;
        "this failed: "*) echo "$before ($last)" ;;
        *) echo "$last" ;;
    esac
}

# No Python below imports from the folder that it is started in.
merian_safe=PYTHONSAFEPATH=1

exec 3>&1 4>&2
merian_why=""
merian_failed() {
    trap - EXIT
    set +eu
    exec 1>&3 2>&4 3>&- 4>&-
    cat "$merian_output"
    [ -n "$merian_why" ] || merian_why=$(merian_said)
    exec env "${merian_unsets[@]}" "${merian_settings[@]}" "$merian_safe" \
        "$merian_own_python" -m merian_campaign "${merian_words[@]}" --no-stack "$merian_why"
}
trap merian_failed EXIT

# Not behind ||, where bash takes no notice of set -e.
source "$merian_file" >"$merian_output" 2>&1
[ $? = 0 ] || exit 1
set +eu
export "$merian_safe"
merian_python=$(command -v python || command -v python3) || { merian_why="there is no python in it"; exit 1; }
"$merian_python" -m merian_campaign.middleware.import_check >>"$merian_output" 2>&1 || {
    merian_why="$(tail -n 1 "$merian_output") (seen by $merian_python; \`merian-campaign stack\` says more)"
    exit 1
}
trap - EXIT
cat "$merian_output"
exec 3>&- 4>&-
exec "$merian_python" -m merian_campaign "${merian_words[@]}"
