"""Where the time of a first backup and of a restore goes: CPU seconds by program and stage (perf, the whole machine), next to what its parts could do
at best here: the SSH stream alone, the uploads alone, each cipher and hash alone."""

import contextlib
import os
import re
import shutil
import subprocess
import time

from contenders import Lifeboat, Bbr
from measure import output

MB = 1e6
# Of our program: which symbols are which stage. The first that matches counts.
STAGES = (
    ("SHA-256 (files, chunks, names, signed bodies)", r"sha2|sha256"),
    ("MD5 of uploads", r"md5"),
    ("age: ChaCha20-Poly1305", r"chacha20|poly1305"),
    ("zstd", r"ZSTD|HUF_|HIST_|FSE_|XXH"),
    ("cutting", r"fastcdc|cut_gear"),
    ("SSH: AES-GCM and packets", r"ssh2|EVP_|gcm|CRYPTO|aes|transport_|\blibcrypto"),
    ("kernel: sockets, memory", r"\[k\]"),
)
OURS = re.compile(r"^(lifeboat|out|ssh |tokio|seal)")
OTHERS = (("S3 server", r"^versitygw"), ("instance: sshd", r"^sshd"), ("instance: hashing", r"^(sha256sum|openssl|perl)"), ("instance: tar", r"^tar$"))


def profile(world, programs, workload):
    """Lines of the report."""
    content = world.content(workload.name)
    workload.make(content)
    total = int(output("du", "-sb", "--apparent-size", content).split()[0])
    contender = Lifeboat(world, programs)
    contender.begin(workload)
    lines = []
    for title, step in (("first backup", contender.backup), ("restore", contender.restore)):
        recording = os.path.join(world.scratch, "perf.data")
        with recorded(recording) as perf:
            found = step()
        lines += [f"A {title} of {total / MB:,.0f} MB of `{workload.name}`: {found['wall']:.1f} s ({total / MB / found['wall']:.0f} MB/s), of which our "
                  f"program took {found['cpu']:.1f} s of CPU ({total / MB / found['cpu']:.0f} MB per CPU second).", ""]
        if perf:
            lines += by_stage(recording, total)
            os.unlink(recording)
    lines += ["| at best, alone on this machine | MB/s |", "|---|---:|"]
    lines += [f"| {title} | {rate:,.0f} |" for title, rate in baselines(world, contender, workload, content, total)]
    contender.end()
    return lines


@contextlib.contextmanager
def recorded(recording):
    """What the whole machine does meanwhile; None where there is no perf."""
    if not shutil.which("perf"):
        yield None
        return
    perf = subprocess.Popen(["perf", "record", "-a", "-F", "199", "-o", recording, "sleep", "100000"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    try:
        yield perf
    finally:
        # It writes its file when what it runs ends.
        for child in output("ps", "-o", "pid=", "--ppid", str(perf.pid)).split():
            os.kill(int(child), 15)
        perf.wait()


def by_stage(recording, total):
    said = output("perf", "report", "-i", recording, "--sort", "comm,dso,symbol", "--no-children", "-g", "none", "-F", "sample,comm,dso,symbol",
                  "-t", ";", "-v")
    seconds = {}
    for line in said.splitlines():
        parts = [part.strip() for part in line.split(";")]
        if line.startswith("#") or len(parts) < 4 or not parts[0].isdigit():
            continue
        time_spent, comm, rest = int(parts[0]) / 199, parts[1], " ".join(parts[2:])
        if OURS.search(comm):
            stage = "Lifeboat: " + next((title for title, symbols in STAGES if re.search(symbols, rest)), "the rest")
        else:
            stage = next((title for title, programs in OTHERS if re.search(programs, comm)), None)
        if stage:
            seconds[stage] = seconds.get(stage, 0) + time_spent
    lines = ["| stage | CPU | per GB |", "|---|---:|---:|"]
    for stage, spent in sorted(seconds.items(), key=lambda pair: -pair[1]):
        lines.append(f"| {stage} | {spent:.1f} s | {spent / (total / 1e9):.2f} s |")
    return [*lines, ""]


def baselines(world, contender, workload, content, total):
    yield "`tar` of the content to /dev/null, twice", rate(total, "sh", "-c", f"tar -c -C {content} . | cat > /dev/null")
    yield from ssh(world, workload, content, total)
    uploader = Bbr(world, None)
    if shutil.which("rclone"):
        yield "uploads alone: `rclone copy` of the same files, 8 at once", puts(world, uploader, content, total)
    for name in ("sha256", "md5", "chacha20-poly1305", "aes-128-gcm"):
        said = output("openssl", "speed", "-bytes", "32768", "-seconds", "1", "-mr", "-evp", name)
        numbers = re.findall(r"^\+F:\d+:[^:]*:([0-9.]+)", said, re.M)
        if numbers:
            yield f"`openssl speed` {name}, one core", float(numbers[-1]) / MB


def rate(total, *command, **more):
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, **more)
    return total / MB / (time.monotonic() - began) if done.returncode == 0 else float("nan")


def ssh(world, workload, content, total):
    """OpenSSH's own client, which has no more to do than throw away what comes."""
    instance = world.instances(workload.name)[0]
    key = os.path.join(world.scratch, "ssh.key")
    if not os.path.exists(key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    home = os.path.join(instance["root"], "root/.ssh")
    os.makedirs(home, mode=0o700, exist_ok=True)
    shutil.copy(key + ".pub", os.path.join(home, "authorized_keys"))
    yield "the SSH stream alone: `ssh -c aes128-gcm@openssh.com root@instance tar -c`", rate(
        total, "ssh", "-i", key, "-p", str(instance["port"]), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
        "-o", f"UserKnownHostsFile={world.scratch}/known", "-c", "aes128-gcm@openssh.com", "root@127.0.0.1",
        "tar -c -C /var/vcap/store/content .")


def puts(world, uploader, content, total):
    store = world.store
    return rate(total, "rclone", "copy", "--transfers", "8", "--s3-no-check-bucket", content, f"s3:{store['buckets'][0]}/raw",
                env={"PATH": os.environ["PATH"], "HOME": world.scratch, "RCLONE_CONFIG_S3_TYPE": "s3", "RCLONE_CONFIG_S3_PROVIDER": "Other",
                     "RCLONE_CONFIG_S3_ENV_AUTH": "true", "RCLONE_CONFIG_S3_ENDPOINT": store["direct_endpoint"],
                     "RCLONE_CONFIG_S3_REGION": store["region"], "RCLONE_CONFIG_S3_FORCE_PATH_STYLE": "true",
                     **uploader.store_environment()})
