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
# openssl is some times faster where the processor has instructions for it. Only where much is to
# be hashed is a trial worth its time.
tool=sha256sum
if command -v perl >/dev/null && command -v openssl >/dev/null &&
  awk '{ bytes += $1 } END { exit bytes < 67108864 }' "$work/sizes"; then
  head -c 8388608 /dev/zero >"$work/trial"
  begin=$(date +%s%N)
  sha256sum "$work/trial" >/dev/null
  middle=$(date +%s%N)
  if openssl dgst -sha256 -binary "$work/trial" >/dev/null 2>&1 &&
    [ "$(($(date +%s%N) - middle))" -lt "$((middle - begin))" ]; then tool=openssl; fi
  rm -f "$work/trial"
fi
# Words to be split, and words for the inner shell.
# shellcheck disable=SC2086,SC2016
printf '%s\0' "$@" | $gentle xargs -0 -n 1 -P "$(nproc)" sh -c '
  hash() {
    if [ "$0" = sha256sum ]; then xargs -0 -r sha256sum -z -- <"$1"; return; fi
    { xargs -0 -r openssl dgst -sha256 -binary <"$1" || : >"$1.failed"; } | perl -e '\''
      $/ = "\0";
      open my $names, "<", shift or die;
      while (my $name = <$names>) {
        read(STDIN, my $sum, 32) == 32 or die "no sum came for $name\n";
        print unpack("H*", $sum), "  ", $name;
      }
      read(STDIN, my $more, 1) == 0 or die "openssl gave too many sums\n";
    '\'' "$1"
  }
  if hash "$1" >"$1.new" && [ ! -e "$1.failed" ]; then mv "$1.new" "$1.sum"; else : >"$1.failed"; fi
' "$tool" 2>"$work/errors" &
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
