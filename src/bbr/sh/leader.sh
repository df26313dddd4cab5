# What start.sh and armed.sh have in common; it stands before each of them.
# leader: leads the session of one script. $0 "lifeboat-script=" and the directory of its run; $1
# "heed": does not start once $2 exists; then variables, and the script. Leaves its status.
# claim: whether the run in directory $run, which exists, is ours to start: only the first one
# who asks is told so. With that its output goes to $out and $err.
# The API is down meanwhile: what the shell can do itself starts no other program.
# The words are the inner shell's to expand; the names are those of who follows.
# shellcheck disable=SC2016,SC2034,SC2154
leader='
trap : HUP INT TERM
run=${0#lifeboat-script=}
if [ "$1" = heed ] && [ -e "$2" ]; then
  status=143
else
  shift 2
  env -u PWD -u OLDPWD -u SHLVL -u _ "$@"
  status=$?
fi
echo "$status" 2>/dev/null >"$run/status"
exit "$status"
'
# shellcheck disable=SC2154
claim() {
  out=/dev/null err=/dev/null
  set -C
  { true >"$run/out"; } 2>/dev/null
  claimed=$?
  set +C
  [ "$claimed" -eq 0 ] || return 1
  out=$run/out
  if { true >"$run/err"; } 2>/dev/null; then err=$run/err; fi
}
