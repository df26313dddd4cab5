# Runs scripts, each in a session of its own, so that they end although we are gone, with their
# output in files. A name that was started before is not started again but waited for.
# $1 our own directory; $2 "heed": do not start once told to stop; $3 "one" or "many"; then pairs
# of a name and a script. One: its output and status. Many: a line "NAME STATUS" for each.
# The API is down meanwhile: what the shell can do itself starts no other program.
state=$1 heed=$2 mode=$3; shift 3
# The words are the inner shell's to expand.
# shellcheck disable=SC2016
leader='
trap : HUP INT TERM
run=${0#lifeboat-script=}
if [ "$1" = heed ] && [ -e "$2" ]; then
  status=143
else
  env -u PWD -u OLDPWD -u SHLVL -u _ "$3"
  status=$?
fi
echo "$status" 2>/dev/null >"$run/status"
exit "$status"
'
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
  run=$state/run/$1 out=/dev/null err=/dev/null
  [ -d "$state/run" ] || { mkdir -p "$state" && mkdir -m 700 "$state/run"; } 2>/dev/null
  if mkdir "$run" 2>/dev/null; then
    if { : >"$run/out" && : >"$run/err"; } 2>/dev/null; then out=$run/out err=$run/err; fi
  elif [ -d "$run" ]; then
    follow
    return
  fi
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
