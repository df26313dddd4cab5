# Runs scripts, each in a session of its own, so that they end although we are gone, with their
# output in files. A name that was started before is not started again but waited for.
# $1 our own directory; $2 "heed": do not start once told to stop; $3 "one" or "many"; then pairs
# of a name and a script. One: its output and status. Many: a line "NAME STATUS" for each.
state=$1 heed=$2 mode=$3; shift 3
alive() {
  # A glob of files, not a pattern.
  # shellcheck disable=SC2062
  printf '%s\n' "lifeboat-script=$run" | grep -qszxF -f - /proc/[0-9]*/cmdline
}
follow() {
  gone=0
  while [ ! -s "$run/status" ]; do
    if alive; then gone=0; else gone=$((gone + 1)); fi
    if [ "$gone" -ge 5 ]; then
      echo "it ended without leaving its status" >>"$run/err"
      return 137
    fi
    sleep 0.2
  done
  read -r status <"$run/status"
  return "$status"
}
start() {
  run=$state/run/$1
  [ -d "$state/run" ] || { mkdir -p "$state" && mkdir -m 700 "$state/run"; } 2>/dev/null
  [ -d "$run" ] || mkdir "$run" 2>/dev/null
  # Where nothing can be written the script runs all the same: it may be one that unlocks.
  if ! claim && [ -e "$run/out" ]; then
    follow
    return
  fi
  # shellcheck disable=SC2154
  setsid --wait sh -c "$leader" "lifeboat-script=$run" "$heed" "$state/stop" "$2" \
    </dev/null >"$out" 2>"$err"
}
if [ "$mode" = one ]; then
  start "$1" "$2"
  status=$?
  [ ! -s "$run/out" ] || tail -c 4096 "$run/out" 2>/dev/null
  [ ! -s "$run/err" ] || tail -c 16384 "$run/err" >&2 2>/dev/null
  exit "$status"
fi
while [ "$#" -ge 2 ]; do
  { start "$1" "$2"; printf '%s %s\n' "$1" "$?"; } &
  shift 2
done
wait
