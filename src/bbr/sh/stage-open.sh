# Takes over the place of one artifact among what is staged, and makes what is not there. $1 store,
# $2 stage directory, $3 the artifact's place in it, $4 this run, $5 our mark's text, $6 "anew" when the
# tree that is there is another artifact's. What another run still does there is ended. Status 18: what
# is there is not ours. 19: the other run does not end.
LC_ALL=C; export LC_ALL
umask 077
store=$1 stage=$2 of=$3 run=$4 mark=$5 anew=$6
mkdir -p "$store" || exit 1
mkdir -m 700 "$stage" 2>/dev/null
if [ -L "$stage" ] || [ ! -d "$stage" ] || [ ! -O "$stage" ] || [ "$(stat -c %a "$stage")" != 700 ]; then
  exit 18
fi
# Several artifacts may begin at once: the mark appears whole.
if [ ! -e "$stage/mark" ] && [ -z "$(find "$stage" -mindepth 1 -maxdepth 1 ! -name 'mark.new.*')" ]; then
  printf '%s\n' "$mark" >"$stage/mark.new.$$" && mv "$stage/mark.new.$$" "$stage/mark" || exit 1
fi
grep -qsF '"for":"stage"' "$stage/mark" || exit 18
mkdir -p "$of" && exec 9>>"$of/lock" || exit 1
if ! flock -n 9; then
  end_other "$of"
  flock -w 10 9 || exit 19
fi
printf '%s\n' "$run" >"$of/run" || exit 1
rm -rf "$of"/work-*
if [ "$anew" = anew ]; then rm -rf "$of/note" "$of/tree" || exit 1; fi
[ -d "$of/tree" ] || { umask 022; mkdir "$of/tree"; }
