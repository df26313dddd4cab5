# Prints the SHA-256 sums of the regular files of artifact directory $1 that were listed in
# working directory $2, in the list's order. The ranges are hashed side by side, each by a
# process with an output of its own, and printed as they become ready. $3: "hurry" when somebody waits
# for it; else what runs there comes first.
LC_ALL=C; export LC_ALL
umask 077
work=$2 pace=$3
cd "$1" || exit 1
set -- "$work"/part.*
[ -e "$1" ] || exit 0
gentle='nice -n 10'
if command -v ionice >/dev/null; then gentle="ionice -c 2 -n 7 -t $gentle"; fi
[ "$pace" = hurry ] && gentle=
# Words to be split, and words for the inner shell.
# shellcheck disable=SC2086,SC2016
printf '%s\0' "$@" | $gentle xargs -0 -n 1 -P "$(nproc)" sh -c '
  if xargs -0 -r sha256sum -z -- <"$1" >"$1.new"; then mv "$1.new" "$1.sum"; else : >"$1.failed"; fi
' sh 2>"$work/errors" &
hashers=$!
trap 'kill "$hashers" 2>/dev/null' EXIT
trap 'exit 1' HUP PIPE TERM
for part in "$@"; do
  while [ ! -e "$part.sum" ]; do
    if [ -e "$part.failed" ] || ! kill -0 "$hashers" 2>/dev/null; then
      [ -e "$part.sum" ] && break
      head -c 4096 "$work/errors" >&2
      exit 1
    fi
    sleep 0.02
  done
  cat "$part.sum" || exit 1
  rm -f "$part" "$part.sum"
done
