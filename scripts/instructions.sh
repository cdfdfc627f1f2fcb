#!/usr/bin/env bash
# Counts the instructions of each work in benches/work under callgrind, and compares them with
# benches/instructions.baseline: instructions do not depend on what else the machine does.
#   scripts/instructions.sh            fails where a count is more than 1.3 times the baseline's
#   scripts/instructions.sh --renew    writes the baseline anew: after a change that is meant
# Counts are those of the debug build that the tests have anyway (a release build of all dependencies takes longer than
# everything else in CI): they find a loop too many, not a percent.
set -euo pipefail
cd "$(dirname "$0")/.."

limit=130 # percent
baseline=benches/instructions.baseline

if [[ $(uname -sm) != "Linux x86_64" ]]; then
    echo "!!! NOT CHECKED: the baseline is that of Linux on x86_64" >&2
    exit
fi
if ! command -v valgrind >/dev/null; then
    echo "valgrind is missing: run scripts/install-deps.sh" >&2
    exit 1
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/rowcast-instructions.XXXXXX")
trap 'rm -rf "$dir"' EXIT

program=$(cargo build --locked --bench instructions --message-format=json 2>"$dir/cargo" |
    sed -n 's/.*"name":"instructions".*"executable":"\([^"]*\)".*/\1/p') || { cat "$dir/cargo" >&2; exit 1; }
[[ -n $program ]] || { echo "cargo names no program for the bench 'instructions'" >&2; exit 1; }

# Each mark writes a profile: the odd ones are what came before a work, the even ones the work itself.
valgrind --tool=callgrind --callgrind-out-file="$dir/profile" \
    --dump-before=instructions_begin --dump-before=instructions_end \
    "$program" >"$dir/works" 2>"$dir/valgrind" || { cat "$dir/valgrind" >&2; exit 1; }

n=0
while read -r name calls; do
    n=$((n + 2))
    sum=$(sed -n 's/^summary: \([0-9]*\).*/\1/p' "$dir/profile.$n")
    echo "$name $((sum / calls))"
done <"$dir/works" >"$dir/counts"

if [[ ${1:-} == --renew ]]; then
    {
        echo "# Instructions per call, debug build, x86_64; written by scripts/instructions.sh --renew"
        cat "$dir/counts"
    } >"$baseline"
    echo "$baseline: $(wc -l <"$dir/counts") counts"
    exit
fi

awk -v limit=$limit -v baseline="$baseline" '
    FNR == NR { if ($1 !~ /^#/) before[$1] = $2; next }
    !($1 in before) { printf "%-36s %10d  NOT IN THE BASELINE\n", $1, $2; bad = 1; next }
    {
        percent = $2 * 100 / before[$1]
        word = percent > limit ? "  TOO MANY" : percent < 70 ? "  fewer: renew the baseline" : ""
        printf "%-36s %10d  %3d %% of the baseline%s\n", $1, $2, percent, word
        if (percent > limit) bad = 1
        delete before[$1]
    }
    END {
        for (name in before) { printf "%-36s is in the baseline only\n", name; bad = 1 }
        if (bad) {
            print "More than " limit " % of the instructions, or another list, than " baseline " says."
            print "Find out why (valgrind --tool=callgrind, callgrind_annotate); if it is meant: scripts/instructions.sh --renew"
        }
        exit bad
    }' "$baseline" "$dir/counts"
