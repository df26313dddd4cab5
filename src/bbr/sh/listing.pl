# What an incremental drain asks of an instance. $ARGV[0] what to do; [1] the artifact directory;
# [2] the working directory. Formats: bbr/drain/pages.rs. Numbers of lines and pages come on
# standard input, as 32 bits each, in ascending order. [3] is "hurry" when somebody waits.
#
#   list    lists, hashes and cuts into pages; prints a record for each page, and totals
#   tags    the tags of all lines of the pages asked for
#   lines   the lines asked for, each ended by NUL
#   heads   the header blocks that tar writes for the files of these lines
#   take    a tar of the files of these lines
#   others  gzip of: for each entry that is no file, how many more files precede it than
#           the one before; then a tar of these entries
use strict;
use warnings;
use Digest::SHA ();
use Fcntl qw(:mode);
use Time::HiRes qw(time);

my ($mode, $source, $work, $pace) = @ARGV;
my $hurry = ($pace // '') eq 'hurry';
my @tar = qw(tar --create --format=gnu --no-unquote --hard-dereference --no-recursion --file=-
  --null);
my ($fewest, $average, $most) = (256, 768, 4000);
my $no_follow = eval { Fcntl::O_NOFOLLOW() } || 0;
$ENV{LC_ALL} = 'C';
umask 077;
$SIG{PIPE} = $SIG{HUP} = $SIG{TERM} = sub { exit 2 };
binmode STDIN;
binmode STDOUT;
chdir $source or do { print STDERR "$source: $!\n"; exit 2 };

my %do = (list => \&list, tags => \&tags, lines => \&lines, heads => \&heads, take => \&take,
  others => \&others);
# tar's 1 is a warning; ours never is.
eval { $do{$mode}->(); close STDOUT or die "standard output: $!\n"; 1 } or do {
  print STDERR $@;
  exit 2;
};
exit 0;

sub list {
  gentle() unless $hurry;
  system('rm', '-rf', $work) == 0 && system('mkdir', '-p', $work) == 0 or die "no $work\n";
  my $begin = time;
  my $parts = divide();
  my $tool = fastest($parts->{bytes});
  my $most = processes();
  my $processes = @{$parts->{list}} < $most ? scalar @{$parts->{list}} : $most;
  my %totals = (files => 0, bytes => 0, blocks => 0);
  hash_all($parts->{list}, $tool, $most, \%totals);
  $totals{files} == $parts->{files}
    or die "$work: $parts->{files} files were found and $totals{files} hashed; is the disk full?\n";
  my $names = join '', map { pack 'n/a*', $_ } user(0), group(0), $tool;
  put('E' . pack('Q>Q>Q>Q>', @totals{qw(files bytes blocks)}, $parts->{others})
    . pack('N N', $processes, int(1000 * (time() - $begin))) . $names);
}

# What runs on the instance comes first.
sub gentle {
  setpriority 0, 0, 10;
  system "ionice -c 2 -n 7 -p $$ >/dev/null 2>&1";
}

# At most half of the cores, in a hurry all of them, never more than 8: hashing is faster than disks.
sub processes {
  my $cores = `nproc 2>/dev/null` || 1;
  my $half = $hurry ? int $cores : int($cores / 2);
  return $half < 1 ? 1 : $half > 8 ? 8 : $half;
}

# Writes the paths of files, in order and in ranges, and what is no file.
sub divide {
  # Behind a size of 20 characters, so that all are ordered by path. tar leaves sockets out.
  my $find = 'find . -mindepth 1 -type s -o -type f -printf "%019sf%p\0" -o -printf "%019dd%p\0"'
    . ' >"$0/found" && sort -z -k1.21 -S 64M -T "$0" "$0/found"';
  open my $all, '-|', 'sh', '-c', $find, $work or die "sh: $!\n";
  my $others = writer('others');
  my $at = writer('at');
  print $others "./\0";
  print $at pack 'w', 0;
  my ($count, $since, $bytes, @parts, $part) = (1, 0, 0);
  my ($files, $size, $found) = (0, 0, 0);
  local $/ = "\0";
  while (my $entry = <$all>) {
    my $path = substr $entry, 20;
    if (substr($entry, 19, 1) ne 'f') {
      print $others $path;
      print $at pack 'w', $since;
      $count++;
      $since = 0;
      next;
    }
    $since++;
    # Small ranges, so that few files occupy all processes; then few ranges, for each costs a start.
    if (!$part || $files >= 4096 || $size >= (@parts < 64 ? 64 << 20 : 1 << 30)) {
      # A full disk shows when what was buffered is written.
      !$part or close $part or die "$work: $!\n";
      push @parts, scalar @parts;
      $part = writer("part.$parts[-1]");
      ($files, $size) = (0, 0);
    }
    print $part $path;
    $files++;
    $found++;
    $size += substr $entry, 0, 19;
    $bytes += substr $entry, 0, 19;
  }
  close $all or die "find or sort failed\n";
  unlink "$work/found";
  for my $file ($others, $at, $part) { !$file or close $file or die "$work: $!\n" }
  return {list => \@parts, others => $count, bytes => $bytes, files => $found};
}

# The fastest SHA-256 here. Only where much is to be hashed is a trial worth its time.
sub fastest {
  my ($bytes) = @_;
  my %argv = tools();
  return exists $argv{openssl} ? 'openssl' : 'sha256sum' if $bytes < 64 << 20;
  my $trial = writer('trial');
  print $trial "\x5a" x (1 << 20) for 1 .. 8;
  close $trial or die "$work/trial: $!\n";
  my ($best, $least);
  for my $tool (sort keys %argv) {
    my $begin = time;
    if (@{$argv{$tool}}) {
      open my $sum, '-|', @{$argv{$tool}}, "$work/trial" or next;
      my @read = <$sum>;
      close $sum or next;
    } else {
      eval { sum("$work/trial"); 1 } or next;
    }
    my $took = time() - $begin;
    ($best, $least) = ($tool, $took) if !defined $least || $took < $least;
  }
  unlink "$work/trial";
  return $best || 'perl';
}

sub tools {
  my %argv = (perl => [], sha256sum => [qw(sha256sum -b -z --)]);
  $argv{openssl} = [qw(openssl dgst -sha256 -binary)]
    if system('openssl version >/dev/null 2>&1') == 0;
  return %argv;
}

# Each range by a process with files of its own; what is ready goes out in order.
sub hash_all {
  my ($parts, $tool, $most, $totals) = @_;
  my (%running, %ready);
  my ($next, $out) = (0, 0);
  my $pages = pages($totals);
  local $SIG{HUP} = local $SIG{TERM} = local $SIG{PIPE} = sub { kill 'TERM', keys %running; exit 2 };
  while ($out < @$parts) {
    # What waits to be put together takes room.
    while ($next < @$parts && keys %running < $most && $next < $out + 4 * $most + 4) {
      my $part = $next++;
      my $child = fork;
      defined $child or die "fork: $!\n";
      if (!$child) {
        $SIG{$_} = 'DEFAULT' for qw(HUP TERM PIPE);
        eval { hash_part($part, $tool); 1 } or do { print STDERR $@; leave(1) };
        leave(0);
      }
      $running{$child} = $part;
    }
    my $child = wait;
    if ($child > 0 && exists $running{$child}) {
      my $status = $?;
      my $part = delete $running{$child};
      if ($status) {
        kill 'TERM', keys %running;
        die "hashing with $tool failed\n";
      }
      $ready{$part} = 1;
    }
    while (delete $ready{$out}) {
      $pages->{part}->($out);
      unlink map { "$work/$_.$out" } qw(part lines sums);
      $out++;
    }
  }
  $pages->{end}->();
}

# Without what perl does at its end: that is the parent's to do.
sub leave {
  my ($status) = @_;
  require POSIX;
  POSIX::_exit($status);
}

# Writes lines, and for each file: SHA-256 of its line, whether a page may end behind it, length of
# the line, size, blocks that it takes in a tar.
sub hash_part {
  my ($part, $tool) = @_;
  my %argv = tools();
  my @argv = @{$argv{$tool}};
  my $file = "$work/part.$part";
  my ($lines, $sums) = (writer("lines.$part"), writer("sums.$part"));
  open my $paths, '<:raw', $file or die "$file: $!\n";
  my $sum;
  my $pid = @argv && (open($sum, '-|', 'xargs', '-0', '-a', $file, @argv) or die "xargs: $!\n");
  binmode $sum if $sum;
  $SIG{TERM} = sub { kill 'TERM', $pid if $pid; leave(1) };
  local $/ = "\0";
  while (my $path = <$paths>) {
    chop $path;
    my @stat = lstat $path;
    @stat && S_ISREG($stat[2]) or die "$path is gone\n";
    my $digest;
    if ($tool eq 'openssl') {
      (read($sum, $digest, 32) // 0) == 32 or die "no sum came for $path\n";
      $digest = unpack 'H*', $digest;
    } elsif ($tool eq 'sha256sum') {
      my $record = <$sum> // '';
      chop $record;
      substr($record, 66) eq $path or die "no sum came for $path\n";
      $digest = substr $record, 0, 64;
    } else {
      $digest = sum($path);
    }
    my $line = sprintf('%o', S_IMODE($stat[2]))
      . ":$stat[4]:$stat[5]:$stat[9]:$stat[7]:$digest:" . user($stat[4]) . ':' . group($stat[5])
      . ":$path";
    my $length = length $path;
    my $blocks = 1 + ($length > 100 ? 1 + int(($length + 512) / 512) : 0) + int(($stat[7] + 511) / 512);
    my $ends = unpack('N', Digest::SHA::sha256($path)) % $average == 0;
    print $lines $line, "\0";
    print $sums Digest::SHA::sha256($line), pack 'C N Q> Q>', $ends ? 1 : 0, length $line, $stat[7], $blocks;
  }
  if ($sum) {
    local $/;
    my $more = <$sum>;
    close $sum or die "$tool failed\n";
    length($more // '') == 0 or die "$tool gave more sums than there are files\n";
  }
  close $lines && close $sums or die "$work: $!\n";
}

sub sum {
  my ($path) = @_;
  sysopen my $file, $path, $no_follow or die "$path: $!\n";
  binmode $file;
  return Digest::SHA->new(256)->addfile($file)->hexdigest;
}

# Puts ranges together: one file of lines, one of where they begin, one of tags, one of where pages
# begin; and a record on standard output for each page.
sub pages {
  my ($totals) = @_;
  my ($lines, $begins, $tags, $index) = map { writer($_) } qw(lines begins tags pages);
  my $offset = 0;
  my ($files, $bytes, $first, $last) = (0, 0, 0, '');
  my $hash = Digest::SHA->new(256);
  my $end = sub {
    print $index pack 'Q> N', $first, $files;
    put('P' . $hash->digest . pack('N Q> n/a*', $files, $bytes, $last));
    $first += $files;
    ($files, $bytes) = (0, 0);
    $hash = Digest::SHA->new(256);
  };
  my $part = sub {
    my ($number) = @_;
    open my $from, '<:raw', "$work/lines.$number" or die "$work: $!\n";
    open my $sums, '<:raw', "$work/sums.$number" or die "$work: $!\n";
    local $/ = "\0";
    while (read $sums, my $record, 53) {
      my ($sum, $ends, $length, $size, $blocks) = unpack 'a32 C N Q> Q>', $record;
      my $line = <$from>;
      print $lines $line;
      print $begins pack 'Q>', $offset;
      print $tags substr $sum, 0, 10;
      $offset += $length + 1;
      $hash->add($sum);
      $files++;
      $bytes += $size;
      $totals->{files}++;
      $totals->{bytes} += $size;
      $totals->{blocks} += $blocks;
      $last = $line;
      if ($files >= $most || $files >= $fewest && $ends) {
        $last = path($line);
        $end->();
      }
    }
  };
  my $finish = sub {
    if ($files) { $last = path($last); $end->() }
    for my $file ($lines, $begins, $tags, $index) { close $file or die "$work: $!\n" }
  };
  return {part => $part, end => $finish};
}

# The path of a line that ends in NUL.
sub path {
  my ($line) = @_;
  chop $line;
  return (split /:/, $line, 9)[8];
}

{
  my (%users, %groups);
  # A header has room for 31 bytes.
  sub user { my ($id) = @_; return $users{$id} //= substr(getpwuid($id) // '', 0, 31) }
  sub group { my ($id) = @_; return $groups{$id} //= substr(getgrgid($id) // '', 0, 31) }
}

sub tags {
  my ($index, $tags) = (reader('pages'), reader('tags'));
  for my $page (numbers()) {
    my ($first, $files) = unpack 'Q> N', piece($index, 12 * $page, 12);
    put(piece($tags, 10 * $first, 10 * $files));
  }
}

sub lines { each_line(sub { put($_[0]) }, numbers()) }

sub each_line {
  my ($do, @numbers) = @_;
  my ($lines, $begins) = (reader('lines'), reader('begins'));
  for my $number (@numbers) {
    seek $lines, unpack('Q>', piece($begins, 8 * $number, 8)), 0 or die "$work: $!\n";
    local $/ = "\0";
    $do->(scalar <$lines>);
  }
}

sub heads {
  each_line(sub {
    my ($line) = @_;
    # Only the begin is wanted; tar is told by the broken pipe.
    my $pid = open my $tar, '-|', @tar, '--', path($line) or die "tar: $!\n";
    binmode $tar;
    my $head = '';
    while (1) {
      (read($tar, my $block, 512) // 0) == 512 or die "tar sends no header\n";
      $head .= $block;
      last unless substr($block, 156, 1) =~ /[LKxg]/;
      my $size = oct unpack 'Z12', substr $block, 124, 12;
      $size = 512 * int(($size + 511) / 512);
      $size <= 65536 && read($tar, my $data, $size) == $size or die "tar sends no header\n";
      $head .= $data;
    }
    put(pack('N', length $head) . $head);
    kill 'TERM', $pid;
    close $tar;
  }, numbers());
}

sub take {
  my @numbers = numbers();
  open my $tar, '|-', @tar, '--files-from=-' or die "tar: $!\n";
  binmode $tar;
  each_line(sub { print $tar path($_[0]), "\0" }, @numbers);
  close $tar;
  exit($? & 127 ? 2 : $? >> 8);
}

sub others {
  gentle();
  open my $gzip, '|-', 'gzip', '-1', '-c' or die "gzip: $!\n";
  binmode $gzip;
  my $at = reader('at');
  while (read $at, my $piece, 65536) { print $gzip $piece }
  $gzip->flush;
  my $child = fork;
  defined $child or die "fork: $!\n";
  if (!$child) {
    open STDOUT, '>&', $gzip or die "gzip: $!\n";
    exec @tar, "--files-from=$work/others" or die "tar: $!\n";
  }
  waitpid $child, 0;
  my $status = $?;
  close $gzip or die "gzip failed\n";
  exit($status & 127 ? 2 : $status >> 8);
}

sub numbers {
  local $/;
  my $numbers = <STDIN> // '';
  return unpack 'N*', $numbers;
}

sub reader {
  my ($name) = @_;
  open my $file, '<:raw', "$work/$name" or die "$work/$name: $!\n";
  return $file;
}

sub writer {
  my ($name) = @_;
  open my $file, '>:raw', "$work/$name" or die "$work/$name: $!\n";
  return $file;
}

sub piece {
  my ($file, $offset, $length) = @_;
  seek $file, $offset, 0 or die "$work: $!\n";
  (read($file, my $piece, $length) // -1) == $length or die "$work holds less than was asked for\n";
  return $piece;
}

sub put {
  print STDOUT $_[0] or die "standard output: $!\n";
}
