# Lists artifact directory $1 in working directory $2: "list" holds every entry, "./" first, and
# "part.*" the regular files in contiguous ranges; all in byte order, ended by NUL. Prints the
# number of regular files and the sum of their sizes.
LC_ALL=C; export LC_ALL
umask 077
rm -rf "$2" && mkdir -p "$2" && cd "$1" || exit 1
nice -n 10 find . -mindepth 1 -fprint0 "$2/all" \
  -type f -fprint0 "$2/files" -fprintf "$2/sizes" '%s\n' || exit 1
{ printf './\0' && sort -z -S 64M -T "$2" "$2/all"; } >"$2/list" || exit 1
sort -z -S 64M -T "$2" -o "$2/files" "$2/files" && rm -f "$2/all" || exit 1
if [ -s "$2/files" ]; then
  # About 8 MiB or 256 files to a range, whichever is more; enough of them to share evenly.
  parts=$(awk -v most="$(($(nproc) * 16))" '{ files += 1; bytes += $1 } END {
    parts = int(bytes / 8388608 + files / 256) + 1
    print (parts < most ? parts : most)
  }' "$2/sizes")
  split -n "l/$parts" -e -d -a 5 -t '\0' "$2/files" "$2/part." || exit 1
fi
awk '{ files += 1; bytes += $1 } END { printf "%.0f %.0f\n", files, bytes }' "$2/sizes"
