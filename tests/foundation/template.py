"""Files every instance starts from: its /etc, its sshd configuration, the forced command and the
journal functions. Text only; instance.py puts it in place.
"""

import os
import shutil

# Never changed by what runs on an instance, so the machine's own are shown, read-only.
ETC_SHOWN = ("alternatives", "ld.so.conf.d", "perl", "security", "skel", "ssl")
ETC_COPIED = (
    "bash.bashrc", "debian_version", "default/useradd", "environment", "gai.conf", "host.conf", "ld.so.cache",
    "ld.so.conf", "locale.alias", "localtime", "login.defs", "nsswitch.conf", "os-release", "profile", "protocols",
    "services", "shells", "timezone",
)
PAM = "auth sufficient pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
SUDOERS = """Defaults env_reset
Defaults !lecture
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
%bosh_sudoers ALL=(ALL) NOPASSWD: ALL
"""
SSHD_CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/ssh_host_key
PidFile none
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
PermitRootLogin prohibit-password
AllowAgentForwarding no
X11Forwarding no
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
AllowTcpForwarding {forwarding}
MaxStartups {max_startups}
MaxSessions {max_sessions}
ForceCommand /var/lib/foundation/exec
{extra}
"""

# Sourced at the top of every journalled script. One printf is one write to a file opened for append,
# so lines of several instances never mix, and the order of lines is the order of events.
JOURNAL = r"""
foundation_escape() {
  local text=$1
  text=${text//\\/\\\\}; text=${text//\"/\\\"}; text=${text//$'\n'/\\n}; text=${text//$'\t'/\\t}
  printf '%s' "$text"
}
foundation_line() {
  local event=$1 extra=$2 now=${EPOCHREALTIME/[.,]/} env= name
  for name in BBR_ARTIFACT_DIRECTORY ARTIFACT_DIRECTORY BBR_AFTER_BACKUP_SCRIPTS_SUCCESSFUL BBR_VERSION \
    SUDO_USER; do
    if [ -n "${!name+set}" ]; then env="$env${env:+, }\"$name\": \"$(foundation_escape "${!name}")\""; fi
  done
  printf '{"us": %s, "deployment": "%s", "instance": "%s", "job": "%s", "script": "%s", "event": "%s", "pid": %s, "env": {%s}%s}\n' \
    "$now" "$foundation_deployment" "$foundation_instance" "$foundation_job" "$foundation_script" "$event" "$$" "$env" "$extra" \
    >> /var/lib/foundation/journal
}
foundation_begin() {
  read -r foundation_deployment foundation_instance < /var/lib/foundation/instance
  foundation_job=$1; foundation_script=$2
  trap 'foundation_line end ", \"status\": $?"' EXIT
  foundation_line start ""
}
note() { foundation_line note ", \"text\": \"$(foundation_escape "$*")\""; }
"""

# Runs in place of every remote command: records it, then applies the first fault that matches.
EXEC = r"""#!/bin/bash
dir=/var/lib/foundation
command=$SSH_ORIGINAL_COMMAND
printf '%s %s %s %s\n' "${EPOCHREALTIME/[.,]/}" "$USER" "$PPID" "$(printf %s "$command" | base64 -w0)" >> $dir/commands
if [ -e $dir/windows ] && [ "$command" = 'echo %OS%' ]; then printf 'Windows_NT\r\n'; exit 0; fi
taken() {
  # Under a lock: is this match one to which the fault applies?
  exec 9>> "$dir/faults/$1.count"
  flock 9
  local seen
  seen=$(wc -c < "$dir/faults/$1.count")
  printf x >&9
  exec 9>&-
  [ "$seen" -ge "$skip" ] && { [ "$times" -lt 0 ] || [ "$seen" -lt $((skip + times)) ]; }
}
cut_now() { kill -KILL "$PPID"; sleep 5; exit 255; }
if [ -s $dir/fault_list ]; then
  while read -r id; do
    # shellcheck disable=SC1090
    . "$dir/faults/$id"
    [[ $command =~ $pattern ]] || continue
    [ -z "$user" ] || [[ $USER =~ $user ]] || continue
    taken "$id" || continue
    case $kind in
      delay) sleep "$seconds" ;;
      stall) sleep 1000000 ;;
      cut) cut_now ;;
      cut_after) (sleep "$seconds"; kill -KILL "$PPID") > /dev/null 2>&1 & ;;
      status) printf '%s' "$stderr" >&2; printf '%s' "$stdout"; exit "$status" ;;
      signal) kill -"$signal" $$; exit 1 ;;
      truncate) bash -c "$command" | head -c "$bytes"; [ "$end" = cut ] && { sleep 0.2; cut_now; }; exit "$status" ;;
      run_then_cut) bash -c "$command"; sleep 0.2; cut_now ;;
      run_then_status) bash -c "$command"; printf '%s' "$stderr" >&2; exit "$status" ;;
      flip) bash -c "$command" | python3 -c 'import sys
n = int(sys.argv[1]); seen = 0
for piece in iter(lambda: sys.stdin.buffer.read1(65536), b""):
    if seen <= n < seen + len(piece):
        piece = bytearray(piece); piece[n - seen] ^= 1
    seen += len(piece); sys.stdout.buffer.write(piece)' "$bytes"; exit "${PIPESTATUS[0]}" ;;
    esac
    break
  done < $dir/fault_list
fi
[ -n "$command" ] || exec bash -l
exec bash -c "$command"
"""


def make_etc(target):
    """A small /etc: what logins, sudo, useradd and the usual tools read, and nothing of this machine's."""
    os.makedirs(f"{target}/ssh", mode=0o755)
    for name in ETC_SHOWN:
        os.makedirs(f"{target}/{name}")
    for name in ETC_COPIED:
        if os.path.exists(f"/etc/{name}"):
            os.makedirs(os.path.dirname(f"{target}/{name}"), exist_ok=True)
            shutil.copy2(f"/etc/{name}", f"{target}/{name}")
    users = _system_lines("/etc/passwd") + ["vcap:x:1000:1000:BOSH System User:/home/vcap:/bin/bash"]
    groups = _system_lines("/etc/group") + ["vcap:x:1000:", "bosh_sudoers:x:1001:", "bosh_sshers:x:1002:"]
    if not any(line.startswith("sshd:") for line in users):
        users.append("sshd:x:998:65534::/run/sshd:/usr/sbin/nologin")
    _write(f"{target}/passwd", users, 0o644)
    _write(f"{target}/group", groups, 0o644)
    _write(f"{target}/shadow", [f"{line.split(':')[0]}:*:19000:0:99999:7:::" for line in users], 0o640)
    _write(f"{target}/gshadow", [f"{line.split(':')[0]}:!::" for line in groups], 0o640)
    _write(f"{target}/sudoers", [SUDOERS], 0o440)
    for name in ("sudo", "sshd", "su", "other", "useradd", "userdel", "usermod", "chpasswd"):
        os.makedirs(f"{target}/pam.d", exist_ok=True)
        _write(f"{target}/pam.d/{name}", [PAM], 0o644)


def _system_lines(path):
    """Users or groups below 1000, and nobody; GNU names only, so that ids cannot collide with ours."""
    kept = []
    with open(path) as file:
        for line in file:
            parts = line.rstrip("\n").split(":")
            if len(parts) > 2 and parts[2].isdigit() and (int(parts[2]) < 998 or int(parts[2]) == 65534):
                if path.endswith("group"):
                    parts[3:] = [""]
                kept.append(":".join(parts))
    return kept


def _write(path, lines, mode):
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    os.chmod(path, mode)
