# Removes stage directory $1 with all in it, where it is ours; what still works there is ended. Prints
# "removed", or "none". Status 18: it is not ours.
stage=$1
[ -e "$stage" ] || [ -L "$stage" ] || { echo none; exit 0; }
if [ -L "$stage" ] || [ ! -d "$stage" ] || [ ! -O "$stage" ] || ! grep -qsF '"for":"stage"' "$stage/mark"; then
  exit 18
fi
for of in "$stage"/of/*; do
  [ -e "$of/run" ] || continue
  rm -f "$of/run"
  flock -n "$of/lock" true || end_other "$of"
done
# The mark goes last: what is left is known for ours. The words are the inner shell's to expand.
# shellcheck disable=SC2016
setsid --wait sh -c '
  for pause in 0.3 1 0; do rm -rf "$1/of" 2>/dev/null && break; sleep "$pause"; done
  rm -rf "$1/of" && rm -rf "$1"
' lifeboat-remove "$stage" </dev/null || exit 1
echo removed
