# Prints the paths of all BBR scripts below jobs directory $1, relative to it, each ended by
# NUL, and "end". $2...: file names that count. Never fails because a file vanishes meanwhile.
jobs=$1; shift
if [ -e "$jobs" ]; then
  ls -A "$jobs" >/dev/null || exit 3
fi
for dir in "$jobs"/*/bin/bbr; do
  for name in "$@"; do
    if [ -f "$dir/$name" ] && [ ! -L "$dir/$name" ]; then
      path=${dir#"$jobs"/}
      printf '%s/%s\0' "$path" "$name"
    fi
  done
done
printf 'end\0'
