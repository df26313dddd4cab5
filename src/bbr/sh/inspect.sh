# Says what is left on an instance and what it lacks. $1 artifact directory, $2 our own
# directory, $3 store, $4... tools that are needed. One "KEY VALUE" a line, "end", and then the
# owner's text. Changes nothing.
LC_ALL=C; export LC_ALL
look() {
  if said=$(stat -- "$2" 2>&1 >/dev/null); then echo "$1 present"; return; fi
  case $said in
    *"No such file or directory"* | *"Not a directory"*) echo "$1 absent" ;;
    *) printf '%s\n' "$said" >&2; exit 4 ;;
  esac
}
artifacts=$1 state=$2 store=$3; shift 3
look artifacts "$artifacts"
look state "$state"
look marker "$state/marker"
for tool in "$@"; do
  command -v "$tool" >/dev/null || echo "missing $tool"
done
[ -d "$store" ] || store=/
df -P -k "$store" 2>/dev/null | awk 'NR == 2 { print "size " $2; print "free " $4 }'
echo end
head -c 4096 "$state/owner" 2>/dev/null
exit 0
