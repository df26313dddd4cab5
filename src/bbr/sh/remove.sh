# Removes artifact directory $1 and our own directory $2, in a session of its own, so that it
# goes on when the connection ends. What still writes there (a drain that was given up) gets
# two chances to notice. $3: "keep" leaves our own directory. $4: what the
# owner's text must hold; empty: whoever made them.
if [ -n "$4" ]; then
  [ -e "$2" ] || exit 0
  if ! grep -qsF -e "$4" "$2/owner"; then
    echo "$2 is another run's" >&2
    exit 1
  fi
  [ -e "$2/artifacts" ] || set -- "" "$2" "$3"
fi
# The words are the inner shell's to expand.
# shellcheck disable=SC2016
setsid --wait sh -c '
  gone() { rm -rf "$1" 2>/dev/null || { sleep 0.3; rm -rf "$1" 2>/dev/null; } || { sleep 1; rm -rf "$1"; }; }
  if [ -n "$1" ]; then gone "$1" || exit 1; fi
  if [ "$3" = keep ]; then rm -f "$2/artifacts"; gone "$2/drain"; else gone "$2"; fi
' lifeboat-remove "$1" "$2" "$3" </dev/null
