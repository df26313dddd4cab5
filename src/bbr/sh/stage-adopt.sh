# Makes staged tree $1/tree the artifact directory $2, which is there and empty, by its name alone.
# Status 20: that would be a copy.
of=$1 to=$2
[ "$(stat -c %d "$of/tree")" = "$(stat -c %d "${to%/*}")" ] || exit 20
rmdir "$to" || exit 1
mv -T "$of/tree" "$to" || { mkdir "$to"; exit 1; }
rm -rf "$of"
