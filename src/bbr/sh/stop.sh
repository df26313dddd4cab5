# Ends scripts of ours that still run. $1 our own directory, $2 which (a basic regular
# expression), $3 and $4: tenths of a second to wait before they are told to end, and killed.
# Prints the name of each. Status 1: some would not end.
state=$1 which=$2 patience=$3 grace=$4
[ -d "$state" ] || exit 0
[ "$patience" -gt 0 ] || : >"$state/stop"
leaders() {
  # A glob of files, not a pattern.
  # shellcheck disable=SC2062
  printf '%s\n' "^lifeboat-script=$state/run/\\($which\\)--" |
    grep -lsz -f - /proc/[0-9]*/cmdline | tr -cd '0-9\n'
}
tell() {
  signal=$1; shift
  for leader in "$@"; do
    members=$(ps -e -o sid= -o pid= 2>/dev/null | awk -v s="$leader" '$1 == s { print $2 }')
    [ "$signal" = KILL ] || members=$(printf '%s\n' "$members" | grep -vx "$leader")
    # shellcheck disable=SC2086
    kill -s "$signal" -- "-$leader" $members 2>/dev/null
  done
}
wait_for_end() {
  left=$1
  while [ -n "$(leaders)" ]; do
    [ "$left" -gt 0 ] || return 1
    left=$((left - 1))
    sleep 0.1
  done
}
wait_for_end "$patience" && [ "$patience" -gt 0 ] && exit 0
found=$(leaders)
for leader in $found; do
  tr '\0' '\n' <"/proc/$leader/cmdline" 2>/dev/null | sed -n 's|^lifeboat-script=.*/run/||p'
done
# shellcheck disable=SC2086
tell TERM $found
wait_for_end "$grace"
# shellcheck disable=SC2086
tell KILL $found
wait_for_end 10
