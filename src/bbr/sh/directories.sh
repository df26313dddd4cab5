# Makes artifact directory $1, atomically, and $3... in it; $2 is our own directory, where it is
# noted that the artifact directory is ours. Status 17: there is one already.
umask 022
artifacts=$1 state=$2; shift 2
if ! said=$(mkdir "$artifacts" 2>&1); then
  [ -e "$artifacts" ] || [ -L "$artifacts" ] && exit 17
  printf '%s\n' "$said" >&2
  exit 1
fi
: >"$state/artifacts" || { rmdir "$artifacts"; exit 1; }
for name in "$@"; do
  mkdir -p "$artifacts/$name" || exit 1
done
