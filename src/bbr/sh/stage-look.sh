# Says what is staged of one artifact. $1 stage directory, $2 the artifact's place in it, $3 store, $4
# "measure" when it matters how much lies in a tree that is not noted as whole: that takes some seconds for
# millions of files. One "KEY VALUE" a line, "end", and then the note. Changes nothing.
LC_ALL=C; export LC_ALL
stage=$1 of=$2 store=$3 measure=$4
if [ ! -e "$stage" ] && [ ! -L "$stage" ]; then
  echo 'mark none'
elif [ -L "$stage" ] || [ ! -d "$stage" ] || [ ! -O "$stage" ] || [ "$(stat -c %a "$stage")" != 700 ]; then
  echo 'mark foreign'
elif grep -qsF '"for":"stage"' "$stage/mark"; then
  echo 'mark ours'
elif [ -z "$(find "$stage" -mindepth 1 -maxdepth 1 ! -name 'mark.new.*')" ]; then
  echo 'mark none'
else
  echo 'mark foreign'
fi
if [ -d "$of/tree" ] && [ ! -L "$of/tree" ]; then
  echo 'tree there'
  [ "$(stat -c %d "$of/tree")" = "$(stat -c %d "$store")" ] && echo 'same yes'
  if [ "$measure" = measure ] && ! grep -qsF '"whole":true' "$of/note"; then
    # Content alone, as an artifact's size is counted. A run may be at work on it.
    find "$of/tree" -type f -printf '%s\n' 2>/dev/null |
      awk '{ bytes += $1 } END { printf "content %.0f\n", int(bytes / 1024) }'
  fi
fi
[ -d "$store" ] || store=/
df -P -k "$store" 2>/dev/null | awk 'NR == 2 { print "size " $2; print "free " $4 }'
echo end
head -c 4096 "$of/note" 2>/dev/null
exit 0
