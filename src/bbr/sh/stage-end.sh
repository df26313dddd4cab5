# Ends whatever another run still does at the place $1 of what is staged. A number in a file may be anybody's by now: who has it must
# hold the lock there, or be gone and have left a group behind.
end_other() {
  other=$(cat "$1/pid" 2>/dev/null) || return
  [ ! -e "/proc/$other" ] || [ "$(readlink "/proc/$other/fd/9")" = "$(readlink -f "$1/lock")" ] || return
  kill -TERM "-$other" 2>/dev/null
}
