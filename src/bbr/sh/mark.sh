# Makes our own directory $2 in store $1, atomically. "owner" holds text $3 and stays; "marker"
# stands for "may be locked". Status 17: there is one, whose owner is printed.
store=$1 state=$2
mkdir -p "$store" || exit 1
if ! said=$(mkdir -m 700 "$state" 2>&1); then
  if [ -e "$state" ] || [ -L "$state" ]; then
    head -c 4096 "$state/owner" 2>/dev/null
    exit 17
  fi
  printf '%s\n' "$said" >&2
  exit 1
fi
printf '%s\n' "$3" >"$state/owner" && cp "$state/owner" "$state/marker" && mkdir -m 700 "$state/run" && exit 0
rm -rf "$state"
exit 1
