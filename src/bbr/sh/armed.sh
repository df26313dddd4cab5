# Starts scripts as start.sh does, but is there before the first one is to start, and is told on
# standard input: the API is down then. $1 our own directory.
# A line "prepare NAME..." comes first, and is answered with "ready". Then "start HEED NAME SCRIPT",
# HEED "heed" or "-", perhaps with variables before SCRIPT. A line "NAME out TEXT" or "NAME err TEXT"
# is a piece of what it printed, in base64; "NAME ended STATUS CHARACTERS CHARACTERS" its end, and how
# much of both was told; "NAME known" that it was started before. A line is short enough to be
# written at once. At the end of input it is gone; what was started goes on.
# It is bash that runs this: others have no job control without a terminal, and what they start
# beside themselves ignores INT and QUIT for good.
set -m
state=$1
command -v base64 >/dev/null || exit 1
tell() {
  told=0
  [ -s "$3" ] || return 0
  for piece in $(tail -c "$2" "$3" | base64 -w 2000); do
    printf '%s %s %s\n' "$name" "$1" "$piece"
    told=$((told + ${#piece}))
  done
}
start() {
  heed=$1 name=$2; shift 2
  run=$state/run/$name
  if ! claim; then
    printf '%s known\n' "$name"
    return
  fi
  # shellcheck disable=SC2154
  setsid --wait sh -c "$leader" "lifeboat-script=$run" "$heed" "$state/stop" "$@" \
    </dev/null >"$out" 2>"$err"
  status=$?
  tell out 4096 "$out"; printed=$told
  # Nobody asks what one said that did well.
  told=0
  [ "$status" -eq 0 ] || tell err 16384 "$err"
  printf '%s ended %s %s %s\n' "$name" "$status" "$printed" "$told"
}
set -f
while read -r what words; do
  # Words to be split.
  # shellcheck disable=SC2086
  case $what in
    prepare)
      (mkdir -p "$state/run" && cd "$state/run" && mkdir $words) || exit 1
      # No reports on jobs.
      exec 2>/dev/null
      echo ready
      ;;
    start) start $words & ;;
  esac
done
exit 0
