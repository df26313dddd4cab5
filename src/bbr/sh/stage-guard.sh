# Runs what changes a staged tree, one at a time, as long as no other run has taken the tree over. $1
# the artifact's place, $2 this run, $3 "hurry" when somebody waits; then the command. In a group of its
# own, so that whoever takes over can end all of it. Status 18: taken over. 19: something still runs.
of=$1 run=$2 pace=$3; shift 3
gentle=
if [ "$pace" != hurry ]; then
  gentle='nice -n 19'
  if command -v ionice >/dev/null; then gentle="ionice -c 3 -t $gentle"; fi
fi
# Words to be split, and words for the inner shell.
# shellcheck disable=SC2086,SC2016
exec setsid --wait $gentle sh -c '
  of=$1 run=$2; shift 2
  [ "$(cat "$of/run" 2>/dev/null)" = "$run" ] || exit 18
  exec 9>>"$of/lock" || exit 1
  flock -n 9 || exit 19
  [ "$(cat "$of/run" 2>/dev/null)" = "$run" ] || exit 18
  echo "$$" >"$of/pid" || exit 1
  exec "$@"
' lifeboat-stage "$of" "$run" "$@"
