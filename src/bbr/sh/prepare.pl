# Makes a staged tree ready for what is sent. $ARGV[0] the tree, [1] the working directory of its listing.
# On standard input: how many lines of the listing name files that must go (32 bits), how many bytes will
# be sent (64), the numbers of those lines (32 bits each); then records ended by NUL: of every entry
# without content its type (d l p c b) and path, in order of the path; "f" and the path of each file that will be
# sent; "e". What is listed and not named goes; directories that are not there are made.
use strict;
use warnings;

my ($tree, $work) = @ARGV;
$ENV{LC_ALL} = 'C';
umask 077;
$SIG{PIPE} = $SIG{HUP} = $SIG{TERM} = sub { exit 2 };
binmode STDIN;
chdir $tree or do { print STDERR "$tree: $!\n"; exit 2 };
eval { prepare(); 1 } or do { print STDERR $@; exit 2 };
exit 0;

sub prepare {
  my ($count, $bytes) = unpack 'N Q>', piece(\*STDIN, 12);
  drop_files($count);
  local $/ = "\0";
  my $others = opened('<', 'others');
  my $made = opened('>', 'dirs');
  my $have = record($others);
  my ($last, $parts, $in, $part, @gone) = ('', 0, 0);
  while (1) {
    my $record = record(\*STDIN) // die "the records end early\n";
    my ($type, $path) = (substr($record, 0, 1), substr $record, 1);
    if ($type =~ /[dlpcb]/ && !$part) {
      $path gt $last or die "the records are out of order\n";
      $last = $path;
      while (defined $have && $have lt $path) { push @gone, $have; $have = record($others) }
      if (defined $have && $have eq $path) {
        push @gone, $path if type($path) ne $type;
        $have = record($others);
      }
      print $made "$path\0" if $type eq 'd';
    } elsif ($type eq 'f') {
      if (!$part || $in >= 256) {
        closed($part) if $part;
        $part = opened('>', sprintf 'part.%05d', $parts++);
        $in = 0;
      }
      print $part "$path\0";
      $in++;
    } elsif ($record eq 'e') {
      last;
    } else {
      die "the records are not understood\n";
    }
  }
  while (defined $have) { push @gone, $have; $have = record($others) }
  closed($part) if $part;
  closed($made);
  my $sizes = opened('>', 'sizes');
  print $sizes "$bytes\n";
  closed($sizes);
  # What is in a directory stands behind it.
  for my $path (reverse @gone) {
    my $type = type($path);
    next if $type eq '';
    ($type eq 'd' ? rmdir $path : unlink $path) or die "$path cannot be removed: $!\n";
  }
  my $dirs = opened('<', 'dirs');
  umask 022;
  while (defined(my $path = record($dirs))) {
    mkdir $path or type($path) eq 'd' or die "$path cannot be made: $!\n";
  }
}

sub drop_files {
  my ($count) = @_;
  my ($lines, $begins) = $count ? (opened('<', 'lines'), opened('<', 'begins')) : ();
  local $/ = "\0";
  for (1 .. $count) {
    my $number = unpack 'N', piece(\*STDIN, 4);
    seek $begins, 8 * $number, 0 or die "$work: $!\n";
    seek $lines, unpack('Q>', piece($begins, 8)), 0 or die "$work: $!\n";
    my $path = (split /:/, record($lines) // '', 9)[8] // die "there is no line $number\n";
    unlink $path or $!{ENOENT} or die "$path cannot be removed: $!\n";
  }
}

# What lies there, as tar has letters for it; nothing when nothing does.
sub type {
  lstat $_[0] or return '';
  return -l _ ? 'l' : -d _ ? 'd' : -p _ ? 'p' : -c _ ? 'c' : -b _ ? 'b' : '?';
}

sub piece {
  my ($from, $length) = @_;
  (read($from, my $piece, $length) // -1) == $length or die "the input ends early\n";
  return $piece;
}

# Without its NUL; undefined at the end.
sub record {
  my ($from) = @_;
  my $record = <$from> // return undef;
  chop($record) eq "\0" or die "a record is not ended\n";
  return $record;
}

sub opened {
  my ($mode, $name) = @_;
  open my $file, "$mode:raw", "$work/$name" or die "$work/$name: $!\n";
  return $file;
}

sub closed { close $_[0] or die "$work: $!\n" }
